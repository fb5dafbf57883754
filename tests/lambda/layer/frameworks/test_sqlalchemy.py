"""SQLAlchemy on the keeper's connection: one connection, the same guarantees, no pin."""

# ruff: noqa: PT012  a loan and what happens in it are one promise

from __future__ import annotations

import threading
import uuid
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from lambda_postgres import CannotConnect, CannotLend, ConnectionLost, Keeper, NotCommitted, PoolExhausted
from lambda_postgres.log import Log
from lambda_postgres.session import Session
from lambda_postgres.sqlalchemy import engine, invocation, run_transaction
from sqlalchemy import orm

LEDGER = sa.Table("ledger", sa.MetaData(), sa.Column("id", sa.Uuid, primary_key=True), sa.Column("writer", sa.Integer))


class Base(orm.DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    name: orm.Mapped[str]


@pytest.fixture
def db(keeper):
    return engine(keeper)


def write(conn, writer=1):
    conn.execute(sa.insert(LEDGER), {"id": uuid.uuid4(), "writer": writer})


def rows(server):
    with server.administrator("app") as cursor:
        cursor.execute("SELECT count(*) FROM ledger")
        return cursor.fetchone()[0]


def pid(conn):
    return conn.scalar(sa.text("SELECT pg_backend_pid()"))


def invocation_of(name, milliseconds=60_000):
    return SimpleNamespace(aws_request_id=name, get_remaining_time_in_millis=lambda: milliseconds)


def test_it_has_the_keepers_one_connection_and_leaves_it_as_it_was(db, keeper):
    with keeper.connection() as conn:
        lent = conn.get_backend_pid()
    for _ in range(3):
        with db.connect() as conn:
            assert pid(conn) == lent
    with db.execution_options(isolation_level="SERIALIZABLE", postgresql_readonly=True).connect() as conn:
        assert conn.scalar(sa.text("SELECT current_setting('transaction_read_only')")) == "on"
        assert conn.scalar(sa.text("SELECT current_setting('transaction_isolation')")) == "serializable"
    with db.execution_options(isolation_level="AUTOCOMMIT").connect() as conn:
        assert pid(conn) == lent
    with keeper.connection() as conn:
        assert conn.get_backend_pid() == lent
        assert conn.autocommit
        assert conn.readonly is conn.isolation_level is None


def test_a_block_that_raises_keeps_nothing(db, server):
    with pytest.raises(ZeroDivisionError), db.begin() as conn:
        write(conn)
        1 / 0  # noqa: B018
    assert rows(server) == 0
    with db.begin() as conn:
        write(conn)
    assert rows(server) == 1


def test_a_connection_closed_without_commit_keeps_nothing(db, server):
    with db.connect() as conn:
        write(conn)
    del conn
    assert rows(server) == 0


def test_what_the_pool_does_not_roll_back_the_loan_does(keeper, server):
    db = engine(keeper, pool_reset_on_return=None)
    conn = db.connect()
    before = pid(conn)
    write(conn)
    conn._dbapi_connection.close()
    with db.connect() as conn:
        assert pid(conn) == before
    assert rows(server) == 0


def test_a_session_commits_and_rolls_back(db):
    with invocation(invocation_of("1")), orm.Session(db) as session:
        session.get(User, 1).name = "Grace"
        session.commit()
        session.get(User, 1).name = "Ada"
        session.rollback()
        assert session.get(User, 1).name == "Grace"


def test_a_caught_failure_is_told_at_commit_instead_of_lost(db, server):
    with pytest.raises(NotCommitted), db.begin() as conn:
        write(conn)
        with pytest.raises(sa.exc.DataError):
            conn.execute(sa.text("SELECT 1 / 0"))
    assert rows(server) == 0
    with db.begin() as conn:
        write(conn)
        with pytest.raises(sa.exc.DataError), conn.begin_nested():
            conn.execute(sa.text("SELECT 1 / 0"))
    assert rows(server) == 1


def test_a_dead_connection_is_replaced_before_it_is_lent(db, terminate):
    with db.connect() as conn:
        before = pid(conn)
    assert terminate() == 1
    with db.begin() as conn:
        assert pid(conn) != before


def test_a_connection_lost_before_commit_was_certainly_rolled_back(db, server, terminate):
    with pytest.raises(ConnectionLost) as caught, db.begin() as conn:
        write(conn)
        terminate()
        write(conn)
    assert caught.value.committed is False
    with pytest.raises(ConnectionLost) as caught, db.begin() as conn:
        write(conn)
        terminate()
    assert caught.value.committed is False
    assert rows(server) == 0
    with db.begin() as conn:
        write(conn)
    assert rows(server) == 1


def test_a_connection_lost_after_a_first_commit_may_have_kept_something(db, terminate):
    with pytest.raises(ConnectionLost) as caught, db.connect() as conn:
        write(conn)
        conn.commit()
        write(conn)
        terminate()
        write(conn)
    assert caught.value.committed is None


def test_lost_work_is_repeated_before_commit_and_not_after_it(db, server, terminate):
    def work(conn):
        runs.append(pid(conn))
        write(conn)
        if len(runs) == 1:
            if ended:
                conn.commit()
            terminate()
            conn.execute(sa.text("SELECT 1"))
        return "done"

    runs, ended = [], False
    assert run_transaction(db, work) == "done"
    assert len(set(runs)) == 2
    assert rows(server) == 1

    runs, ended = [], True
    with pytest.raises((ConnectionLost, sa.exc.InvalidRequestError)):
        run_transaction(db, work)
    assert len(runs) == 1
    assert rows(server) == 2


def test_a_write_whose_commit_was_sent_is_never_repeated(settings, relay):
    keeper = Keeper(settings._replace(port=relay.port), log=Log())
    db = engine(keeper)
    with db.connect():
        pass
    runs = []

    def work(conn):
        runs.append(1)
        write(conn)

    def cut_once_found_alive(_conn):
        relay.cut()  # after the last look before COMMIT
        return True

    try:
        keeper._is_alive = cut_once_found_alive
        with pytest.raises(ConnectionLost) as caught:
            run_transaction(db, work)
        assert caught.value.committed is None
        assert runs == [1]
    finally:
        keeper.close()


def test_a_conflict_that_sqlalchemy_wraps_is_repeated(db, server):
    runs = []

    def work(conn):
        runs.append(1)
        conn.execute(sa.text("SELECT count(*) FROM ledger")).one()
        if len(runs) == 1:
            with server.administrator("app") as cursor:
                cursor.execute("INSERT INTO ledger VALUES (gen_random_uuid(), 7)")
                cursor.execute("UPDATE users SET name = 'other' WHERE id = 3")
        conn.execute(sa.text("UPDATE users SET name = 'mine' WHERE id = 3"))
        return conn.scalar(sa.text("SELECT current_setting('transaction_isolation')"))

    assert run_transaction(db, work, isolation="serializable") == "serializable"
    assert len(runs) == 2

    def fail(conn):
        runs.append(1)
        conn.execute(sa.text("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$"))

    runs.clear()
    with pytest.raises(sa.exc.OperationalError, match="DO"):
        run_transaction(db, fail)
    assert len(runs) == 3
    runs.clear()
    with pytest.raises(sa.exc.DataError):
        run_transaction(db, lambda conn: runs.append(1) or conn.execute(sa.text("SELECT 1 / 0")))
    assert runs == [1]


def test_a_second_connection_in_one_thread_is_refused_and_threads_take_turns(db, keeper):
    with db.connect(), pytest.raises(CannotLend, match="only one"):
        db.connect()
    with keeper.connection(), pytest.raises(CannotLend, match="only one"):
        db.connect()
    seen = []

    def use():
        with db.connect() as conn:
            seen.append(pid(conn))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 4
    assert len(set(seen)) == 1


def test_what_an_earlier_invocation_left_open_does_not_reach_the_next(db):
    with invocation(invocation_of("1")):
        left = db.connect()
        write(left)
    with invocation(invocation_of("2")), db.begin() as conn:
        write(conn, 2)
    left.close()
    with db.connect() as conn:
        assert conn.scalars(sa.select(LEDGER.c.writer)).all() == [2]


def test_a_set_of_autocommit_costs_the_connection(db):
    with db.execution_options(isolation_level="AUTOCOMMIT").connect() as conn:
        before = pid(conn)
        conn.rollback()
        conn.execution_options(postgresql_readonly=True)
        assert conn.scalar(sa.text("SHOW default_transaction_read_only")) == "on"
    with db.connect() as conn:
        assert conn.scalar(sa.text("SHOW default_transaction_read_only")) == "off"
        assert pid(conn) != before


def test_errors_of_connecting_are_the_librarys(settings):
    db = engine(Keeper(settings._replace(port=1, retry_seconds=0)))
    with pytest.raises(CannotConnect, match="refused"):
        db.connect()


def test_it_does_not_pin_and_a_full_pool_is_told(proxied, proxy):
    keepers = [Keeper(proxied) for _ in range(proxy.metrics().max_server_connections + 1)]
    databases = [engine(keeper) for keeper in keepers]
    *holders, late = databases
    many = [{"id": uuid.uuid4(), "writer": number} for number in range(1000)]
    for db in databases:
        with db.begin() as conn:
            write(conn)
        with orm.Session(db) as session:
            session.scalars(sa.select(User).order_by(User.id).limit(10)).all()
            session.get(User, 2).name = "Grace"
            session.commit()
        run_transaction(db, write, isolation="repeatable read")
        with db.execution_options(isolation_level="AUTOCOMMIT").connect() as conn:
            write(conn)
        run_transaction(db, lambda conn: conn.execute(sa.select(LEDGER)).all(), read_only=True)
    with late.begin() as conn:
        assert len(conn.execute(sa.insert(LEDGER).returning(LEDGER.c.id), many).all()) == 1000
        conn.execute(sa.insert(LEDGER), [{"id": uuid.uuid4(), "writer": 1} for _ in range(1000)])
    assert sa.inspect(late).has_table("users")
    held = [db.connect() for db in holders]
    for conn in held:
        write(conn)
    with pytest.raises(PoolExhausted), late.begin() as conn:
        write(conn)
    for conn in held:
        conn.close()
    with late.begin() as conn:
        write(conn)
    metrics = proxy.metrics()
    assert metrics.client_connections == len(keepers)
    assert metrics.pins == metrics.borrowed == 0
    for keeper in keepers:
        keeper.close()


@pytest.mark.usefixtures("public")
def test_it_shares_the_connection_of_the_librarys_own_calls():
    import lambda_postgres  # noqa: PLC0415

    with lambda_postgres.connection() as conn:
        assert isinstance(conn, Session)
        lent = conn.get_backend_pid()
    with engine().connect() as conn:
        assert pid(conn) == lent
