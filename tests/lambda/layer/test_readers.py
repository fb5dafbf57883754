"""Read-only work on a real hot standby."""

# ruff: noqa: PT012  a loan and what happens in it are one promise

from __future__ import annotations

import socket
from contextlib import nullcontext

import psycopg2
import pytest
from lambda_postgres import CannotConnect, CannotLend, ConnectionLost, LoginRefused, PoolExhausted

from local.loop import LoopThread
from local.postgres.instance_listener import InstanceListener
from local.postgres.server import free_port
from tests.local.data_plane import SmallDirectory

from .support import FUNCTION, HOST, READER, events, insert, set_password, terminate_backends
from .writers import Invocation

FULL = "DO $$BEGIN RAISE EXCEPTION 'Timed-out waiting to acquire database connection' USING ERRCODE = '08000'; END$$"


@pytest.fixture
def shared_server(pair):
    return pair[0]


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


def sessions(server):
    with server.administrator() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'")
        return cursor.fetchone()[0]


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
        socket_path=lambda: standby.socket_path,
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


@pytest.mark.parametrize("inside", [False, True])
def test_read_only_work_that_lost_its_reader_is_run_again(keeper, standby, inside):
    """Also inside a loan of the writer, which is another connection."""
    seen = []

    def read(conn):
        seen.append(ask(conn))
        if len(seen) == 1:
            terminate_backends(standby)
        return is_reader(conn)

    with keeper.connection() if inside else nullcontext():
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
