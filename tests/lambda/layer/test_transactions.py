"""A transaction is committed whole, or its error tells what is known."""

# ruff: noqa: PT012  a loan and what happens in it are one promise

from __future__ import annotations

import contextlib
import uuid

import psycopg2
import pytest
from lambda_postgres import ConnectionLost, NotCommitted, PoolExhausted
from psycopg2.extensions import TRANSACTION_STATUS_IDLE


def write(conn, key=None, writer=1):
    with conn.cursor() as cursor:
        cursor.execute("INSERT INTO ledger VALUES (%s, %s)", [str(key or uuid.uuid4()), writer])


@pytest.fixture
def rows(server):
    def count():
        with server.administrator("app") as cursor:
            cursor.execute("SELECT count(*) FROM ledger")
            return cursor.fetchone()[0]

    return count


def test_work_is_committed_at_the_end(keeper, rows):
    with keeper.transaction() as conn:
        write(conn)
        assert rows() == 0
    assert rows() == 1
    assert conn.autocommit


@pytest.mark.parametrize("error", [ValueError("of the user"), KeyboardInterrupt()])
def test_any_exception_rolls_back_and_stays_as_it_was(keeper, rows, error):
    with pytest.raises(type(error)) as caught, keeper.transaction() as conn:
        write(conn)
        raise error
    assert caught.value is error
    assert rows() == 0
    with keeper.connection() as again:
        assert again is conn


def test_a_swallowed_failure_does_not_pass_for_a_commit(keeper, rows):
    def swallow():
        with keeper.transaction() as conn:
            write(conn)
            with contextlib.suppress(psycopg2.errors.DivisionByZero):
                conn.cursor().execute("SELECT 1 / 0")

    with pytest.raises(NotCommitted, match="rolled back"):
        swallow()
    assert rows() == 0


def test_a_constraint_checked_at_commit_is_the_users_error(keeper, server):
    with server.administrator("app") as cursor:
        cursor.execute(
            "CREATE TABLE deferred (id int UNIQUE DEFERRABLE INITIALLY DEFERRED); GRANT ALL ON deferred TO app"
        )
    with pytest.raises(psycopg2.errors.UniqueViolation), keeper.transaction() as conn:
        conn.cursor().execute("INSERT INTO deferred VALUES (1), (1)")
    with keeper.connection() as again:
        assert again is conn


def test_a_transaction_inside_a_transaction_is_a_savepoint(keeper, rows):
    with keeper.transaction() as conn:
        write(conn)
        with pytest.raises(ValueError, match="inner"), keeper.transaction() as inner:
            write(inner)
            raise ValueError("inner")
        with keeper.transaction() as inner:
            write(inner)
    assert rows() == 2


def test_rollback_by_hand_is_a_rollback(keeper, rows):
    with keeper.transaction() as conn:
        write(conn)
        conn.rollback()
    assert rows() == 0


def test_read_only_and_isolation_hold_for_one_transaction(keeper):
    with keeper.transaction(read_only=True, isolation="SERIALIZABLE") as conn, conn.cursor() as cursor:
        cursor.execute("SHOW transaction_read_only")
        assert cursor.fetchone() == ("on",)
        cursor.execute("SHOW transaction_isolation")
        assert cursor.fetchone() == ("serializable",)
    with keeper.transaction() as conn, conn.cursor() as cursor:
        cursor.execute("SHOW transaction_read_only")
        assert cursor.fetchone() == ("off",)
        cursor.execute("SHOW transaction_isolation")
        assert cursor.fetchone() == ("read committed",)


def test_a_write_in_a_read_only_transaction_keeps_the_connection(keeper):
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction), keeper.transaction(read_only=True) as conn:
        write(conn)
    with keeper.connection() as again:
        assert again is conn


def test_a_connection_lost_before_commit_was_certainly_rolled_back(keeper, rows, terminate):
    with pytest.raises(ConnectionLost, match="was rolled back") as caught, keeper.transaction() as conn:
        write(conn)
        terminate()
        write(conn)
    assert caught.value.committed is False
    assert isinstance(caught.value.__cause__, psycopg2.Error)
    assert rows() == 0
    with keeper.transaction() as conn:
        write(conn)
    assert rows() == 1


def test_a_connection_found_dead_at_commit_was_certainly_rolled_back(keeper, rows, terminate):
    with pytest.raises(ConnectionLost) as caught, keeper.transaction() as conn:
        write(conn)
        terminate()
    assert caught.value.committed is False
    assert rows() == 0


def test_a_connection_lost_while_committing_may_have_been_committed(keeper, server):
    """A deferred trigger ends the session in the middle of COMMIT."""
    with server.administrator("app") as cursor:
        cursor.execute(
            """
            CREATE OR REPLACE FUNCTION end_session() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
              $$BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(1); RETURN NULL; END$$;
            CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON ledger DEFERRABLE INITIALLY DEFERRED
              FOR EACH ROW EXECUTE FUNCTION end_session()
            """
        )
    attempts = []

    def work(conn):
        attempts.append(1)
        write(conn)

    try:
        with pytest.raises(ConnectionLost, match="may have been committed") as caught:
            keeper.run_transaction(work)
    finally:
        with server.administrator("app") as cursor:
            cursor.execute("DROP TRIGGER at_commit ON ledger")
    assert caught.value.committed is None
    assert len(attempts) == 1, "a unit whose COMMIT was sent is never repeated"


def test_a_statement_lost_in_autocommit_may_have_been_committed(keeper, terminate):
    with pytest.raises(ConnectionLost) as caught, keeper.connection() as conn:
        write(conn)
        terminate()
        write(conn)
    assert caught.value.committed is None


def test_an_inner_loan_in_a_transaction_knows_that_it_was_rolled_back(keeper, terminate):
    with pytest.raises(ConnectionLost) as caught, keeper.transaction(), keeper.connection() as conn:
        write(conn)
        terminate()
        write(conn)
    assert caught.value.committed is False


def test_a_lost_savepoint_ends_the_whole_transaction(keeper, terminate, rows):
    with pytest.raises(ConnectionLost) as caught, keeper.transaction() as conn, keeper.transaction():
        write(conn)
        terminate()
        write(conn)
    assert caught.value.committed is False
    assert rows() == 0


def test_repeatable_work_is_run_again_after_a_loss_before_commit(keeper, rows, terminate):
    attempts = []

    def work(conn):
        attempts.append(1)
        write(conn)
        if len(attempts) < 3:
            terminate()
        return "done"

    assert keeper.run_transaction(work) == "done"
    assert len(attempts) == 3
    assert rows() == 1


def test_repeatable_work_is_given_up_after_three_attempts(keeper, rows, terminate):
    attempts = []

    def work(conn):
        attempts.append(1)
        write(conn)
        terminate()

    with pytest.raises(ConnectionLost):
        keeper.run_transaction(work)
    assert len(attempts) == 3
    assert rows() == 0


def test_work_is_not_run_again_inside_an_outer_transaction(keeper, terminate):
    attempts = []

    def work(conn):
        attempts.append(1)
        write(conn)
        terminate()
        write(conn)

    with pytest.raises(ConnectionLost), keeper.transaction():
        keeper.run_transaction(work)
    assert len(attempts) == 1


def test_serialization_failures_are_run_again(keeper):
    attempts = []

    def work(conn):
        attempts.append(1)
        with conn.cursor() as cursor:
            if len(attempts) == 1:
                cursor.execute("DO $$BEGIN RAISE EXCEPTION 'try again' USING ERRCODE = '40001'; END$$")
            cursor.execute("SELECT 1")

    keeper.run_transaction(work)
    assert len(attempts) == 2


def test_work_is_not_run_again_when_the_invocation_is_about_to_end(keeper, terminate):
    class Context:
        def get_remaining_time_in_millis(self):
            return 1000

    attempts = []

    def work(conn):
        attempts.append(1)
        terminate()
        write(conn)

    with pytest.raises(ConnectionLost):
        keeper.run_transaction(work, Context())
    assert len(attempts) == 1


def test_a_read_that_lost_its_connection_is_run_again(keeper, terminate, monkeypatch):
    attempts = []

    def work(conn):
        attempts.append(1)
        with conn.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM ledger")
            if len(attempts) == 1:
                monkeypatch.setattr(keeper, "_is_alive", lambda _: True)  # it dies just after it was looked at
                terminate()
            else:
                monkeypatch.undo()
            return cursor.fetchone()[0]

    assert keeper.run_transaction(work, read_only=True) == 0
    assert len(attempts) == 2


def test_a_full_pool_of_the_proxy_is_an_error_of_its_own(keeper):
    with pytest.raises(PoolExhausted, match="Timed-out waiting") as caught, keeper.connection() as conn:
        conn.cursor().execute(
            "DO $$BEGIN RAISE EXCEPTION 'Timed-out waiting to acquire database connection'"
            " USING ERRCODE = '08000'; END$$"
        )
    assert caught.value.sqlstate == "08000"
    assert caught.value.transient
    with keeper.connection() as again:
        assert again is conn
        assert again.info.transaction_status == TRANSACTION_STATUS_IDLE
