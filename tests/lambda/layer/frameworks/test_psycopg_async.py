"""What only the awaited keeper of psycopg 3 has to keep: several loops, several tasks, cancellation at any moment."""

# ruff: noqa: PT012  a loan and what happens in it are one promise

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
from contextlib import suppress
from types import SimpleNamespace

import psycopg
import pytest
from lambda_postgres import CannotConnect, CannotLend, ConnectionLost, psycopg_async
from lambda_postgres.log import Log
from lambda_postgres.psycopg_async import AsyncPsycopgKeeper

from tests.waiting import await_that

from .awaited import promise
from .test_psycopg import one, pid, rows, write


@pytest.fixture
def keeper(settings, clock):
    keeper = AsyncPsycopgKeeper(settings, log=Log(), clock=clock)
    yield keeper
    asyncio.run(keeper.close())


@pytest.fixture
def held_commit(server):
    """Lend a cursor that holds up the COMMIT of whoever inserted into `held`, until it runs `pg_advisory_unlock(1)`."""
    with server.administrator("app") as cursor:
        cursor.execute(
            "CREATE TABLE held (id int); GRANT INSERT ON held TO app;"
            "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$;"
            "CREATE CONSTRAINT TRIGGER held AFTER INSERT ON held DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION wait();"
            "SELECT pg_advisory_lock(1)"
        )
        yield cursor
        cursor.execute("SELECT pg_advisory_unlock_all(); DROP TABLE held; DROP FUNCTION wait")


def context_of(name, milliseconds=60_000):
    return SimpleNamespace(aws_request_id=name, get_remaining_time_in_millis=lambda: milliseconds)


# --- loops


def test_each_invocation_has_a_loop_of_its_own_and_the_same_connection(keeper, server):
    async def invocation():
        async def use():
            async with keeper.transaction() as conn:
                await write(conn)
                # Two at once make psycopg's own lock wait, which binds it to this loop.
                await asyncio.gather(conn.execute("SELECT 1"), conn.execute("SELECT 2"))
                return await pid(conn)

        return await asyncio.gather(use(), use())

    assert len({one for _ in range(4) for one in asyncio.run(invocation())}) == 1
    assert rows(server) == 8


def test_a_loop_that_was_closed_over_a_loan_does_not_keep_it(keeper, server):
    async def hold():
        async with keeper.transaction() as conn:
            await write(conn)
            held.append(True)
            await asyncio.sleep(60)

    held = []
    loop = asyncio.new_event_loop()
    task = loop.create_task(hold())
    while not held:
        loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    assert asyncio.run(keeper.run_transaction(pid))
    assert rows(server) == 0
    task._log_destroy_pending = False
    task.get_coro().close()  # GeneratorExit: nothing can be awaited any more
    del task
    gc.collect()
    assert asyncio.run(keeper.run_transaction(pid))


def test_what_an_earlier_invocation_left_running_gives_the_connection_to_the_next(keeper, server):
    async def hold():
        async with keeper.transaction(context_of("1")) as conn:
            await write(conn)
            held.append(True)
            await asyncio.sleep(60)

    async def use():
        began = time.monotonic()
        async with keeper.transaction(context_of("2")) as conn:
            await write(conn)
        return time.monotonic() - began

    held = []
    with asyncio.Runner() as first:  # kept for all invocations, as by a loop at the top of a module
        task = first.get_loop().create_task(hold())
        while not held:
            first.run(asyncio.sleep(0.01))
        assert first.run(use()) < 1
        assert task.cancelled()
        held.clear()
        task = first.get_loop().create_task(hold())
        while not held:
            first.run(asyncio.sleep(0.01))
        assert asyncio.run(use()) < 1  # another loop, in which the first cannot go on
    assert rows(server) == 2


def test_the_loop_goes_on_while_a_connection_is_opened(settings):
    """The server is a listener that is mute."""

    async def main():
        async def tick():
            while True:
                await asyncio.sleep(0.01)
                ticks.append(1)

        ticking = asyncio.create_task(tick())
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.4), keeper.connection(context_of("1")):
                pass
        ticking.cancel()
        return time.monotonic() - began

    ticks = []
    with socket.create_server(("127.0.0.1", 0)) as mute:
        keeper = AsyncPsycopgKeeper(settings._replace(port=mute.getsockname()[1], retry_seconds=0))
        assert asyncio.run(main()) < 1
        assert len(ticks) > 10
        with pytest.raises(CannotLend, match="still has the connection"):
            asyncio.run(keeper.connection(context_of("2", 500)).__aenter__())


def test_cancelled_while_it_connects_the_next_loan_has_that_connection(settings, clock):
    async def give_up():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), keeper.connection():
                pass

    async def use():
        async with keeper.connection() as conn:
            return await pid(conn)

    keeper = AsyncPsycopgKeeper(settings, log=Log(), clock=clock)
    open_one, opened = keeper._session, []

    def slowly(dsn):
        time.sleep(0.3)
        opened.append(open_one(dsn))
        return opened[-1]

    keeper._session = slowly
    asyncio.run(give_up())
    assert not opened
    assert asyncio.run(use())
    assert len(opened) == 1

    async def connect_and_give_up():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await keeper.connect()

    plain = []
    with pytest.MonkeyPatch.context() as patch:
        open_plain = psycopg_async._open_plain
        patch.setattr(
            psycopg_async, "_open_plain", lambda dsn: (time.sleep(0.3), plain.append(open_plain(dsn)))[1] or plain[0]
        )
        asyncio.run(connect_and_give_up())
        time.sleep(0.6)
    assert plain[0].closed
    asyncio.run(keeper.close())


# --- tasks


@promise
async def test_tasks_take_turns_and_none_starves(keeper, server):
    order = []

    async def use(name, times):
        for _ in range(times):
            async with keeper.transaction() as conn:
                order.append(name)
                await write(conn)

    await asyncio.gather(use("a", 10), use("b", 2), use("c", 2))
    assert rows(server) == 14
    assert set(order[:6]) == {"a", "b", "c"}


@promise
async def test_one_that_waits_is_told_who_has_the_connection_and_may_be_cancelled(keeper):
    async def hold():
        async with keeper.connection():
            await asyncio.sleep(1)

    holder = asyncio.create_task(hold(), name="holder")
    await asyncio.sleep(0.2)
    with pytest.raises(CannotLend, match="task 'holder' still has the connection after 0"):
        await keeper.connection(context_of("1", 400)).__aenter__()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1), keeper.connection():
            pass
    async with keeper.connection() as conn:  # a turn that nobody took is the next one's
        assert await pid(conn)
    await holder


@promise
async def test_a_turn_is_given_back_where_no_connection_could_be_opened(settings):
    keeper = AsyncPsycopgKeeper(settings._replace(port=1, retry_seconds=0))
    loan = keeper.connection()
    for _ in range(2):
        with pytest.raises(CannotConnect):
            await loan.__aenter__()
        assert not keeper._holding


@promise
async def test_a_loan_is_awaited_and_taken_once(keeper):
    with pytest.raises(TypeError, match="async with"), keeper.connection():
        pass
    loan = keeper.connection()
    async with loan:
        with pytest.raises(CannotLend, match="begun already"):
            await loan.__aenter__()


@promise
async def test_a_suspended_generator_keeps_the_connection(keeper):
    async def read():
        async with keeper.connection() as conn:
            async for row in await conn.execute("SELECT generate_series(1, 3)"):
                yield row

    rows = read()
    assert await anext(rows) == (1,)
    with pytest.raises(CannotLend, match="suspended generator"):
        await keeper.connection().__aenter__()
    assert [row async for row in rows] == [(2,), (3,)]


@promise
async def test_what_the_work_committed_is_not_repeated_though_another_task_has_begun(keeper, server):
    async def work(conn):
        runs.append(1)
        await write(conn)
        await conn.commit()
        await conn.execute("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")

    async def other():
        async with keeper.transaction() as conn:
            await conn.execute("SELECT 1")

    runs = []
    failed, *_ = await asyncio.gather(keeper.run_transaction(work), other(), other(), return_exceptions=True)
    assert isinstance(failed, psycopg.errors.SerializationFailure)
    assert (runs, rows(server)) == ([1], 1)


# --- cancellation


async def _statement(conn):
    await conn.execute("SELECT pg_sleep(5)")


async def _stream(conn):
    async for _ in conn.cursor().stream("SELECT pg_sleep(0.02 * n) FROM generate_series(1, 1000) AS n"):
        pass


async def _copy(conn):
    async with conn.cursor().copy("COPY (SELECT pg_sleep(0.02) FROM generate_series(1, 1000)) TO STDOUT") as copy:
        async for _ in copy:
            pass


async def _between_rows(conn):
    async with conn.cursor().copy(
        "COPY (SELECT repeat('x', 9000), pg_sleep(0.02) FROM generate_series(1, 200)) TO STDOUT"
    ) as copy:
        async for _ in copy:
            await asyncio.sleep(5)


async def _between(_conn):
    await asyncio.sleep(5)


async def _inner(_conn):
    async with keeper_of_now[0].transaction() as conn:
        await write(conn)
        await conn.execute("SELECT pg_sleep(5)")


keeper_of_now = []


@pytest.mark.parametrize("through", ["settings", "proxied"])
@pytest.mark.parametrize("during", [_statement, _stream, _copy, _between_rows, _between, _inner])
def test_a_timeout_ends_at_once_and_the_next_loan_is_whole(request, server, during, through):
    """RDS Proxy forwards no cancel request: waiting for the statement's end would take as long as it does."""

    async def main():
        async def work(conn):
            runs.append(1)
            await write(conn)
            await during(conn)

        async with keeper.connection():
            pass
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await keeper.run_transaction(work)
        took = time.monotonic() - began
        async with keeper.transaction() as conn:
            assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
            assert await one(conn, "SELECT count(*) FROM ledger") == (0,)
            await write(conn)
        return took

    runs = []
    keeper = AsyncPsycopgKeeper(request.getfixturevalue(through))
    keeper_of_now[:] = [keeper]
    assert asyncio.run(main()) < 2
    assert runs == [1]
    assert rows(server) == 1
    assert keeper._reason == ("first use" if during is _between else "cancelled")
    asyncio.run(keeper.close())


@promise
async def test_cancelled_between_two_statements_it_is_rolled_back_and_kept(keeper, server):
    async with keeper.connection() as conn:
        before = await pid(conn)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1), keeper.transaction() as conn:
            await write(conn)
            await asyncio.sleep(5)
    async with keeper.connection() as conn:
        assert await pid(conn) == before
    assert rows(server) == 0


@promise
async def test_cancelled_while_commit_is_on_its_way_it_is_in_doubt_and_never_repeated(keeper, server, held_commit):
    async def work(conn):
        runs.append(1)
        await write(conn)
        await conn.execute("INSERT INTO held VALUES (1)")

    def is_held():
        held_commit.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        return held_commit.fetchone() == (1,)

    runs = []
    task = asyncio.ensure_future(keeper.run_transaction(work))
    while not is_held():
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert "may have been committed" in caught.value.__notes__[0]
    held_commit.execute("SELECT pg_advisory_unlock(1)")
    await_that(lambda: rows(server) == 1)  # here it was
    assert runs == [1]
    async with keeper.connection() as conn:
        assert await pid(conn)


@promise
async def test_work_that_catches_its_timeout_has_lost_the_connection(keeper, server):
    async def work(conn):
        runs.append(1)
        await write(conn)
        if len(runs) == 1:
            with suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await conn.execute("SELECT pg_sleep(5)")
            await write(conn)

    runs = []
    await keeper.run_transaction(work)
    assert (len(runs), rows(server)) == (2, 1)
    runs.clear()
    with pytest.raises(ConnectionLost) as caught:
        async with keeper.transaction() as conn:
            await work(conn)
    assert caught.value.committed is False
    assert rows(server) == 1


@promise
async def test_a_cancelled_group_leaves_nothing(keeper, server):
    """A task that fails cancels the others of its group, in the middle of what they do."""

    async def fail():
        await asyncio.sleep(0.1)
        raise ZeroDivisionError

    async def use():
        async with keeper.transaction() as conn:
            await write(conn)
            await conn.execute("SELECT pg_sleep(5)")

    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            for work in (use(), use(), fail(), use()):
                group.create_task(work)
    async with keeper.transaction() as conn:
        await write(conn)
    assert rows(server) == 1


def test_threads_with_loops_of_their_own_take_turns_under_cancellation(keeper, server):
    async def invocation(number):
        async def use():
            async with keeper.transaction() as conn:
                await write(conn)
                if number % 2:
                    await conn.execute("SELECT pg_sleep(5)")

        with suppress(TimeoutError):
            async with asyncio.timeout(0.3 if number % 2 else 20):
                await use()
                done.append(number)

    done = []
    threads = [threading.Thread(target=lambda number=number: asyncio.run(invocation(number))) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sorted(done), rows(server)) == ([0, 2, 4], 3)
