"""Whose turn it is: the connection belongs to one task of one thread of one process at a time."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
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


class Turn:
    """One borrower's use of the connection: the outermost loan and those inside it."""

    conn: Session | None = None
    condemned: str | None = None
    """Why the connection must not be lent again."""
    in_transaction = False
    kind: tuple[bool, str | None] = (False, None)
    """Whether the transaction is read-only, and its isolation."""

    def __init__(self, loan: int, request: object) -> None:
        self.loans: dict[int, FrameType | None] = {loan: None}
        """The loans by their ids, with the generator that each was taken in, if any."""
        self.thread = threading.current_thread()
        self.task = current_task() if "asyncio" in sys.modules else None
        self.request = request

    def is_of(self, other: Turn) -> bool:
        """Tell whether both are of the same borrower."""
        return self.thread is other.thread and self.task is other.task

    def is_over(self) -> bool:
        """Tell whether nobody is left who could end it."""
        try:
            alive = self.thread.is_alive()
        except RuntimeError:  # what a thread that Python did not start says once it has ended
            alive = False
        return not self.loans or not alive or (self.task is not None and self.task.done())

    def suspended(self) -> FrameType | None:
        """Return a generator that holds a loan while other code of its borrower runs."""
        for generator in self.loans.values():
            if generator is not None:
                frame: FrameType | None = sys._getframe(1)
                while frame is not None and frame is not generator:
                    frame = frame.f_back
                if frame is None:
                    return generator
        return None


class Turns:
    """Who has the connection, and who waits for it.

    The turn is taken and given back by single operations on a dict, which nothing can come between: not a thread, and
    not a signal handler that raises.
    """

    def __init__(self) -> None:
        self.holding: dict[int, Turn] = {}  # under 0, while somebody has it: holding.setdefault(0, turn) takes it
        self._changed = threading.Condition()
        self.waiting = 0

    @property
    def holder(self) -> Turn | None:
        return self.holding.get(0)

    def wake(self) -> None:
        """Let the next one try, who comes before the one who has just been."""
        with self._changed:
            self._changed.notify()
        time.sleep(0.0001)

    def take(self, turn: Turn, keeper: Keeper, context: Invocation | None) -> Turn:
        """Take the turn, wait for it, or return the one that this borrower has already."""
        deadline = None
        while (holder := self.holding.setdefault(0, turn)) is not turn:
            mine = holder.is_of(turn)
            if holder.is_over() and (mine or deadline is not None or holder.loans):
                self._revoke(holder, keeper)
                continue
            if mine and (generator := holder.suspended()) is None:
                return holder
            if holder.thread is turn.thread:
                if _differ(holder.request, turn.request):
                    self._revoke(holder, keeper)  # what an earlier invocation left behind
                    continue
                if mine:
                    raise CannotLend(_of_generator(generator))
                raise CannotLend(_of_task(holder, turn))
            if deadline is None:
                began, deadline = time.monotonic(), keeper._deadline(context)
            if time.monotonic() >= deadline:
                raise CannotLend(_of_thread(holder, time.monotonic() - began))
            with self._changed:
                self.waiting += 1
                try:
                    if self.holding.get(0) is holder:
                        self._changed.wait(max(0.0, min(_LOOK_SECONDS, deadline - time.monotonic())))
                finally:
                    self.waiting -= 1
        return turn

    def _revoke(self, turn: Turn, keeper: Keeper) -> None:
        with self._changed:
            if self.holding.get(0) is turn:
                keeper._drop("never given back")
                del self.holding[0]
                self._changed.notify()


class Loan:
    """What a block is entered with.

    The warm path of every invocation, hence a class in two plain methods: generators and helpers took 15 µs more.
    """

    turn: Turn | None = None
    _outer_factory: Any = None

    def __init__(
        self,
        keeper: Keeper,
        context: Invocation | None = None,
        *,
        explaining: bool = True,
        ready: bool = True,
        cursor_factory: Callable[..., Any] | None = None,
    ) -> None:
        self._keeper = keeper
        self._context = context
        self._explaining = explaining
        self._ready = ready
        self._cursor_factory = cursor_factory

    def __enter__(self) -> Connection:
        if self.turn is not None:
            raise CannotLend("this loan has begun already: call connection() again for another")
        keeper, context = self._keeper, self._context
        turn = self.turn = Turn(id(self), None if context is None else getattr(context, "aws_request_id", None))
        try:
            if keeper._holding.setdefault(0, turn) is not turn:
                holder = keeper._turns.take(turn, keeper, context)
                if holder is not turn:
                    self.turn = turn = holder
                    turn.loans[id(self)] = None
            conn = turn.conn
            if conn is None and self._ready:
                # No round trip: one look at the socket, which is quiet when all is well.
                if not keeper._used_at <= keeper._clock() < keeper._lent_until or keeper._readable(0):
                    keeper._make_ready(context)
                if context is not None:
                    left = context.get_remaining_time_in_millis()
                    if left < _HALF_OPEN_MILLISECONDS or keeper._impatient:
                        keeper._adapt_patience(left)
                conn = turn.conn = keeper._connection
                keeper._lent_until = 0.0  # until it has come back and been found fit
            frame = sys._getframe(1)
            if frame.f_code.co_flags & _GENERATOR or frame.f_globals is _CONTEXTLIB:
                turn.loans[id(self)] = _generator(frame)
            if self._cursor_factory is not None and conn is not None:
                self._outer_factory = conn.cursor_factory
                conn.cursor_factory = self._cursor_factory
        except BaseException:
            self._end()
            raise
        return conn  # type: ignore[return-value]  # there is one unless none was asked for

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if error is None:
            self._end()
            return
        try:
            if self._explaining and isinstance(error, psycopg2.Error) and self.turn is not None:
                explained = self._keeper._explain(self.turn, error, committing=False)
                if explained is not None:
                    raise explained from error
        finally:
            self._end()

    def __del__(self) -> None:
        """Give back what nobody can end any more: a block that a signal left, a loan that was only begun."""
        if self.turn is not None:
            self._end(fit=False)

    def _end(self, *, fit: bool = True) -> None:
        turn = self.turn
        if turn is None:
            return
        loans = turn.loans
        loans.pop(id(self), None)
        if not loans:
            self._keeper._take_back(turn, fit=fit)
        elif turn.conn is not None:
            if not fit:
                turn.conn.altered = "never given back"
            if self._cursor_factory is not None:
                turn.conn.cursor_factory = self._outer_factory
        self.turn = None


def current_task() -> Any:
    """Return the task of asyncio that runs in this thread; asyncio itself is not imported for it."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    try:
        return asyncio.current_task()
    except (RuntimeError, AttributeError):  # no loop runs here; another thread is importing asyncio
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
    return one is not None and other is not None and one != other


def _of_generator(frame: FrameType | None) -> str:
    where = "" if frame is None else f" {frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno})"
    return f"the suspended generator{where} has the connection: read it to its end first, or fetch its rows into a list"


def _of_task(holder: Turn, turn: Turn) -> str:
    def name(task: Any) -> str:
        return "code outside any task" if task is None else f"task {task.get_name()!r}"

    return (
        f"{name(holder.task)} has the connection, and waiting here in {name(turn.task)} would block them both: "
        "await nothing inside a loan, or do the work in asyncio.to_thread"
    )


def _of_thread(holder: Turn, seconds: float) -> str:
    return (
        f"thread {holder.thread.name!r} still has the connection after {seconds:.1f} s: threads take turns, so end a "
        "loan before waiting for other threads, and give each loan Lambda's context so that it may wait longer"
    )
