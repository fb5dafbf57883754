"""The servers of a cluster: a writer, and a hot standby of it for each reader.

Aurora's members share one storage. Here each has data of its own, and streaming replication stands for the storage.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from psycopg2 import extensions

from local.certificates import Certificates
from local.postgres.installation import PostgresError
from local.postgres.server import PostgresServer, Snapshot


class Cluster:
    """A writer and its readers, by the names of the members. The first that is added is the writer.

    `changed` is called whenever writer or readers are others than before. Of a failover, `failover_seconds` pass
    without a writer; for `stale_address_seconds` after it the cluster's own address still leads to the old writer, as a
    name does that a client has resolved before.
    """

    def __init__(
        self,
        *,
        name: str,
        host_names: Sequence[str],
        certificates: Certificates,
        max_connections: int,
        master_user: str,
        master_password: str,
        database: str,
        log_folder: Path | None = None,
        snapshot: Snapshot | None = None,
        failover_seconds: float = 0,
        stale_address_seconds: float = 0,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.failover_seconds = failover_seconds
        self.stale_address_seconds = stale_address_seconds
        self._host_names = tuple(host_names)
        self._certificates = certificates
        self._max_connections = max_connections
        self._master_user = master_user
        self._master_password = master_password
        self._database = database
        self._log_folder = log_folder
        self._snapshot = snapshot
        self._changed = changed
        self._members: dict[str, PostgresServer] = {}
        self._writer: PostgresServer | None = None
        self._address: PostgresServer | None = None
        self._storage: PostgresServer | None = None  # the data of a cluster without members
        self._rejoining: PostgresServer | None = None
        self._lagging: dict[str, float] = {}  # reader, and since when its replay pauses
        self._turns = itertools.count()
        self._one_change = threading.RLock()

    # --- where connections lead ---

    @property
    def members(self) -> dict[str, PostgresServer]:
        return dict(self._members)

    @property
    def writer(self) -> PostgresServer:
        if self._writer is None:
            raise PostgresError(f"The cluster {self.name} has no instance.")
        return self._writer

    @property
    def readers(self) -> list[PostgresServer]:
        """All others, those too that are down."""
        return [server for server in self.members.values() if server is not self._writer]

    @property
    def running(self) -> bool:
        return self._writer is not None and self._writer.running

    @property
    def max_connections(self) -> int:
        return self.writer.max_connections

    def writer_socket(self) -> Path:
        """Return where the cluster's own address leads to."""
        return (self._address or self.writer).socket_path

    def reader_socket(self) -> Path:
        """Return where the reader endpoint leads to: to each reader in turn, to the writer if none answers."""
        readers = [server for server in self.readers if server.running and server is not self._rejoining]
        return readers[next(self._turns) % len(readers)].socket_path if readers else self.writer_socket()

    def member_socket(self, name: str) -> Path:
        return self._members[name].socket_path

    def administrator(self, database: str = "postgres") -> AbstractContextManager[extensions.cursor]:
        """Lend a cursor of the writer's superuser."""
        return self.writer.administrator(database)

    # --- members ---

    def add(self, name: str, host_name: str) -> PostgresServer:
        """Start the writer, or a reader more; return when it answers."""
        with self._one_change:
            log_file = self._log_folder / f"{name}.postgresql.log" if self._log_folder else None
            if self._writer is None:
                server = self._address = self._writer = self._begin(name, host_name, log_file)
            else:
                server = PostgresServer.start_standby(
                    self._writer,
                    name=name,
                    host_name=host_name,
                    other_host_names=self._host_names,
                    certificates=self._certificates,
                    log_file=log_file,
                )
            self._members[name] = server
        self._changed()
        return server

    def remove(self, name: str) -> None:
        """Stop a member. A reader takes the place of a writer; without one the data stays, for the next member."""
        with self._one_change:
            server = self._members[name]
            if server is self._writer and self.readers:
                self.fail_over()
            del self._members[name]
            self._lagging.pop(name, None)
            if server is self._writer:
                self._writer, self._address, self._storage = None, None, server
        self._changed()
        if server is self._storage:
            server.halt()
        else:
            server.stop()

    def become(self, members: dict[str, str], writer: str | None = None) -> None:
        """Have these members, each with its host name, and this writer."""
        with self._one_change:
            for name, host_name in members.items():
                if name not in self._members:
                    self.add(name, host_name)
            if writer and self._members[writer] is not self._writer:
                self.fail_over(writer)
            for name in self.members.keys() - members.keys():
                self.remove(name)

    # --- what happens to them ---

    def fail_over(self, name: str | None = None) -> None:
        """Promote a reader, the first that runs unless one is named; return when all members follow it.

        No row that was acknowledged is lost, as on Aurora, where the new writer has the same storage. Here the old
        writer is stopped in order: it ends its sessions, and exits only when its standbys have all that it wrote.
        Synchronous replication would promise no more, would cost each commit a way to a standby and back, and would
        stop all writes while a standby is away.
        """
        with self._one_change:
            old = self.writer
            running = [server for server in self.readers if server.running]
            new = self._members.get(name) if name else next(iter(running), None)
            if new is None or new not in running:
                raise PostgresError(f"{self.name} has no reader {f'{name} that runs' if name else 'to promote'}.")
            for lagging in list(self._lagging):
                self.end_lag(lagging)
            new.catch_up(old)  # so it is connected, and gets the rest
            try:
                old.halt()
                old.max_connections = max(old.max_connections, new.max_connections)
                new.inherit(old)
                for reader in self.readers:
                    self._keep_up(reader, new.max_connections)
                time.sleep(self.failover_seconds)
                new.promote()
            except BaseException:
                if not old.running:
                    old.resume(max_connections=old.max_connections)  # else nobody would be the writer
                raise
            self._writer, self._rejoining = new, old
            if not self.stale_address_seconds:
                self._address = new
            try:
                self._changed()
                for reader in self.readers:
                    reader.follow(new)
                self._rejoining = None
                time.sleep(self.stale_address_seconds)
            finally:
                self._address, self._rejoining = new, None

    def restart(self, name: str, *, max_connections: int) -> None:
        """Restart one member. A standby needs as many connections as its primary: of the two it starts again first."""
        with self._one_change:
            server = self._members[name]
            if server is self._writer:
                for reader in self.readers:
                    self._keep_up(reader, max_connections)
            else:
                server.catch_up(self.writer)  # then it knows how many the primary has
                max_connections = max(max_connections, self.writer.max_connections)
            server.restart(max_connections=max_connections)

    def halt(self) -> None:
        """Stop all servers and keep their data, until `resume`."""
        with self._one_change:
            for server in (self.writer, *self.readers):  # first the one whose last writes the others get
                server.halt()

    def resume(self, *, max_connections: int) -> None:
        """Start the servers again."""
        with self._one_change:
            self.writer.resume(max_connections=max_connections)
            for reader in self.readers:
                reader.resume(max_connections=max(max_connections, reader.max_connections))

    def change_master_password(self, password: str) -> None:
        self.writer.change_master_password(password)

    def snapshot(self) -> Snapshot:
        """Copy the data; the writer's connections are lost."""
        with self._one_change:
            return (self._storage or self.writer).snapshot()

    def stop(self) -> None:
        """Stop all servers and remove their data. Does nothing the second time."""
        with self._one_change:
            for server in (*self.readers, self._writer, self._storage):
                if server is not None:
                    server.stop()

    # --- replication lag ---

    def begin_lag(self, name: str) -> None:
        """Let a reader show the data of this moment until `end_lag`."""
        self._members[name].pause_replay()
        self._lagging.setdefault(name, time.monotonic())

    def end_lag(self, name: str) -> None:
        """Let a reader follow again; return when it shows what the writer has committed until now."""
        self._lagging.pop(name, None)
        if self._members[name].running:
            self._members[name].resume_replay()
            self._members[name].catch_up(self.writer)

    def lag_seconds(self) -> dict[str, float]:
        """Return how far each reader that runs is behind, by its name."""
        with self.writer.administrator() as cursor:
            cursor.execute(
                "SELECT application_name, replay_lsn >= pg_current_wal_flush_lsn(), extract(epoch FROM replay_lag) "
                "FROM pg_stat_replication"
            )
            told = {name: (is_level, float(lag or 0)) for name, is_level, lag in cursor.fetchall()}
        now = time.monotonic()
        return {
            name: 0.0 if is_level else max(lag, now - self._lagging.get(name, now))
            for name, (is_level, lag) in told.items()
            if name in self._members
        }

    @staticmethod
    def _keep_up(reader: PostgresServer, max_connections: int) -> None:
        """Restart a standby that has fewer connections than its primary is about to have: it would stop replaying."""
        if reader.max_connections < max_connections:
            reader.restart(max_connections=max_connections)

    def _begin(self, name: str, host_name: str, log_file: Path | None) -> PostgresServer:
        """Start the first member: with no data, with a snapshot's, or with what the last member left."""
        left, self._storage = self._storage, None
        snapshot = left.snapshot() if left else self._snapshot
        try:
            return PostgresServer.start(
                name=name,
                host_name=host_name,
                other_host_names=self._host_names,
                certificates=self._certificates,
                max_connections=self._max_connections,
                master_user=self._master_user,
                master_password=self._master_password,
                database=self._database,
                log_file=log_file,
                snapshot=snapshot,
            )
        finally:
            if left and snapshot:
                left.stop()
                snapshot.discard()
