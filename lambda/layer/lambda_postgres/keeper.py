"""Keep one connection and lend it."""

from __future__ import annotations

import _thread
import math
import os
import select
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol, TypeVar
from weakref import WeakMethod

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, TRANSACTION_STATUS_INERROR, TransactionRollbackError

from .connecting import HALF_OPEN_MILLISECONDS, Attempt, try_logins
from .errors import CannotConnect, CannotLend, ConnectionLost, Error, LoginRefused, NotCommitted, PoolExhausted
from .lending import Loan, Turns
from .log import Log
from .login import SecretLogins, TokenLogins
from .session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import Any

    from psycopg2.extensions import connection as Connection  # noqa: N812

    from .readers import Reader
    from .session import State
    from .settings import Settings

T = TypeVar("T")
E = TypeVar("E", bound=Error)

_ANSWER_SECONDS = 1.0  # of the remaining time, left for answering after the last attempt
_FELT_SECONDS = 0.1
_SLOW_MILLISECONDS = 3000
_WORK_ATTEMPTS = 3
_UNREACHABLE = "08001"
_CONFLICTS = ("40001", "40P01")  # serialization failure, deadlock: certainly rolled back
_READ_ONLY = "25006"
_ENDED = "the work ended its transaction itself, so some of it may have been committed; it is not run again"
_WROTE = "this read-only work may have written, by the writer's connection or made writable; it is not run again"


class Invocation(Protocol):
    """What the library uses of Lambda's context object."""

    def get_remaining_time_in_millis(self) -> int:
        """Tell how much of the function's timeout is left."""


class Keeper:
    """Keep one connection for an execution environment and lend it to each invocation.

    A loan belongs to one task of one thread of one process. Threads take turns; lent again to the same borrower, it is
    the same connection, in the same transaction.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        log: Log | None = None,
        clock: Callable[[], float] = time.time,
        guard: bool | None = None,
    ) -> None:
        self._settings = settings
        self._log = log or Log.from_environment()
        self._clock = clock  # wall time: it alone goes on while the environment is frozen or a snapshot
        self._session: type[Session] = Session
        if bool(os.environ.get("DB_PINNING_GUARD")) if guard is None else guard:
            from .guard import GuardedConnection  # noqa: PLC0415  for development only

            self._session = GuardedConnection
        self._logins = (SecretLogins if settings.auth == "secret" else TokenLogins)(settings, clock)
        self._turns = Turns()
        self._holding = self._turns.holding
        self._reader: Reader | None = None
        self._making = _thread.allocate_lock()
        self._pending: Attempt | None = None
        self._connection: Session | None = None
        self._readable: Callable[[int], object] = select.poll().poll
        self._old_at = self._used_at = self._lent_until = 0.0  # wall time
        self._max_idle = settings.max_idle_seconds
        self._impatient = False
        self._reason = "first use"  # why the next connection is opened
        self._earlier_error: Error | None = None
        leave = WeakMethod(self._leave_to_parent)
        os.register_at_fork(after_in_child=lambda: (bound := leave()) and bound())
        if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
            _snapshots().register_before_snapshot(self._close_for_snapshot)

    # --- lending

    def connection(
        self,
        context: Invocation | None = None,
        *,
        read_only: bool = False,
        cursor_factory: Callable[..., Any] | None = None,
    ) -> AbstractContextManager[Connection]:
        """Lend the connection in autocommit: every statement stands alone.

        With `read_only` it is `transaction(read_only=True)`, so that the same holds with and without a reader.

        With Lambda's context, all waiting ends a second before the function's time does: for a server that is full,
        starting or out of reach, for another thread's loan, for an answer on a path that died. `cursor_factory` makes
        the cursors of this loan.
        """
        if read_only:
            return self.transaction(context, read_only=True, cursor_factory=cursor_factory)
        self._note_reading()
        return Loan(self, context, cursor_factory)

    def transaction(
        self,
        context: Invocation | None = None,
        *,
        read_only: bool = False,
        isolation: str | None = None,
        cursor_factory: Callable[..., Any] | None = None,
    ) -> AbstractContextManager[Connection]:
        """Lend the connection for one transaction: committed at the end of the block, rolled back on any exception.

        With `read_only` it is the reader's connection, where there is a reader: what it shows may be older than what
        this function wrote. Inside a transaction it is a savepoint, which cannot be `read_only` or of an `isolation`
        that the transaction around it is not. `isolation` is one of PostgreSQL's names, such as "serializable".
        """
        if read_only and (reader := self._reader_for_this()) is not None:
            return reader.read(context, isolation, cursor_factory)
        self._note_reading()
        return self._transaction(context, read_only, isolation, cursor_factory)

    @contextmanager
    def _transaction(
        self,
        context: Invocation | None,
        read_only: bool,
        isolation: str | None,
        cursor_factory: Callable[..., Any] | None,
    ) -> Iterator[Connection]:
        loan = Loan(self, context, cursor_factory)
        loan._explaining = False
        with loan as conn:
            turn = loan.outermost
            assert turn.conn is not None
            if turn.conn.closed:
                raise self._lost(turn, "it was closed inside the loan", committed=self._outcome(turn))
            wanted = (read_only, isolation and isolation.lower())
            if turn.conn.get_transaction_status() != TRANSACTION_STATUS_IDLE or turn.in_transaction:
                _require_same_kind(turn.kind if turn.in_transaction else (False, None), wanted)
                with self._explaining(turn), _savepoint(turn, loan.depth):
                    yield conn
                return
            turn.kind = wanted
            with self._block(turn, read_only, isolation):
                yield conn

    def run_transaction(
        self,
        work: Callable[[Connection], T],
        context: Invocation | None = None,
        *,
        read_only: bool = False,
        isolation: str | None = None,
        cursor_factory: Callable[..., Any] | None = None,
    ) -> T:
        """Run `work(connection)` in a transaction, again where it certainly left nothing behind.

        That is after a deadlock or a serialization failure, while the invocation's time lasts (three times without a
        context); and up to three times after a full pool or a connection lost before COMMIT was sent, with read_only
        after any lost connection. Never when the work ended its transaction itself, or when read-only work took the
        writer's connection too. Inside another loan, only what
        leaves its connection whole is run again; inside a transaction nothing is: that is for the outermost.
        For work that does nothing but SQL.
        """
        return self._repeater(read_only)._repeat(
            lambda: self.transaction(context, read_only=read_only, isolation=isolation, cursor_factory=cursor_factory),
            work,
            context,
            read_only,
        )

    def connect(
        self, context: Invocation | None = None, *, cursor_factory: Callable[..., Any] | None = None
    ) -> Connection:
        """Open a connection that the caller owns and closes: plain psycopg2, verified, logged in just now.

        For what keeps connections itself, such as SQLAlchemy's `creator`. It is opened with the same care and the same
        errors as the one that is lent; afterwards it is nobody's but the caller's.
        """
        outcome = self._connect(self._deadline(context), "connect()", None)
        if cursor_factory is not None:
            outcome.cursor_factory = cursor_factory
        return outcome

    # --- the environment's life

    def warm(self) -> None:
        """Begin to connect and return: what the function imports after it is imported meanwhile.

        The first loan waits for what is left. A failure is logged and kept, not raised: the first invocation tries
        again. Raised, it would send a function whose database is down into a loop of failing inits.
        """
        self._connect_early("init")
        match os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE"):
            case "snap-start":
                _snapshots().register_after_restore(self._connect_early, "restored")
            case "provisioned-concurrency":
                # Nobody waits for this init, and the environment may be frozen for long right after it.
                self._await_pending()

    def close(self) -> None:
        """Close the connection; the next loan opens another. Inside a loan the borrower meets a closed one."""
        try:
            if self._reader is not None:
                self._reader.close()
        finally:
            with self._exclusively() as conn:
                if conn is not None:
                    conn.close()
                else:
                    self._forget_pending()
                    self._drop("closed")

    def _close_for_snapshot(self) -> None:
        """Let nothing open into the snapshot, not even what a suspended generator holds."""
        self._await_pending()
        self._forget_pending()
        self._holding.clear()
        self._drop("closed")

    def _leave_to_parent(self) -> None:
        """Begin anew in a forked process: what the parent has open is the parent's.

        What the child's copy of the block still sends must not reach the server in the parent's name, nor a
        goodbye; psycopg2 itself says none in a process that did not open the connection.
        """
        if self._connection is not None and not self._connection.closed:
            with suppress(OSError, psycopg2.Error):
                nothing = os.open(os.devnull, os.O_RDWR)
                os.dup2(nothing, self._connection.fileno())
                os.close(nothing)
        self._turns = Turns()
        self._holding = self._turns.holding
        self._making = _thread.allocate_lock()  # another thread of the parent may have it
        self._connection = self._pending = None
        self._lent_until = 0.0
        self._reason = "forked"

    # --- connecting

    def _reader_for_this(self) -> Reader | None:
        """Return the reader's keeper; None without a reader, and in a transaction of the writer, which goes on."""
        if not self._settings.reader_host or self._settings.endpoint != "writer":
            return None
        held = self._turns.held_here()
        if held is not None and (held.in_transaction or _has_begun(held.conn)):
            return None
        if self._reader is None:
            with self._making:
                self._reader = self._reader or self._make_reader()
        return self._reader

    def _note_reading(self) -> None:
        """See that this borrower takes the writer's connection beside the reader's: what it writes there stays."""
        held = None if self._reader is None else self._reader._turns.held_here()
        if held is not None and held.in_transaction and held.conn is not None:
            held.conn.state.wrote = True

    def _make_reader(self) -> Reader:
        from .readers import reader_of  # noqa: PLC0415  for functions that have a reader and use it

        return reader_of(self)

    def _repeater(self, read_only: bool) -> Keeper:
        """Return the keeper whose loans decide what may be run again."""
        return (self._reader_for_this() if read_only else None) or self

    def _exclusively(self) -> Loan:
        """Take the turn without making a connection ready: what is lent is one that this borrower has already."""
        loan = Loan(self)
        loan._ready = False
        return loan

    def _make_ready(self, context: Invocation | None) -> None:
        reason = self._stale()
        if reason is not None:
            self._drop(reason)
            self._open(context)

    def _stale(self) -> str | None:
        """Tell why the connection must not be lent; None when it may be."""
        conn, now = self._connection, self._clock()
        if conn is None:
            return self._reason
        if not self._lent_until:
            return "never given back"
        if not now < self._old_at:
            return "too old"
        if not self._used_at <= now < self._lent_until:
            return "idle too long"
        return None if self._is_alive(conn) else "lost while idle"

    def _is_alive(self, conn: Session) -> bool:
        """Tell whether the socket is quiet, as a healthy idle one is, or has only notices to read.

        One that goes on talking is not: something is wrong with it, and it is not waited for.
        """
        for _ in range(3):
            if conn.closed:
                return False
            if not self._readable(0):
                return True
            try:
                conn.poll()
            except psycopg2.Error:
                return False
        return False

    def _drop(self, reason: str) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._lent_until = 0.0
        self._reason = reason

    def _open(self, context: Invocation | None) -> None:
        deadline = self._connect_deadline(context)
        if not self._join_pending(deadline):
            conn = self._connect(deadline, self._reason, self._session)
            self._keep(conn, self._clock())  # type: ignore[arg-type]  # it is of that class

    def _keep(self, conn: Session, opened_at: float) -> None:
        conn.become_ready()
        socket = select.poll()
        socket.register(conn.fileno(), select.POLLIN)
        self._connection, self._readable, self._impatient = conn, socket.poll, False
        self._used_at = opened_at
        self._old_at = opened_at + self._settings.max_age_seconds
        self._lent_until = opened_at + self._settings.max_idle_seconds

    def _connect(self, deadline: float, reason: str, factory: type[Session] | None) -> Connection:
        """Open a connection, with as many attempts as there is time for."""
        began = time.monotonic()
        retry_deadline = min(deadline, began + self._settings.retry_seconds)
        number = 0
        late: dict[str, object] = {}
        refusal: Error | None = None  # what the server itself said to the attempt before
        while True:
            number += 1
            attempt = self._attempt(reason, factory, deadline - time.monotonic())
            if not attempt.wait(deadline - time.monotonic()):
                if factory is None:
                    attempt.abandon()
                else:
                    self._pending = attempt  # the next loan goes on waiting for it
                raise self._noted(refusal or self._unanswered())
            outcome = attempt.outcome
            if not isinstance(outcome, Error):
                assert outcome is not None
                if late:
                    late["waited_milliseconds"] = round((time.monotonic() - began) * 1000)
                self._report_connected(attempt, number, late)
                self._earlier_error = None
                return outcome
            pause = _jittered_pause(number)
            again = outcome.transient and time.monotonic() + pause < retry_deadline
            self._report_failed(attempt, outcome, number, pause if again else None)
            if not again:
                raise self._noted(outcome)
            refusal = None if outcome.sqlstate == _UNREACHABLE else outcome
            late["why"] = str(outcome)
            time.sleep(pause)

    def _join_pending(self, deadline: float) -> bool:
        """Wait for the attempt that has begun already; tell whether its connection is there and fit."""
        attempt = self._pending
        if attempt is None:
            return False
        if attempt.is_stuck:
            self._forget_pending()
            return False
        if not attempt.wait(deadline - time.monotonic()):
            raise self._noted(self._unanswered())
        self._pending = None
        self._report(attempt)
        outcome = attempt.outcome
        if outcome is not None and not isinstance(outcome, Error):
            self._keep(outcome, attempt.ended_at)  # type: ignore[arg-type]
            reason = self._stale()
            if reason is None:
                return True
            self._drop(reason)
        return False

    def _attempt(
        self,
        reason: str,
        factory: type[Session] | None,
        patience: float,
        report: Callable[[Attempt], None] | None = None,
    ) -> Attempt:
        settings, logins = self._settings, self._logins
        # libpq knows no shorter timeout than two seconds, and applies it to each address of the host.
        timeout = max(2, min(settings.connect_timeout_seconds, math.ceil(patience)))
        return Attempt(
            reason,
            lambda: try_logins(settings, logins, timeout_seconds=timeout, factory=factory),
            clock=self._clock,
            lasts=3.0 * timeout,
            report=report,
        )

    def _connect_early(self, reason: str) -> None:
        with suppress(CannotLend), self._exclusively() as lent:  # init goes on: the first loan meets it again
            if lent is None and self._connection is None and self._pending is None:
                self._reason = reason
                patience = self._settings.connect_timeout_seconds
                self._pending = self._attempt(reason, self._session, patience, self._report)

    def _await_pending(self) -> None:
        if self._pending is not None:
            self._pending.wait(self._settings.connect_timeout_seconds + _ANSWER_SECONDS)

    def _forget_pending(self) -> None:
        if self._pending is not None:
            self._pending.abandon()
        self._pending = None

    def _deadline(self, context: Invocation | None) -> float:
        """Tell until when this call may wait, at most."""
        if context is not None:
            left = _left(context)
            return time.monotonic() + max(left - _ANSWER_SECONDS, left / 2)
        return (
            time.monotonic() + self._settings.retry_seconds + self._settings.connect_timeout_seconds + _ANSWER_SECONDS
        )

    def _connect_deadline(self, context: Invocation | None) -> float:
        """Tell until when a loan may wait for its connection to be opened."""
        return self._deadline(context)

    def _unanswered(self) -> CannotConnect:
        return CannotConnect(
            self._settings.target,
            "no answer in time from the name server, the server or Secrets Manager",
            sqlstate=_UNREACHABLE,
            transient=True,
        )

    def _named(self, error: E) -> E:
        error.endpoint = self._settings.endpoint
        return error

    def _noted(self, error: Error) -> Error:
        if self._earlier_error is not None and self._earlier_error is not error:
            error.add_note(f"During init: {self._earlier_error}")
        return self._named(error)

    def _adapt_patience(self, milliseconds_left: int) -> None:
        """Let a statement on a half-open socket fail before the function's time is over."""
        conn = self._connection
        if conn is None:
            return
        import _socket  # noqa: PLC0415  socket itself takes milliseconds to import

        option = getattr(_socket, "TCP_USER_TIMEOUT", None)
        if option is None:  # not Linux
            return
        patience = min(HALF_OPEN_MILLISECONDS, max(500, milliseconds_left - 2000))
        copy = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0, fileno=conn.fileno())
        try:
            copy.setsockopt(_socket.IPPROTO_TCP, option, patience)
        finally:
            copy.detach()
        self._impatient = patience != HALF_OPEN_MILLISECONDS

    # --- work

    def _repeat(
        self,
        lend: Callable[[], AbstractContextManager[Connection]],
        work: Callable[[Connection], T],
        context: Invocation | None,
        read_only: bool,
    ) -> T:
        pause_after = self._repeating(context, read_only)
        while True:
            ended = on_standby = False
            try:
                with lend() as conn:
                    try:
                        return work(conn)
                    except psycopg2.Error as error:
                        conn.note_error(error)  # type: ignore[attr-defined]  # also of what no watched cursor sent
                        raise
                    finally:  # not later: once given back, the connection may be another thread's
                        state: State = conn.state  # type: ignore[attr-defined]
                        ended, on_standby = state.ended or state.wrote, state.on_standby
            except (ConnectionLost, PoolExhausted, TransactionRollbackError, psycopg2.InternalError) as error:
                pause = pause_after(error, ended, on_standby)
                if pause is None:
                    raise
            time.sleep(pause)

    def _repeating(self, context: Invocation | None, read_only: bool) -> Callable[[Any, bool, bool], float | None]:
        """Return what tells how long to wait before failed work is run again: None when it must not be."""
        outer = self._turns.held_here()
        inside = outer is not None
        in_transaction = outer is not None and outer.in_transaction
        began = time.monotonic()
        deadline = math.inf if context is None else began + _left(context) - _ANSWER_SECONDS
        attempt = 0

        def pause_after(error: Any, ended: bool, on_standby: bool) -> float | None:
            nonlocal attempt
            attempt += 1
            pause = _jittered_pause(attempt)
            if isinstance(error, ConnectionLost):
                again = not inside and (read_only or error.committed is False) and attempt < _WORK_ATTEMPTS
            elif isinstance(error, PoolExhausted):
                again = attempt < _WORK_ATTEMPTS
            elif error.pgcode == _READ_ONLY:
                # The loan's end has dropped the connection: the next attempt goes where the address leads now.
                again = on_standby and not inside and time.monotonic() + pause < began + self._settings.retry_seconds
            else:
                again = error.pgcode in _CONFLICTS and (context is not None or attempt < _WORK_ATTEMPTS)
            refused = not again or ended or in_transaction or time.monotonic() + pause > deadline
            return None if refused else pause

        return pause_after

    @contextmanager
    def _block(self, turn: Loan, read_only: bool, isolation: str | None) -> Iterator[None]:
        conn = turn.conn
        assert conn is not None
        turn.in_transaction = True
        before = conn.settings
        try:
            conn.begin_block(read_only=read_only, isolation=isolation)
            with self._explaining(turn):
                yield
            self._commit(turn)
        except BaseException as error:
            _roll_back(conn)
            _note_what_stayed(conn.state, error)
            if isinstance(error, psycopg2.Error) and error.pgcode == "40003":
                error.add_note("40003: whether the statement was completed is unknown")
            raise
        finally:
            turn.in_transaction = False
            conn.end_block(before)

    def _commit(self, turn: Loan) -> None:
        conn = turn.conn
        assert conn is not None
        status = conn.info.transaction_status
        if status == TRANSACTION_STATUS_INERROR:
            kept = "what came after the work's own COMMIT" if conn.state.ended else "all"
            raise NotCommitted(
                f"a statement failed inside transaction() and its error was caught: {kept} was rolled back"
            )
        if conn.state.on_standby and conn.info.parameter_status("in_hot_standby") == "on":
            raise NotCommitted("a standby refused a write and its error was caught: nothing that was written is kept")
        if status != TRANSACTION_STATUS_IDLE and not self._is_alive(conn):
            raise self._lost(turn, "found dead before COMMIT was sent", committed=self._outcome(turn))
        with self._explaining(turn, committing=True):  # once it is sent, only the server knows
            conn.commit_block()

    @contextmanager
    def _explaining(self, turn: Loan, *, committing: bool = False) -> Iterator[None]:
        try:
            yield
        except psycopg2.Error as error:
            explained = self._explain(turn, error, committing=committing)
            if explained is None:
                raise
            raise explained from error

    def _explain(self, turn: Loan, error: psycopg2.Error, *, committing: bool) -> Error | None:
        """Tell what an error during work means for the connection; None when it is the work's own affair."""
        conn = turn.conn
        assert conn is not None
        text = str(error).strip()
        if error.pgcode == "08000" and "Timed-out waiting" in text:
            exhausted = self._named(PoolExhausted(self._settings.target, text, sqlstate=error.pgcode, transient=True))
            self._report_refused(exhausted)
            return exhausted
        if conn.closed or _ends_session(error):
            return self._lost(turn, text, committed=None if committing else self._outcome(turn))
        conn.note_error(error)
        return None

    @staticmethod
    def _outcome(turn: Loan) -> bool | None:
        """Tell whether work that was lost now may have been kept: False is certainly not."""
        conn = turn.conn
        if not turn.in_transaction or conn is None or conn.state.ended or conn.state.wrote:
            return None
        return False

    def _lost(self, turn: Loan, cause: str, *, committed: bool | None) -> ConnectionLost:
        turn.condemned = "lost"
        if turn.conn is not None and turn.conn.state.ended and turn.in_transaction:
            cause = f"{cause}; {_ENDED}"
        self._log.write("WARNING", "connection lost", **self._whose(), committed=committed, cause=cause)
        return self._named(ConnectionLost(self._settings.target, cause, committed=committed))

    # --- reporting

    def _report(self, attempt: Attempt) -> None:
        """Report an attempt that nobody waited for, once."""
        if attempt.reported:
            return
        if isinstance(attempt.outcome, Error):
            self._earlier_error = attempt.outcome
            self._report_failed(attempt, attempt.outcome, 1, None)
        else:
            self._report_connected(attempt, 1)

    def _whose(self) -> dict[str, Any]:
        """Tell in a line of the log which connection it is about, where there are two."""
        return {"endpoint": self._settings.endpoint} if self._settings.reader_host else {}

    def _report_connected(self, attempt: Attempt, number: int, late: dict[str, object] | None = None) -> None:
        attempt.reported = True
        settings = self._settings
        if not late and attempt.milliseconds > _SLOW_MILLISECONDS:
            late = {"why": "no answer until now: the server was starting, resuming from a pause or out of reach"}
        reconnects = 0 if attempt.reason in ("init", "first use", "connect()") else 1
        self._log.write(
            "INFO",
            "connected",
            reason=attempt.reason,
            auth=settings.auth,
            host=settings.host,
            user=settings.user,
            attempt=number,
            milliseconds=round(attempt.milliseconds, 2),
            **self._whose(),
            **(late or {}),
            metrics={
                "ConnectMilliseconds": ("Milliseconds", round(attempt.milliseconds, 2)),
                "Reconnects": ("Count", reconnects),
            },
            by={"Reconnects": "reason"} if reconnects else None,
        )

    def _report_failed(self, attempt: Attempt, error: Error, number: int, pause: float | None) -> None:
        attempt.reported = True
        refused = isinstance(error, LoginRefused | PoolExhausted)
        self._log.write(
            "WARNING",
            "connect failed",
            **self._whose(),
            reason=attempt.reason,
            auth=self._settings.auth,
            error=type(error).__name__,
            sqlstate=error.sqlstate,
            cause=str(error),
            attempt=number,
            retry_milliseconds=None if pause is None else round(pause * 1000),
            metrics={"ConnectFailures": ("Count", 1), **({"Refusals": ("Count", 1)} if refused else {})},
            by={"Refusals": "error"} if refused else None,
        )

    def _report_refused(self, error: Error) -> None:
        """Report what was refused though there is a connection."""
        self._log.write(
            "WARNING",
            "refused",
            **self._whose(),
            error=type(error).__name__,
            cause=str(error),
            metrics={"Refusals": ("Count", 1)},
            by={"Refusals": "error"},
        )

    def _report_waited(self, seconds: float) -> None:
        """Report a loan that waited for another thread's, where it would be felt."""
        if seconds >= _FELT_SECONDS:
            milliseconds = round(seconds * 1000)
            self._log.write(
                "INFO",
                "waited",
                **self._whose(),
                milliseconds=milliseconds,
                metrics={"WaitMilliseconds": ("Milliseconds", milliseconds)},
            )


@contextmanager
def _savepoint(turn: Loan, depth: int) -> Iterator[None]:
    conn = turn.conn
    assert conn is not None
    name = f"lambda_postgres_{depth + 1}"
    with conn.plain_cursor() as plain:
        plain.execute(f"SAVEPOINT {name}")
        try:
            yield
        except BaseException:
            if not conn.closed:
                plain.execute(f"ROLLBACK TO SAVEPOINT {name}")
            raise
        if conn.info.transaction_status == TRANSACTION_STATUS_INERROR:
            plain.execute(f"ROLLBACK TO SAVEPOINT {name}")
            raise NotCommitted(
                "a statement failed inside an inner transaction() and was caught: that one was rolled back"
            )
        plain.execute(f"RELEASE SAVEPOINT {name}")


def _require_same_kind(outer: tuple[bool, str | None], inner: tuple[bool, str | None]) -> None:
    for name, has, wants in zip(("read_only", "isolation"), outer, inner, strict=True):
        if wants and wants != has:
            raise CannotLend(
                f"{name}={wants!r} inside a transaction that was begun without it: ask for it in the outermost"
            )


def _note_what_stayed(state: State, error: BaseException) -> None:
    """Say with an error what the rollback may not have undone."""
    if state.ended:
        error.add_note(_ENDED)
    if state.wrote:
        error.add_note(_WROTE)


def _has_begun(conn: Session | None) -> bool:
    """Tell whether a borrower has begun a transaction itself."""
    return conn is not None and not conn.closed and conn.get_transaction_status() != TRANSACTION_STATUS_IDLE


def _roll_back(conn: Session) -> None:
    try:
        conn.rollback()
    except psycopg2.Error:
        conn.close()  # the server rolls back what it has lost sight of


def _ends_session(error: psycopg2.Error) -> bool:
    """Tell whether PostgreSQL ends the session with this error.

    The severity says it, not the code: a foreign table fails with the codes of connections that are not ours.
    """
    return (error.diag.severity_nonlocalized or error.diag.severity) in ("FATAL", "PANIC")


def _left(context: Invocation) -> float:
    return context.get_remaining_time_in_millis() / 1000


def _snapshots() -> Any:
    import snapshot_restore_py  # type: ignore[import-untyped,unused-ignore]  # noqa: PLC0415  only SnapStart has it

    return snapshot_restore_py


def _jittered_pause(attempt: int) -> float:
    """Double from 0.1 to 2 s, each between half and whole, so that environments do not come back in step.

    From the kernel, since environments restored from one snapshot share the state of `random`.
    """
    whole = min(2.0, 0.05 * 2.0**attempt)
    return whole * (0.5 + int.from_bytes(os.urandom(2)) / 131_072)
