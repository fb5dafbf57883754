"""The stand-in for RDS Proxy, as a client meets it: logins, sharing, pinning, limits and faults."""

import asyncio
import contextlib
import datetime
import os
import random
import signal
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from io import StringIO
from typing import Any

import psycopg2
import pytest

from local.certificates import Certificates
from local.loop import LoopThread, run_in
from local.postgres import wire
from local.postgres.server import PostgresServer
from local.rds_proxy.counts import Availability
from local.rds_proxy.listener import Metrics, ProxyListener, ProxySettings
from local.rds_proxy.pool import PoolSettings, Secret
from local.rds_proxy.server_connection import Key, Target
from local.rds_proxy.session import Pin
from tests.local import data_plane
from tests.local.data_plane import ROLE, SmallDirectory, value
from tests.waiting import await_that

INSTANCE = "app-prod.abcdefghijkl.us-east-1.rds.amazonaws.com"
HOST = "app-prod.proxy-abcdefghijkl.us-east-1.rds.amazonaws.com"
PREFIX = "arn:aws:rds-db:us-east-1:123456789012:dbuser:prx-0123456789abcdef0"
PASSWORD = "application"  # noqa: S105


@dataclass
class Stand:
    """A proxy before a real server, and all that a test may turn."""

    server: PostgresServer
    certificates: Certificates
    loop: LoopThread
    account: SmallDirectory
    secrets: dict[str, Secret] = field(default_factory=dict)
    ahead: datetime.timedelta = datetime.timedelta(0)
    pins: list[Pin] = field(default_factory=list)
    proxy: ProxyListener = field(init=False)

    def start(self, **settings: Any) -> None:
        pool = {"secret": self.secrets.get, "borrow_timeout_seconds": 5} | settings.pop("pool", {})
        on_pin = self.pins.append if settings.pop("pins_seen", False) else None
        self.proxy = ProxyListener(
            self.loop.loop,
            name="app-prod",
            host_name=HOST,
            certificate=self.certificates.host("proxy", HOST),
            directory=self.account,
            resource_prefix=PREFIX,
            settings=ProxySettings(PoolSettings(**pool), **settings),
            clock=lambda: datetime.datetime.now(datetime.UTC) + self.ahead,
            on_pin=on_pin,
        )
        self.proxy.register(self.target())
        self.proxy.start()

    def target(self, **changes: Any) -> Target:
        target = Target(INSTANCE, self.server.port, self.certificates.ca_file("rds"), self.server.max_connections)
        return replace(target, **changes)

    def connect(self, user: str = "app", password: str | None = None, **settings: Any) -> Any:
        defaults: dict[str, Any] = {
            "host": HOST,
            "port": self.proxy.port,
            "ca_file": self.certificates.ca_file("proxy"),
            "user": user,
            "password": password or self.token(user),
        }
        return data_plane.connect(**defaults | settings)

    def token(self, user: str = "app", **changes: Any) -> str:
        defaults: dict[str, Any] = {"host": HOST, "port": self.proxy.port, "user": user}
        return data_plane.token(**defaults | changes)

    def await_metrics(self, **expected: int) -> Metrics:
        """Wait until the proxy's figures are these."""
        deadline = time.monotonic() + 30
        while True:
            metrics = self.proxy.metrics()
            actual = {name: getattr(metrics, name) for name in expected}
            if actual == expected:
                return metrics
            assert time.monotonic() < deadline, f"{actual}, not {expected}"
            time.sleep(0.01)


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PostgresServer, Certificates, LoopThread]]:
    certificates = Certificates(tmp_path_factory.mktemp("certificates"))
    server = data_plane.start_server(certificates, host_name=INSTANCE)
    with server.administrator() as cursor:
        cursor.execute(f"CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE other LOGIN PASSWORD '{PASSWORD}'")
    with server.administrator("app") as cursor:
        cursor.execute("CREATE TABLE items (id int); GRANT ALL ON items TO app; GRANT ALL ON SCHEMA public TO app")
        cursor.execute("GRANT TEMPORARY ON DATABASE app TO app; CREATE SEQUENCE numbers; GRANT ALL ON numbers TO app")
    loop = LoopThread()
    yield server, certificates, loop
    loop.stop()
    server.stop()


@pytest.fixture
def stand(backend: tuple[PostgresServer, Certificates, LoopThread], request: pytest.FixtureRequest) -> Iterator[Stand]:
    """Parametrize indirectly with the proxy's settings."""
    stand = Stand(*backend, SmallDirectory({f"{PREFIX}/app", f"{PREFIX}/other"}))
    for user in ("app", "other"):
        stand.secrets[user] = Secret(user, PASSWORD)
    stand.start(**getattr(request, "param", {}))
    yield stand
    stand.proxy.stop()


def pool(**settings: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("stand", [{"pool": settings}], indirect=True)


def proxy(**settings: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("stand", [settings], indirect=True)


# A pool of three of the server's thirty connections, and little patience.
small_pool = pool(max_connections_percent=10, borrow_timeout_seconds=2)


# Logins


def test_a_token_opens_the_proxy_and_the_secret_opens_the_database(stand: Stand) -> None:
    with stand.connect() as connection:
        assert value(connection, "SELECT current_user || '@' || current_database()") == "app@app"
        assert connection.info.ssl_in_use
        assert connection.server_version == stand.server.version * 10000 + connection.server_version % 10000
        assert value(connection, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") is True
    assert stand.proxy.health.state == "AVAILABLE"


def test_tls_is_required(stand: Stand) -> None:
    with pytest.raises(psycopg2.OperationalError, match=r"FATAL:  This RDS Proxy requires TLS connections\."):
        stand.connect(sslmode="disable")


@proxy(require_tls=False)
def test_a_token_needs_tls_even_where_the_proxy_does_not(stand: Stand) -> None:
    with pytest.raises(psycopg2.OperationalError, match="IAM authentication is allowed only with SSL connections"):
        stand.connect(sslmode="disable")


def test_the_certificate_is_of_the_proxys_authority_and_of_this_host(stand: Stand) -> None:
    with pytest.raises(psycopg2.OperationalError, match="certificate verify failed"):
        stand.connect(ca_file=stand.certificates.ca_file("rds"))
    with pytest.raises(psycopg2.OperationalError, match="does not match host name"):
        stand.connect(host=INSTANCE)


def test_a_user_without_a_secret_has_no_credentials(stand: Stand) -> None:
    with pytest.raises(
        psycopg2.OperationalError, match=r"This RDS proxy has no credentials for the role nobody\. Check the cred"
    ):
        stand.connect("nobody")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"user": "other"}, "signed for user 'other'"),
        ({"host": INSTANCE}, f"signed for {INSTANCE}"),
        ({"port": 5432}, ":5432, not for"),
        ({"credentials": replace(ROLE, secret_access_key="x" * 40)}, "the signature is not"),
        ({"credentials": replace(ROLE, access_key_id="ASIAUNKNOWN")}, "no credentials"),
    ],
)
def test_a_token_for_something_else_is_refused(
    stand: Stand, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], reason: str
) -> None:
    token = stand.token(**changes)
    _assert_token_refused(stand, token)
    assert reason in caplog.text
    assert token[-64:] not in caplog.text
    assert stand.proxy.metrics().refused_logins == 1


def test_a_token_that_expired_a_password_and_a_policy_for_another_proxy_are_refused(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    _assert_token_refused(stand, PASSWORD)
    stand.account.allowed = {f"{PREFIX.replace('prx-', 'db-')}/app"}
    _assert_token_refused(stand, stand.token())
    assert f"is not allowed rds-db:connect on {PREFIX}/app" in caplog.text
    stand.account.allowed = {f"{PREFIX}/app"}
    token = stand.token()
    stand.ahead = datetime.timedelta(minutes=16)
    _assert_token_refused(stand, token)


def test_a_wrong_secret_is_told_and_makes_the_target_unhealthy(stand: Stand) -> None:
    stand.secrets["app"] = Secret("app", "wrong")
    with pytest.raises(
        psycopg2.OperationalError, match='Request returned an error: password authentication failed for user "app"'
    ):
        stand.connect()
    assert (stand.proxy.health.state, stand.proxy.health.reason) == ("UNAVAILABLE", "AUTH_FAILURE")
    stand.secrets["app"] = Secret("app", PASSWORD)  # read anew for each server connection
    stand.connect().close()
    assert stand.proxy.health.state == "AVAILABLE"


def test_while_a_password_changes_its_users_wait_for_the_new_one(stand: Stand) -> None:
    with stand.connect() as first, stand.connect() as second:
        first.autocommit = False
        value(first, "SELECT 1")
        stand.secrets["app"] = Secret("app", "not yet valid")
        threading.Timer(0.5, stand.secrets.update, [{"app": Secret("app", PASSWORD)}]).start()
        assert value(second, "SELECT 2") == 2
        first.rollback()


def test_a_database_that_does_not_exist_is_told(stand: Stand) -> None:
    with pytest.raises(psycopg2.OperationalError, match='Request returned an error: database "nowhere" does not exist'):
        stand.connect(dbname="nowhere")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"options": "-c statement_timeout=1000"}, "doesn't support command-line options"),
        ({"replication": "database"}, "doesn't support streaming replication mode"),
    ],
)
def test_unsupported_startup_parameters_are_refused(stand: Stand, settings: dict[str, str], text: str) -> None:
    with pytest.raises(psycopg2.OperationalError, match=f"Feature not supported: RDS Proxy currently {text}"):
        stand.connect(**settings)


def test_an_unknown_startup_parameter_is_refused(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGGEQO", "off")
    with pytest.raises(psycopg2.OperationalError, match=r"doesn't support the option geqo\."):
        stand.connect()


def test_accepted_startup_parameters_hold_and_keep_clients_apart(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    with stand.connect(application_name="reports", client_encoding="LATIN1") as first:
        assert value(first, "SHOW application_name") == "reports"
        assert first.encoding == "LATIN1"
        monkeypatch.setenv("PGTZ", "Asia/Tokyo")
        monkeypatch.setenv("PGDATESTYLE", "ISO, DMY")
        with stand.connect() as second:
            assert value(second, "SHOW timezone") == "Asia/Tokyo"
            assert value(second, "SHOW application_name") == ""
        assert value(first, "SHOW timezone") == "UTC"
    assert stand.proxy.metrics().server_connections == 2


@proxy(iam_required=False)
def test_without_iam_the_secrets_password_opens_the_proxy(stand: Stand) -> None:
    with stand.connect(password=PASSWORD) as connection:
        assert value(connection, "SELECT current_user") == "app"
    for password in ("wrong", stand.token()):
        with pytest.raises(
            psycopg2.OperationalError, match=r"The password that was provided for the role app is wrong\."
        ):
            stand.connect(password=password)


@proxy(iam_required=False, md5_passwords=True)
def test_md5_opens_the_proxy_where_it_is_set(stand: Stand) -> None:
    with RawClient(stand) as client:
        client.send(wire.startup_message({"user": "app", "database": "app"}))
        kind, payload = client.message()
        assert (kind, wire.authentication_kind(payload), len(payload)) == (b"R", 5, 8)
    with stand.connect(password=PASSWORD) as connection:
        assert value(connection, "SELECT current_user") == "app"
    with pytest.raises(psycopg2.OperationalError, match=r"The password that was provided for the role app is wrong\."):
        stand.connect(password="wrong")  # noqa: S106


@proxy(max_client_connections=2)
def test_one_client_too_many_is_refused_until_another_leaves(stand: Stand) -> None:
    first, _second = stand.connect(), stand.connect()
    with pytest.raises(
        psycopg2.OperationalError, match="The maximum number of client connections to the proxy exceeded 2"
    ):
        stand.connect()
    assert value(first, "SELECT 1") == 1
    first.close()
    stand.await_metrics(client_connections=1)
    stand.connect().close()


@proxy(max_new_connections_per_second=3)
def test_clients_that_come_too_fast_are_refused_for_a_second(stand: Stand) -> None:
    began = time.monotonic()
    refused = 0
    for _ in range(6):
        try:
            stand.connect().close()
        except psycopg2.OperationalError as error:
            assert "Rate of connection to proxy exceeded 3." in str(error)  # noqa: PT017
            refused += 1
    assert refused >= 3 or time.monotonic() - began > 1
    time.sleep(1.1)
    stand.connect().close()


@proxy(client_lifetime_seconds=0.5)
def test_a_client_lives_no_longer_than_a_day_however_busy(stand: Stand) -> None:
    assert ProxySettings(PoolSettings(stand.secrets.get)).client_lifetime_seconds == 24 * 3600
    client = stand.connect()

    def gone() -> bool:
        try:
            value(client, "SELECT 1")
        except psycopg2.OperationalError:
            return True
        return False

    await_that(gone)


@pytest.mark.parametrize(
    ("parameters", "tls", "sqlstate"),
    [
        ({"user": "app"}, False, "28000"),
        ({"user": "nobody"}, True, "28000"),
        ({"database": "app"}, True, "28000"),
        ({"user": "app", "options": "-c x=y"}, True, "0A000"),
    ],
)
def test_refusals_carry_their_sqlstate(stand: Stand, parameters: dict[str, str], tls: bool, sqlstate: str) -> None:
    with RawClient(stand, tls=tls) as client:
        client.send(wire.startup_message(parameters))
        kind, payload = client.message()
        assert (kind, wire.error_fields(payload)["C"]) == (b"E", sqlstate)
        assert wire.error_fields(payload)["V"] == "FATAL"
        assert client.at_end()


def test_a_refused_token_a_wrong_secret_and_a_timeout_carry_their_sqlstate(stand: Stand) -> None:
    for expected, password, secret in (("28P01", "wrong", PASSWORD), ("XX000", stand.token(), "wrong")):
        stand.secrets["app"] = Secret("app", secret)
        with RawClient(stand) as client:
            client.send(wire.startup_message({"user": "app", "database": "app"}))
            assert client.message() == (b"R", struct.pack("!i", 3))
            client.send(wire.message(b"p", password.encode() + b"\0"))
            kind, payload = client.message()
            assert (kind, wire.error_fields(payload)["C"]) == (b"E", expected)


def test_only_protocol_3_0_is_spoken(stand: Stand) -> None:
    with RawClient(stand) as client:
        client.send(struct.pack("!ihh", 17, 3, 2) + b"user\0app\0")
        _, payload = client.message()
        assert wire.error_fields(payload)["C"] == "0A000"
        assert "only version 3.0" in wire.error_fields(payload)["M"]


def test_tls_must_be_asked_for_first(stand: Stand) -> None:
    """As libpq's sslnegotiation=direct does not: its first bytes are a ClientHello, which is no startup packet."""
    with RawClient(stand, tls=False) as client:
        client.send(bytes.fromhex("1603010100010000fc0303"))
        assert client.at_end()


@proxy(iam_required=False)
def test_scram_takes_4096_iterations(stand: Stand) -> None:
    with RawClient(stand) as client:
        client.send(wire.startup_message({"user": "app", "database": "app"}))
        assert client.message() == (b"R", struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0")
        first = b"n,,n=,r=nonce"
        client.send(wire.message(b"p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first))
        assert client.message()[1].endswith(b",i=4096")


def test_a_client_that_leaves_before_tls_begins_is_told_nothing_in_clear(stand: Stand) -> None:
    with RawClient(stand, tls=False) as client:
        client.send(struct.pack("!ii", 8, 80877103) + wire.message(b"X"))
        assert client.read(1) == b"S"
        assert client.at_end()


def test_what_is_no_startup_packet_is_not_answered(stand: Stand) -> None:
    with RawClient(stand, tls=False) as client:
        client.send(wire.message(b"X") + struct.pack("!ii", 8, 80877103))  # node-postgres, ended before it connected
        assert client.at_end()


def test_a_cancel_request_does_nothing(stand: Stand) -> None:
    with RawClient(stand, tls=False) as client:
        client.send(struct.pack("!iiii", 16, 80877102, 1, 2))
        assert client.at_end()


# Sharing


@small_pool
def test_many_clients_share_few_connections(stand: Stand) -> None:
    connections = [stand.connect() for _ in range(20)]
    backends = {value(connection, "SELECT pg_backend_pid()") for connection in connections * 2}
    assert len(backends) == 1
    metrics = stand.proxy.metrics()
    assert (metrics.client_connections, metrics.server_connections, metrics.borrowed) == (20, 1, 0)
    assert metrics.max_server_connections == 3
    for connection in connections:
        connection.close()
    stand.await_metrics(client_connections=0, server_connections=1)


def test_a_transaction_keeps_one_connection_and_gives_it_back(stand: Stand) -> None:
    with stand.connect() as first, stand.connect() as second:
        first.autocommit = False
        backend = value(first, "SELECT pg_backend_pid()")
        stand.await_metrics(borrowed=1, in_transaction=1)
        assert value(second, "SELECT pg_backend_pid()") != backend
        assert value(first, "SELECT pg_backend_pid()") == backend
        with pytest.raises(psycopg2.errors.UndefinedTable):
            value(first, "SELECT * FROM nowhere")
        stand.await_metrics(borrowed=1, in_transaction=1)  # until the client ends the failed transaction
        first.rollback()
        stand.await_metrics(borrowed=0, in_transaction=0, pinned=0)


@small_pool
def test_who_finds_no_connection_in_time_is_told_and_may_go_on(stand: Stand) -> None:
    holders = [stand.connect() for _ in range(3)]
    with stand.connect() as late:
        for holder in holders:
            holder.autocommit = False
            value(holder, "SELECT 1")
        started = time.monotonic()
        with pytest.raises(psycopg2.Error, match="Timed-out waiting to acquire database connection") as error:
            value(late, "SELECT 1")
        assert error.value.pgcode == "08000"
        assert 1.9 < time.monotonic() - started < 30
        holders[0].rollback()
        assert value(late, "SELECT 2") == 2
        assert stand.proxy.metrics().borrow_timeouts == 1
    for holder in holders:
        holder.close()


@small_pool
def test_who_waits_is_served_as_soon_as_a_connection_returns(stand: Stand) -> None:
    stand.proxy.configure(ProxySettings(PoolSettings(stand.secrets.get, 10, borrow_timeout_seconds=20)))
    connections = [stand.connect() for _ in range(12)]
    with ThreadPoolExecutor(12) as threads:
        results = threads.map(lambda connection: value(connection, "SELECT pg_sleep(0.05) || 'done'"), connections)
        assert list(results) == ["done"] * 12
    assert stand.proxy.metrics().server_connections == 3
    for connection in connections:
        connection.close()


@small_pool
def test_idle_connections_of_one_user_make_room_for_another(stand: Stand) -> None:
    stand.proxy.configure(ProxySettings(PoolSettings(stand.secrets.get, 10, borrow_timeout_seconds=5)))
    holders = [stand.connect() for _ in range(3)]
    for holder in holders:
        holder.autocommit = False
        value(holder, "SELECT 1")
    for holder in holders:
        holder.rollback()
    stand.await_metrics(server_connections=3)
    with stand.connect("other") as other:
        assert value(other, "SELECT current_user") == "other"
        assert [value(holder, "SELECT current_user") for holder in holders] == ["app"] * 3
        assert stand.proxy.metrics().server_connections <= 3
    for holder in holders:
        holder.close()


@pool(max_idle_connections_percent=4, idle_seconds=0.2)
def test_the_pool_shrinks_to_its_idle_share(stand: Stand) -> None:
    holders = [stand.connect() for _ in range(5)]
    for holder in holders:
        holder.autocommit = False
        value(holder, "SELECT 1")
    stand.await_metrics(server_connections=5, borrowed=5)
    for holder in holders:
        holder.rollback()
        holder.close()
    stand.connect().close()
    stand.await_metrics(server_connections=1, client_connections=0)


@proxy(idle_client_timeout_seconds=0.3)
def test_an_idle_client_is_closed_and_a_busy_one_is_not(stand: Stand) -> None:
    idle, busy = stand.connect(), stand.connect()
    value(busy, "SELECT pg_sleep(1)")
    with pytest.raises(psycopg2.OperationalError):
        value(idle, "SELECT 1")
    busy.close()


@pool(init_query="SET application_name = 'warmed'")
def test_the_init_query_runs_on_each_server_connection(stand: Stand) -> None:
    with stand.connect() as connection:
        assert value(connection, "SHOW application_name") == "warmed"
    assert stand.proxy.metrics().pins == 0


# Pinning


@pytest.mark.parametrize(
    "statement",
    [
        "SET statement_timeout = 1000",
        "CREATE TEMPORARY TABLE scratch (id int)",
        "PREPARE one AS SELECT 1",
        "SELECT pg_advisory_lock(1)",
        "LISTEN channel",
        "SELECT nextval('numbers')",
        "SELECT '" + "x" * 17000 + "'",
    ],
)
def test_a_pinning_statement_binds_the_client_to_one_connection(
    stand: Stand, caplog: pytest.LogCaptureFixture, statement: str
) -> None:
    with stand.connect() as pinned, stand.connect() as other:
        with pinned.cursor() as cursor:
            cursor.execute(statement)
        backend = value(pinned, "SELECT pg_backend_pid()")
        assert value(other, "SELECT pg_backend_pid()") != backend
        assert value(pinned, "SELECT pg_backend_pid()") == backend
        stand.await_metrics(pinned=1, pins=1, borrowed=1, in_transaction=0)
        assert "The client session was pinned to the database connection [dbConnection=" in caplog.text
        pinned.close()
        stand.await_metrics(pinned=0, pins=1, server_connections=1)  # the state went with its connection


@proxy(pins_seen=True)
def test_each_statement_that_pins_is_told_without_its_data(stand: Stand, caplog: pytest.LogCaptureFixture) -> None:
    with stand.connect(application_name="shop") as client:
        for statement in ("SELECT 1", "SET timezone = 'Asia/Secret'", "SET timezone = 'Asia/Tokyo'", "LISTEN x"):
            with contextlib.suppress(psycopg2.DataError), client.cursor() as cursor:
                cursor.execute(statement)
        with socket.socket(fileno=os.dup(client.fileno())) as own:
            port = own.getsockname()[1]
    told = [(pin.first, pin.reason, pin.statement) for pin in stand.pins]
    assert told == [
        (True, "SET: a parameter was set or reset", "SET timezone = ?"),
        (False, "SET: a parameter was set or reset", "SET timezone = ?"),
        (False, "LISTEN", "LISTEN x"),
    ]
    first = stand.pins[0]
    assert (first.user, first.database, first.application_name) == ("app", "app", "shop")
    assert first.client == f"127.0.0.1:{port}"
    assert 'Digest: "SET timezone = ?".' in caplog.text
    assert "Secret" not in caplog.text


@small_pool
def test_pinned_clients_exhaust_the_pool(stand: Stand) -> None:
    with stand.connect() as late:
        pinned = [stand.connect() for _ in range(3)]
        for connection in pinned:
            value(connection, "SET work_mem = '8MB'; SELECT 1")
        with pytest.raises(psycopg2.Error, match="Timed-out"):
            value(late, "SELECT 1")
        for connection in pinned:
            connection.close()
        assert value(late, "SELECT 1") == 1


def test_no_state_reaches_another_client(stand: Stand) -> None:
    with stand.connect() as first:
        value(first, "SET search_path = pg_catalog; CREATE TEMP TABLE secret AS SELECT 1; SELECT 1")
    with stand.connect() as second:
        assert value(second, "SHOW search_path") == '"$user", public'
        with pytest.raises(psycopg2.errors.UndefinedTable):
            value(second, "SELECT * FROM secret")


# Faults


def test_a_client_that_vanishes_in_a_transaction_has_it_rolled_back(stand: Stand) -> None:
    with stand.connect() as watcher:
        client = stand.connect()
        client.autocommit = False
        with client.cursor() as cursor:
            cursor.execute("INSERT INTO items VALUES (-1)")
        stand.await_metrics(borrowed=1)
        client.close()
        stand.await_metrics(client_connections=1, borrowed=0)
        assert value(watcher, "SELECT count(*) FROM items WHERE id = -1") == 0


def test_a_server_connection_lost_in_a_transaction_cuts_its_client_only(stand: Stand) -> None:
    with stand.connect() as idle, RawClient(stand) as busy:
        busy.log_in(stand.token())
        busy.send(query("BEGIN; SELECT pg_backend_pid()"))
        assert busy.answers() == "CTDCZ"
        with stand.server.administrator() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [int(busy.row)])
        kind, payload = busy.message()
        assert (kind, wire.error_fields(payload)["C"]) == (b"E", "57P01")
        assert busy.at_end()
        assert value(idle, "SELECT 1") == 1
    stand.await_metrics(client_connections=0, borrowed=0)


def test_a_server_that_vanishes_without_a_word_is_told_to_its_client(stand: Stand) -> None:
    with RawClient(stand) as client:
        client.log_in(stand.token())
        client.send(query("BEGIN; SELECT pg_backend_pid()"))
        assert client.answers() == "CTDCZ"
        os.kill(int(client.row), signal.SIGKILL)
        kind, payload = client.message()
        assert kind == b"E"
        assert wire.error_fields(payload)["C"] in ("08006", "57P02")
        assert client.at_end()
    with stand.connect() as connection:  # once the server has recovered
        assert value(connection, "SELECT 1") == 1


def test_idle_clients_outlive_a_restart_of_the_database(stand: Stand) -> None:
    with stand.connect() as connection:
        assert value(connection, "SELECT 1") == 1
        stand.server.restart()
        assert value(connection, "SELECT 2") == 2


@small_pool
def test_while_the_database_is_down_clients_wait_for_the_borrow_timeout(stand: Stand) -> None:
    with stand.connect() as connection:
        stand.proxy.register(stand.target(port=1))
        with pytest.raises(psycopg2.Error, match="Timed-out waiting to acquire database connection"):
            value(connection, "SELECT 1")
        assert (stand.proxy.health.state, stand.proxy.health.reason) == ("UNAVAILABLE", "UNREACHABLE")
        stand.proxy.register()
        with pytest.raises(psycopg2.OperationalError, match="FATAL:  Timed-out waiting to acquire"):
            stand.connect()
        stand.proxy.register(stand.target())
        assert value(connection, "SELECT 1") == 1


def test_the_database_must_show_its_own_certificate(stand: Stand) -> None:
    stand.proxy.configure(ProxySettings(PoolSettings(stand.secrets.get, borrow_timeout_seconds=0.5)))
    for wrong in ({"ca_file": stand.certificates.ca_file("proxy")}, {"host_name": "another.host"}):
        stand.proxy.register(stand.target(**wrong))
        with pytest.raises(psycopg2.OperationalError, match="Timed-out"):
            stand.connect()
        assert "certificate" in str(stand.proxy.health.description)


@pool(max_connections_percent=100, borrow_timeout_seconds=10)
def test_more_than_the_server_has_is_waited_for(stand: Stand) -> None:
    """The server keeps three for superusers: the last of thirty must wait, not fail."""
    connections = [stand.connect() for _ in range(30)]
    with ThreadPoolExecutor(30) as threads:
        results = threads.map(lambda connection: value(connection, "SELECT pg_sleep(0.3) || 'done'"), connections)
        assert list(results) == ["done"] * 30
    for connection in connections:
        connection.close()


# Data


def test_copy_goes_through_in_both_directions(stand: Stand) -> None:
    rows = "".join(f"{number}\n" for number in range(100_000))
    with stand.connect() as connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE items")
        cursor.copy_expert("COPY items FROM STDIN", StringIO(rows))
        stand.await_metrics(borrowed=0)
        copied = StringIO()
        cursor.copy_expert("COPY (SELECT id FROM items ORDER BY id) TO STDOUT", copied)
        assert copied.getvalue() == rows
        with pytest.raises(psycopg2.errors.InvalidTextRepresentation):
            cursor.copy_expert("COPY items FROM STDIN", StringIO("1\nx\n" + rows))
        stand.await_metrics(borrowed=0, pinned=0)
        assert value(connection, "SELECT count(*) FROM items") == 100_000


def test_large_results_and_statements_arrive_whole(stand: Stand) -> None:
    with stand.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
        assert sum(len(text) for (text,) in cursor) == 20_000_000
        assert stand.proxy.metrics().borrowed == 0
        assert value(connection, f"SELECT length('{'y' * 5_000_000}')") == 5_000_000


def test_a_reader_that_does_not_read_does_not_fill_the_memory(stand: Stand) -> None:
    with RawClient(stand) as client:
        client.log_in(stand.token())
        client.send(query("SELECT repeat('x', 1000) FROM generate_series(1, 100000)"))
        await_that(lambda: stand.proxy.sessions, seconds=30)
        [session] = stand.proxy.sessions
        await_that(lambda: session.client.transport.get_write_buffer_size() > 0, seconds=30)
        time.sleep(0.5)  # in which it could grow
        assert session.client.transport.get_write_buffer_size() < 4_000_000
        received = 0
        kind = b""
        while kind != b"Z":
            kind, payload = client.message()
            received += len(payload)
        assert received > 100_000_000
    stand.await_metrics(client_connections=0)


# The extended protocol, message by message


def test_extended_queries_share_connections(stand: Stand) -> None:
    with RawClient(stand) as first, RawClient(stand) as second:
        for client in (first, second):
            client.log_in(stand.token())
        for _ in range(3):
            assert first.extended(parse("SELECT 1"), BIND, EXECUTE) == "12DCZ"
            assert second.extended(parse("SELECT 2"), BIND, EXECUTE) == "12DCZ"
        metrics = stand.proxy.metrics()
        assert (metrics.server_connections, metrics.pinned, metrics.borrowed) == (1, 0, 0)


def test_an_unnamed_statement_follows_its_client_to_another_connection(stand: Stand) -> None:
    with RawClient(stand) as first, RawClient(stand) as second:
        for client in (first, second):
            client.log_in(stand.token())
        assert first.extended(parse("SELECT 'first'"), wire.message(b"D", b"S\0")) == "1tTZ"
        assert second.extended(parse("SELECT 'second'")) == "1Z"
        assert first.extended(BIND, EXECUTE) == "2DCZ"
        assert first.row == b"first"
        assert second.extended(wire.message(b"D", b"S\0"), BIND, EXECUTE) == "tT2DCZ"
        assert second.row == b"second"
        assert stand.proxy.metrics().server_connections == 1


def test_a_client_without_an_unnamed_statement_never_gets_another_ones(stand: Stand) -> None:
    with RawClient(stand) as first, RawClient(stand) as second:
        for client in (first, second):
            client.log_in(stand.token())
        for use in (
            BIND + EXECUTE,
            wire.message(b"D", b"S\0"),
            query("x\xff") + BIND + EXECUTE,
            b"P\0\0\0\5x" + SYNC + BIND,
        ):
            assert first.extended(parse("SELECT 'first'")) == "1Z"
            second.send(use + SYNC)
            answers = second.answers()
            while answers.count("Z") < 1 + use.count(SYNC) + use.startswith(b"Q"):
                answers += second.answers()
            assert answers.replace("Z", "").strip("E") == ""
            assert second.sqlstate == "26000"
        assert stand.proxy.metrics().server_connections == 1


def test_an_unnamed_statement_that_is_no_more_does_not_follow_its_client(stand: Stand) -> None:
    with RawClient(stand) as client:
        client.log_in(stand.token())
        for ending in (query("SELECT 1"), wire.message(b"C", b"S\0") + SYNC, parse("SELEKT") + SYNC):
            assert client.extended(parse("SELECT 'old'")) == "1Z"
            client.send(ending)
            client.answers()
            assert client.extended(BIND, EXECUTE) == "EZ"
            assert client.sqlstate == "26000"
        assert client.extended(parse("SELECT 'kept'")) == "1Z"
        assert client.extended(EXECUTE, parse("SELECT 'skipped'")) == "EZ"
        assert client.extended(BIND, EXECUTE) == "2DCZ"
        assert client.row == b"kept"


def test_what_the_server_skips_after_an_error_is_not_awaited(stand: Stand) -> None:
    with RawClient(stand) as client:
        client.log_in(stand.token())
        assert client.extended(parse("SELECT 1")) == "1Z"
        client.send(EXECUTE + FLUSH)
        assert client.answers(until="E") == "E"
        assert client.extended(query("SELECT 2"), BIND, EXECUTE) == "Z"
        stand.await_metrics(borrowed=0)
        client.send(query("BEGIN") + parse("SELEKT") + FLUSH)
        assert client.answers(until="E") == "CZE"
        assert client.extended(BIND) == "Z"
        assert client.extended(parse("ROLLBACK"), BIND, EXECUTE) == "12CZ"
        stand.await_metrics(borrowed=0)


def test_a_flush_of_its_own_leaves_no_batch_open(stand: Stand) -> None:
    with RawClient(stand) as client:
        client.log_in(stand.token())
        client.send(query("BEGIN") + FLUSH + query("COMMIT"))
        assert client.answers() + client.answers() == "CZCZ"
        stand.await_metrics(borrowed=0)


def test_a_message_that_cannot_be_read_is_answered_by_the_server(stand: Stand) -> None:
    with RawClient(stand) as client:
        client.log_in(stand.token())
        client.send(wire.message(b"Q", b"SELECT 1"))
        assert client.answers() == "EZ"
        for kind, body in ((b"P", b"name"), (b"P", b"\0SELECT 1"), (b"B", b"portal"), (b"B", b"\0"), (b"D", b"")):
            assert client.extended(wire.message(kind, body)) == "EZ"
            assert client.sqlstate == "08P01"


def test_a_named_statement_pins(stand: Stand) -> None:
    with RawClient(stand) as client:
        client.log_in(stand.token())
        assert client.extended(parse("SELECT 1", name=b"one")) == "1Z"
        assert stand.proxy.metrics().pinned == 1
        assert client.extended(wire.message(b"B", b"\0one\0\0\0\0\0\0\0"), EXECUTE) == "2DCZ"


def test_a_batch_is_one_transaction_on_one_connection(stand: Stand) -> None:
    with RawClient(stand) as client:
        client.log_in(stand.token())
        client.send(parse("SELECT 1") + BIND + EXECUTE + FLUSH)
        assert client.answers(until="C") == "12DC"
        assert stand.proxy.metrics().borrowed == 1  # until Sync
        assert client.extended() == "Z"
        assert stand.proxy.metrics().borrowed == 0
        assert client.extended(parse("SELEKT"), BIND, EXECUTE) == "EZ"
        assert client.extended() == "Z"  # a Sync of its own
        client.send(FLUSH)
        client.send(query("SELECT 1") + query("SELECT 2"))
        assert client.answers() + client.answers() == "TDCZTDCZ"
        assert stand.proxy.metrics().borrowed == 0


def test_copy_in_the_extended_protocol(stand: Stand) -> None:
    with RawClient(stand) as client:
        client.log_in(stand.token())
        # libpq sends Sync at once, which the server ignores while it copies.
        client.send(parse("COPY items FROM STDIN") + BIND + EXECUTE + SYNC)
        assert client.answers(until="G") == "12G"
        client.send(wire.message(b"d", b"1\n2\n") + wire.message(b"c") + SYNC)
        assert client.answers() == "CZ"
        stand.await_metrics(borrowed=0, pinned=0)
        client.send(parse("COPY items FROM STDIN") + BIND + EXECUTE + SYNC)
        assert client.answers(until="G") == "12G"
        client.send(wire.message(b"d", b"x\n") + wire.message(b"d", b"3\n") + wire.message(b"c") + SYNC)
        assert client.answers() == "EZ"
        client.send(wire.message(b"d", b"late\n") + wire.message(b"c"))
        assert client.extended(parse("SELECT 1"), BIND, EXECUTE) == "12DCZ"
        stand.await_metrics(borrowed=0, pinned=0)


@small_pool
def test_a_refused_batch_is_answered_once_and_the_next_one_is_served(stand: Stand) -> None:
    with RawClient(stand) as client:
        client.log_in(stand.token())
        stand.proxy.register()
        client.send(parse("SELECT 1") + BIND + FLUSH)
        assert client.answers(until="E") == "E"
        stand.proxy.register(stand.target())
        assert client.extended(EXECUTE) == "Z"
        assert client.extended(parse("SELECT 1"), BIND, EXECUTE) == "12DCZ"


@pool(max_connections_percent=10, borrow_timeout_seconds=1)
def test_a_refused_copy_is_answered_once(stand: Stand) -> None:
    with RawClient(stand) as client:
        client.log_in(stand.token())
        stand.proxy.register()
        client.send(query("COPY items FROM STDIN") + wire.message(b"d", b"1\n") + COPIED)
        assert client.answers() == "EZ"
        stand.proxy.register(stand.target())
        client.send(query("SELECT 1"))
        assert client.answers() == "TDCZ"


@pytest.mark.parametrize("size", [1, 3, 7, 4096])
def test_messages_in_pieces_of_any_size_are_understood(stand: Stand, size: int) -> None:
    with RawClient(stand) as client:
        client.log_in(stand.token())
        data = parse("SELECT repeat('x', 100)") + BIND + EXECUTE + SYNC
        data += query("SELECT 1") + query(f"SELECT 1 /*{'-' * 10_000}*/") * (size > 100)
        for start in range(0, len(data), size):
            client.send(data[start : start + size])
        assert client.answers() == "12DCZ"
        assert client.answers() == "TDCZ"
        assert size < 100 or client.answers() == "TDCZ"
        stand.await_metrics(pinned=0)


def test_a_message_that_no_client_sends_ends_the_connection(stand: Stand) -> None:
    for noise in (wire.message(b"~"), b"Q\0\0\0\0", b"\xff" * 100):
        with RawClient(stand) as client:
            client.log_in(stand.token())
            client.send(noise)
            kind, payload = client.message()
            assert (kind, wire.error_fields(payload)["C"]) == (b"E", "08P01")
            assert client.at_end()
    stand.await_metrics(client_connections=0)


@small_pool
def test_a_client_cut_while_it_waits_gets_no_connection(stand: Stand, caplog: pytest.LogCaptureFixture) -> None:
    holders = [stand.connect() for _ in range(3)]
    for holder in holders:
        holder.cursor().execute("BEGIN")
    with RawClient(stand) as client:
        client.log_in(stand.token())
        client.send(query("SELECT 1"))
        stand.await_metrics(waiting=1)
        client.send(wire.message(b"~") * 2 + query("SELECT 2"))
        stand.await_metrics(waiting=0)  # and the client has not closed its side
        for holder in holders:
            holder.cursor().execute("COMMIT")
        stand.await_metrics(borrowed=0, waiting=0, server_connections=3)
        kind, payload = client.message()
        assert (kind, wire.error_fields(payload)["C"]) == (b"E", "08P01")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    for holder in holders:
        holder.close()


# Load


def test_two_hundred_clients_keep_to_the_pool(stand: Stand) -> None:
    """Idle clients cost nothing, busy ones share, and no answer goes astray."""
    stand.proxy.configure(ProxySettings(PoolSettings(stand.secrets.get, 20, borrow_timeout_seconds=20)))
    with ThreadPoolExecutor(16) as threads:
        connections = list(threads.map(lambda _: stand.connect(), range(200)))

        def work(number: int) -> bool:
            mine = connections[number * 12 : number * 12 + 12]
            return all(value(mine[n % 12], f"SELECT {n} + {number}") == n + number for n in range(60))

        assert all(threads.map(work, range(16)))
    metrics = stand.await_metrics(client_connections=200, borrowed=0, waiting=0)
    assert metrics.server_connections <= 6
    for connection in connections:
        connection.close()
    stand.await_metrics(client_connections=0)


def test_hundreds_of_first_clients_wait_for_the_database_and_are_all_served(stand: Stand) -> None:
    """More than Python has nested calls."""
    stand.proxy.register()

    async def statuses() -> None:
        async with asyncio.timeout(30):
            key = Key("app", "app", ())
            waiting = [asyncio.create_task(stand.proxy.pool.statuses(key)) for _ in range(1000)]
            await asyncio.sleep(0)
            stand.proxy.pool.register(stand.target())
            assert all(await asyncio.gather(*waiting))

    run_in(stand.loop.loop, statuses())
    with stand.connect() as connection:
        assert value(connection, "SELECT 1") == 1


@pytest.mark.parametrize("seed", range(3))
def test_any_mixture_in_any_pieces_is_answered_as_the_server_would(stand: Stand, seed: int) -> None:
    """Six clients on a pool of four: every answer is complete, in order, and its own client's."""
    stand.proxy.configure(ProxySettings(PoolSettings(stand.secrets.get, 14, borrow_timeout_seconds=20)))
    exchanges: list[tuple[Callable[[int], bytes], str]] = [
        (lambda n: query(f"SELECT {n}"), "TDCZ"),
        (lambda n: query(f"BEGIN; SELECT {n}"), "CTDCZ"),
        (lambda n: query(f"SELECT {n}; ROLLBACK"), "TDCCZ"),  # with a warning where no transaction is open
        (lambda n: query(f"SELECT {n}; SELEKT"), "EZ"),
        (lambda n: query(f"SELECT {n} -- {'x' * 15_000}"), "TDCZ"),
        (lambda n: parse(f"SELECT {n}") + BIND + EXECUTE + SYNC, "12DCZ"),
        (lambda n: parse(f"SELECT {n}") + wire.message(b"D", b"S\0") + SYNC + BIND + EXECUTE + SYNC, "1tTZ2DCZ"),
        (lambda n: parse(f"SELECT {n}") + SYNC + query("SELEKT") + BIND + EXECUTE + SYNC, "1ZEZ2DCZ"),
        (lambda n: parse(f"SELECT {n}") + FLUSH + BIND + FLUSH + EXECUTE + EXECUTE + SYNC, "12DCCZ"),
        (
            lambda n: parse("COPY items FROM STDIN") + BIND + EXECUTE + wire.message(b"d", b"%d\n" % n) + COPIED + SYNC,
            "12GCZ",
        ),
        (lambda n: query("COPY items FROM STDIN") + wire.message(b"d", b"%d\n" % n) + COPIED, "GCZ"),
    ]

    def work(number: int) -> None:
        choice = random.Random(seed * 100 + number)  # noqa: S311
        with RawClient(stand) as client:
            client.log_in(stand.token())
            for _ in range(25):
                batch = [(choice.randrange(10**6), *choice.choice(exchanges)) for _ in range(choice.randint(1, 4))]
                data = query("ROLLBACK") + b"".join(build(n) for n, build, _ in batch)
                while data:
                    size = choice.choice((1, 5, 100, 5000, 20_000))
                    client.send(data[:size])
                    data = data[size:]
                assert client.answers().replace("N", "") == "CZ"
                for n, _, kinds in batch:
                    client.row = b""
                    answer = "".join(client.answers() for _ in range(kinds.count("Z"))).replace("N", "")
                    assert answer == kinds or failed(answer)
                    assert client.row in (b"", b"%d" % n)
                    assert client.row or "D" not in answer

    def failed(answer: str) -> bool:
        return "E" in answer  # an earlier one of the batch has failed its transaction

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, range(6)))
    metrics = stand.await_metrics(client_connections=0, borrowed=0)
    assert metrics.pins == 0
    assert metrics.server_connections <= 4


BIND = wire.message(b"B", b"\0\0\0\0\0\0\0\0")
EXECUTE = wire.message(b"E", b"\0\0\0\0\0")
FLUSH = wire.message(b"H")
SYNC = wire.message(b"S")
COPIED = wire.message(b"c")


def parse(statement: str, name: bytes = b"") -> bytes:
    return wire.message(b"P", name + b"\0" + statement.encode() + b"\0\0\0")


def query(statement: str) -> bytes:
    return wire.message(b"Q", statement.encode() + b"\0")


class RawClient:
    """A client of the protocol that sends just what it is told to."""

    def __init__(self, stand: Stand, *, tls: bool = True) -> None:
        self.row = b""
        self.sqlstate = ""
        self._socket = socket.create_connection(("127.0.0.1", stand.proxy.port), timeout=10)
        if tls:
            self._socket.sendall(struct.pack("!ii", 8, 80877103))
            assert self._socket.recv(1) == b"S"
            context = ssl.create_default_context(cafile=str(stand.certificates.ca_file("proxy")))
            self._socket = context.wrap_socket(self._socket, server_hostname=HOST)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def log_in(self, token: str) -> None:
        self.send(wire.startup_message({"user": "app", "database": "app"}))
        assert self.message() == (b"R", struct.pack("!i", 3))
        self.send(wire.message(b"p", token.encode() + b"\0"))
        assert self.answers().startswith("RSS")

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def message(self) -> tuple[bytes, bytes]:
        header = self._file.read(5)
        return header[:1], self._file.read(struct.unpack("!i", header[1:])[0] - 4)

    def answers(self, until: str = "Z") -> str:
        """Return the kinds of the messages up to this one."""
        kinds = ""
        while not kinds.endswith(until):
            kind, payload = self.message()
            kinds += kind.decode()
            if kind == b"D":
                self.row = payload[6:]
            elif kind == b"E":
                self.sqlstate = wire.error_fields(payload)["C"]
        return kinds

    def extended(self, *messages: bytes) -> str:
        self.send(b"".join(messages) + SYNC)
        return self.answers()

    def read(self, size: int) -> bytes:
        return self._file.read(size)

    def at_end(self) -> bool:
        return self._file.read(1) == b""


def _assert_token_refused(stand: Stand, token: str) -> None:
    with pytest.raises(
        psycopg2.OperationalError,
        match=r"FATAL:  IAM authentication failed for user app\. Check the IAM token for this user and try again\.",
    ):
        stand.connect(password=token)


# What is counted for CloudWatch


def test_clients_are_counted_as_they_come_fail_and_go(stand: Stand) -> None:
    stand.proxy.report()
    with stand.connect():
        pass
    for refused in ({"password": "wrong"}, {"user": "nobody"}, {"ca_file": stand.certificates.ca_file("rds")}):
        with pytest.raises(psycopg2.OperationalError):
            stand.connect(**refused)
    metrics = stand.await_metrics(client_connections=0, clients_in_setup=0)
    counts = stand.proxy.report().counts
    assert (counts.client_connections_received, counts.client_connections_setup_succeeded) == (4, 1)
    assert (counts.client_connections_setup_failed_auth, counts.client_connections_closed) == (3, 1)
    assert (metrics.refused_logins, stand.proxy.report().counts.client_connections_received) == (2, 0)


@proxy(require_tls=False, iam_required=False)
def test_clients_without_tls_and_their_queries_are_counted_apart(stand: Stand) -> None:
    clear = stand.connect(sslmode="disable", password=PASSWORD)
    encrypted = stand.connect(password=PASSWORD)
    for connection in (clear, clear, encrypted):
        value(connection, "SELECT 1")
    report = stand.proxy.report()
    assert (report.metrics.client_connections, report.metrics.clients_with_tls) == (2, 1)
    assert (report.counts.query_requests_no_tls, report.counts.query_requests_tls) == (2, 1)


def test_queries_are_timed_and_so_is_the_database(stand: Stand) -> None:
    with stand.connect() as connection:
        stand.proxy.report()
        value(connection, "SELECT 1")
        value(connection, "SELECT pg_sleep(0.2)")
        counts = stand.proxy.report().counts
    for timing in (counts.query_response_latency, counts.query_database_response_latency):
        assert timing.count == 2
        assert 0 < timing.shortest < 0.2 < timing.longest < 5
        assert timing.total == pytest.approx(timing.shortest + timing.longest)


@small_pool
def test_waiting_for_a_connection_is_timed_and_a_refusal_is_not(stand: Stand) -> None:
    clients = [stand.connect() for _ in range(4)]
    for client in clients[:3]:
        client.cursor().execute("BEGIN")
    stand.proxy.report()
    with pytest.raises(psycopg2.OperationalError, match="Timed-out"):
        value(clients[3], "SELECT 1")
    counts = stand.proxy.report().counts
    assert (counts.database_connections_borrow_requests, counts.database_connections_borrow_latency.count) == (1, 0)
    assert counts.query_response_latency.count == 0
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(value, clients[3], "SELECT 1")
        stand.await_metrics(waiting=1)
        time.sleep(0.1)
        clients[0].cursor().execute("COMMIT")
        assert waiting.result(10) == 1
    counts = stand.proxy.report().counts
    assert counts.database_connections_borrow_latency.longest >= 0.1
    assert counts.query_response_latency.longest >= 0.1 > counts.query_database_response_latency.longest


@pool(max_connections_percent=10, borrow_timeout_seconds=60)
def test_a_client_that_leaves_while_it_waits_aborts_its_request(stand: Stand) -> None:
    clients = [stand.connect() for _ in range(4)]
    for client in clients[:3]:
        client.cursor().execute("BEGIN")
    stand.proxy.report()
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(value, clients[3], "SELECT 1")
        stand.await_metrics(waiting=1)
        socket.socket(fileno=os.dup(clients[3].fileno())).shutdown(socket.SHUT_RDWR)
        assert isinstance(waiting.exception(10), psycopg2.OperationalError)
    stand.await_metrics(waiting=0)
    assert stand.proxy.report().counts.database_connections_borrow_requests_aborted == 1


def test_database_connections_are_counted_as_they_are_asked_for_and_fail(stand: Stand) -> None:
    with stand.connect():
        counts = stand.proxy.report().counts
    assert (counts.database_connection_requests, counts.database_connections_setup_succeeded) == (1, 1)
    assert counts.database_connections_setup_failed == 0
    stand.secrets["app"] = Secret("app", "wrong")
    stand.proxy.register(stand.target(max_connections=40))
    with pytest.raises(psycopg2.OperationalError, match="Request returned an error"):
        stand.connect()
    counts = stand.proxy.report().counts
    assert counts.database_connections_setup_failed >= 1
    assert counts.database_connections_setup_succeeded == 0


def test_availability_is_a_share_of_the_time(stand: Stand) -> None:
    share = Availability(100.0)
    share.set(True, 130.0)
    assert share.take(140.0) == 25
    assert share.take(150.0) == 100
    share.set(False, 155.0)
    share.set(True, 157.5)
    assert share.take(160.0) == 75
    with stand.connect():
        stand.proxy.report()
        assert stand.proxy.report().availability_percent == pytest.approx(100)
    stand.proxy.register()
    assert stand.proxy.report().availability_percent is None


# --- several targets: the readers of a cluster ---


def hold(stand: Stand, number: int) -> Iterator[Any]:
    """Open so many transactions at once; yield each connection."""
    for _ in range(number):
        connection = stand.connect()
        connection.cursor().execute("BEGIN; SELECT 1")
        yield connection


def test_each_target_has_its_share_and_the_one_with_the_fewest_connections_gets_the_next(stand: Stand) -> None:
    stand.proxy.configure(
        ProxySettings(PoolSettings(stand.secrets.get, max_connections_percent=50, borrow_timeout_seconds=0.5))
    )
    targets = [stand.target(max_connections=4), stand.target(max_connections=6)]
    stand.proxy.register(*targets)
    assert stand.proxy.metrics().max_server_connections == 2 + 3
    with contextlib.ExitStack() as stack:
        for connection in hold(stand, 4):
            stack.enter_context(connection)
        assert sorted(place.connections for place in stand.proxy.pool._places) == [2, 2]
        for connection in hold(stand, 1):
            stack.enter_context(connection)
        assert [place.connections for place in stand.proxy.pool._places] == [2, 3]
        with stand.connect() as one_more, pytest.raises(psycopg2.Error, match="Timed-out waiting"):
            value(one_more, "SELECT 1")


def test_a_target_that_is_down_is_not_tried_while_another_has_room(stand: Stand) -> None:
    down = Target("down", 1, stand.certificates.ca_file("rds"), 30)
    stand.proxy.register(down, stand.target())
    with contextlib.ExitStack() as stack:
        for connection in hold(stand, 3):
            stack.enter_context(connection)
        assert [place.connections for place in stand.proxy.pool._places] == [0, 3]
        assert stand.proxy.health.state == "AVAILABLE"


def test_a_target_that_stays_keeps_its_connections_and_one_that_goes_lends_none(stand: Stand) -> None:
    other = stand.target(max_connections=29)
    with stand.connect() as connection:
        before = value(connection, "SELECT pg_backend_pid()")
        stand.proxy.register(stand.target(), other)
        assert value(connection, "SELECT pg_backend_pid()") == before
        stand.proxy.register(other)
        assert value(connection, "SELECT pg_backend_pid()") != before


def test_without_a_target_a_refusal_comes_at_once(stand: Stand) -> None:
    with stand.connect() as connection:
        stand.proxy.register(refusal="no reader here")
        with pytest.raises(psycopg2.Error, match="no reader here"):  # a timeout has other words
            value(connection, "SELECT 1")
        with pytest.raises(psycopg2.OperationalError, match="no reader here"):
            stand.connect()
        stand.proxy.register(stand.target(), refusal="no reader here")
        assert value(connection, "SELECT 1") == 1
