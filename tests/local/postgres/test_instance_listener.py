"""The listener in front of an instance, as a client of RDS meets it."""

import datetime
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import psycopg2
import pytest

from local.certificates import Certificates
from local.loop import LoopThread
from local.postgres import wire
from local.postgres.instance_listener import InstanceListener
from local.postgres.server import PostgresServer
from tests.local import data_plane
from tests.local.data_plane import MASTER_PASSWORD, MASTER_USER, ROLE, SmallDirectory, value
from tests.waiting import await_that

HOST = "app-dev.abcdefghijkl.us-east-1.rds.amazonaws.com"
PREFIX = "arn:aws:rds-db:us-east-1:123456789012:dbuser:db-0123456789ABCDEF"


@dataclass
class Instance:
    """One instance with its listener, the account, and a clock that a test may move."""

    server: PostgresServer
    listener: InstanceListener
    certificates: Certificates
    account: SmallDirectory
    ahead: datetime.timedelta = datetime.timedelta(0)

    def connect(self, user: str, password: str | None = None, **settings: Any) -> Any:
        defaults: dict[str, Any] = {
            "host": HOST,
            "port": self.listener.port,
            "ca_file": self.certificates.ca_file("rds"),
            "user": user,
            "password": password or self.token(user),
        }
        return data_plane.connect(**defaults | settings)

    def token(self, user: str, **changes: Any) -> str:
        defaults: dict[str, Any] = {"host": HOST, "port": self.listener.port, "user": user}
        return data_plane.token(**defaults | changes)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    certificates = Certificates(tmp_path_factory.mktemp("certificates"))
    server = data_plane.start_server(certificates, host_name=HOST)
    with server.administrator() as cursor:
        cursor.execute("CREATE ROLE app LOGIN PASSWORD 'secret'; CREATE ROLE token_user LOGIN IN ROLE rds_iam")
    thread = LoopThread()
    account = SmallDirectory(set())
    listener = InstanceListener(
        thread.loop,
        host_name=HOST,
        certificate=certificates.host("rds", HOST),
        socket_path=lambda: server.socket_path,
        directory=account,
        resource_prefix=PREFIX,
        clock=lambda: datetime.datetime.now(datetime.UTC) + served.ahead,
    )
    served = Instance(server, listener, certificates, account)
    listener.start()
    yield served
    listener.stop()
    thread.stop()
    server.stop()


@pytest.fixture
def instance(running: Instance) -> Instance:
    running.account.allowed = {f"{PREFIX}/token_user"}
    running.account.credentials = (ROLE,)
    running.ahead = datetime.timedelta(0)
    return running


def test_a_member_of_rds_iam_logs_in_with_a_token(instance: Instance) -> None:
    with instance.connect("token_user") as connection:
        assert value(connection, "SELECT current_user") == "token_user"
        assert connection.info.ssl_in_use


def test_others_log_in_with_their_password(instance: Instance) -> None:
    for user, password in (("app", "secret"), (MASTER_USER, MASTER_PASSWORD)):
        with instance.connect(user, password) as connection:
            assert value(connection, "SELECT current_user") == user
    with pytest.raises(psycopg2.OperationalError, match='password authentication failed for user "app"'):
        instance.connect("app", "wrong")
    with pytest.raises(psycopg2.OperationalError, match='password authentication failed for user "app"'):
        instance.connect("app")  # a token is no password


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"user": "app"}, "signed for user 'app'"),
        ({"host": "other.us-east-1.rds.amazonaws.com"}, "signed for other"),
        ({"port": 5432}, ":5432, not for"),
        ({"credentials": replace(ROLE, secret_access_key="x" * 40)}, "the signature is not"),
        ({"credentials": replace(ROLE, session_token="x" * 40)}, "not the session token"),
    ],
)
def test_a_token_for_something_else_is_refused_as_rds_does(
    instance: Instance, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], reason: str
) -> None:
    token = instance.token(**{"user": "token_user"} | changes)
    _assert_refused(instance, token)
    assert reason in caplog.text
    assert token[-64:] not in caplog.text


def test_a_password_is_no_token(instance: Instance) -> None:
    _assert_refused(instance, "secret")


def test_a_token_expires_after_fifteen_minutes(instance: Instance, caplog: pytest.LogCaptureFixture) -> None:
    token = instance.token("token_user")
    instance.ahead = datetime.timedelta(minutes=14)
    instance.connect("token_user", token).close()
    instance.ahead = datetime.timedelta(minutes=15, seconds=1)
    _assert_refused(instance, token)
    assert "expired" in caplog.text


def test_the_policy_must_name_this_instance_and_user(instance: Instance, caplog: pytest.LogCaptureFixture) -> None:
    instance.account.allowed = {f"{PREFIX}/app", f"{PREFIX}X/token_user"}
    _assert_refused(instance, instance.token("token_user"))
    assert f"is not allowed rds-db:connect on {PREFIX}/token_user" in caplog.text


def test_a_credential_taken_away_is_refused(instance: Instance) -> None:
    instance.account.credentials = ()
    _assert_refused(instance, instance.token("token_user"))


def test_tls_is_forced(instance: Instance) -> None:
    text = 'no pg_hba.conf entry for host "127.0.0.1", user "token_user", database "app", no encryption'
    with pytest.raises(psycopg2.OperationalError, match=text):
        instance.connect("token_user", sslmode="disable")


def test_the_certificate_is_of_the_rds_authority_and_of_this_host(instance: Instance) -> None:
    with pytest.raises(psycopg2.OperationalError, match="certificate verify failed"):
        instance.connect("token_user", ca_file=instance.certificates.ca_file("proxy"))
    with pytest.raises(psycopg2.OperationalError, match="does not match host name"):
        instance.connect("token_user", host="other.abcdefghijkl.us-east-1.rds.amazonaws.com")


def test_large_results_arrive_whole_at_a_slow_reader(instance: Instance) -> None:
    with instance.connect("token_user") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
        assert sum(len(text) for (text,) in cursor) == 20_000_000


def test_a_query_can_be_cancelled(instance: Instance) -> None:
    # In a process of its own: psycopg2 holds the interpreter while it cancels, and the listener needs it.
    answer = subprocess.run(
        [sys.executable, "-c", CANCEL, instance.connect(MASTER_USER, MASTER_PASSWORD).dsn, MASTER_PASSWORD],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert "canceling statement due to user request" in answer.stdout + answer.stderr


CANCEL = """
import sys, threading, psycopg2
from tests.waiting import await_that
connection = psycopg2.connect(sys.argv[1], password=sys.argv[2])
threading.Timer(0.2, connection.cancel).start()
connection.cursor().execute("SELECT pg_sleep(10)")
"""


def test_a_client_that_vanishes_takes_its_server_connection_along(instance: Instance) -> None:
    connection = instance.connect("token_user")
    process = value(connection, "SELECT pg_backend_pid()")
    connection.close()
    with instance.connect(MASTER_USER, MASTER_PASSWORD) as watcher:
        query = f"SELECT count(*) FROM pg_stat_activity WHERE pid = {process}"
        await_that(lambda: not value(watcher, query), seconds=5)


def test_when_connections_run_out_the_client_gets_the_servers_own_error(instance: Instance) -> None:
    connections = [instance.connect("token_user") for _ in range(27)]  # 30 less the 3 kept for superusers
    with pytest.raises(psycopg2.OperationalError, match="remaining connection slots are reserved"):
        instance.connect("token_user")
    for connection in connections:
        connection.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # direct TLS
        struct.pack("!ii", 8, 80877103) + b"injected",
        struct.pack("!iHH", 8, 2, 0),
        b"",
    ],
)
def test_noise_is_met_with_a_closed_connection(instance: Instance, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", instance.listener.port), timeout=5) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        while client.recv(4096):
            pass
    instance.connect("token_user").close()


def test_the_refusal_carries_its_sqlstate(instance: Instance) -> None:
    with socket.create_connection(("127.0.0.1", instance.listener.port), timeout=5) as client:
        client.sendall(wire.startup_message({"user": "token_user", "database": "app"}))
        answer = client.recv(4096)
    assert answer.startswith(b"E")
    assert b"\0C28000\0" in answer
    assert b"\0VFATAL\0" in answer


def _assert_refused(instance: Instance, token: str) -> None:
    with pytest.raises(psycopg2.OperationalError, match='FATAL:  PAM authentication failed for user "token_user"'):
        instance.connect("token_user", token)
