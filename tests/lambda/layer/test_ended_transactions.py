"""Work that ends its transaction itself is never run again, nor is its outcome called certain; nested transactions."""

# ruff: noqa: PT012, SIM117  a loan and what happens in it are one promise

from __future__ import annotations

import contextlib
import threading
import time
import uuid

import psycopg2
import pytest
from lambda_postgres import CannotLend, ConnectionLost, Keeper, NotCommitted, PoolExhausted

CONFLICT = "DO $$BEGIN RAISE EXCEPTION 'try again' USING ERRCODE = '40001'; END$$"
FULL = "DO $$BEGIN RAISE EXCEPTION 'Timed-out waiting to acquire database connection' USING ERRCODE = '08000'; END$$"


def write(conn):
    with conn.cursor() as cursor:
        cursor.execute("INSERT INTO ledger VALUES (%s, 1)", [str(uuid.uuid4())])


@pytest.fixture
def rows(server):
    def count():
        with server.administrator("app") as cursor:
            cursor.execute("SELECT count(*) FROM ledger")
            return cursor.fetchone()[0]

    return count


def by_with(conn):
    with conn:
        write(conn)


def by_method(conn):
    write(conn)
    conn.commit()


def by_method_and_on(conn):
    by_method(conn)
    conn.cursor().execute("SELECT 1")


def by_sql(conn):
    write(conn)
    conn.cursor().execute("COMMIT")


def by_sql_and_begun_again(conn):
    write(conn)
    conn.cursor().execute("COMMIT; BEGIN; SELECT 1")


def by_chain(conn):
    write(conn)
    conn.cursor().execute("END AND CHAIN")


def by_sql_rollback_and_autocommit(conn):
    conn.cursor().execute("SELECT 1")
    conn.cursor().execute("ROLLBACK")
    write(conn)


def by_autocommit(conn):
    conn.autocommit = True
    write(conn)


def by_autocommit_for_a_while(conn):
    conn.autocommit = True
    write(conn)
    conn.autocommit = False


def by_two_phases(conn):
    conn.tpc_begin(conn.xid(0, "transaction", "branch"))
    write(conn)
    conn.tpc_commit()


def by_set_session(conn):
    conn.set_session(autocommit=True)
    write(conn)
    conn.set_session(autocommit=False)


def by_isolation_level(conn):
    conn.set_isolation_level(0)
    write(conn)
    conn.set_isolation_level(1)


ENDINGS = [
    by_two_phases,
    by_set_session,
    by_isolation_level,
    by_with,
    by_method,
    by_method_and_on,
    by_sql,
    by_sql_and_begun_again,
    by_chain,
    by_sql_rollback_and_autocommit,
    by_autocommit,
    by_autocommit_for_a_while,
]


@pytest.mark.parametrize("end", ENDINGS)
def test_work_that_committed_itself_is_not_run_again_after_a_conflict(keeper, rows, end):
    def work(conn):
        end(conn)
        conn.cursor().execute(CONFLICT)

    with pytest.raises(psycopg2.errors.SerializationFailure) as caught:
        keeper.run_transaction(work)
    assert caught.value.__notes__ == [
        "the work ended its transaction itself, so some of it may have been committed; it is not run again"
    ]
    assert rows() == 1


@pytest.mark.parametrize("failure", [CONFLICT, FULL])
def test_what_the_work_committed_is_not_forgotten_when_another_thread_has_the_connection_at_once(
    keeper, rows, failure, monkeypatch
):
    """Its transaction begins on the same connection, before the first thread has read what its own work did."""

    def work(conn):
        runs.append(1)
        by_method(conn)
        conn.cursor().execute(failure)

    def other():
        with lend() as conn:
            conn.cursor().execute("SELECT 1")

    @contextlib.contextmanager
    def lend_and_lose_the_race(*arguments, **options):
        try:
            with lend(*arguments, **options) as conn:
                yield conn
        finally:
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()

    runs, lend = [], keeper.transaction
    monkeypatch.setattr(keeper, "transaction", lend_and_lose_the_race)
    with pytest.raises((PoolExhausted, psycopg2.errors.SerializationFailure)):
        keeper.run_transaction(work)
    assert (runs, rows()) == ([1], 1)


@pytest.mark.parametrize("end", ENDINGS)
def test_work_that_committed_itself_has_no_certain_outcome_when_its_connection_is_lost(keeper, rows, terminate, end):
    def work(conn):
        end(conn)
        terminate()
        conn.cursor().execute("SELECT 1")

    with pytest.raises(ConnectionLost, match=r"may have been committed.*ended its transaction itself") as caught:
        keeper.run_transaction(work)
    assert caught.value.committed is None
    assert rows() == 1


def test_a_connection_found_dead_at_the_end_of_work_that_committed_itself_has_no_certain_outcome(
    keeper, rows, terminate
):
    def work(conn):
        by_method_and_on(conn)
        terminate()

    with pytest.raises(ConnectionLost) as caught:
        keeper.run_transaction(work)
    assert caught.value.committed is None
    assert rows() == 1


@pytest.mark.parametrize("read_only", [False, True])
def test_work_that_committed_itself_is_not_run_again_when_the_pool_is_full(keeper, read_only):
    attempts = []

    def work(conn):
        attempts.append(1)
        conn.cursor().execute("SELECT 1")
        conn.commit()
        conn.cursor().execute(FULL)

    with pytest.raises(PoolExhausted):
        keeper.run_transaction(work, read_only=read_only)
    assert len(attempts) == 1


def test_work_that_committed_itself_and_went_well_is_done(keeper, rows):
    for end in ENDINGS:
        keeper.run_transaction(end)
    assert rows() == len(ENDINGS)


def test_work_that_rolled_itself_back_is_run_again(keeper, rows):
    attempts = []

    def work(conn):
        attempts.append(1)
        write(conn)
        conn.rollback()
        write(conn)
        if len(attempts) == 1:
            conn.cursor().execute(CONFLICT)

    keeper.run_transaction(work)
    assert len(attempts) == 2
    assert rows() == 1


def test_the_next_work_is_run_again_as_ever(keeper, rows):
    keeper.run_transaction(by_method)
    attempts = []

    def work(conn):
        attempts.append(1)
        write(conn)
        if len(attempts) == 1:
            conn.cursor().execute(CONFLICT)

    keeper.run_transaction(work)
    assert rows() == 2


def test_a_swallowed_failure_after_the_works_own_commit_is_told_as_it_is(keeper, rows):
    def work(conn):
        by_method(conn)
        with contextlib.suppress(psycopg2.errors.DivisionByZero):
            conn.cursor().execute("SELECT 1 / 0")

    with pytest.raises(NotCommitted, match="what came after the work's own COMMIT was rolled back"):
        keeper.run_transaction(work)
    assert rows() == 1


@pytest.mark.parametrize("code", ["40003", "40000", "40002"])
def test_only_what_was_certainly_rolled_back_is_run_again(keeper, code):
    attempts = []

    def work(conn):
        attempts.append(1)
        conn.cursor().execute(f"DO $$BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{code}'; END$$")

    with pytest.raises(psycopg2.extensions.TransactionRollbackError) as caught:
        keeper.run_transaction(work)
    assert len(attempts) == 1
    assert ("unknown" in "".join(getattr(caught.value, "__notes__", []))) is (code == "40003")


def test_a_deadlock_is_run_again(keeper):
    attempts = []

    def work(conn):
        attempts.append(1)
        if len(attempts) < 3:
            conn.cursor().execute(CONFLICT.replace("40001", "40P01"))

    keeper.run_transaction(work)
    assert len(attempts) == 3


class Context:
    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def get_remaining_time_in_millis(self):
        return int((self.end - time.monotonic()) * 1000)


def test_conflicts_are_run_again_while_the_invocation_lasts_however_short_the_time_to_connect(settings):
    keeper = Keeper(settings._replace(retry_seconds=0))
    with keeper.connection():
        pass
    attempts = []

    def work(conn):
        attempts.append(1)
        if len(attempts) < 5:
            conn.cursor().execute(CONFLICT)

    keeper.run_transaction(work, Context(30))
    assert len(attempts) == 5

    context = Context(2.5)
    with pytest.raises(psycopg2.errors.SerializationFailure):
        keeper.run_transaction(lambda conn: conn.cursor().execute(CONFLICT), context)
    assert 900 < context.get_remaining_time_in_millis() < 2400
    keeper.close()


def test_serializable_work_is_run_again_until_it_was_alone(keeper, server, settings):
    """Two transactions read what the other writes: PostgreSQL refuses one of them."""
    with server.administrator("app") as cursor:
        cursor.execute("DROP TABLE IF EXISTS on_call; CREATE TABLE on_call (name text); GRANT ALL ON on_call TO app")
        cursor.execute("INSERT INTO on_call VALUES ('a'), ('b')")
    other = Keeper(settings)
    attempts = []

    def leave(conn, name):
        with conn.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM on_call")
            if cursor.fetchone()[0] > 1:
                cursor.execute("DELETE FROM on_call WHERE name = %s", [name])

    def work(conn):
        attempts.append(1)
        conn.cursor().execute("SELECT 1")
        if len(attempts) == 1:
            with conn.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM on_call")
            other.run_transaction(lambda conn: leave(conn, "b"), isolation="SERIALIZABLE")
        leave(conn, "a")

    keeper.run_transaction(work, isolation="serializable")
    with server.administrator("app") as cursor:
        cursor.execute("SELECT name FROM on_call")
        assert cursor.fetchall() == [("a",)]
    assert len(attempts) == 2
    other.close()


def test_an_isolation_that_does_not_exist_is_refused_and_leaves_nothing(keeper):
    with pytest.raises(ValueError, match="isolation"), keeper.transaction(isolation="chaos"):
        pass
    with keeper.connection() as conn:
        assert conn.autocommit
        conn.cursor().execute("SELECT 1")


# --- nested


def test_a_failure_swallowed_inside_an_inner_transaction_rolls_that_one_back(keeper, rows):
    with keeper.transaction() as conn:
        write(conn)
        with pytest.raises(NotCommitted, match="inner transaction"), keeper.transaction() as inner:
            write(inner)
            with contextlib.suppress(psycopg2.errors.DivisionByZero):
                inner.cursor().execute("SELECT 1 / 0")
        write(conn)
    assert rows() == 2


def test_an_inner_transaction_whose_error_was_swallowed_leaves_the_outer_whole(keeper, rows):
    with keeper.transaction() as conn:
        write(conn)
        with contextlib.suppress(psycopg2.errors.DivisionByZero):
            with keeper.transaction() as inner:
                write(inner)
                inner.cursor().execute("SELECT 1 / 0")
    assert rows() == 1


def test_a_loss_swallowed_in_an_inner_transaction_is_not_forgotten(keeper, rows, terminate):
    with pytest.raises(ConnectionLost) as caught, keeper.transaction() as conn:
        write(conn)
        with contextlib.suppress(ConnectionLost), keeper.transaction() as inner:
            terminate()
            write(inner)
    assert caught.value.committed is False
    assert rows() == 0


@pytest.mark.parametrize("wanted", [{"read_only": True}, {"isolation": "serializable"}])
def test_an_inner_transaction_of_another_kind_is_refused(keeper, rows, wanted):
    with keeper.transaction() as conn:
        write(conn)
        (name,) = wanted
        with pytest.raises(CannotLend, match=f"{name}=.* inside a transaction"), keeper.transaction(**wanted):
            pass
        with pytest.raises(CannotLend):
            keeper.run_transaction(write, **wanted)
    assert rows() == 1


def test_an_inner_transaction_of_the_same_kind_is_a_savepoint(keeper):
    with keeper.transaction(read_only=True, isolation="SERIALIZABLE"):
        with keeper.transaction(read_only=True, isolation="serializable"), keeper.transaction() as conn:
            conn.cursor().execute("SELECT 1")


def test_inside_a_transaction_begun_by_hand_it_is_a_savepoint(keeper, rows):
    with keeper.connection() as conn:
        conn.cursor().execute("BEGIN")
        write(conn)
        with pytest.raises(ZeroDivisionError), keeper.transaction() as inner:
            write(inner)
            raise ZeroDivisionError
        with pytest.raises(CannotLend), keeper.transaction(read_only=True):
            pass
        conn.cursor().execute("COMMIT")
    assert rows() == 1


def test_work_inside_an_outer_loan_is_run_again_while_the_connection_is_whole(keeper, rows):
    attempts = []

    def work(conn):
        attempts.append(1)
        write(conn)
        if len(attempts) == 1:
            conn.cursor().execute(CONFLICT)

    with keeper.connection() as conn:
        keeper.run_transaction(work)
        assert conn.autocommit
    assert len(attempts) == 2
    assert rows() == 1


def test_work_inside_an_outer_loan_is_not_run_again_when_the_connection_is_lost(keeper, rows, terminate):
    attempts = []

    def work(conn):
        attempts.append(1)
        write(conn)
        terminate()
        write(conn)

    with pytest.raises(ConnectionLost) as caught, keeper.connection():
        keeper.run_transaction(work)
    assert caught.value.committed is False
    assert len(attempts) == 1
    with pytest.raises(ConnectionLost, match="closed inside the loan"), keeper.connection() as conn:
        conn.close()
        keeper.run_transaction(work)
    assert len(attempts) == 1
    assert rows() == 0


def test_conflicts_inside_an_outer_transaction_are_the_outermosts(keeper):
    attempts = []

    def work(conn):
        attempts.append(1)
        conn.cursor().execute(CONFLICT)

    with pytest.raises(psycopg2.errors.SerializationFailure), keeper.transaction():
        keeper.run_transaction(work, Context(30))
    assert len(attempts) == 1


# --- errors of connections that are not ours


def test_a_database_behind_ours_that_cannot_be_reached_is_not_ours(keeper, server):
    with server.administrator("app") as cursor:
        try:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS dblink")
        except psycopg2.Error:
            pytest.skip("this PostgreSQL is without dblink")
    with keeper.connection() as before:
        pass
    with pytest.raises(psycopg2.errors.SqlclientUnableToEstablishSqlconnection), keeper.transaction() as conn:
        conn.cursor().execute("SELECT * FROM dblink('host=127.0.0.1 port=1 password=x', 'SELECT 1') AS t(a int)")
    with keeper.connection() as again:
        assert again is before


@pytest.mark.parametrize("code", ["08001", "08006", "57P01", "57P03", "25P03"])
@pytest.mark.parametrize("kind", ["connection", "transaction"])
def test_a_foreign_tables_lost_connection_is_not_ours(keeper, kind, code):
    """postgres_fdw and dblink fail with the codes of their own connections: the severity says that ours goes on."""
    with keeper.connection() as before:
        pass
    lend = keeper.connection if kind == "connection" else keeper.transaction
    with pytest.raises(psycopg2.Error) as caught, lend() as conn:
        conn.cursor().execute(f"DO $$BEGIN RAISE EXCEPTION 'could not connect' USING ERRCODE = '{code}'; END$$")
    assert caught.value.pgcode == code
    with keeper.connection() as again:
        assert again is before
