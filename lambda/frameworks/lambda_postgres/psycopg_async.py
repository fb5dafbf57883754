"""psycopg 3 with asyncio: the calls of `lambda_postgres.psycopg`, awaited, with the same guarantees.

from lambda_postgres.psycopg_async import connection, warm

warm()

async def answer(context):
    async with connection(context) as conn:
        return await (await conn.execute("SELECT …")).fetchall()

def handler(event, context):
    return asyncio.run(answer(context))

The connection belongs to the execution environment and not to an event loop: the socket is libpq's, and a loop knows
it only while a call waits. So it outlives `asyncio.run`, and the next invocation's loop has it. Connecting, which
blocks, is done in a thread.
"""

# mypy knows a keeper's connection as psycopg2's: here it is psycopg's, with the attributes that a keeper uses.
# mypy: disable-error-code="override, assignment, arg-type, return-value, misc"

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections import deque
from contextlib import aclosing, asynccontextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import ref as weak

import psycopg
from psycopg import waiting
from psycopg.pq import TransactionStatus

from .errors import CannotLend, ConnectionLost, Error, NotCommitted, NotConfigured, PoolExhausted
from .keeper import _note_what_stayed, _require_same_kind
from .lending import _CONTEXTLIB, _GENERATOR, _LOOK_SECONDS, Loan, _differ, _generator, _here, _of_generator
from .psycopg import Conflict, Lent, PsycopgKeeper, PsycopgLoan, connect_by, may_be_repeated, watching
from .settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator
    from contextlib import AbstractAsyncContextManager

    from .connecting import Attempt
    from .keeper import Invocation
    from .psycopg_async_reader import AsyncReader
    from .session import State

T = TypeVar("T")

__all__ = ["AsyncPsycopgKeeper", "connect", "connection", "run_transaction", "transaction", "warm"]

_HALF_OPEN_MILLISECONDS = 12_000  # with less time left, a silent socket is given up sooner than by default
_IN_DOUBT = "cancelled while COMMIT was on its way: the work may have been committed"


class WatchedAsyncCursor(psycopg.AsyncCursor[Any]):
    """A cursor that shows its connection each statement."""

    async def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        with watching(self, query):
            return await super().execute(query, params, **options)

    async def executemany(self, query: Any, params_seq: Any, **options: Any) -> None:
        with watching(self, query):
            await super().executemany(query, params_seq, **options)

    async def stream(self, query: Any, params: Any = None, **options: Any) -> AsyncIterator[Any]:
        with watching(self, query):
            async with aclosing(super().stream(query, params, **options)) as rows:  # type: ignore[type-var]
                async for row in rows:
                    yield row

    @asynccontextmanager
    async def copy(self, statement: Any, params: Any = None, **options: Any) -> AsyncIterator[Any]:
        with watching(self, statement):
            async with super().copy(statement, params, **options) as copy:
                yield copy


class _Done:
    """What `close()` gives to be awaited: it is done already, for a keeper that cannot await."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


class OwnAsyncConnection(psycopg.AsyncConnection[Any]):
    """psycopg's, which a keeper that waits for it no longer can close without a loop."""

    def close(self) -> _Done:
        if not self.closed:
            self._closed = True
            self.pgconn.finish()
        return _Done()


class AsyncPsycopgSession(Lent, OwnAsyncConnection):
    """A connection that knows what its borrower did. Cancelled in the middle of a call, it is closed.

    psycopg would cancel the statement and wait for its end; RDS Proxy forwards no such request, so that a timeout
    would last as long as the statement.
    """

    watched = WatchedAsyncCursor
    first_server_cursor = psycopg.AsyncServerCursor
    cancelled = False

    async def wait(self, gen: Any, interval: float = 0.1) -> Any:
        if self.cancelled and _being_cancelled():
            raise asyncio.CancelledError  # and not that it is closed
        try:
            return await waiting.wait_async(gen, self.pgconn.socket, interval=interval)
        except (asyncio.CancelledError, KeyboardInterrupt):
            self.cancelled = True
            self.close()
            raise

    async def _try_cancel(self, *, timeout: float = 5.0) -> None:
        if _being_cancelled():
            self.cancelled = True
            self.close()
        else:
            await super()._try_cancel(timeout=timeout)

    async def set_autocommit(self, value: bool) -> None:
        self.state.ended |= value and self.state.in_block
        await super().set_autocommit(value)

    async def commit(self) -> None:
        self.state.ended = True
        await super().commit()

    async def rollback(self) -> None:
        """Roll back; a connection that cannot is closed, and the server does it."""
        try:
            if not self.closed:
                await super().rollback()
        except psycopg.OperationalError:
            self.close()

    async def tpc_prepare(self) -> None:
        self.state.ended = True
        await super().tpc_prepare()

    async def tpc_commit(self, xid: Any = None) -> None:
        self.state.ended = True
        await super().tpc_commit(xid)

    @asynccontextmanager
    async def transaction(self, *arguments: Any, **options: Any) -> AsyncIterator[Any]:
        """Begin psycopg's own block: a savepoint inside `transaction()`, also as the first there."""
        if self.state.in_block:
            async with self.lock:
                await self.wait(self._start_query())
        async with super().transaction(*arguments, **options) as block:
            yield block

    def commit_block(self) -> None:
        """Do nothing: the keeper awaits `send_commit` after it has looked."""

    async def send_commit(self) -> None:
        """Commit in the name of the library, not of the work."""
        await super().commit()

    def plain_cursor(self) -> Any:
        return psycopg.AsyncCursor(self)

    def restore(self) -> str | None:
        return "cancelled" if self.cancelled else super().restore()


class AsyncPsycopgKeeper(PsycopgKeeper):
    """A keeper whose connection is psycopg's AsyncConnection. Tasks take turns."""

    _reader: AsyncReader | None

    def __init__(self, settings: Settings, **options: Any) -> None:
        super().__init__(settings, **options)
        self._session = _open_session
        self._queue: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()
        self._waiting = 0

    def connection(
        self,
        context: Invocation | None = None,
        *,
        read_only: bool = False,
        cursor_factory: Callable[..., Any] | None = None,
    ) -> AbstractAsyncContextManager[psycopg.AsyncConnection[Any]]:
        """Lend the connection in autocommit. See `Keeper.connection`."""
        if read_only:
            return self.transaction(context, read_only=True, cursor_factory=cursor_factory)
        self._note_reading()
        return _AsyncLoan(self, context, cursor_factory)

    def transaction(
        self,
        context: Invocation | None = None,
        *,
        read_only: bool = False,
        isolation: str | None = None,
        cursor_factory: Callable[..., Any] | None = None,
    ) -> AbstractAsyncContextManager[psycopg.AsyncConnection[Any]]:
        """Lend the connection for one transaction. See `Keeper.transaction`."""
        return super().transaction(context, read_only=read_only, isolation=isolation, cursor_factory=cursor_factory)

    @asynccontextmanager
    async def _transaction(
        self,
        context: Invocation | None,
        read_only: bool,
        isolation: str | None,
        cursor_factory: Callable[..., Any] | None,
    ) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        loan = _AsyncLoan(self, context, cursor_factory)
        loan._explaining = False
        async with loan as conn:
            turn = loan.outermost
            if conn.closed:
                raise self._lost(turn, "it was closed inside the loan", committed=self._outcome(turn))
            wanted = (read_only, isolation and isolation.lower())
            if conn.get_transaction_status() != TransactionStatus.IDLE or turn.in_transaction:
                _require_same_kind(turn.kind if turn.in_transaction else (False, None), wanted)
                with self._explaining(turn):
                    async with _savepoint(conn, loan.depth):
                        yield conn
                return
            turn.kind = wanted
            async with self._block(turn, read_only, isolation):
                yield conn

    async def run_transaction(
        self,
        work: Callable[[psycopg.AsyncConnection[Any]], Awaitable[T]],
        context: Invocation | None = None,
        *,
        read_only: bool = False,
        isolation: str | None = None,
        cursor_factory: Callable[..., Any] | None = None,
    ) -> T:
        """Run work in a transaction, again where it certainly left nothing behind. See `Keeper.run_transaction`.

        Cancelled work is never run again.
        """
        pause_after = self._repeater(read_only)._repeating(context, read_only)
        how: dict[str, Any] = {"read_only": read_only, "isolation": isolation, "cursor_factory": cursor_factory}
        while True:
            ended = on_standby = False
            try:
                async with self.transaction(context, **how) as conn:
                    try:
                        return await work(conn)
                    finally:  # not later: once given back, the connection may be another task's
                        state: State = conn.state  # type: ignore[attr-defined]
                        ended, on_standby = state.ended or state.wrote, state.on_standby
            except (ConnectionLost, PoolExhausted) as error:
                pause = pause_after(error, ended, on_standby)
                if pause is None:
                    raise
            except psycopg.Error as error:
                pause = pause_after(Conflict.of(error), ended, on_standby) if may_be_repeated(error) else None
                if pause is None:
                    raise
            await asyncio.sleep(pause)

    async def connect(
        self, context: Invocation | None = None, *, cursor_factory: Callable[..., Any] | None = None
    ) -> psycopg.AsyncConnection[Any]:
        """Open a plain connection that the caller owns. See `Keeper.connect`."""

        def close(left: OwnAsyncConnection | None) -> None:
            if left is not None:
                left.close()

        opening = super().connect
        opened: OwnAsyncConnection = await _Aside(
            lambda: opening(context, cursor_factory=cursor_factory), close
        ).outcome()
        return opened

    async def close(self) -> None:
        """Close the connection; the next loan opens another. See `Keeper.close`."""
        try:
            if self._reader is not None:
                await self._reader.close()
        finally:
            loan = _AsyncLoan(self)
            loan._ready = False
            async with loan as conn:
                if conn is not None:
                    await conn.close()
                else:
                    self._forget_pending()
                    self._drop("closed")

    @asynccontextmanager
    async def _block(self, turn: Loan, read_only: bool, isolation: str | None) -> AsyncIterator[None]:
        conn: AsyncPsycopgSession = turn.conn
        turn.in_transaction = True
        before = conn.settings
        committing = False
        try:
            conn.begin_block(read_only=read_only, isolation=isolation)
            with self._explaining(turn):
                yield
            self._commit(turn)
            with self._explaining(turn, committing=True):
                committing = conn.get_transaction_status() != TransactionStatus.IDLE
                await conn.send_commit()
        except BaseException as error:
            await _undo(conn, error)
            _note_what_stayed(conn.state, error)
            if committing and isinstance(error, asyncio.CancelledError):
                error.add_note(_IN_DOUBT)
            raise
        finally:
            turn.in_transaction = False
            conn.end_block(before)

    def _attempt(
        self, reason: str, factory: Any, patience: float, report: Callable[[Attempt], None] | None = None
    ) -> Attempt:
        return super()._attempt(reason, factory or _open_plain, patience, report)

    def _make_reader(self) -> AsyncReader:
        from .psycopg_async_reader import AsyncReader  # noqa: PLC0415  for functions that have a reader and use it

        return AsyncReader(self)

    def _leave_to_parent(self) -> None:
        super()._leave_to_parent()
        self._queue, self._waiting = deque(), 0

    # --- taking turns

    async def _sleep_until_given_back(self, held: weak[Loan], seconds: float) -> None:
        loop = asyncio.get_running_loop()
        given_back = loop.create_future()
        timer = loop.call_later(seconds, _tell, given_back)
        entry = (loop, given_back)
        self._queue.append(entry)
        self._waiting += 1
        try:
            if self._holding.get(0) is held:
                await given_back
        except BaseException:
            if given_back.done():
                self._wake()  # it was this one's turn
            raise
        finally:
            self._waiting -= 1
            timer.cancel()
            with suppress(ValueError):
                self._queue.remove(entry)

    def _wake(self) -> None:
        """Tell the first that waits, in this loop or another thread's."""
        while self._queue:
            with suppress(IndexError, RuntimeError):  # another thread took it; its loop is closed
                loop, given_back = self._queue.popleft()
                if loop is asyncio._get_running_loop():
                    _tell(given_back)
                else:
                    loop.call_soon_threadsafe(_tell, given_back)
                return


class _AsyncLoan(PsycopgLoan):
    """A loan that is awaited. It differs from a plain one in how its turn and its connection are waited for."""

    _keeper: AsyncPsycopgKeeper
    _opening = False
    """A thread makes the connection ready, and ends the loan should its task be cancelled meanwhile."""
    _told_to_end = False

    def __enter__(self) -> Any:
        raise TypeError("this connection is lent to coroutines: async with")

    async def __aenter__(self) -> Any:
        if self._ref is not None:
            raise CannotLend("this loan has begun already: call connection() again for another")
        keeper, context = self._keeper, self._context
        self._thread, self._task = _here.thread, asyncio.current_task()
        self._ref = ref = weak(self)
        try:
            if keeper._waiting:
                await asyncio.sleep(0)  # the one that was told comes first
            if keeper._holding.setdefault(0, ref) is not ref:
                await self._take_turn(keeper, context)
            if self.conn is None and self._ready:
                if not keeper._used_at <= keeper._clock() < keeper._lent_until or keeper._readable(0):
                    self._opening = True
                    await _Aside(lambda: keeper._make_ready(context), self._opened).outcome()
                    self._opening = False
                if context is not None:
                    left = context.get_remaining_time_in_millis()
                    if left < _HALF_OPEN_MILLISECONDS or keeper._impatient:
                        keeper._adapt_patience(left)
                conn: Any = keeper._connection
                conn.lock = asyncio.Lock()  # the last one may be bound to another loop
                self.conn = conn
                keeper._lent_until = 0.0
            frame = sys._getframe(1)
            if frame.f_code.co_flags & _GENERATOR or frame.f_globals is _CONTEXTLIB:
                self._generator = _generator(frame)
            if self._cursor_factory is not None and self.conn is not None:
                self._outer_factory = self.conn.cursor_factory
                self.conn.cursor_factory = self._cursor_factory
        except BaseException:
            self._end()
            raise
        return self.conn

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self.__exit__(kind, error, traceback)

    def is_over(self) -> bool:
        if self._opening:
            return False
        return super().is_over() or (self._task is not None and self._task.get_loop().is_closed())

    def _end(self) -> None:
        if self._opening or self._ref is None:
            return  # the thread will
        first = self.outer is None
        super()._end()
        if first:
            self._keeper._wake()

    def _opened(self, _outcome: object) -> None:
        """Go on without the task: nobody waits for the connection any more."""
        self._opening = False
        self._end()

    async def _take_turn(self, keeper: AsyncPsycopgKeeper, context: Invocation | None) -> None:
        """Share what this borrower has already, or wait while other tasks run."""
        deadline = None
        began = time.monotonic()
        assert self._ref is not None
        while (ref := keeper._holding.setdefault(0, self._ref)) is not self._ref:
            holder: Any = ref()
            if holder is None or holder.is_over():
                keeper._turns._revoke(ref, keeper)
                continue
            opening = isinstance(holder, _AsyncLoan) and holder._opening  # else close() or warm() has it
            if holder.is_of(self) and not opening:
                generator = holder.suspended()
                if generator is None:
                    self._share(holder)
                    return
                self._refuse(_of_generator(generator))
            left_behind = holder._thread is self._thread and _differ(holder._context, context)
            if left_behind and not opening:
                if holder._task is None or holder._task.get_loop() is not asyncio.get_running_loop():
                    keeper._turns._revoke(ref, keeper)
                    continue
                # Of an earlier invocation, whose loop goes on: its end is awaited, since its socket is in this loop.
                if not holder._told_to_end:
                    holder._told_to_end = True
                    holder._task.cancel("its connection goes to the next invocation")
            if deadline is None:
                deadline = keeper._deadline(context)
            if time.monotonic() >= deadline:
                self._refuse(_of_task(holder, time.monotonic() - began))
            del holder  # known weakly while waiting
            await keeper._sleep_until_given_back(ref, max(0.0, min(_LOOK_SECONDS, deadline - time.monotonic())))
        if deadline is not None:
            keeper._report_waited(time.monotonic() - began)

    def _share(self, holder: Loan) -> None:
        self.outer, self.conn = holder, holder.conn
        if holder._inner is None:
            holder._inner = set()
        holder._inner.add(self)
        self.depth = len(holder._inner)

    def _refuse(self, message: str) -> None:
        error = CannotLend(message)
        self._keeper._report_refused(error)
        raise error


class _Aside(Generic[T]):
    """Work that blocks, in a thread of its own. If its awaiter is cancelled meanwhile, `left` has what comes of it."""

    def __init__(self, work: Callable[[], T], left: Callable[[T | None], None]) -> None:
        self._work, self._left = work, left
        self._lock = threading.Lock()
        self._ended = self._given_up = False
        self._result: T | None = None
        self._error: BaseException | None = None

    async def outcome(self) -> T:
        loop = asyncio.get_running_loop()
        ended = loop.create_future()

        def run() -> None:
            try:
                self._result = self._work()
            except BaseException as error:  # it is raised where the work is awaited
                self._error = error
            with self._lock:
                self._ended = True
            if self._given_up:
                self._left(self._result)
            else:
                with suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(_tell, ended)

        try:
            threading.Thread(target=run, name="lambda_postgres", daemon=True).start()
        except RuntimeError as error:
            self._left(None)
            raise Error(f"no thread to connect in: {error}") from None
        try:
            await ended
        except BaseException:
            with self._lock:
                self._given_up = not self._ended
            if not self._given_up:
                self._left(self._result)
            raise
        if self._error is not None:
            self._left(None)
            raise self._error
        return self._result


@asynccontextmanager
async def _savepoint(conn: AsyncPsycopgSession, depth: int) -> AsyncIterator[None]:
    name = f"lambda_postgres_{depth + 1}"
    plain = conn.plain_cursor()
    await plain.execute(f"SAVEPOINT {name}")
    try:
        yield
    except BaseException as error:
        if isinstance(error, GeneratorExit):
            conn.close()
        if not conn.closed:
            await plain.execute(f"ROLLBACK TO SAVEPOINT {name}")
        raise
    if conn.info.transaction_status == TransactionStatus.INERROR:
        await plain.execute(f"ROLLBACK TO SAVEPOINT {name}")
        raise NotCommitted("a statement failed inside an inner transaction() and was caught: that one was rolled back")
    await plain.execute(f"RELEASE SAVEPOINT {name}")


async def _undo(conn: AsyncPsycopgSession, error: BaseException) -> None:
    """Roll back; where nothing can be awaited any more, close: the server rolls back what it has lost sight of."""
    if isinstance(error, GeneratorExit):
        conn.close()
    await conn.rollback()


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _tell(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _of_task(holder: Loan, seconds: float) -> str:
    name = "code outside any task" if holder._task is None else f"task {holder._task.get_name()!r}"
    return (
        f"{name} still has the connection after {seconds:.1f} s: tasks take turns, so await no other task that needs "
        "the connection inside a loan, and give each loan Lambda's context so that it may wait longer"
    )


def _open_session(dsn: str) -> Any:
    return connect_by(lambda: asyncio.run(AsyncPsycopgSession.connect(dsn, prepare_threshold=None)))


def _open_plain(dsn: str) -> Any:
    return connect_by(lambda: asyncio.run(OwnAsyncConnection.connect(dsn, prepare_threshold=None)))


def connection(
    context: Invocation | None = None,
    *,
    read_only: bool = False,
    cursor_factory: Callable[..., Any] | None = None,
) -> AbstractAsyncContextManager[psycopg.AsyncConnection[Any]]:
    """Lend this environment's connection, in autocommit. See `Keeper.connection`."""
    return _keeper().connection(context, read_only=read_only, cursor_factory=cursor_factory)


def transaction(
    context: Invocation | None = None,
    *,
    read_only: bool = False,
    isolation: str | None = None,
    cursor_factory: Callable[..., Any] | None = None,
) -> AbstractAsyncContextManager[psycopg.AsyncConnection[Any]]:
    """Lend this environment's connection for one transaction. See `Keeper.transaction`."""
    return _keeper().transaction(context, read_only=read_only, isolation=isolation, cursor_factory=cursor_factory)


async def run_transaction(
    work: Callable[[psycopg.AsyncConnection[Any]], Awaitable[T]],
    context: Invocation | None = None,
    *,
    read_only: bool = False,
    isolation: str | None = None,
    cursor_factory: Callable[..., Any] | None = None,
) -> T:
    """Run work in a transaction, again where it certainly left nothing behind. See `Keeper.run_transaction`."""
    return await _keeper().run_transaction(
        work, context, read_only=read_only, isolation=isolation, cursor_factory=cursor_factory
    )


async def connect(
    context: Invocation | None = None, *, cursor_factory: Callable[..., Any] | None = None
) -> psycopg.AsyncConnection[Any]:
    """Open a plain connection that the caller owns. See `Keeper.connect`."""
    return await _keeper().connect(context, cursor_factory=cursor_factory)


def warm() -> None:
    """Begin to connect during init, before there is a loop. See `Keeper.warm`."""
    try:
        keeper = _keeper()
    except NotConfigured:
        return
    keeper.warm()


@cache
def _keeper() -> AsyncPsycopgKeeper:
    return AsyncPsycopgKeeper(Settings.from_environment())
