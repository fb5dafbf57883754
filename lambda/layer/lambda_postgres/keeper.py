"""Keep one connection and lend it."""

from __future__ import annotations

import math
import os
import select
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, TRANSACTION_STATUS_INERROR

from .connecting import connect
from .errors import ConnectionLost, Error, LoginRefused, NotCommitted, PoolExhausted
from .log import Log
from .login import SecretLogins, TokenLogins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from psycopg2.extensions import connection as Connection  # noqa: N812

    from .settings import Settings

T = TypeVar("T")

_ANSWER_SECONDS = 1.0  # of the remaining time, left for answering after the last attempt
_WORK_ATTEMPTS = 3
_SESSION_ENDS = ("25P03", "57P01", "57P02", "57P03", "57P05")


class Invocation(Protocol):
    """What the library uses of Lambda's context object."""

    def get_remaining_time_in_millis(self) -> int:
        """Tell how much of the function's timeout is left."""


class Keeper:
    """Keep one connection for an execution environment and lend it to each invocation.

    Threads take turns. Lent again inside a loan, it is the same connection, in the same transaction.
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
        self._guard = bool(os.environ.get("DB_PINNING_GUARD")) if guard is None else guard
        self._logins = (SecretLogins if settings.auth == "secret" else TokenLogins)(settings, clock)
        self._lock = threading.RLock()
        self._loans = 0
        self._in_transaction = False
        self._connection: Connection | None = None
        self._readable: Callable[[int], object] = select.poll().poll
        self._old_at = self._used_at = self._lent_until = 0.0  # wall time
        self._reason = "first use"  # why the next connection is opened
        self._condemned: str | None = None  # why this one must not be lent again
        self._init_error: Error | None = None

    # --- lending

    def connection(self, context: Invocation | None = None) -> AbstractContextManager[Connection]:
        """Lend the connection in autocommit: every statement stands alone.

        With Lambda's context, waiting for a server that is full or starting ends before the function's time does.
        """
        return _Loan(self, context, True)

    @contextmanager
    def transaction(
        self, context: Invocation | None = None, *, read_only: bool = False, isolation: str | None = None
    ) -> Iterator[Connection]:
        """Lend the connection for one transaction: committed at the end of the block, rolled back on any exception.

        A transaction inside a transaction is a savepoint.
        """
        with _Loan(self, context, False) as conn:
            if self._in_transaction:
                with self._explaining(), _savepoint(conn, f"lambda_postgres_{self._loans}"):
                    yield conn
                return
            # psycopg2 sends BEGIN with the first statement: until then no connection of the proxy's pool is taken.
            conn.autocommit = False
            if read_only:
                conn.readonly = True
            if isolation:
                conn.isolation_level = isolation
            self._in_transaction = True
            try:
                with self._explaining():
                    yield conn
                self._commit(conn)
            except BaseException:
                _roll_back(conn)
                raise
            finally:
                self._in_transaction = False
                if not conn.closed and conn.info.transaction_status == TRANSACTION_STATUS_IDLE:
                    # Before autocommit: with it on, psycopg2 would send a SET for each.
                    conn.readonly = conn.isolation_level = None
                    conn.autocommit = True

    def run_transaction(
        self, work: Callable[[Connection], T], context: Invocation | None = None, *, read_only: bool = False
    ) -> T:
        """Run `work(connection)` in a transaction, up to three times where it certainly left nothing behind.

        That is after a deadlock, a serialization failure, a full pool, or a connection lost before COMMIT was sent;
        with read_only also after any lost connection. For work that does nothing but SQL.
        """
        deadline = self._deadline(context)
        attempt = 0
        while True:
            attempt += 1
            try:
                with self.transaction(context, read_only=read_only) as conn:
                    return work(conn)
            except (ConnectionLost, PoolExhausted, psycopg2.extensions.TransactionRollbackError) as error:
                maybe_kept = isinstance(error, ConnectionLost) and error.committed is None and not read_only
                pause = _jittered_pause(attempt)
                late = time.monotonic() + pause > deadline
                if maybe_kept or late or attempt == _WORK_ATTEMPTS or self._in_transaction:
                    raise
            time.sleep(pause)

    # --- the environment's life

    def warm(self) -> None:
        """Connect during init. A failure is logged and kept, not raised: the first invocation tries again.

        Raised, it would send a function whose database is down into a loop of failing inits.
        """
        self._connect_early("init")
        if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
            from snapshot_restore_py import (  # type: ignore[import-untyped,unused-ignore]  # noqa: PLC0415
                register_after_restore,
                register_before_snapshot,
            )

            register_before_snapshot(self.close)
            register_after_restore(self._connect_early, "restored")

    def close(self) -> None:
        """Close the connection; the next loan opens another. Inside a loan the borrower meets a closed one."""
        with self._lock:
            if self._loans and self._connection is not None:
                self._connection.close()
            else:
                self._drop("closed")

    # --- connecting

    def _settle(self) -> None:
        """Keep the connection only as the next borrower expects it."""
        conn = self._connection
        assert conn is not None
        if conn.closed:
            self._drop("lost")
        elif self._condemned:
            self._drop(self._condemned)
        elif conn.get_transaction_status() != TRANSACTION_STATUS_IDLE:
            self._drop("left in a transaction")
        else:
            if not conn.autocommit:
                conn.autocommit = True
            self._used_at = now = self._clock()
            self._lent_until = min(now + self._settings.max_idle_seconds, self._old_at)

    def _make_ready(self, context: Invocation | None) -> None:
        reason = self._stale()
        if reason is not None:
            self._drop(reason)
            self._open(self._deadline(context))

    def _stale(self) -> str | None:
        """Tell why the connection must not be lent; None when it may be."""
        conn, now = self._connection, self._clock()
        if conn is None:
            return self._reason
        if not now < self._old_at:
            return "too old"
        if not self._used_at <= now < self._lent_until:
            return "idle too long"
        return None if self._is_alive(conn) else "lost while idle"

    def _is_alive(self, conn: Connection) -> bool:
        """Tell whether the socket is quiet, as a healthy idle one is, or has only notices to read."""
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
        self._connection = self._condemned = None
        self._lent_until = 0.0
        self._reason = reason

    def _open(self, deadline: float) -> None:
        conn = self._connect(deadline)
        socket = select.poll()
        socket.register(conn.fileno(), select.POLLIN)
        self._connection, self._readable = conn, socket.poll
        self._used_at = now = self._clock()
        self._old_at = now + self._settings.max_age_seconds
        self._lent_until = now + self._settings.max_idle_seconds

    def _connect(self, deadline: float) -> Connection:
        attempt = 0
        while True:
            attempt += 1
            outcome, milliseconds = self._attempt(deadline - time.monotonic())
            if not isinstance(outcome, Error):
                self._report_connected(attempt, milliseconds)
                self._init_error = None
                return outcome
            pause = _jittered_pause(attempt)
            again = outcome.transient and time.monotonic() + pause < deadline
            self._report_failed(outcome, attempt, pause if again else None)
            if not again:
                if self._init_error is not None:
                    outcome.add_note(f"During init: {self._init_error}")
                raise outcome
            time.sleep(pause)

    def _attempt(self, patience: float) -> tuple[Connection | Error, float]:
        """Try every login once. Failures are returned without tracebacks: the frames below hold secrets."""
        settings = self._settings
        timeout = max(2, min(settings.connect_timeout_seconds, math.ceil(patience)))
        started = time.monotonic()
        outcome: Connection | Error | None = None
        try:
            for login in self._logins.candidates():
                outcome = connect(settings, login, timeout_seconds=timeout, guard=self._guard)
                if not isinstance(outcome, LoginRefused):
                    break
        except Error as error:
            outcome = error.with_traceback(None)
        assert outcome is not None
        if isinstance(outcome, LoginRefused) and outcome.sqlstate:
            outcome.add_note(self._logins.hint)
        return outcome, (time.monotonic() - started) * 1000

    def _connect_early(self, reason: str) -> None:
        with self._lock:
            self._drop(reason)
            try:
                self._open(time.monotonic())
            except Error as error:
                self._init_error = error.with_traceback(None)

    def _deadline(self, context: Invocation | None) -> float:
        patience = self._settings.retry_seconds
        if context is not None:
            patience = min(patience, context.get_remaining_time_in_millis() / 1000 - _ANSWER_SECONDS)
        return time.monotonic() + patience

    # --- work

    def _commit(self, conn: Connection) -> None:
        status = conn.info.transaction_status
        if status == TRANSACTION_STATUS_INERROR:
            raise NotCommitted("a statement failed inside transaction() and its error was caught: all was rolled back")
        if status != TRANSACTION_STATUS_IDLE and not self._is_alive(conn):
            raise self._lost("found dead before COMMIT was sent", committed=False)
        with self._explaining(committing=True):  # once it is sent, only the server knows
            conn.commit()

    @contextmanager
    def _explaining(self, *, committing: bool = False) -> Iterator[None]:
        try:
            yield
        except psycopg2.Error as error:
            explained = self._explain(error, committing=committing)
            if explained is None:
                raise
            raise explained from error

    def _explain(self, error: psycopg2.Error, *, committing: bool) -> Error | None:
        """Tell what an error during work means for the connection; None when it is the work's own affair."""
        conn = self._connection
        assert conn is not None
        text = str(error).strip()
        if error.pgcode == "08000" and "Timed-out waiting" in text:
            return PoolExhausted(self._settings.target, text, sqlstate=error.pgcode, transient=True)
        if conn.closed or _ends_session(error.pgcode):
            return self._lost(text, committed=False if self._in_transaction and not committing else None)
        if error.pgcode == "25006" and not conn.readonly:
            # A server that was the writer until a failover: connect anew, where the name leads now.
            self._condemned = "read-only server"
        return None

    def _lost(self, cause: str, *, committed: bool | None) -> ConnectionLost:
        self._condemned = "lost"
        self._log.write("WARNING", "connection lost", committed=committed, cause=cause)
        return ConnectionLost(self._settings.target, cause, committed=committed)

    # --- reporting

    def _report_connected(self, attempt: int, milliseconds: float) -> None:
        settings = self._settings
        reconnects = 0 if self._reason in ("init", "first use") else 1
        self._log.write(
            "INFO",
            "connected",
            reason=self._reason,
            auth=settings.auth,
            host=settings.host,
            user=settings.user,
            attempt=attempt,
            milliseconds=round(milliseconds, 2),
            metrics={
                "ConnectMilliseconds": ("Milliseconds", round(milliseconds, 2)),
                "Reconnects": ("Count", reconnects),
            },
        )

    def _report_failed(self, error: Error, attempt: int, pause: float | None) -> None:
        self._log.write(
            "WARNING",
            "connect failed",
            reason=self._reason,
            auth=self._settings.auth,
            error=type(error).__name__,
            sqlstate=error.sqlstate,
            cause=str(error),
            attempt=attempt,
            retry_milliseconds=None if pause is None else round(pause * 1000),
            metrics={"ConnectFailures": ("Count", 1)},
        )


class _Loan:
    """What a block is entered with.

    The warm path of every invocation, hence a class in two plain methods: generators and helpers took 15 µs more.
    """

    __slots__ = ("_context", "_explaining", "_keeper")

    def __init__(self, keeper: Keeper, context: Invocation | None, explaining: bool) -> None:
        self._keeper = keeper
        self._context = context
        self._explaining = explaining

    def __enter__(self) -> Connection:
        keeper = self._keeper
        keeper._lock.acquire()
        try:
            # No round trip: one look at the socket, which is quiet when all is well.
            if keeper._loans == 0 and (
                not keeper._used_at <= keeper._clock() < keeper._lent_until or keeper._readable(0)
            ):
                keeper._make_ready(self._context)
            keeper._loans += 1
        except BaseException:
            keeper._lock.release()
            raise
        return keeper._connection  # type: ignore[return-value]  # it is there: made ready, or lent already

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        keeper = self._keeper
        try:
            if error is not None and self._explaining and isinstance(error, psycopg2.Error):
                explained = keeper._explain(error, committing=False)
                if explained is not None:
                    raise explained from error
        finally:
            keeper._loans -= 1
            try:
                if keeper._loans == 0:
                    keeper._settle()
            finally:
                keeper._lock.release()


@contextmanager
def _savepoint(conn: Connection, name: str) -> Iterator[None]:
    with conn.cursor() as cursor:
        cursor.execute(f"SAVEPOINT {name}")
        try:
            yield
        except BaseException:
            if not conn.closed:
                cursor.execute(f"ROLLBACK TO SAVEPOINT {name}")
            raise
        cursor.execute(f"RELEASE SAVEPOINT {name}")


def _roll_back(conn: Connection) -> None:
    try:
        conn.rollback()
    except psycopg2.Error:
        conn.close()  # the server rolls back what it has lost sight of


def _ends_session(sqlstate: str | None) -> bool:
    """Tell whether PostgreSQL ends the session with this error."""
    return sqlstate is not None and (sqlstate[:2] == "08" or sqlstate in _SESSION_ENDS)


def _jittered_pause(attempt: int) -> float:
    """Double from 0.1 to 2 s, each between half and whole, so that environments do not come back in step.

    From the kernel, since environments restored from one snapshot share the state of `random`.
    """
    whole = min(2.0, 0.05 * 2.0**attempt)
    return whole * (0.5 + int.from_bytes(os.urandom(2)) / 131_072)
