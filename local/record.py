"""What a stack keeps in its folder for others: a lock that says that it is up, and a makefile that leads make to it.

The lock is the truth: it ends with the process, however that ends, and a later process of the same number has it not.
make asks for it with the system's Python: `python3 -m local.record FOLDER` says up or dead.
"""

import fcntl
import os
import re
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path

_PATIENCE_SECONDS = 1.0  # who asks whether a stack is up holds its lock for a moment


class Record:
    """The record of one folder, to write as the stack or to read as anyone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: int | None = None

    @property
    def makefile(self) -> Path:
        return self._folder / "environment.mk"

    @property
    def pid(self) -> int:
        """Return the process that serves the stack; sure only while `up`."""
        return int(self._lock_file.read_text())

    def take(self) -> bool:
        """Take the folder for this process, for its user's eyes alone; False when another one has it."""
        if self._lock is not None:
            return True
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        lock = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not _locked(lock):
            if time.monotonic() > deadline:
                os.close(lock)
                return False
            time.sleep(0.05)
        os.ftruncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        self._lock = lock
        return True

    def write(self, environment: Mapping[str, str]) -> None:
        """Lead make to this stack, whatever the user's shell, `make -e` or the command line say."""
        lines = ["# Written by the local stack, gone when it stops: leads every make target here instead of to AWS."]
        for name, value in environment.items():
            lines += [f"override {name} := {_escaped(value)}", f"export {name}"]
        unfinished = self.makefile.with_suffix(".tmp")
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write("\n".join(lines) + "\n")
        unfinished.rename(self.makefile)

    def read(self) -> dict[str, str]:
        """Return what was written for make."""
        written = re.findall(r"^override (\w+) := (.*)$", self.makefile.read_text(), re.MULTILINE)
        return {name: value.replace("\\#", "#").replace("$$", "$") for name, value in written}

    def release(self) -> None:
        """Tell that the stack is down, and let another have the folder."""
        if self._lock is not None:
            self.makefile.unlink(missing_ok=True)
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None

    def up(self) -> bool:
        """Tell whether a process serves the stack of this folder."""
        try:
            lock = os.open(self._lock_file, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            return not _locked(lock)
        finally:
            os.close(lock)

    def dead(self) -> bool:
        """Tell whether a stack was up here whose process ended without a word."""
        return self._lock_file.exists() and self._lock_file.read_text() != "" and not self.up()

    def clean(self) -> None:
        """Remove all that an earlier stack left but its log: its control plane is gone, so no state of it may stay."""
        if self._lock is None:
            self._lock_file.write_text("")
        for path in self._folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path != self._lock_file and path.suffix != ".log":
                path.unlink()

    @property
    def _lock_file(self) -> Path:
        return self._folder / "stack.pid"


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _escaped(value: str) -> str:
    """Write a value so that make reads it as it is."""
    return value.replace("$", "$$").replace("#", "\\#")


if __name__ == "__main__":
    print("up" if Record(Path(sys.argv[1])).up() else "dead")
