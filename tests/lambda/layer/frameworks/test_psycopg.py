"""psycopg 3 by the same keeper: the promises of the library's own tests, with the other driver."""

# ruff: noqa: PT012  a loan and what happens in it are one promise

from __future__ import annotations

import inspect
import threading
import time
import uuid

import lambda_postgres
import psycopg
import pytest
from lambda_postgres import (
    CannotConnect,
    CannotLend,
    ConnectionLost,
    Keeper,
    LoginRefused,
    NotCommitted,
    PoolExhausted,
    connecting,
)
from lambda_postgres import psycopg as library
from lambda_postgres.log import Log
from lambda_postgres.psycopg import PsycopgKeeper
from psycopg.rows import dict_row

from local.postgres.server import PostgresServer

WRITE = "INSERT INTO ledger VALUES (gen_random_uuid(), %s)"


@pytest.fixture
def keeper(settings, clock):
    keeper = PsycopgKeeper(settings, log=Log(), clock=clock)
    yield keeper
    keeper.close()


def write(conn):
    conn.execute(WRITE, [1])


def rows(server):
    with server.administrator("app") as cursor:
        cursor.execute("SELECT count(*) FROM ledger")
        return cursor.fetchone()[0]


def pid(conn):
    return conn.execute("SELECT pg_backend_pid()").fetchone()[0]


def test_it_is_psycopgs_verified_lent_again_and_prepares_nothing(keeper):
    seen = set()
    for _ in range(8):
        with keeper.connection() as conn:
            assert isinstance(conn, psycopg.Connection)
            assert conn.autocommit
            assert conn.info.get_parameters()["sslmode"] == "verify-full"
            seen.add(pid(conn))
            assert conn.execute("SELECT count(*) FROM pg_prepared_statements WHERE %s = 1", [1]).fetchone() == (0,)
    assert len(seen) == 1


def test_a_transaction_is_committed_or_rolled_back(keeper, server):
    with keeper.transaction() as conn:
        write(conn)
    with pytest.raises(ZeroDivisionError), keeper.transaction() as conn:
        write(conn)
        1 / 0  # noqa: B018
    assert rows(server) == 1
    with keeper.transaction(read_only=True, isolation="serializable") as conn:
        assert conn.execute("SHOW transaction_isolation").fetchone() == ("serializable",)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), conn.transaction():
            write(conn)
    with keeper.connection() as conn:
        assert conn.read_only is conn.isolation_level is None
        write(conn)


def test_an_inner_transaction_is_a_savepoint_also_psycopgs_own(keeper, server):
    with keeper.transaction() as conn:
        with conn.transaction():  # the first of the block
            write(conn)
        with keeper.transaction():
            write(conn)
        with pytest.raises(psycopg.errors.DivisionByZero), keeper.transaction():
            write(conn)
            conn.execute("SELECT 1 / 0")
        assert rows(server) == 0
    assert rows(server) == 2
    with pytest.raises(NotCommitted), keeper.transaction() as conn:
        write(conn)
        with pytest.raises(psycopg.errors.DivisionByZero):
            conn.execute("SELECT 1 / 0")
    assert rows(server) == 2


def test_a_dead_connection_is_replaced_before_it_is_lent(keeper, terminate):
    with keeper.connection() as conn:
        before = pid(conn)
    assert terminate() == 1
    with keeper.connection() as conn:
        assert pid(conn) != before


def test_what_is_lost_says_whether_it_was_kept(keeper, server, terminate):
    with pytest.raises(ConnectionLost) as caught, keeper.connection() as conn:
        terminate()
        write(conn)
    assert caught.value.committed is None
    for again in (True, False):
        with pytest.raises(ConnectionLost) as caught, keeper.transaction() as conn:
            write(conn)
            terminate()
            if again:
                write(conn)
        assert caught.value.committed is False
    with pytest.raises(ConnectionLost) as caught, keeper.transaction() as conn:
        write(conn)
        conn.commit()
        terminate()
        write(conn)
    assert caught.value.committed is None
    assert rows(server) == 1


def test_lost_work_is_repeated_unless_it_ended_its_transaction(keeper, server, terminate):
    def work(conn):
        runs.append(1)
        write(conn)
        if len(runs) == 1:
            end(conn)
            terminate()
            conn.execute("SELECT 1")

    runs, end = [], lambda _: None
    keeper.run_transaction(work)
    assert (len(runs), rows(server)) == (2, 1)
    for number, ended in enumerate((lambda conn: conn.commit(), lambda conn: conn.execute("COMMIT")), 2):
        end = ended
        runs.clear()
        with pytest.raises(ConnectionLost):
            keeper.run_transaction(work, read_only=False)
        assert (len(runs), rows(server)) == (1, number)


def test_a_conflict_is_repeated_three_times_and_then_its_own_error(keeper):
    def fail(conn):
        runs.append(1)
        if len(runs) < until:
            conn.execute("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")
        return "done"

    runs, until = [], 3
    assert keeper.run_transaction(fail) == "done"
    runs, until = [], 9
    with pytest.raises(psycopg.errors.SerializationFailure):
        keeper.run_transaction(fail)
    assert len(runs) == 3


def test_a_write_whose_commit_was_sent_is_never_repeated(settings, relay):
    keeper = PsycopgKeeper(settings._replace(port=relay.port), log=Log())
    runs = []

    def work(conn):
        runs.append(1)
        write(conn)

    def cut_once_found_alive(_conn):
        relay.cut()
        return True

    with keeper.connection():
        pass
    keeper._is_alive = cut_once_found_alive
    with pytest.raises(ConnectionLost) as caught:
        keeper.run_transaction(work)
    assert caught.value.committed is None
    assert runs == [1]


@pytest.mark.parametrize(
    "left",
    ["SET search_path = pg_catalog", "LISTEN a", "CREATE TEMP TABLE t (id int)", "PREPARE p AS SELECT 1"],
)
def test_what_cannot_be_undone_costs_the_connection(keeper, left):
    with keeper.connection() as conn:
        before = pid(conn)
        conn.execute(left)
    with keeper.connection() as conn:
        assert pid(conn) != before


def test_what_can_be_undone_is(keeper):
    with keeper.connection() as conn:
        before = pid(conn)
        conn.row_factory = dict_row
        conn.autocommit = False
        conn.prepare_threshold = 0
        conn.adapters.register_loader("int4", psycopg.types.string.TextLoader)
        conn.cursor_factory = psycopg.ClientCursor
        assert conn.execute("SELECT %s AS one", [1]).fetchone() == {"one": "1"}
        conn.rollback()
    with keeper.connection() as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
        assert pid(conn) == before
        assert (conn.autocommit, conn.prepare_threshold) == (True, None)
    with keeper.connection(cursor_factory=psycopg.ClientCursor) as conn:
        assert isinstance(conn.cursor(), psycopg.ClientCursor)
        conn.execute("SET work_mem = '1MB'")
    with keeper.connection() as conn:
        assert pid(conn) != before


def test_errors_of_connecting_are_the_librarys_and_hold_no_password(settings, secrets):
    with pytest.raises(CannotConnect, match="refused"):
        PsycopgKeeper(settings._replace(port=1, retry_seconds=0)).connection().__enter__()
    secrets.password = uuid.uuid4().hex
    with pytest.raises(LoginRefused) as caught:
        PsycopgKeeper(settings).connection().__enter__()
    assert secrets.password not in str(caught.getrepr(showlocals=True, truncate_locals=False))


def test_it_is_warmed_and_threads_take_turns(keeper):
    keeper.warm()
    time.sleep(0.3)
    assert keeper._pending.outcome is not None
    seen = []

    def use():
        with keeper.connection() as conn:
            seen.append(pid(conn))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(seen), len(set(seen))) == (4, 1)


def test_a_suspended_generator_keeps_the_connection(keeper):
    def read():
        with keeper.connection() as conn:
            yield from conn.execute("SELECT generate_series(1, 3)")

    rows = read()
    assert next(rows) == (1,)
    with pytest.raises(CannotLend, match="suspended generator"):
        keeper.connection().__enter__()
    assert list(rows) == [(2,), (3,)]


def test_connect_gives_psycopgs_own(keeper):
    with keeper.connect() as conn:
        assert type(conn) is psycopg.Connection
        assert conn.prepare_threshold is None
        assert not conn.autocommit


@pytest.mark.parametrize("name", ["connection", "transaction", "run_transaction", "connect", "warm"])
def test_a_public_function_takes_what_psycopg2s_takes(name):
    public, other = getattr(library, name), getattr(lambda_postgres, name)
    assert list(inspect.signature(public).parameters) == list(inspect.signature(other).parameters)
    assert list(inspect.signature(getattr(PsycopgKeeper, name)).parameters) == list(
        inspect.signature(getattr(Keeper, name)).parameters
    )


def test_it_does_not_pin_and_a_full_pool_is_told(proxied, proxy):
    keepers = [PsycopgKeeper(proxied) for _ in range(proxy.metrics().max_server_connections + 1)]
    *holders, late = keepers
    for keeper in keepers:
        for _ in range(8):
            with keeper.connection() as conn:
                conn.execute("SELECT id, name FROM users WHERE id = %s", [1]).fetchall()
        with keeper.transaction() as conn:
            conn.cursor().executemany(WRITE, [[1], [2], [3]])
            with keeper.transaction():
                write(conn)
        keeper.run_transaction(write, isolation="repeatable read")
        with keeper.transaction(read_only=True) as conn:
            conn.execute("SELECT count(*) FROM ledger").fetchall()
    lent = [keeper.transaction() for keeper in holders]
    for loan in lent:
        write(loan.__enter__())
    with pytest.raises(PoolExhausted), late.transaction() as conn:
        write(conn)
    for loan in lent:
        loan.__exit__(None, None, None)
    with late.transaction() as again:
        write(again)
    assert again is conn
    metrics = proxy.metrics()
    assert metrics.client_connections == len(keepers)
    assert metrics.pins == metrics.borrowed == 0
    for keeper in keepers:
        keeper.close()


def test_what_libpq_is_told_is_what_psycopg2_tells_it(keeper, settings):
    login = type("Login", (), {"user": "app", "password": ""})
    told = connecting.parameters(settings, login, timeout_seconds=5)
    with keeper.connection() as conn:
        used = conn.info.get_parameters()
    missing = {name for name, value in told.items() if name != "password" and used.get(name) != str(value)}
    # The first is counted by psycopg itself, the second is unknown to a libpq without GSSAPI, as in psycopg's wheel.
    assert missing <= {"connect_timeout", "gssencmode"}


def test_read_only_work_goes_to_the_reader(settings, server, certificates):
    reader = "app.cluster-ro-abcdefghijkl.eu-central-1.rds.amazonaws.com"
    standby = PostgresServer.start_standby(server, name="reader", host_name=reader, certificates=certificates)
    keeper = PsycopgKeeper(settings._replace(reader_host=reader, reader_port=standby.port))

    def ask(conn):
        return conn.execute("SELECT pg_is_in_recovery()").fetchone()[0]

    try:
        with keeper.connection(read_only=True) as conn:
            assert isinstance(conn, psycopg.Connection)
            assert ask(conn)
        assert keeper.run_transaction(ask, read_only=True)
        assert not keeper.run_transaction(ask)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction) as caught, keeper.connection(read_only=True) as conn:
            write(conn)
        assert reader in caught.value.__notes__[0]
    finally:
        keeper.close()
        standby.stop()


def test_a_write_that_a_standby_refused_is_run_again_where_the_address_leads(settings, server, certificates, relay):
    standby = PostgresServer.start_standby(server, name="demoted", host_name=settings.host, certificates=certificates)
    relay.target_port = standby.port
    keeper = PsycopgKeeper(settings._replace(port=relay.port))
    tried = []

    def work(conn):
        tried.append(conn)
        relay.target_port = server.port  # for the next connection
        write(conn)

    try:
        standby.catch_up(server)
        keeper.run_transaction(work)
        assert (len(tried), rows(server)) == (2, 1)
    finally:
        keeper.close()
        standby.stop()
