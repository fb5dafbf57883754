"""The stack as a background service: one a folder, known by the lock that its process holds."""

import errno
import fcntl
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from local.stack import Stack

TARGET_DELAY_SECONDS = 10
START_TIMEOUT_SECONDS = 60
STOP_TIMEOUT_SECONDS = 30


def serve(directory: Path, *, port: int = 0) -> int:
    """Serve the stack until SIGINT or SIGTERM; return an exit status."""
    told_to_stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: told_to_stop.set())
    if not _take_lock(directory):
        print("A stack runs here already: `make demo-down` stops it.", file=sys.stderr)
        return 1
    _remove_leftovers(directory)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", stream=sys.stdout)
    try:
        with Stack(directory, port=port, target_delay_seconds=TARGET_DELAY_SECONDS) as stack:
            print("\n".join(stack.components()), flush=True)
            _write_makefile(directory, stack.variables())
            told_to_stop.wait()
    except OSError as error:
        taken_port = error.errno == errno.EADDRINUSE
        reason = f"port {port} is in use: choose another with LOCAL_PORT=" if taken_port else str(error)
        print(f"The stack did not start: {reason}", file=sys.stderr)
        return 1
    finally:
        _makefile(directory).unlink(missing_ok=True)
    return 0


def start(directory: Path, *, port: int = 0) -> bool:
    """Start the service in the background unless it runs; tell whether it had to be started.

    Raises RuntimeError with the end of its log when it does not come up.
    """
    if is_running(directory):
        return False
    directory.mkdir(exist_ok=True)
    _makefile(directory).unlink(missing_ok=True)  # of a stack that was killed
    with log_file(directory).open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "local", "up", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _await_start(directory, process)
    except BaseException:
        process.terminate()
        process.wait(STOP_TIMEOUT_SECONDS)
        raise
    return True


def stop(directory: Path) -> int:
    """Stop the service and all that it started; return an exit status."""
    if not is_running(directory):
        print("No stack is running.")
        return 0
    pid = int(_lock_file(directory).read_text())
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
    while is_running(directory):
        if time.monotonic() > deadline:
            print(f"The stack (process {pid}) did not stop: see {log_file(directory)}.", file=sys.stderr)
            return 1
        time.sleep(0.05)
    print("The stack is stopped.")
    return 0


def is_running(directory: Path) -> bool:
    """Tell whether a process serves the stack of this folder."""
    if not _lock_file(directory).exists():
        return False
    with _lock_file(directory).open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def log_file(directory: Path) -> Path:
    """Return the file to which the service in the background writes."""
    return directory / "stack.log"


def _await_start(directory: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while not _makefile(directory).exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(log_file(directory).read_text()[-2000:].strip())
        time.sleep(0.05)


def _take_lock(directory: Path) -> bool:
    """Take the folder for this process; it is free again only when the process has ended, however that happens."""
    directory.mkdir(exist_ok=True)
    lock = os.open(_lock_file(directory), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return False
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return True


def _remove_leftovers(directory: Path) -> None:
    """The control plane remembers nothing, so neither may the state of what was deployed to it."""
    for path in directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path)


def _write_makefile(directory: Path, environment: dict[str, str]) -> None:
    """Lead make to this stack for as long as its process lives."""
    lines = [
        "# Written by the local stack, gone when it stops: leads every make target here instead of to AWS.",
        f"ifeq ($(shell kill -0 {os.getpid()} 2>/dev/null && echo up),up)",
        *(f"export {name} := {value}" for name, value in environment.items()),
        "unexport AWS_PROFILE AWS_SESSION_TOKEN",
        "endif",
    ]
    unfinished = _makefile(directory).with_suffix(".tmp")
    unfinished.write_text("\n".join(lines) + "\n")
    unfinished.rename(_makefile(directory))


def _lock_file(directory: Path) -> Path:
    return directory / "stack.pid"


def _makefile(directory: Path) -> Path:
    return directory / "environment.mk"
