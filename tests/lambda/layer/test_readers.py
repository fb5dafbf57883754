"""Read-only work on a real hot standby, and a failover to it: nothing is lost, nothing is doubled."""

# ruff: noqa: PT012  a loan and what happens in it are one promise

from __future__ import annotations

import json
import socket
import threading
import time

import psycopg2
import pytest
from lambda_postgres import CannotConnect, CannotLend, ConnectionLost, Keeper, LoginRefused, PoolExhausted
from lambda_postgres.log import Log

from local.loop import LoopThread
from local.postgres.instance_listener import InstanceListener
from local.postgres.server import PostgresServer, free_port
from tests.local.data_plane import SmallDirectory

from .support import FUNCTION, HOST, Relay, packets_can_be_dropped, set_password, start_server, terminate_backends
from .writers import Invocation, Ledger, rows_kept, write

READER = "app.cluster-ro-abcdefghijkl.eu-central-1.rds.amazonaws.com"
WRITE = "INSERT INTO ledger VALUES (gen_random_uuid(), 1)"
FULL = "DO $$BEGIN RAISE EXCEPTION 'Timed-out waiting to acquire database connection' USING ERRCODE = '08000'; END$$"


@pytest.fixture(scope="module")
def pair(certificates):
    """Run a primary and its standby; a failover changes their places."""
    servers = [start_server("writer", certificates)]
    try:
        servers.append(
            PostgresServer.start_standby(
                servers[0], name="reader", host_name=READER, other_host_names=[HOST], certificates=certificates
            )
        )
        yield servers
    finally:
        for server in servers:
            server.stop()


@pytest.fixture
def server(pair, secrets):
    primary = pair[0]
    set_password(primary, secrets.password)
    with primary.administrator("app") as cursor:
        cursor.execute("TRUNCATE ledger")
    yield primary
    terminate_backends(primary)


@pytest.fixture
def standby(pair, server):
    standby = pair[1]
    standby.catch_up(server)
    yield standby
    if not standby.running:
        standby.resume(max_connections=server.max_connections)
    terminate_backends(standby)


@pytest.fixture
def both(settings, standby):
    """Settings of a function with a reader."""
    return settings._replace(reader_host=READER, reader_port=standby.port)


@pytest.fixture
def keepers(clock):
    """Make keepers that are closed at the end."""
    made = []

    def make(settings):
        made.append(Keeper(settings, log=Log(metrics=False), clock=clock))
        return made[-1]

    yield make
    for keeper in made:
        keeper.close()


@pytest.fixture
def keeper(both, keepers):
    return keepers(both)


def ask(conn, question="SELECT pg_is_in_recovery(), pg_backend_pid()"):
    with conn.cursor() as cursor:
        cursor.execute(question)
        return cursor.fetchone()


def is_reader(conn):
    return ask(conn)[0]


def count(conn):
    return ask(conn, "SELECT count(*) FROM ledger")[0]


def insert(conn):
    with conn.cursor() as cursor:
        cursor.execute(WRITE)


def sessions(server):
    with server.administrator() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'")
        return cursor.fetchone()[0]


def events(capsys, name):
    lines = map(json.loads, capsys.readouterr().out.splitlines())
    return [line for line in lines if line["event"] == name]


def test_read_only_work_goes_to_the_reader_which_is_connected_on_first_use(keeper, server, standby):
    with keeper.connection() as conn:
        assert not is_reader(conn)
    assert sessions(standby) == 0
    with keeper.connection(read_only=True) as conn:
        reader, pid = ask(conn)
    assert reader
    with keeper.transaction(read_only=True, isolation="repeatable read") as conn:
        assert ask(conn) == (True, pid)
    assert keeper.run_transaction(ask, read_only=True) == (True, pid)
    assert not keeper.run_transaction(is_reader)
    assert (sessions(server), sessions(standby)) == (1, 1)
    keeper.close()
    assert keeper.run_transaction(ask, read_only=True)[1] != pid


def test_a_function_that_only_reads_opens_no_connection_to_the_writer(keeper, server):
    assert keeper.run_transaction(is_reader, read_only=True)
    assert sessions(server) == 0


@pytest.mark.parametrize("reader", [True, False])
def test_a_write_in_read_only_work_is_refused_with_and_without_a_reader(keepers, both, reader):
    keeper = keepers(both if reader else both._replace(reader_host=None))
    for lend in (keeper.connection, keeper.transaction):
        with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction) as caught, lend(read_only=True) as conn:
            assert is_reader(conn) is reader
            insert(conn)
        assert any(READER in note for note in getattr(caught.value, "__notes__", [])) is reader


def test_what_was_just_written_is_read_from_the_writer(keeper, server, standby):
    """Read your writes: the reader lags; the default asks the writer."""
    standby.pause_replay()
    try:
        keeper.run_transaction(insert)
        assert keeper.run_transaction(count, read_only=True) == 0
        with keeper.connection() as conn:
            assert count(conn) == 1
    finally:
        standby.resume_replay()
    standby.catch_up(server)
    assert keeper.run_transaction(count, read_only=True) == 1


def test_read_only_inside_a_transaction_of_the_writer_is_refused_as_without_a_reader(keepers, both):
    for settings in (both, both._replace(reader_host=None)):
        keeper = keepers(settings)
        with keeper.transaction() as conn:
            insert(conn)
            with pytest.raises(CannotLend, match="begun without it"), keeper.transaction(read_only=True):
                pass
            assert not keeper.run_transaction(is_reader)
    with keepers(both).connection(), keepers(both).connection(read_only=True) as conn:
        assert is_reader(conn)


def test_a_token_is_signed_for_the_readers_own_host(keepers, both, server, standby, certificates):
    prefix = "arn:aws:rds-db:eu-central-1:1:dbuser:cluster-A"
    with server.administrator() as cursor:
        cursor.execute("GRANT rds_iam TO app")
    standby.catch_up(server)
    thread = LoopThread()
    listener = InstanceListener(
        thread.loop,
        host_name=READER,
        certificate=certificates.host("rds", READER),
        socket_path=standby.socket_path,
        directory=SmallDirectory({f"{prefix}/app"}, (FUNCTION,)),
        resource_prefix=prefix,
    )
    listener.start()
    try:
        assert keepers(both._replace(auth="iam", reader_port=listener.port)).run_transaction(is_reader, read_only=True)
    finally:
        listener.stop()
        thread.stop()
        with server.administrator() as cursor:
            cursor.execute("REVOKE rds_iam FROM app")


def test_the_readers_certificate_is_verified_for_its_own_name(keepers, both):
    other = keepers(both._replace(reader_host=f"other.{READER}"))
    with pytest.raises(CannotConnect, match="does not match host name"), other.connection(read_only=True):
        pass
    with other.connection() as conn:
        assert not is_reader(conn)


def test_errors_tell_reader_and_writer_apart(keepers, both, standby, terminate, capsys):
    nobody = free_port()
    for endpoint, settings in {
        "reader": both._replace(reader_port=nobody, retry_seconds=0),
        "writer": both._replace(port=nobody, retry_seconds=0),
    }.items():
        keeper = keepers(settings)
        with pytest.raises(CannotConnect, match=f"cannot connect to {endpoint} ") as caught:
            keeper.run_transaction(ask, read_only=endpoint == "reader")
        assert caught.value.endpoint == endpoint
        (line,) = events(capsys, "connect failed")
        assert line["endpoint"] == endpoint
        keeper.run_transaction(ask, read_only=endpoint != "reader")
        (line,) = events(capsys, "connected")
        assert line["endpoint"] != endpoint

    for endpoint, end in {"reader": lambda: terminate_backends(standby), "writer": terminate}.items():
        lend = keepers(both).transaction(read_only=endpoint == "reader")
        with pytest.raises(ConnectionLost, match=f"connection to {endpoint} ") as lost, lend as conn:
            ask(conn)
            end()
            ask(conn)
        assert lost.value.endpoint == endpoint
        (line,) = events(capsys, "connection lost")
        assert line["endpoint"] == endpoint


def test_lines_and_messages_name_no_endpoint_where_there_is_but_one(keepers, settings, capsys):
    keeper = keepers(settings._replace(port=free_port(), retry_seconds=0))
    with pytest.raises(CannotConnect, match=f"cannot connect to {HOST}"), keeper.connection(read_only=True):
        pass
    (line,) = events(capsys, "connect failed")
    assert "endpoint" not in line


def test_read_only_work_that_lost_its_reader_is_run_again(keeper, standby):
    seen = []

    def read(conn):
        seen.append(ask(conn))
        if len(seen) == 1:
            terminate_backends(standby)
        return is_reader(conn)

    assert keeper.run_transaction(read, Invocation(), read_only=True)
    assert len({pid for _, pid in seen}) == 2


def test_the_writer_takes_a_failing_readers_place_only_when_asked_to(keepers, both, standby, clock, capsys):
    alone, reserved = keepers(both._replace(retry_seconds=0)), keepers(both._replace(reader_fallback=True))
    assert reserved.run_transaction(is_reader, read_only=True)
    standby.halt()
    with pytest.raises(CannotConnect), alone.connection(read_only=True):
        pass
    capsys.readouterr()
    lend = reserved.connection(Invocation(), read_only=True)
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction), lend as conn:
        assert not is_reader(conn)
        insert(conn)
    assert not reserved.run_transaction(is_reader, Invocation(), read_only=True)
    written = capsys.readouterr().out
    assert written.count('"event": "reader failed"') == written.count('"event": "connect failed"') == 1

    standby.resume(max_connections=20)
    assert not reserved.run_transaction(is_reader, read_only=True)
    clock.offset += 11
    assert reserved.run_transaction(is_reader, read_only=True)


def test_a_mute_reader_leaves_half_of_the_time_to_the_writer(keepers, both):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        keeper = keepers(both._replace(reader_fallback=True, reader_port=mute.getsockname()[1]))
        context = Invocation()
        assert not keeper.run_transaction(is_reader, context, read_only=True)
        assert context.get_remaining_time_in_millis() > 2000


def test_a_login_that_the_reader_refuses_is_not_hidden_by_the_writer(keepers, both, standby, server, secrets):
    keeper = keepers(both._replace(reader_fallback=True))
    keeper.run_transaction(ask)
    set_password(server, "canary-another")
    standby.catch_up(server)
    with pytest.raises(LoginRefused) as caught, keeper.connection(read_only=True):
        pass
    assert caught.value.endpoint == "reader"
    assert secrets.requests


def test_a_proxy_without_a_reader_to_give_counts_as_a_reader_that_fails(keepers, both):
    def read(conn):
        if is_reader(conn):
            with conn.cursor() as cursor:
                cursor.execute(FULL)
        return "read"

    with pytest.raises(PoolExhausted) as caught:
        keepers(both).run_transaction(read, read_only=True)
    assert caught.value.endpoint == "reader"
    assert keepers(both._replace(reader_fallback=True)).run_transaction(read, read_only=True) == "read"


class Failover:
    """A writer, a standby of it, and the address of the writer, which a failover moves."""

    def __init__(self, old, new):
        self.old, self.new = old, new
        self.address = Relay(old.port)

    def promote(self):
        """Stop the writer, promote the standby, let the old writer follow it; the address is for the test to move."""
        self.old.halt()
        self.new.promote()
        self.old.follow(self.new)

    def move_address(self):
        self.address.target_port = self.new.port


@pytest.fixture
def failover(pair, standby):
    failover = Failover(pair[0], standby)
    yield failover
    failover.address.close()
    pair.reverse()


def test_a_failover_under_load_loses_and_doubles_nothing(failover, settings):
    """Every connection is half-open; for a while the address leads to the old writer, which is a standby now."""
    ledger, stop = Ledger(), threading.Event()
    base = settings._replace(port=failover.address.port)
    both = base._replace(reader_host=READER, reader_port=failover.new.port)
    writers = [
        threading.Thread(target=write, args=(each, ledger, stop, number))
        for number, each in enumerate((base, base, both, both))
    ]
    for writer in writers:
        writer.start()
    try:
        _await_more(ledger, 40)
        if packets_can_be_dropped():
            failover.address.drop_packets()
        failover.promote()
        time.sleep(0.5)
        failover.move_address()
        _await_more(ledger, 40)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    told = ledger.compare(rows_kept(failover.new))
    assert (told["lost"], told["doubled"], told["kept_though_refused"]) == (0, 0, 0), told
    if packets_can_be_dropped():
        assert told["refused"] + told["in_doubt"] > 0, "no writer met the failover"


def _await_more(ledger, rows):
    wanted, deadline = ledger.acknowledged + rows, time.monotonic() + 30
    while ledger.acknowledged < wanted:
        assert time.monotonic() < deadline, "no writer goes on"
        time.sleep(0.02)


@pytest.mark.parametrize("with_reader", [True, False])
def test_one_invocation_survives_a_failover_whose_address_moves_late(failover, keepers, settings, with_reader, capsys):
    """A writer that is a standby refuses the write: nothing was kept, so the work is run again elsewhere."""
    settings = settings._replace(port=failover.address.port)
    if with_reader:
        settings = settings._replace(reader_host=READER, reader_port=failover.new.port)
    keeper = keepers(settings)
    keeper.run_transaction(insert)
    failover.promote()
    capsys.readouterr()
    with pytest.raises(CannotConnect if with_reader else psycopg2.errors.ReadOnlySqlTransaction) as caught:
        keepers(settings._replace(retry_seconds=0)).run_transaction(insert)
    assert (caught.value.sqlstate if with_reader else caught.value.pgcode) == "25006"
    threading.Timer(0.7, failover.move_address).start()
    keeper.run_transaction(insert, Invocation())
    assert sum(rows_kept(failover.new).values()) == 2
    written = capsys.readouterr().out
    if with_reader:  # found out while connecting: transaction() and connection() gain by it too
        assert "this server is a standby" in written
    else:
        assert '"reason": "read-only server"' in written


def test_a_role_that_may_only_read_is_told_so_at_once(keepers, settings, server):
    with server.administrator() as cursor:
        cursor.execute("ALTER ROLE app SET default_transaction_read_only = on")
    try:
        began = time.monotonic()
        with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
            keepers(settings).run_transaction(insert, Invocation())
        assert time.monotonic() - began < 2
    finally:
        with server.administrator() as cursor:
            cursor.execute("ALTER ROLE app RESET ALL")


@pytest.mark.parametrize("meanwhile", ["refused", "mute"])
def test_a_server_that_resumes_late_is_waited_for_and_the_log_says_why(keepers, settings, relay, meanwhile, capsys):
    relay.stop_listening()
    mute = socket.create_server(("127.0.0.1", relay.port)) if meanwhile == "mute" else None

    def resume():
        if mute is not None:
            mute.close()
        relay.listen()

    timer = threading.Timer(2.5, resume)
    timer.start()
    try:
        keeper = keepers(settings._replace(port=relay.port, connect_timeout_seconds=2, retry_seconds=60))
        keeper.run_transaction(insert, Invocation())
    finally:
        timer.join()
    *failed, line = map(json.loads, capsys.readouterr().out.splitlines())
    assert ("Connection refused" if meanwhile == "refused" else "timeout expired") in failed[0]["cause"]
    assert (line["event"], line["attempt"]) == ("connected", len(failed) + 1)
    assert line["waited_milliseconds"] > 2000
    assert line["why"] == failed[-1]["cause"]


def test_one_attempt_that_took_long_says_so(keepers, settings, relay, capsys, monkeypatch):
    monkeypatch.setattr("lambda_postgres.keeper._SLOW_MILLISECONDS", 300)
    relay.stop_listening()
    with socket.create_server(("127.0.0.1", relay.port)) as slow:

        def answer_late():
            client, _ = slow.accept()
            time.sleep(0.4)
            relay.adopt(client)

        threading.Thread(target=answer_late, daemon=True).start()
        keepers(settings._replace(port=relay.port)).run_transaction(insert, Invocation())
    (line,) = events(capsys, "connected")
    assert (line["attempt"], line["why"][:19]) == (1, "no answer until now")
