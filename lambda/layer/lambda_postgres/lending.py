"""Whose turn it is: the connection belongs to one task of one thread of one process at a time.

The warm path of every invocation goes through `Loan`, and most of its time is the interpreter's: what it can do without
calling anything, it does.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING

import psycopg2

from .errors import CannotLend

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

    from psycopg2.extensions import connection as Connection  # noqa: N812

    from .keeper import Invocation, Keeper
    from .session import Session

_CONTEXTLIB = vars(contextlib)
_GENERATOR = 0x20 | 0x200  # inspect.CO_GENERATOR and CO_ASYNC_GENERATOR: importing inspect takes 10 ms
_LOOK_SECONDS = 0.2
_HALF_OPEN_MILLISECONDS = 12_000  # with less time left, a silent socket is given up sooner than by default


class _Here(threading.local):
    """The thread that asks: its object, since its number is given to another thread when it ends."""

    def __init__(self) -> None:
        self.thread = threading.current_thread()


_here = _Here()


class Loan:
    """What a block is entered with. The outermost one stands for all that its borrower takes inside it."""

    outer: Loan | None = None
    conn: Session | None = None
    condemned: str | None = None
    """Why the connection must not be lent again."""
    in_transaction = False
    kind: tuple[bool, str | None] = (False, None)
    """Whether the transaction is read-only, and its isolation."""
    depth = 0
    _explaining = True
    _ready = True
    _task: Any = None
    _ref: weakref.ref[Loan] | None = None
    _generator: FrameType | None = None
    _inner: set[Loan] | None = None
    _outer_factory: Any = None

    def __init__(
        self, keeper: Keeper, context: Invocation | None = None, cursor_factory: Callable[..., Any] | None = None
    ) -> None:
        self._keeper = keeper
        self._context = context
        self._cursor_factory = cursor_factory

    def __enter__(self) -> Connection:
        if self._ref is not None:
            raise CannotLend("this loan has begun already: call connection() again for another")
        keeper, context = self._keeper, self._context
        self._thread = _here.thread
        if "asyncio" in sys.modules:
            self._task = current_task()
        self._ref = ref = weakref.ref(self)
        try:
            # One operation on a dict takes the turn, and one gives it back: nothing can come between, neither a thread
            # nor a signal handler that raises. It knows the loan weakly: one that nobody can end any more is over.
            if keeper._holding.setdefault(0, ref) is not ref:
                self._take(keeper, context)
            conn = self.conn
            if conn is None and self._ready:
                # No round trip: one look at the socket, which is quiet when all is well.
                if not keeper._used_at <= keeper._clock() < keeper._lent_until or keeper._readable(0):
                    keeper._make_ready(context)
                if context is not None:
                    left = context.get_remaining_time_in_millis()
                    if left < _HALF_OPEN_MILLISECONDS or keeper._impatient:
                        keeper._adapt_patience(left)
                conn = self.conn = keeper._connection
                keeper._lent_until = 0.0  # until it has come back and been found fit
            frame = sys._getframe(1)
            if frame.f_code.co_flags & _GENERATOR or frame.f_globals is _CONTEXTLIB:
                self._generator = _generator(frame)
            if self._cursor_factory is not None and conn is not None:
                self._outer_factory = conn.cursor_factory
                conn.cursor_factory = self._cursor_factory
        except BaseException:
            self._end()
            raise
        return conn  # type: ignore[return-value]  # there is one unless none was asked for

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        try:
            if error is not None and self._explaining and isinstance(error, psycopg2.Error) and self._ref is not None:
                explained = self._keeper._explain(self.outermost, error, committing=False)
                if explained is not None:
                    raise explained from error
        finally:
            self._end()

    @property
    def outermost(self) -> Loan:
        return self if self.outer is None else self.outer

    def is_of(self, other: Loan) -> bool:
        """Tell whether both are the same borrower's."""
        return self._thread is other._thread and self._task is other._task

    def _end(self) -> None:
        """Give the connection back, for the next borrower only as that one expects it: here alone this is judged."""
        if self._ref is None:
            return
        conn, keeper, outer = self.conn, self._keeper, self.outer
        if outer is not None:
            self._end_inside(outer)
        elif keeper._holding.get(0) is self._ref:  # else it was taken from this borrower, or is another process's
            try:
                if conn is not None:
                    reason = self.condemned or conn.restore()
                    if reason is None and not self._inner:
                        keeper._used_at = now = keeper._clock()
                        idle_until = now + keeper._max_idle
                        keeper._lent_until = idle_until if idle_until < keeper._old_at else keeper._old_at
                    else:
                        keeper._drop(reason or "an inner loan outlived the outer one")
            finally:
                keeper._holding.pop(0, None)
                if keeper._turns.waiting:
                    keeper._turns.wake()
        self.conn = self._ref = None
        if self.condemned or self._inner or self._generator:
            self.condemned = self._inner = self._generator = None

    def _end_inside(self, outer: Loan) -> None:
        if outer._inner is not None:
            outer._inner.discard(self)
        if self._cursor_factory is not None and self.conn is not None:
            self.conn.cursor_factory = self._outer_factory
        self.outer = None

    def _take(self, keeper: Keeper, context: Invocation | None) -> None:
        """Share what this borrower has already, or wait."""
        try:
            holder = keeper._turns.take(self, keeper, context)
        except CannotLend as error:
            keeper._report_refused(error)
            raise
        if holder is not self:
            self.outer, self.conn = holder, holder.conn
            if holder._inner is None:
                holder._inner = set()
            holder._inner.add(self)
            self.depth = len(holder._inner)

    def is_over(self) -> bool:
        """Tell whether nobody is left who could end it."""
        # Not is_alive(), which stays true of a thread that Python did not start.
        alive = self._thread in threading.enumerate()
        return not alive or (self._task is not None and self._task.done())

    def suspended(self) -> FrameType | None:
        """Return a generator that holds a loan while other code of its borrower runs."""
        for loan in (self, *(self._inner or ())):
            if loan._generator is not None:
                frame: FrameType | None = sys._getframe(1)
                while frame is not None and frame is not loan._generator:
                    frame = frame.f_back
                if frame is None:
                    generator: FrameType = loan._generator
                    return generator
        return None


class Turns:
    """Who has the connection, and who waits for it."""

    def __init__(self) -> None:
        self.holding: dict[int, weakref.ref[Loan]] = {}  # under 0, while somebody has it
        self.waiting = 0
        self._changed = threading.Condition()

    def held_here(self) -> Loan | None:
        """Return the outermost loan of this borrower."""
        ref = self.holding.get(0)
        loan = None if ref is None else ref()
        return loan if loan is not None and loan._thread is _here.thread and loan._task is current_task() else None

    def wake(self) -> None:
        """Let the next one try, who comes before the one who has just been."""
        with self._changed:
            self._changed.notify()
        time.sleep(0.0001)

    def take(self, loan: Loan, keeper: Keeper, context: Invocation | None) -> Loan:
        """Take the turn, wait for it, or return the outermost loan that this borrower has already."""
        deadline = None
        assert loan._ref is not None
        while (ref := self.holding.setdefault(0, loan._ref)) is not loan._ref:
            holder = ref()
            if holder is None or holder.is_over():
                self._revoke(ref, keeper)
                continue
            mine = holder.is_of(loan)
            if mine and (generator := holder.suspended()) is None:
                return holder
            if holder._thread is loan._thread:
                if _differ(holder._context, loan._context):
                    self._revoke(ref, keeper)  # what an earlier invocation left behind
                    continue
                raise CannotLend(_of_generator(generator) if mine else _of_task(holder, loan))
            if deadline is None:
                began, deadline = time.monotonic(), keeper._deadline(context)
            if time.monotonic() >= deadline:
                raise CannotLend(_of_thread(holder, time.monotonic() - began))
            del holder  # known weakly while waiting
            with self._changed:
                self.waiting += 1
                try:
                    if self.holding.get(0) is ref:
                        self._changed.wait(max(0.0, min(_LOOK_SECONDS, deadline - time.monotonic())))
                finally:
                    self.waiting -= 1
        if deadline is not None:
            keeper._report_waited(time.monotonic() - began)
        return loan

    def _revoke(self, ref: weakref.ref[Loan], keeper: Keeper) -> None:
        with self._changed:
            if self.holding.get(0) is ref:
                keeper._drop("never given back")
                del self.holding[0]
                self._changed.notify()


def current_task() -> Any:
    """Return the task of asyncio that runs in this thread; asyncio itself is not imported for it."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    try:
        loop = asyncio._get_running_loop()  # current_task() alone would raise where none runs, which is slow
        return None if loop is None else asyncio.current_task(loop)
    except (RuntimeError, AttributeError):  # another thread is importing asyncio
        return None


def _generator(frame: FrameType | None) -> FrameType | None:
    """Return the generator in which a loan is taken, and with which it may be suspended.

    A generator behind @contextmanager is no such: its loan is the block's.
    """
    while frame is not None:
        if frame.f_globals is not _CONTEXTLIB:
            if not frame.f_code.co_flags & _GENERATOR:
                return None
            if frame.f_back is None or frame.f_back.f_globals is not _CONTEXTLIB:
                return frame
        frame = frame.f_back
    return None


def _differ(one: object, other: object) -> bool:
    """Tell whether two contexts are of different invocations, as far as is known."""
    first, second = getattr(one, "aws_request_id", None), getattr(other, "aws_request_id", None)
    return first is not None and second is not None and first != second


def _of_generator(frame: FrameType | None) -> str:
    where = "" if frame is None else f" {frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno})"
    return f"the suspended generator{where} has the connection: read it to its end first, or fetch its rows into a list"


def _of_task(holder: Loan, loan: Loan) -> str:
    def name(task: Any) -> str:
        return "code outside any task" if task is None else f"task {task.get_name()!r}"

    return (
        f"{name(holder._task)} has the connection, and waiting here in {name(loan._task)} would block them both: "
        "await nothing inside a loan, or do the work in asyncio.to_thread"
    )


def _of_thread(holder: Loan, seconds: float) -> str:
    return (
        f"thread {holder._thread.name!r} still has the connection after {seconds:.1f} s: threads take turns, so end a "
        "loan before waiting for other threads, and give each loan Lambda's context so that it may wait longer"
    )
