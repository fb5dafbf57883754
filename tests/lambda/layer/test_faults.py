"""What a caller sees when something fails, against a real server: no row is lost or doubled, and the next call works.

Backends ended while idle, in a transaction and in COMMIT are in test_lending.py and test_transactions.py.
"""
# ruff: noqa: PT012, S105  a loan and what happens in it are one promise; passwords of test servers

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import psycopg2
import pytest
from lambda_postgres import ConnectionLost, Keeper, LoginRefused, PoolExhausted

from local.loop import LoopThread
from local.postgres.instance_listener import InstanceListener
from tests.local.data_plane import SmallDirectory

from .support import FUNCTION, HOST, packets_can_be_dropped, set_password, start_server


class LedgerTable:
    """Rows written through a keeper, counted by the server's administrator."""

    def __init__(self, server):
        self.server = server

    def write(self, keeper, **options):
        with keeper.transaction(**options) as conn:
            self.insert(conn)

    @staticmethod
    def insert(conn):
        with conn.cursor() as cursor:
            cursor.execute("INSERT INTO ledger VALUES (%s, 1)", [str(uuid.uuid4())])

    @property
    def rows(self):
        with self.server.administrator("app") as cursor:
            cursor.execute("SELECT count(*) FROM ledger")
            return cursor.fetchone()[0]


@pytest.fixture
def ledger(server):
    return LedgerTable(server)


@pytest.fixture
def relayed(settings, relay, clock):
    """Keep a connection over a path that can fail."""
    keeper = Keeper(settings._replace(port=relay.port), clock=clock)
    yield keeper
    keeper.close()


@pytest.fixture
def role_setting(server):
    """Set a parameter of the application's role, as the bootstrap function does, for new sessions."""

    def change(name, value):
        with server.administrator() as cursor:
            cursor.execute(f"ALTER ROLE app SET {name} = %s", [value])

    yield change
    with server.administrator() as cursor:
        cursor.execute("ALTER ROLE app RESET ALL")


def test_a_restart_while_idle_is_not_seen(keeper, server, ledger):
    ledger.write(keeper)
    server.restart()
    ledger.write(keeper)
    assert ledger.rows == 2


def test_a_restart_in_a_transaction_rolls_it_back(keeper, server, ledger):
    with pytest.raises(ConnectionLost) as caught, keeper.transaction() as conn:
        ledger.insert(conn)
        server.restart()
        ledger.insert(conn)
    assert caught.value.committed is False
    ledger.write(keeper)
    assert ledger.rows == 1


def test_a_path_that_is_cut_and_comes_back_costs_one_retry(relayed, relay, ledger):
    ledger.write(relayed)
    relay.stop_listening()
    relay.cut()
    threading.Timer(0.4, relay.listen).start()
    ledger.write(relayed)
    assert ledger.rows == 2


def test_a_path_cut_in_a_transaction_rolls_it_back(relayed, relay, ledger):
    with pytest.raises(ConnectionLost) as caught, relayed.transaction() as conn:
        ledger.insert(conn)
        relay.cut()
        time.sleep(0.1)
        ledger.insert(conn)
    assert caught.value.committed is False
    ledger.write(relayed)
    assert ledger.rows == 1


@pytest.mark.skipif(not packets_can_be_dropped(), reason="packets are dropped by a socket filter, not permitted here")
def test_a_half_open_connection_does_not_hold_the_invocation(relayed, relay, ledger):
    """Packets vanish: the kernel gives up sending after tcp_user_timeout, here shortened from 10 s."""
    with relayed.connection() as conn, socket.socket(fileno=socket.dup(conn.fileno())) as copy:
        assert copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
        assert copy.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        copy.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 500)
    relay.drop_packets()
    began = time.monotonic()
    with pytest.raises(ConnectionLost) as caught:
        ledger.write(relayed)
    assert time.monotonic() - began < 5
    assert caught.value.committed is False
    ledger.write(relayed)
    assert ledger.rows == 1


def test_a_server_that_hangs_ends_with_the_function_and_the_next_environment_works(
    settings, server, ledger, run_function
):
    """A stopped process still acknowledges packets: only the function's own timeout ends the wait."""
    function = run_function(settings)
    function.wait_for("written")
    with server.administrator() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE usename = 'app'")
        (pid,) = cursor.fetchone()
    os.kill(pid, signal.SIGSTOP)
    try:
        function.go_on()
        assert function.is_waiting(0.5)
        function.kill()
        keeper = Keeper(settings)
        ledger.write(keeper)
        keeper.close()
    finally:
        os.kill(pid, signal.SIGCONT)
    assert ledger.rows == 1


def test_after_a_failover_the_next_invocation_writes_to_the_new_server(relayed, relay, server, certificates, secrets):
    """The old writer lives on, read-only; the name leads to another server."""
    other = start_server("promoted", certificates)
    try:
        set_password(other, secrets.password)
        old, new = LedgerTable(server), LedgerTable(other)
        old.write(relayed)
        with server.administrator() as cursor:
            cursor.execute("ALTER ROLE app SET default_transaction_read_only = on")
            cursor.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'app'")
        with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
            old.write(relayed)
        relay.target_port = other.port
        new.write(relayed)
        assert (old.rows, new.rows) == (1, 1)
    finally:
        with server.administrator() as cursor:
            cursor.execute("ALTER ROLE app RESET ALL")
        other.stop()


def test_a_password_rotated_under_a_warm_connection_is_not_seen(keeper, server, secrets, terminate, ledger):
    ledger.write(keeper)
    secrets.password = "canary-rotated"
    set_password(server, secrets.password)
    ledger.write(keeper)
    terminate()
    ledger.write(keeper)
    assert ledger.rows == 3


def test_a_token_expired_before_it_arrives_is_refused_and_the_next_one_is_fresh(iam_settings, clock, ledger):
    keeper = Keeper(iam_settings, clock=clock)
    clock.offset = -16 * 60  # the environment was frozen between signing and connecting
    with pytest.raises(LoginRefused, match="PAM authentication failed"):
        ledger.write(keeper)
    clock.offset = 0
    ledger.write(keeper)
    keeper.close()
    assert ledger.rows == 1


def test_a_token_of_another_key_is_refused(iam_settings, monkeypatch, ledger):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(LoginRefused, match="PAM authentication failed"):
        ledger.write(Keeper(iam_settings))


def test_a_full_server_is_waited_for_within_the_invocation(settings, server, ledger):
    others = [Keeper(settings._replace(retry_seconds=0)) for _ in range(server.max_connections)]
    held = []
    for other in others:
        try:
            with other.connection():
                held.append(other)
        except PoolExhausted:
            break
    assert held
    keeper = Keeper(settings)
    context = Remaining(3)
    with pytest.raises(PoolExhausted) as caught:
        ledger.write(keeper, context=context)
    assert context.get_remaining_time_in_millis() > 500
    assert caught.value.sqlstate == "53300"

    threading.Timer(0.3, held[0].close).start()
    ledger.write(keeper, context=Remaining(5))
    for each in (*held, keeper):
        each.close()
    assert ledger.rows == 1


def test_a_statement_timeout_is_the_works_own_error_and_keeps_the_connection(keeper, role_setting, ledger):
    role_setting("statement_timeout", "100ms")
    with keeper.connection() as conn, pytest.raises(psycopg2.errors.QueryCanceled):
        conn.cursor().execute("SELECT pg_sleep(5)")
    with pytest.raises(psycopg2.errors.QueryCanceled), keeper.transaction() as again:
        ledger.insert(again)
        again.cursor().execute("SELECT pg_sleep(5)")
    assert again is conn
    ledger.write(keeper)
    assert ledger.rows == 1


def test_a_transaction_left_idle_too_long_was_rolled_back(keeper, role_setting, ledger):
    role_setting("idle_in_transaction_session_timeout", "100ms")
    with pytest.raises(ConnectionLost) as caught, keeper.transaction() as conn:
        ledger.insert(conn)
        assert select.select([conn], [], [], 30)[0], "the server said nothing"
        ledger.insert(conn)
    assert caught.value.committed is False
    ledger.write(keeper)
    assert ledger.rows == 1


def test_a_full_disk_is_the_works_own_error_and_keeps_the_connection(keeper, ledger):
    with pytest.raises(psycopg2.errors.DiskFull), keeper.transaction() as conn:
        ledger.insert(conn)
        conn.cursor().execute("DO $$BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = '53100'; END$$")
    with keeper.transaction() as again:
        ledger.insert(again)
    assert again is conn
    assert ledger.rows == 1


def test_a_function_that_times_out_in_a_transaction_leaves_nothing_behind(settings, ledger, run_function):
    function = run_function(settings)
    function.wait_for("written")
    assert ledger.rows == 0
    function.kill()
    keeper = Keeper(settings)
    with keeper.transaction() as conn:
        conn.cursor().execute("LOCK TABLE ledger IN ACCESS EXCLUSIVE MODE")  # waits until the server noticed
        ledger.insert(conn)
    keeper.close()
    assert ledger.rows == 1


class Remaining:
    """Lambda's context with so many seconds left."""

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def get_remaining_time_in_millis(self):
        return int((self.end - time.monotonic()) * 1000)


class Function:
    """An execution environment in a process of its own, in the middle of a transaction."""

    SOURCE = """
import json, sys
from lambda_postgres import Keeper, Settings
keeper = Keeper(Settings(**json.loads(sys.argv[1])))
with keeper.transaction() as conn:
    conn.cursor().execute("INSERT INTO ledger VALUES (gen_random_uuid(), 2)")
    print("written", flush=True)
    sys.stdin.readline()
    conn.cursor().execute("SELECT 1")
"""

    def __init__(self, settings):
        layer = Path(__file__).parents[3] / "lambda" / "layer"
        self._process = subprocess.Popen(
            [sys.executable, "-c", self.SOURCE, json.dumps(settings._asdict())],
            cwd=layer,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, line):
        assert self._process.stdout.readline().strip() == line

    def go_on(self):
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def is_waiting(self, seconds):
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

    def kill(self):
        """End it as Lambda does on a timeout: nothing of it runs any more."""
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate()


@pytest.fixture
def run_function():
    functions = []

    def run(settings):
        functions.append(Function(settings))
        return functions[-1]

    yield run
    for function in functions:
        with contextlib.suppress(ValueError):  # ended by the test
            function.kill()


@pytest.fixture
def iam_settings(settings, server, certificates):
    """Settings of a function that logs in with a token, at a listener that checks it as RDS does."""

    prefix = "arn:aws:rds-db:eu-central-1:1:dbuser:db-A"
    with server.administrator() as cursor:
        cursor.execute("GRANT rds_iam TO app")
    thread = LoopThread()
    listener = InstanceListener(
        thread.loop,
        host_name=HOST,
        certificate=certificates.host("rds", HOST),
        socket_path=lambda: server.socket_path,
        directory=SmallDirectory({f"{prefix}/app"}, (FUNCTION,)),
        resource_prefix=prefix,
    )
    listener.start()
    yield settings._replace(port=listener.port, auth="iam", secret_arn=None)
    listener.stop()
    thread.stop()
    with server.administrator() as cursor:
        cursor.execute("REVOKE rds_iam FROM app")
