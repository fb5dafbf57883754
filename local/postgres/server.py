"""A real PostgreSQL server for each database instance, set up as RDS sets up its own.

Two ways lead in: a Unix socket in a private folder, for the listener that has already checked an IAM token, and TLS on
127.0.0.1 with SCRAM, for the proxy's own logins. What differs from RDS: data is not flushed to disk (`fsync = off`),
and the folder goes when the server stops.

A server may be a hot standby of another, by streaming replication: it answers reads, and lags when its replay is
paused. Writer and readers of a cluster are made so; Aurora's share one storage instead, and lag by milliseconds.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import psycopg2
from psycopg2 import extensions, sql

from local.certificates import Certificates
from local.postgres.installation import ADMINISTRATOR, Binaries, Installation, PostgresError, find_binaries

_START_TIMEOUT_SECONDS = 30.0
_STOP_TIMEOUT_SECONDS = 10.0
_REPLAY_TIMEOUT_SECONDS = 30.0

# Ends the server when the parent is gone, however it went: `read` meets the end of the pipe that the parent holds. The
# kernel's own parent-death signal would not do: it follows the thread that started the server, not the process.
_WATCHER = """
read -r _ && exit
kill -INT "$1"
tenths=0
while [ -e "$2/data/postmaster.pid" ] && [ "$tenths" -lt 100 ]; do sleep 0.1; tenths=$((tenths + 1)); done
rm -rf "$2" "$3"
"""


class Snapshot:
    """A copy of a server's data, kept until it is discarded. Made by `PostgresServer.snapshot`."""

    def __init__(self, data: Path, installation: Installation) -> None:
        self._installation = Installation.acquire(installation.found)  # whose superuser the data knows
        self._folder = installation.make_folder()
        self._installation.copy(data, self._folder / "data")

    def restore(self, target: Path) -> None:
        self._installation.copy(self._folder / "data", target)

    def discard(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._installation.release()


class PostgresServer:
    """One running server. Made by `start` or `start_standby`."""

    def __init__(
        self,
        *,
        name: str,
        host_name: str,
        other_host_names: Sequence[str],
        max_connections: int,
        master_user: str,
        database: str,
        log_file: Path | None,
        installation: Installation,
    ) -> None:
        self.name = name
        self.host_name = host_name
        self.other_host_names = tuple(other_host_names)
        self.max_connections = max_connections
        self.master_user = master_user
        self.database = database
        self.version = installation.binaries.version
        self.port = 0
        self._installation = installation
        self._folder = installation.make_folder()
        self.log_file = log_file or self._folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(
        cls,
        *,
        name: str,
        host_name: str,
        certificates: Certificates,
        max_connections: int,
        master_user: str,
        master_password: str,
        database: str,
        log_file: Path | None = None,
        binaries: Binaries | None = None,
        snapshot: Snapshot | None = None,
        other_host_names: Sequence[str] = (),
    ) -> PostgresServer:
        """Start a server with its master user and database; return when it accepts connections.

        `log_file` outlives the server; without it the log goes with the server's folder. With a snapshot the master
        user and all data are the snapshot's. `other_host_names` are in its certificate too: a cluster's endpoints.
        """
        installation = Installation.acquire(binaries or find_binaries())
        server = cls(
            name=name,
            host_name=host_name,
            other_host_names=other_host_names,
            max_connections=max_connections,
            master_user=master_user,
            database=database,
            log_file=log_file,
            installation=installation,
        )
        try:
            server._prepare(certificates, snapshot)
            server._launch()
            if snapshot is None:
                server._create(master_password)
        except BaseException:
            server.stop()
            raise
        return server

    @classmethod
    def start_standby(
        cls,
        primary: PostgresServer,
        *,
        name: str,
        host_name: str,
        certificates: Certificates,
        log_file: Path | None = None,
        other_host_names: Sequence[str] = (),
    ) -> PostgresServer:
        """Start a hot standby of a running server; return when it answers reads.

        Its users, passwords and data are the primary's, which goes on meanwhile. It needs as many connections as the
        primary has: raise max_connections here first, and there afterwards.
        """
        installation = Installation.acquire(primary._installation.found)  # whose superuser the data knows
        server = cls(
            name=name,
            host_name=host_name,
            other_host_names=other_host_names,
            max_connections=primary.max_connections,
            master_user=primary.master_user,
            database=primary.database,
            log_file=log_file,
            installation=installation,
        )
        try:
            server._write_identity(certificates)
            server._copy_from(primary)
            server._launch()
        except BaseException:
            server.stop()
            raise
        return server

    @property
    def socket_folder(self) -> Path:
        return self._folder

    @property
    def socket_path(self) -> Path:
        return self._folder / f".s.PGSQL.{self.port}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def __repr__(self) -> str:
        return f"<PostgresServer {self.name} {self.version} on port {self.port}>"

    @contextlib.contextmanager
    def administrator(self, database: str = "postgres") -> Iterator[extensions.cursor]:
        """Lend a cursor of the superuser, which no client of the stack can be."""
        connection = psycopg2.connect(
            host=str(self.socket_folder),
            port=self.port,
            user=ADMINISTRATOR,
            password=self._installation.password,
            dbname=database,
        )
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    def create_database(self, name: str, owner: str) -> None:
        statement = sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(owner))
        if self.version >= 15:
            statement += sql.SQL(" STRATEGY file_copy")  # to log each page takes four times the processor time
        with self.administrator() as cursor:
            cursor.execute(statement)

    def change_master_password(self, password: str) -> None:
        with self.administrator() as cursor:
            cursor.execute(sql.SQL("ALTER ROLE {} PASSWORD %s").format(sql.Identifier(self.master_user)), [password])

    def restart(self, *, max_connections: int | None = None) -> None:
        """Stop and start again on the same data and port, as a reboot of the instance does."""
        self._end_process()
        if max_connections is not None:
            self.max_connections = max_connections
        self._launch()

    def halt(self) -> None:
        """Stop the server and keep its data, until `resume`."""
        self._end_process()

    def resume(self, *, max_connections: int) -> None:
        """Start a server that was halted, on its data and port."""
        self.max_connections = max_connections
        self._launch()

    def snapshot(self) -> Snapshot:
        """Copy the data. The server stops for it, where RDS only suspends I/O for a while: connections are lost."""
        was_running = self.running
        self._end_process()
        try:
            return Snapshot(self._folder / "data", self._installation)
        finally:
            if was_running:
                self._launch()

    @property
    def is_standby(self) -> bool:
        return (self._folder / "data" / "standby.signal").exists()  # the server removes it when it is promoted

    def follow(self, primary: PostgresServer) -> None:
        """Be a standby of this server from now on, as what is left of a cluster after a failover.

        A standby keeps its data and its sessions. What was a primary itself, or is down, starts again with a copy of
        the new one's data: what it alone had is gone, as it is for RDS.
        """
        if self.is_standby and self.running:
            with self.administrator() as cursor:
                cursor.execute("ALTER SYSTEM SET primary_conninfo = %s", [self._replication_from(primary)])
                cursor.execute("SELECT pg_reload_conf()")
            return
        self._end_process()
        shutil.rmtree(self._folder / "data")
        self._copy_from(primary)
        self._launch()

    def promote(self) -> None:
        """Make the standby a primary of its own; return when it takes writes. Sessions stay."""
        with self.administrator() as cursor:
            cursor.execute("SELECT pg_promote(true, %s)", [int(_REPLAY_TIMEOUT_SECONDS)])
            if cursor.fetchone() != (True,):
                raise PostgresError(f"PostgreSQL {self.name} was not promoted:\n{self._log_tail()}")

    def pause_replay(self) -> None:
        """Let the standby lag: from now on it shows the data of this moment. Return when that is so."""
        self._ask("SELECT pg_wal_replay_pause()")
        self._await_answer("SELECT pg_get_wal_replay_pause_state() = 'paused'", "paused its replay")

    def resume_replay(self) -> None:
        """End the lag; `catch_up` tells when it is over."""
        self._ask("SELECT pg_wal_replay_resume()")

    def catch_up(self, primary: PostgresServer) -> None:
        """Return when the standby shows all that the primary has committed until now."""
        (position,) = primary._ask("SELECT pg_current_wal_flush_lsn()")
        self._await_answer("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", "caught up", position)

    def inherit(self, primary: PostgresServer) -> None:
        """Return when the standby has replayed all that a primary wrote which is halted now."""
        position = self._installation.last_checkpoint(primary._folder / "data")
        self._await_answer("SELECT pg_last_wal_replay_lsn() > %s::pg_lsn", f"all of {primary.name}'s data", position)

    def stop(self) -> None:
        """Stop the server and remove its folder. Does nothing the second time."""
        self._end_process()
        if self._folder.exists():
            shutil.rmtree(self._folder, ignore_errors=True)
            self._installation.release()

    def _prepare(self, certificates: Certificates, snapshot: Snapshot | None) -> None:
        (snapshot.restore if snapshot else self._installation.copy_data)(self._folder / "data")
        self._write_identity(certificates)

    def _write_identity(self, certificates: Certificates) -> None:
        installation = self._installation
        certificate = certificates.host("rds", self.host_name, *self.other_host_names)
        for source, target in ((certificate.certificate, "server.pem"), (certificate.key, "server.key")):
            installation.write(self._folder / target, source.read_text())
        installation.write(self._folder / "pg_hba.conf", _host_based_access(self.master_user))

    def _copy_from(self, primary: PostgresServer) -> None:
        password_file = self._folder / "replication"  # no password is on a command line, nor in the data
        self._installation.write(password_file, f"*:*:*:{ADMINISTRATOR}:{self._installation.password}\n")
        self._installation.back_up(self._replication_from(primary), self._folder / "data")

    def _replication_from(self, primary: PostgresServer) -> str:
        return extensions.make_dsn(
            host=str(primary.socket_folder),
            port=primary.port,
            user=ADMINISTRATOR,
            passfile=str(self._folder / "replication"),
            application_name=self.name,
        )

    def _ask(self, question: str, *values: object) -> tuple[Any, ...]:
        with self.administrator() as cursor:
            cursor.execute(question, values)
            return cast("tuple[Any, ...]", cursor.fetchone())

    def _await_answer(self, question: str, what: str, *values: object) -> None:
        deadline = time.monotonic() + _REPLAY_TIMEOUT_SECONDS
        while self._ask(question, *values) != (True,):
            if time.monotonic() > deadline:
                raise PostgresError(f"PostgreSQL {self.name} has not {what} after {_REPLAY_TIMEOUT_SECONDS:.0f} s")
            time.sleep(0.01)

    def _launch(self) -> None:
        # A port found free may be taken before the server binds it: then another is tried, but not by a restart.
        attempts = 1 if self.port else 3
        for attempt in range(attempts):
            port = self.port or free_port()
            try:
                self._run(port)
            except PostgresError:
                if attempt + 1 == attempts or "could not bind" not in self._log_tail():
                    raise
            else:
                return

    def _run(self, port: int) -> None:
        folder = self._folder
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": str(folder),
            "unix_socket_permissions": "0700",
            "hba_file": str(folder / "pg_hba.conf"),
            "ssl": "on",
            "ssl_cert_file": str(folder / "server.pem"),
            "ssl_key_file": str(folder / "server.key"),
            "password_encryption": "scram-sha-256",
            "max_connections": str(self.max_connections),
            "shared_buffers": "32MB",
            "fsync": "off",
            "full_page_writes": "off",
            "wal_keep_size": "128MB",  # for standbys that were away
            "wal_retrieve_retry_interval": "200ms",  # a standby whose primary is gone looks for it as often
            "timezone": "UTC",
            "log_line_prefix": "%m [%p] %q%u@%d ",
            "cluster_name": self.name,
        }
        arguments = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
        with self.log_file.open("ab") as log:
            self._process = self._installation.spawn(
                [self._installation.binaries.program("postgres"), "-D", str(folder / "data"), *arguments],
                folder=folder,
                output=log,
            )
        self._watcher = self._installation.spawn(
            ["/bin/sh", "-c", _WATCHER, "watcher", str(self._process.pid), str(folder), str(self._installation.folder)],
            folder=Path("/"),
            stdin=subprocess.PIPE,
        )
        self._await_ready(port)
        self.port = port

    def _await_ready(self, port: int) -> None:
        assert self._process is not None
        pid_file = self._folder / "data" / "postmaster.pid"
        deadline = time.monotonic() + _START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                self._end_process()
                raise PostgresError(f"PostgreSQL {self.name} did not start on port {port}:\n{self._log_tail()}")
            with contextlib.suppress(FileNotFoundError):
                lines = pid_file.read_text().splitlines()
                if len(lines) > 7 and lines[0] == str(self._process.pid) and lines[7].strip() == "ready":
                    return
            time.sleep(0.01)
        self._end_process()
        raise PostgresError(f"PostgreSQL {self.name} was not ready after {_START_TIMEOUT_SECONDS:.0f} s")

    def _create(self, master_password: str) -> None:
        """Make what RDS makes: the master user, who is no superuser, and the first database."""
        master = sql.Identifier(self.master_user)
        with self.administrator() as cursor:
            cursor.execute(
                "CREATE ROLE rds_iam; CREATE ROLE rds_superuser; GRANT pg_monitor, pg_signal_backend TO rds_superuser"
            )
            cursor.execute(
                sql.SQL("CREATE ROLE {} LOGIN CREATEROLE CREATEDB IN ROLE rds_superuser PASSWORD %s").format(master),
                [master_password],
            )
            if self.version >= 16:
                # Since 16 CREATEROLE alone no longer grants a role made by others.
                cursor.execute(sql.SQL("GRANT rds_iam TO {} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE").format(master))
            if self.database != "postgres":
                self.create_database(self.database, self.master_user)

    def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)  # fast: ends sessions, keeps the data
            try:
                process.wait(_STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGQUIT)
                process.wait()
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            with contextlib.suppress(BrokenPipeError):
                watcher.communicate(b"stopped\n")

    def _log_tail(self) -> str:
        with contextlib.suppress(FileNotFoundError):
            return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-10:])
        return ""


def _host_based_access(master_user: str) -> str:
    """Return pg_hba.conf: who logs in by password, and whose token the listener has checked.

    A member of rds_iam cannot log in by password. The master user may grant that role, which counts as membership here,
    so its own line comes first.
    """
    master = '"' + master_user.replace('"', '""') + '"'
    lines = (
        f"local   all {master},{ADMINISTRATOR} scram-sha-256",
        f"local   replication {ADMINISTRATOR} scram-sha-256",
        "local   all +rds_iam trust",
        "local   all all scram-sha-256",
        f"hostssl all {master} 127.0.0.1/32 scram-sha-256",
        "hostssl all +rds_iam 127.0.0.1/32 reject",
        "hostssl all all 127.0.0.1/32 scram-sha-256",
    )
    return "\n".join(lines) + "\n"


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
