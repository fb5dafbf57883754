"""A hot standby: it reads what the primary wrote, lags when told to, and takes over."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from local.certificates import Certificates
from local.postgres.server import PostgresServer
from tests.local.data_plane import MASTER_PASSWORD, MASTER_USER, connect, start_server, value
from tests.waiting import await_that

WRITER = "app.cluster-abcdefghijkl.us-east-1.rds.amazonaws.com"
READER = "app.cluster-ro-abcdefghijkl.us-east-1.rds.amazonaws.com"


class Pair:
    """A primary and its standby, and connections of the master user."""

    def __init__(self, certificates: Certificates) -> None:
        self.certificates = certificates
        self.primary = start_server(certificates, host_name=WRITER, other_host_names=[READER])
        try:
            with self.connect(self.primary, WRITER) as connection:
                connection.cursor().execute("CREATE TABLE ledger AS SELECT 1 AS n")
            self.standby = PostgresServer.start_standby(
                self.primary, name="reader", host_name=READER, other_host_names=[WRITER], certificates=certificates
            )
        except BaseException:
            self.primary.stop()
            raise

    def connect(self, server: PostgresServer, host: str) -> Any:
        ca_file = self.certificates.ca_file("rds")
        return connect(host, server.port, ca_file, user=MASTER_USER, password=MASTER_PASSWORD)

    def write(self, server: PostgresServer) -> None:
        with self.connect(server, WRITER) as connection:
            connection.cursor().execute("INSERT INTO ledger SELECT max(n) + 1 FROM ledger")

    def newest(self, server: PostgresServer) -> Any:
        with self.connect(server, READER) as connection:
            return value(connection, "SELECT max(n) FROM ledger")

    def stop(self) -> None:
        self.standby.stop()
        self.primary.stop()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    pair = Pair(Certificates(tmp_path_factory.mktemp("certificates")))
    yield pair
    pair.stop()


def test_a_standby_shows_what_the_primary_wrote_and_refuses_writes(pair: Pair) -> None:
    assert pair.standby.is_standby
    assert not pair.primary.is_standby
    pair.write(pair.primary)
    pair.standby.catch_up(pair.primary)
    assert pair.newest(pair.standby) == pair.newest(pair.primary)
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        pair.write(pair.standby)


def test_a_standby_whose_replay_is_paused_shows_old_data(pair: Pair) -> None:
    pair.standby.catch_up(pair.primary)
    before = pair.newest(pair.standby)
    pair.standby.pause_replay()
    pair.write(pair.primary)
    assert pair.newest(pair.standby) == before
    pair.standby.resume_replay()
    pair.standby.catch_up(pair.primary)
    assert pair.newest(pair.standby) == before + 1


def test_a_standby_follows_again_after_a_restart_of_either(pair: Pair) -> None:
    pair.primary.restart()
    pair.standby.restart()
    pair.write(pair.primary)
    pair.standby.catch_up(pair.primary)
    assert pair.newest(pair.standby) == pair.newest(pair.primary)


def test_no_password_is_on_a_command_line_or_in_the_data(pair: Pair) -> None:
    password = pair.standby._installation.password
    commands = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    settings = (pair.standby.socket_folder / "data" / "postgresql.auto.conf").read_text()
    assert "primary_conninfo" in settings
    assert password not in commands + settings
    passwords = pair.standby.socket_folder / "replication"
    assert password in passwords.read_text()
    assert passwords.stat().st_mode & 0o077 == 0


def test_after_a_failover_the_standby_writes_and_the_others_follow_it(pair: Pair) -> None:
    old, new = pair.primary, pair.standby
    other = PostgresServer.start_standby(old, name="other", host_name=READER, certificates=pair.certificates)
    try:
        with pair.connect(new, READER) as kept, pair.connect(other, READER) as reading:
            pair.write(old)
            for standby in (new, other):
                standby.catch_up(old)
            old.halt()
            new.promote()
            assert not new.is_standby
            kept.cursor().execute("INSERT INTO ledger SELECT max(n) + 1 FROM ledger")  # a session stays
            other.follow(new)
            old.follow(new)
            for standby in (old, other):
                standby.catch_up(new)
                assert standby.is_standby
                assert pair.newest(standby) == pair.newest(new)
            assert value(reading, "SELECT max(n) FROM ledger") == pair.newest(new)
        with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
            pair.write(old)
    finally:
        other.stop()
        pair.primary, pair.standby = new, old


def test_a_standby_dies_with_its_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert parent.stdout is not None
    with parent, parent.stdout:
        folders = [Path(word) for word in parent.stdout.readline().split()]
        assert all(folder.exists() for folder in folders)
        parent.send_signal(signal.SIGKILL)
    await_that(lambda: not any(folder.exists() for folder in folders))


PARENT = """
import sys, time
from pathlib import Path
from local.certificates import Certificates
from local.postgres.server import PostgresServer
from tests.local.data_plane import start_server

certificates = Certificates(Path(sys.argv[1]))
primary = start_server(certificates)
standby = PostgresServer.start_standby(primary, name="reader", host_name="h", certificates=certificates)
print(primary.socket_folder, standby.socket_folder, flush=True)
time.sleep(60)
"""
