"""A loan belongs to one task of one thread; what is never given back heals or ends in an error that names its cause."""

# ruff: noqa: SIM117  a loan and what happens in it are one promise

from __future__ import annotations

import _thread
import asyncio
import contextlib
import signal
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from lambda_postgres import CannotLend, ConnectionLost


def write(conn):
    with conn.cursor() as cursor:
        cursor.execute("INSERT INTO ledger VALUES (%s, 1)", [str(uuid.uuid4())])


def pid(conn):
    with conn.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


class Invocation:
    """Lambda's context."""

    def __init__(self, seconds, request="1"):
        self.aws_request_id = request
        self.end = time.monotonic() + seconds

    def get_remaining_time_in_millis(self):
        return int((self.end - time.monotonic()) * 1000)


@pytest.fixture
def rows(server):
    def count():
        with server.administrator("app") as cursor:
            cursor.execute("SELECT count(*) FROM ledger")
            return cursor.fetchone()[0]

    return count


@pytest.fixture
def hasty(keeper, monkeypatch):
    """Keep a connection for borrowers that wait for each other half a second at most."""
    with keeper.connection():
        pass
    monkeypatch.setattr(keeper, "_deadline", lambda _: time.monotonic() + 0.5)
    return keeper


# --- tasks


def test_a_task_is_not_lent_what_another_task_holds(keeper, rows):
    """It would have been a savepoint of the other's transaction, and gone with it."""

    async def fail_late():
        with keeper.transaction() as conn:
            write(conn)
            await asyncio.sleep(0.05)
            raise ZeroDivisionError

    async def write_meanwhile():
        await asyncio.sleep(0.01)
        with pytest.raises(CannotLend, match=r"task 'first' has the connection.* in task 'second' .*to_thread"):
            with keeper.transaction() as conn:
                write(conn)

    async def main():
        first = asyncio.create_task(fail_late(), name="first")
        await asyncio.create_task(write_meanwhile(), name="second")
        with pytest.raises(ZeroDivisionError):
            await first
        with keeper.transaction() as conn:
            write(conn)

    asyncio.run(main())
    assert rows() == 1


def test_tasks_that_work_in_threads_take_turns(keeper, rows):
    def work(fails):
        with keeper.transaction() as conn:
            write(conn)
            time.sleep(0.01)
            if fails:
                raise ZeroDivisionError

    async def main():
        return await asyncio.gather(
            *(asyncio.to_thread(work, number % 2) for number in range(6)), return_exceptions=True
        )

    outcomes = asyncio.run(main())
    assert rows() == outcomes.count(None) == 3


def test_a_loan_around_the_loop_is_not_its_tasks(keeper):
    async def main():
        with pytest.raises(CannotLend, match="code outside any task has the connection"):
            with keeper.connection():
                pass

    with keeper.connection():
        asyncio.run(main())


def test_one_task_nests_its_loans_as_ever(keeper, rows):
    async def inner():
        with keeper.transaction() as conn:
            write(conn)

    async def main():
        with keeper.transaction() as conn:
            write(conn)
            await inner()

    asyncio.run(main())
    assert rows() == 2


def test_a_task_that_waits_for_its_own_loan_in_a_thread_is_told(hasty):
    def work():
        with hasty.connection():
            pass

    async def main():
        with hasty.connection():
            await asyncio.to_thread(work)

    with pytest.raises(CannotLend, match="thread 'MainThread' still has the connection after"):
        asyncio.run(main())
    work()


def test_what_a_task_left_behind_is_taken_from_it_once_it_has_ended(keeper, rows):
    kept = []

    async def leave():
        loan = keeper.transaction()
        kept.append(loan)
        write(loan.__enter__())

    asyncio.run(leave())
    with keeper.transaction() as conn:
        write(conn)
    assert rows() == 1


def test_an_asynchronous_generator_keeps_its_loan_to_itself(keeper, rows):
    async def numbers():
        with keeper.transaction() as conn:
            write(conn)
            for number in range(3):
                yield number

    async def main():
        async for _ in numbers():
            with pytest.raises(CannotLend, match=r"suspended generator .*numbers \(.*test_borrowers.py:\d+\)"):
                with keeper.transaction() as conn:
                    write(conn)

    asyncio.run(main())
    assert rows() == 1


def test_an_asynchronous_context_manager_is_part_of_its_block(keeper, rows):
    @contextlib.asynccontextmanager
    async def unit():
        with keeper.transaction() as conn:
            yield conn

    async def main():
        async with unit() as conn:
            write(conn)
            with keeper.transaction() as inner:
                write(inner)

    asyncio.run(main())
    assert rows() == 2


# --- generators


def test_a_generator_keeps_its_loan_to_itself(keeper, rows):
    def numbers():
        with keeper.transaction() as conn:
            write(conn)
            with keeper.transaction() as inner:  # its own: lent as ever
                write(inner)
            yield 1
            raise ZeroDivisionError

    generator = numbers()
    next(generator)
    with pytest.raises(CannotLend, match=r"suspended generator .*numbers \(.*read it to its end"), keeper.transaction():
        pass
    with pytest.raises(ZeroDivisionError):
        next(generator)
    keeper.run_transaction(write)
    assert rows() == 1


@pytest.mark.parametrize("kind", ["stack", "context manager", "nested context managers"])
def test_a_loan_behind_a_context_manager_is_its_blocks(keeper, rows, kind):
    @contextlib.contextmanager
    def unit():
        with keeper.transaction() as conn:
            yield conn

    @contextlib.contextmanager
    def around():
        with unit() as conn:
            yield conn

    with contextlib.ExitStack() as stack:
        manager = {"stack": keeper.transaction, "context manager": unit, "nested context managers": around}[kind]()
        write(stack.enter_context(manager))
        with keeper.transaction() as inner:
            write(inner)
    assert rows() == 2


def test_a_generator_that_is_dropped_gives_its_loan_back(keeper, rows):
    def numbers():
        with keeper.transaction() as conn:
            write(conn)
            yield 1

    next(numbers())
    with keeper.transaction() as conn:
        write(conn)
    assert rows() == 1


def test_a_generator_of_an_earlier_invocation_loses_the_connection(keeper, rows):
    def numbers():
        with keeper.transaction(Invocation(5, "1")) as conn:
            write(conn)
            yield 1
            write(conn)

    generator = numbers()
    next(generator)
    with pytest.raises(CannotLend), keeper.connection(Invocation(5, "1")):
        pass
    with keeper.transaction(Invocation(5, "2")) as conn:
        write(conn)
        with pytest.raises(ConnectionLost) as caught:
            next(generator)
        write(conn)
    assert caught.value.committed is False
    assert rows() == 2


# --- threads


def test_a_thread_waits_for_another_only_while_its_invocation_lasts(keeper):
    taken, done = threading.Event(), threading.Event()

    def hold():
        with keeper.connection():
            taken.set()
            done.wait()

    thread = threading.Thread(target=hold, name="holder")
    thread.start()
    taken.wait()
    invocation = Invocation(2.5)
    try:
        with pytest.raises(CannotLend, match=r"thread 'holder' still has the connection after 1\.\d s"):
            with keeper.connection(invocation):
                pass
        assert 700 < invocation.get_remaining_time_in_millis() < 1100
    finally:
        done.set()
        thread.join()
    with keeper.connection(invocation) as conn:
        assert pid(conn)


def test_a_pool_of_threads_inside_a_loan_is_told(hasty):
    def work(_):
        with hasty.connection():
            pass

    with ThreadPoolExecutor(2) as pool:
        with pytest.raises(CannotLend, match="end a loan before waiting for other threads"), hasty.connection():
            list(pool.map(work, range(2)))
        list(pool.map(work, range(2)))


def test_threads_that_want_it_all_the_time_all_get_it(keeper):
    counts = [0, 0, 0]
    end = time.monotonic() + 1

    def work(number):
        while time.monotonic() < end:
            with keeper.connection() as conn:
                pid(conn)
            counts[number] += 1

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))
    assert min(counts) > max(counts) / 20


def test_a_loan_ended_in_another_thread_is_over(keeper, rows):
    loan = keeper.transaction()
    write(loan.__enter__())
    thread = threading.Thread(target=loan.__exit__, args=(None, None, None))
    thread.start()
    thread.join()
    assert rows() == 1
    with keeper.transaction() as conn:
        write(conn)
    assert rows() == 2


def test_what_a_thread_left_behind_is_taken_from_it_once_it_has_ended(keeper, rows):
    kept = []

    def leave():
        kept.append(keeper.transaction())
        write(kept[0].__enter__())

    thread = threading.Thread(target=leave)
    thread.start()
    thread.join()
    with keeper.transaction() as conn:
        write(conn)
    assert rows() == 1


@pytest.mark.skipif(sys.version_info < (3, 13), reason="older ones never learn that such a thread has ended")
def test_so_is_what_a_thread_left_behind_that_python_did_not_start(keeper, rows):
    """As those of an extension module's own pool."""
    kept, left = [], threading.Event()

    def leave():
        kept.append(keeper.transaction())
        write(kept[0].__enter__())
        left.set()

    _thread.start_new_thread(leave, ())
    left.wait()
    with keeper.transaction() as conn:
        write(conn)
    assert rows() == 1


def test_a_loan_that_was_begun_and_forgotten_is_over_and_its_connection_too(keeper):
    conn = keeper.connection().__enter__()
    with keeper.connection() as another:
        assert another is not conn
    assert conn.closed


def test_a_loan_is_begun_once_and_can_be_begun_again_after_its_end(keeper):
    loan = keeper.connection()
    with loan as conn:
        with pytest.raises(CannotLend, match="begun already"), loan:
            pass
        assert pid(conn)
    with loan as again:
        assert again is conn


# --- signals


class Alarm(Exception):  # noqa: N818
    """The time is up."""


@pytest.fixture
def alarm():
    def ring(*_):
        raise Alarm

    old = signal.signal(signal.SIGALRM, ring)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, old)


def test_a_signal_at_any_moment_of_a_loan_leaves_the_next_one_whole(keeper, rows, alarm):
    """The alarm goes off anywhere between the beginning and the end of a loan, and in the code around it."""
    acknowledged = 0
    began = time.perf_counter()
    keeper.run_transaction(write)
    acknowledged += 1
    began = time.perf_counter()
    for _ in range(20):
        keeper.run_transaction(write)
        acknowledged += 1
    length = (time.perf_counter() - began) / 20
    struck = doubtful = 0
    for number in range(400):
        finished = False
        try:
            alarm(length * (0.02 + number % 200 / 150))
            with keeper.transaction() as conn:
                write(conn)
            finished = True
            alarm(0)
        except Alarm:
            struck += 1
            alarm(0)
        if finished:
            acknowledged += 1
        else:
            doubtful += 1
        with keeper.transaction(Invocation(3)) as conn:
            write(conn)
        acknowledged += 1
    assert struck > 20
    assert acknowledged <= rows() <= acknowledged + doubtful


def test_a_signal_while_waiting_for_another_thread_leaves_the_queue(keeper, alarm):
    taken, done = threading.Event(), threading.Event()

    def hold():
        with keeper.connection():
            taken.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    alarm(0.1)
    with pytest.raises(Alarm), keeper.connection():
        pass
    done.set()
    thread.join()
    with keeper.connection() as conn:
        assert pid(conn)
    assert keeper._turns.waiting == 0
