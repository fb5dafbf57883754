"""A borrower that has the connections to the reader and to the writer side by side."""

from __future__ import annotations

import threading
from contextlib import nullcontext, suppress

import pytest
from lambda_postgres import CannotLend, ConnectionLost, NotCommitted
from lambda_postgres.session import Session
from psycopg2 import OperationalError
from psycopg2.errors import ReadOnlySqlTransaction, SerializationFailure

from .support import READER, insert, terminate_backends
from .writers import Invocation


@pytest.fixture
def shared_server(pair):
    return pair[0]


@pytest.fixture
def keeper(both, keepers):
    return keepers(both)


def ask(conn, question="SELECT 1"):
    with conn.cursor() as cursor:
        cursor.execute(question)
        return cursor.fetchone()


def rows(server):
    with server.administrator("app") as cursor:
        cursor.execute("SELECT count(*) FROM ledger")
        return cursor.fetchone()[0]


@pytest.mark.parametrize("way", ["transaction", "connection", "run_transaction"])
def test_what_read_only_work_wrote_by_the_writers_connection_is_not_written_again(keeper, server, standby, way):
    def work(conn):
        ask(conn)
        if way == "run_transaction":
            keeper.run_transaction(insert)
        else:
            with getattr(keeper, way)() as writing:
                insert(writing)
        terminate_backends(standby)
        ask(conn)

    with pytest.raises(ConnectionLost) as lost:
        keeper.run_transaction(work, Invocation(), read_only=True)
    assert lost.value.committed is None
    assert rows(server) == 1


def test_what_read_only_work_wrote_elsewhere_is_not_written_again_after_a_conflict(keeper, server):
    def work(conn):
        ask(conn)
        keeper.run_transaction(insert)
        ask(conn, "SELECT 1")
        with conn.cursor() as cursor:
            cursor.execute("DO $$BEGIN RAISE EXCEPTION 'conflict with recovery' USING ERRCODE = '40001'; END$$")

    with pytest.raises(SerializationFailure):
        keeper.run_transaction(work, Invocation(), read_only=True)
    assert rows(server) == 1


@pytest.mark.parametrize(
    "statement", ["SET TRANSACTION READ WRITE", "SET LOCAL transaction_read_only = off", "attribute", "set_session"]
)
def test_read_only_work_that_makes_itself_writable_is_not_run_again(keepers, settings, server, monkeypatch, statement):
    commit = Session.commit_block
    sent = []

    def lose(conn):
        commit(conn)
        sent.append(conn)
        conn.close()
        raise OperationalError("lost")

    monkeypatch.setattr(Session, "commit_block", lose)

    def work(conn):
        if statement == "attribute":
            conn.readonly = False
        elif statement == "set_session":
            conn.set_session(readonly=False)
        else:
            with conn.cursor() as cursor:
                cursor.execute(statement)
        insert(conn)

    with pytest.raises(ConnectionLost) as lost:
        keepers(settings).run_transaction(work, Invocation(), read_only=True)
    assert lost.value.committed is None
    assert len(sent) == rows(server) == 1


@pytest.mark.parametrize("inner", [True, False])
def test_a_write_that_a_standby_refused_is_not_called_committed_though_the_work_caught_that(
    keepers, settings, standby, inner
):
    """Whether an inner transaction or the work's own savepoint let it go on."""
    keeper = keepers(settings._replace(host=READER, port=standby.port))

    def work(conn):
        with conn.cursor() as cursor:
            cursor.execute("SAVEPOINT mine")
            with suppress(ReadOnlySqlTransaction), keeper.transaction() if inner else nullcontext():
                insert(conn)
            cursor.execute("ROLLBACK TO SAVEPOINT mine")
        return "made"

    with pytest.raises(NotCommitted, match="a standby refused a write"):
        keeper.run_transaction(work, Invocation())

    with keeper.connection() as conn:
        with pytest.raises(ReadOnlySqlTransaction):
            insert(conn)
        with keeper.transaction() as reading:
            assert ask(reading) == (1,)  # it tried no write


@pytest.mark.parametrize("reader", [True, False])
def test_read_only_inside_a_transaction_that_the_borrower_began_is_refused(keepers, both, reader):
    keeper = keepers(both if reader else both._replace(reader_host=None))
    with keeper.connection() as conn:
        with conn.cursor() as cursor:
            cursor.execute("BEGIN")
        insert(conn)
        with pytest.raises(CannotLend, match="begun without it"), keeper.connection(read_only=True):
            pass
        conn.rollback()


def test_close_closes_the_writers_connection_whoever_has_the_readers(keepers, both):
    keeper = keepers(both._replace(retry_seconds=0))
    keeper.run_transaction(ask)
    lent, done = threading.Event(), threading.Event()

    def read():
        with keeper.connection(read_only=True) as conn:
            ask(conn)
            lent.set()
            done.wait()

    thread = threading.Thread(target=read)
    thread.start()
    lent.wait()
    try:
        with pytest.raises(CannotLend):
            keeper.close()
        assert keeper._connection is None
    finally:
        done.set()
        thread.join()


def test_a_thread_waits_its_whole_time_for_the_reader_that_another_one_has(keepers, both):
    keeper = keepers(both._replace(reader_fallback=True))
    lent = threading.Event()

    def read():
        with keeper.connection(Invocation(), read_only=True) as conn:
            ask(conn)
            lent.set()
            ask(conn, "SELECT pg_sleep(1.3)")

    thread = threading.Thread(target=read)
    thread.start()
    lent.wait()
    context = Invocation()
    with keeper.connection(context, read_only=True) as conn:
        assert ask(conn) == (1,)
    thread.join()
