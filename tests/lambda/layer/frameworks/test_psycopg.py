"""psycopg 3 by the same keeper, awaited and not: the promises of the library's own tests, with the other driver."""

# ruff: noqa: PT012  a loan and what happens in it are one promise

from __future__ import annotations

import asyncio
import inspect
import threading
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
    psycopg_async,
)
from lambda_postgres import psycopg as library
from lambda_postgres.log import Log
from lambda_postgres.psycopg import PsycopgKeeper
from lambda_postgres.psycopg_async import AsyncPsycopgKeeper
from psycopg.rows import dict_row

from local.postgres.server import PostgresServer

from ..support import HOST, READER, terminate_backends
from .awaited import MAKERS, promise, real

WRITE = "INSERT INTO ledger VALUES (gen_random_uuid(), %s)"


@pytest.fixture(params=sorted(MAKERS))
def make(request):
    return MAKERS[request.param]


@pytest.fixture
def keeper(make, settings, clock):
    keeper = make(settings, log=Log(), clock=clock)
    yield keeper
    asyncio.run(_close(keeper))


async def _close(keeper):
    await keeper.close()


async def write(conn):
    await conn.execute(WRITE, [1])


def rows(server):
    with server.administrator("app") as cursor:
        cursor.execute("SELECT count(*) FROM ledger")
        return cursor.fetchone()[0]


async def one(conn, sql, *parameters):
    return await (await conn.execute(sql, *parameters)).fetchone()


async def pid(conn):
    return (await one(conn, "SELECT pg_backend_pid()"))[0]


@promise
async def test_it_is_psycopgs_verified_lent_again_and_prepares_nothing(keeper):
    seen = set()
    for _ in range(8):
        async with keeper.connection() as conn:
            assert isinstance(real(conn), psycopg.Connection | psycopg.AsyncConnection)
            assert conn.autocommit
            assert conn.info.get_parameters()["sslmode"] == "verify-full"
            seen.add(await pid(conn))
            assert await one(conn, "SELECT count(*) FROM pg_prepared_statements WHERE %s = 1", [1]) == (0,)
    assert len(seen) == 1


@promise
async def test_a_transaction_is_committed_or_rolled_back(keeper, server):
    async with keeper.transaction() as conn:
        await write(conn)
    with pytest.raises(ZeroDivisionError):
        async with keeper.transaction() as conn:
            await write(conn)
            1 / 0  # noqa: B018
    assert rows(server) == 1
    async with keeper.transaction(read_only=True, isolation="serializable") as conn:
        assert await one(conn, "SHOW transaction_isolation") == ("serializable",)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            async with conn.transaction():
                await write(conn)
    async with keeper.connection() as conn:
        assert conn.read_only is conn.isolation_level is None
        await write(conn)


@promise
async def test_an_inner_transaction_is_a_savepoint_also_psycopgs_own(keeper, server):
    async with keeper.transaction() as conn:
        async with conn.transaction():  # the first of the block
            await write(conn)
        async with keeper.transaction():
            await write(conn)
        with pytest.raises(psycopg.errors.DivisionByZero):
            async with keeper.transaction():
                await write(conn)
                await conn.execute("SELECT 1 / 0")
        assert rows(server) == 0
    assert rows(server) == 2
    with pytest.raises(NotCommitted):
        async with keeper.transaction() as conn:
            await write(conn)
            with pytest.raises(psycopg.errors.DivisionByZero):
                await conn.execute("SELECT 1 / 0")
    with pytest.raises(NotCommitted, match="inner"):
        async with keeper.transaction() as conn, keeper.transaction():
            with pytest.raises(psycopg.errors.DivisionByZero):
                await conn.execute("SELECT 1 / 0")
    assert rows(server) == 2
    with pytest.raises(CannotLend, match="read_only"):
        async with keeper.transaction(), keeper.transaction(read_only=True):
            pass


@promise
async def test_a_dead_connection_is_replaced_before_it_is_lent(keeper, terminate):
    async with keeper.connection() as conn:
        before = await pid(conn)
    assert terminate() == 1
    async with keeper.connection() as conn:
        assert await pid(conn) != before


@promise
async def test_a_connection_that_is_old_or_was_long_unused_is_replaced(keeper, clock):
    seen = set()
    for seconds in (0, 299, 301, 24 * 3600):
        clock.offset += seconds
        async with keeper.connection() as conn:
            seen.add(await pid(conn))
    assert len(seen) == 3


@promise
async def test_what_is_lost_says_whether_it_was_kept(keeper, server, terminate):
    with pytest.raises(ConnectionLost) as caught:
        async with keeper.connection() as conn:
            terminate()
            await write(conn)
    assert caught.value.committed is None
    for again in (True, False):
        with pytest.raises(ConnectionLost) as caught:
            async with keeper.transaction() as conn:
                await write(conn)
                terminate()
                if again:
                    await write(conn)
        assert caught.value.committed is False
    with pytest.raises(ConnectionLost) as caught:
        async with keeper.transaction() as conn:
            await write(conn)
            await conn.commit()
            terminate()
            await write(conn)
    assert caught.value.committed is None
    assert rows(server) == 1


@promise
async def test_lost_work_is_repeated_unless_it_ended_its_transaction(keeper, server, terminate):
    async def work(conn):
        runs.append(1)
        await write(conn)
        if len(runs) == 1:
            if end == "itself":
                await conn.commit()
            elif end:
                await conn.execute(end)
            terminate()
            await conn.execute("SELECT 1")

    runs, end = [], ""
    await keeper.run_transaction(work)
    assert (len(runs), rows(server)) == (2, 1)
    for number, ended in enumerate(("itself", "COMMIT"), 2):
        runs, end = [], ended
        with pytest.raises(ConnectionLost) as caught:
            await keeper.run_transaction(work, read_only=False)
        assert (len(runs), rows(server)) == (1, number)
        assert "ended its transaction itself" in str(caught.value)


@promise
async def test_a_conflict_is_repeated_three_times_and_then_its_own_error(keeper):
    async def fail(conn):
        runs.append(1)
        if len(runs) < until:
            await conn.execute("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")
        return "done"

    runs, until = [], 3
    assert await keeper.run_transaction(fail) == "done"
    runs, until = [], 9
    with pytest.raises(psycopg.errors.SerializationFailure):
        await keeper.run_transaction(fail)
    assert len(runs) == 3


@promise
async def test_a_write_whose_commit_was_sent_is_never_repeated(make, settings, relay):
    keeper = make(settings._replace(port=relay.port), log=Log())
    runs = []

    async def work(conn):
        runs.append(1)
        await write(conn)

    def cut_once_found_alive(_conn):
        relay.cut()
        return True

    async with keeper.connection():
        pass
    keeper._is_alive = cut_once_found_alive
    with pytest.raises(ConnectionLost) as caught:
        await keeper.run_transaction(work)
    assert caught.value.committed is None
    assert runs == [1]


@pytest.mark.parametrize(
    "left",
    ["SET search_path = pg_catalog", "LISTEN a", "CREATE TEMP TABLE t (id int)", "PREPARE p AS SELECT 1"],
)
@promise
async def test_what_cannot_be_undone_costs_the_connection(keeper, left):
    async with keeper.connection() as conn:
        before = await pid(conn)
        await conn.execute(left)
    async with keeper.connection() as conn:
        assert await pid(conn) != before


@promise
async def test_what_can_be_undone_is(keeper):
    async with keeper.connection() as conn:
        before = await pid(conn)
        conn.row_factory = dict_row
        await conn.set_autocommit(False)
        conn.prepare_threshold = 0
        conn.adapters.register_loader("int4", psycopg.types.string.TextLoader)
        kinds = {True: psycopg.AsyncClientCursor, False: psycopg.ClientCursor}
        client = kinds[isinstance(conn, psycopg.AsyncConnection)]
        conn.cursor_factory = client
        assert await one(conn, "SELECT %s AS one", [1]) == {"one": "1"}
        await conn.rollback()
    async with keeper.connection() as conn:
        assert await one(conn, "SELECT 1") == (1,)
        assert await pid(conn) == before
        assert (conn.autocommit, conn.prepare_threshold) == (True, None)
    async with keeper.connection(cursor_factory=client) as conn:
        assert isinstance(real(conn.cursor()), client)
        await conn.execute("SET work_mem = '1MB'")
    async with keeper.connection() as conn:
        assert await pid(conn) != before


@promise
async def test_errors_of_connecting_are_the_librarys_and_hold_no_password(make, settings, secrets):
    with pytest.raises(CannotConnect, match="refused"):
        await make(settings._replace(port=1, retry_seconds=0)).connection().__aenter__()
    with pytest.raises(CannotConnect, match="refused"):
        await make(settings._replace(port=1, retry_seconds=0)).connect()
    secrets.password = uuid.uuid4().hex
    with pytest.raises(LoginRefused) as caught:
        await make(settings).connection().__aenter__()
    assert secrets.password not in str(caught.getrepr(showlocals=True, truncate_locals=False))


@promise
async def test_it_is_warmed(keeper):
    keeper.warm()
    await asyncio.sleep(0.3)
    assert keeper._pending.outcome is not None
    async with keeper.connection() as conn:
        await conn.execute("SELECT 1")
    assert keeper._pending is None


def test_threads_take_turns(keeper):
    seen = []

    @promise
    async def use():
        for _ in range(3):
            async with keeper.transaction() as conn:
                seen.append(await pid(conn))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(seen), len(set(seen))) == (12, 1)


def test_a_suspended_generator_keeps_the_connection(settings):
    keeper = PsycopgKeeper(settings)

    def read():
        with keeper.connection() as conn:
            yield from conn.execute("SELECT generate_series(1, 3)")

    rows = read()
    assert next(rows) == (1,)
    with pytest.raises(CannotLend, match="suspended generator"):
        keeper.connection().__enter__()
    assert list(rows) == [(2,), (3,)]
    keeper.close()


@promise
async def test_connect_gives_psycopgs_own(keeper):
    async with await keeper.connect() as conn:
        assert not hasattr(real(conn), "state")
        assert conn.prepare_threshold is None
        assert not conn.autocommit
        assert await one(conn, "SELECT 1") == (1,)
    assert conn.closed


@pytest.mark.parametrize("name", ["connection", "transaction", "run_transaction", "connect", "warm"])
@pytest.mark.parametrize(("module", "kind"), [(library, PsycopgKeeper), (psycopg_async, AsyncPsycopgKeeper)])
def test_a_public_function_takes_what_psycopg2s_takes(module, kind, name):
    public, other = getattr(module, name), getattr(lambda_postgres, name)
    assert list(inspect.signature(public).parameters) == list(inspect.signature(other).parameters)
    assert list(inspect.signature(getattr(kind, name)).parameters) == list(
        inspect.signature(getattr(Keeper, name)).parameters
    )


@promise
async def test_it_does_not_pin_and_a_full_pool_is_told(make, proxied, proxy):
    keepers = [make(proxied) for _ in range(proxy.metrics().max_server_connections + 1)]
    *holders, late = keepers
    for keeper in keepers:
        for _ in range(8):
            async with keeper.connection() as conn:
                await (await conn.execute("SELECT id, name FROM users WHERE id = %s", [1])).fetchall()
        async with keeper.transaction() as conn:
            await conn.cursor().executemany(WRITE, [[1], [2], [3]])
            async with keeper.transaction():
                await write(conn)
        await keeper.run_transaction(write, isolation="repeatable read")
        async with keeper.transaction(read_only=True) as conn:
            await (await conn.execute("SELECT count(*) FROM ledger")).fetchall()
    lent = [keeper.transaction() for keeper in holders]
    for loan in lent:
        await write(await loan.__aenter__())
    with pytest.raises(PoolExhausted):
        async with late.transaction() as conn:
            await write(conn)
    for loan in lent:
        await loan.__aexit__(None, None, None)
    async with late.transaction() as again:
        await write(again)
    assert real(again) is real(conn)
    metrics = proxy.metrics()
    assert metrics.client_connections == len(keepers)
    assert metrics.pins == metrics.borrowed == 0
    for keeper in keepers:
        await keeper.close()


@promise
async def test_what_libpq_is_told_is_what_psycopg2_tells_it(keeper, settings):
    login = type("Login", (), {"user": "app", "password": ""})
    told = connecting.parameters(settings, login, timeout_seconds=5)
    async with keeper.connection() as conn:
        used = conn.info.get_parameters()
    missing = {name for name, value in told.items() if name != "password" and used.get(name) != str(value)}
    # The first is counted by psycopg itself, the second is unknown to a libpq without GSSAPI, as in psycopg's wheel.
    assert missing <= {"connect_timeout", "gssencmode"}


@pytest.fixture
def standby(server, certificates):
    """Run a standby that has both names: a reader's, and that of a writer which is none any more."""
    standby = PostgresServer.start_standby(
        server, name="reader", host_name=READER, other_host_names=[HOST], certificates=certificates
    )
    standby.catch_up(server)
    yield standby
    standby.stop()


async def is_reader(conn):
    return (await one(conn, "SELECT pg_is_in_recovery()"))[0]


@promise
async def test_read_only_work_goes_to_the_reader(make, settings, standby, clock, capsys):
    both = settings._replace(reader_host=READER, reader_port=standby.port)
    keeper = make(both, log=Log(), clock=clock)
    async with keeper.connection(read_only=True) as conn:
        assert isinstance(real(conn), psycopg.Connection | psycopg.AsyncConnection)
        assert await is_reader(conn)
        before = await pid(conn)
    assert await keeper.run_transaction(pid, read_only=True) == before
    assert not await keeper.run_transaction(is_reader)
    async with keeper.connection():  # of the writer, which is lent at the same time
        assert await keeper.run_transaction(is_reader, read_only=True)
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction) as caught:
        async with keeper.connection(read_only=True) as conn:
            await write(conn)
    assert [note for note in caught.value.__notes__ if READER in note] == [
        f"at the reader {READER}:{standby.port}/app as app"
    ]
    async with keeper.transaction() as conn:
        with pytest.raises(CannotLend, match="begun without it"):
            async with keeper.transaction(read_only=True):
                pass

    lost = []

    async def lose_it_once(conn):
        lost.append(await pid(conn))
        if len(lost) == 1:
            terminate_backends(standby)
        return await is_reader(conn)

    async with keeper.connection():
        assert await keeper.run_transaction(lose_it_once, read_only=True)
    assert len(set(lost)) == 2
    await keeper.close()
    assert await keeper.run_transaction(pid, read_only=True) != lost[1]
    await keeper.close()

    alone = make(both._replace(reader_port=1, retry_seconds=0), log=Log(), clock=clock)
    with pytest.raises(CannotConnect, match="cannot connect to reader "):
        await alone.run_transaction(is_reader, read_only=True)
    reserved = make(both._replace(reader_port=1, reader_fallback=True), log=Log(), clock=clock)
    capsys.readouterr()
    for _ in range(2):
        async with reserved.connection(read_only=True) as conn:
            assert not await is_reader(conn)
    assert capsys.readouterr().out.count('"event": "reader failed"') == 1
    await reserved.close()


@promise
async def test_read_only_work_that_wrote_by_the_writers_connection_is_not_run_again(make, settings, standby):
    keeper = make(settings._replace(reader_host=READER, reader_port=standby.port), log=Log())
    tried = []

    async def work(conn):
        tried.append(await pid(conn))
        async with keeper.connection() as writing:
            await write(writing)
        terminate_backends(standby)
        await pid(conn)

    with pytest.raises(ConnectionLost) as caught:
        await keeper.run_transaction(work, read_only=True)
    assert caught.value.committed is None
    assert len(tried) == 1
    await keeper.close()


@pytest.mark.parametrize("copies", [False, True])
@promise
async def test_a_write_that_a_standby_refused_is_run_again_where_the_address_leads(
    make, settings, standby, relay, copies
):
    server_port = relay.target_port
    relay.target_port = standby.port
    keeper = make(settings._replace(port=relay.port), log=Log())
    tried = []

    async def work(conn):
        tried.append(conn)
        relay.target_port = server_port  # for the next connection
        if copies:
            async with conn.cursor().copy("COPY ledger FROM STDIN") as copy:
                await copy.write(f"{uuid.uuid4()}\t1\n")
        else:
            await write(conn)
        return (await one(conn, "SELECT count(*) FROM ledger"))[0]

    assert await keeper.run_transaction(work) == 1
    assert len(tried) == 2
    await keeper.close()
