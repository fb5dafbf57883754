"""psycopg 3 instead of psycopg2: the same keeper, calls, errors and guarantees, and nothing prepared.

from lambda_postgres.psycopg import connection, warm

warm()

def handler(event, context):
    with connection(context) as conn:
        return conn.execute("SELECT …").fetchall()
"""

# mypy knows a keeper's connection as psycopg2's: here it is psycopg's, with the attributes that a keeper uses.
# mypy: disable-error-code="override, assignment, arg-type, return-value, misc"

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
import psycopg2
from psycopg.connection import BaseConnection  # type: ignore[attr-defined]
from psycopg.rows import tuple_row
from psycopg.sql import Composable
from psycopg2.extensions import TransactionRollbackError

from .errors import NotConfigured
from .keeper import _READ_ONLY, Keeper
from .lending import Loan
from .session import Session, State
from .settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from .connecting import Attempt
    from .keeper import Invocation

T = TypeVar("T")

__all__ = ["PsycopgKeeper", "connect", "connection", "run_transaction", "transaction", "warm"]

_KNOWN_AT_MOST = 1000


class WatchedCursor(psycopg.Cursor[Any]):
    """A cursor that shows its connection each statement."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        with watching(self, query):
            return super().execute(query, params, **options)

    def executemany(self, query: Any, params_seq: Any, **options: Any) -> None:
        with watching(self, query):
            super().executemany(query, params_seq, **options)

    def stream(self, query: Any, params: Any = None, **options: Any) -> Any:
        with watching(self, query):
            yield from super().stream(query, params, **options)

    @contextmanager
    def copy(self, statement: Any, params: Any = None, **options: Any) -> Iterator[Any]:
        with watching(self, statement), super().copy(statement, params, **options) as copy:
            yield copy


class Lent(BaseConnection[Any]):
    """What Session is for psycopg2, whether its calls are awaited or not."""

    state: State
    watched: Any
    first_server_cursor: Any
    _factory: Any

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.state, self._factory = State(), self.watched
        super().__init__(*arguments, **options)

    @property
    def cursor_factory(self) -> Any:
        return self._factory

    @cursor_factory.setter
    def cursor_factory(self, factory: Any) -> None:
        self._factory = _watched(self.watched, factory)

    def get_transaction_status(self) -> int:
        status: int = self.pgconn.transaction_status
        return status

    @property
    def settings(self) -> tuple[Any, ...]:
        return (self.autocommit, self.read_only, self.isolation_level, self.deferrable)

    def _set(self, autocommit: bool, read_only: Any = None, isolation: Any = None, deferrable: Any = None) -> None:
        """Set what the next BEGIN is to say. Nothing is sent, and nothing awaited."""
        self._autocommit, self._read_only, self._isolation_level = autocommit, read_only, isolation
        self._deferrable, self._begin_statement = deferrable, b""

    def become_ready(self) -> None:
        self._set(True)

    def begin_block(self, *, read_only: bool, isolation: str | None) -> None:
        self.state.in_block = True
        self.state.ended = self.state.wrote = self.state.on_standby = False
        _, before, level, deferrable = self.settings
        if isolation:
            level = psycopg.IsolationLevel[isolation.upper().replace(" ", "_")]
        self._set(False, read_only or before, level, deferrable)

    def end_block(self, before: tuple[Any, ...]) -> None:
        self.state.in_block = False
        if not self.closed and not self.get_transaction_status():
            self._set(*before)

    def restore(self) -> str | None:
        """Make it what the next borrower expects; tell why that cannot be done for nothing. psycopg never sends SET."""
        if self.get_transaction_status():
            return "lost" if self.closed else "left in a transaction"
        if self._pipeline is not None:
            return "left in a pipeline"
        if self.state.altered:
            return self.state.altered
        self._set(True)
        self.prepare_threshold = None
        self.row_factory, self.server_cursor_factory = tuple_row, self.first_server_cursor
        self._factory, self._adapters = self.watched, None
        self._notice_handlers.clear()
        self._notify_handlers.clear()
        return None

    def note_error(self, error: Told) -> None:
        if error.pgcode == "25006" and not self.closed and not self.read_only:
            self.state.altered = "read-only server"
            self.state.on_standby = self.info.parameter_status("in_hot_standby") != "off"


class PsycopgSession(Lent, psycopg.Connection[Any]):
    """A connection that knows what its borrower did."""

    watched = WatchedCursor
    first_server_cursor = psycopg.ServerCursor

    def set_autocommit(self, value: bool) -> None:
        self.state.ended |= value and self.state.in_block
        super().set_autocommit(value)

    def commit(self) -> None:
        self.state.ended = True
        super().commit()

    def rollback(self) -> None:
        """Roll back; a connection that cannot is closed, and the server does it."""
        try:
            if not self.closed:
                super().rollback()
        except psycopg.OperationalError:
            self.close()

    def tpc_prepare(self) -> None:
        self.state.ended = True
        super().tpc_prepare()

    def tpc_commit(self, xid: Any = None) -> None:
        self.state.ended = True
        super().tpc_commit(xid)

    def transaction(self, *arguments: Any, **options: Any) -> Any:
        """Begin psycopg's own block: a savepoint inside `transaction()`, also as the first there."""
        if self.state.in_block:
            with self.lock:
                self.wait(self._start_query())
        return super().transaction(*arguments, **options)

    def commit_block(self) -> None:
        super().commit()

    def plain_cursor(self) -> Any:
        return psycopg.Cursor(self)


class PsycopgKeeper(Keeper):
    """A keeper whose connection is psycopg 3's."""

    def __init__(self, settings: Settings, **options: Any) -> None:
        super().__init__(settings, **options)
        self._session = _open_session

    def connection(
        self,
        context: Invocation | None = None,
        *,
        read_only: bool = False,
        cursor_factory: Callable[..., Any] | None = None,
    ) -> AbstractContextManager[psycopg.Connection[Any]]:
        """Lend the connection in autocommit. See `Keeper.connection`."""
        if read_only:
            return self.transaction(context, read_only=True, cursor_factory=cursor_factory)
        self._note_reading()
        return PsycopgLoan(self, context, cursor_factory)

    def run_transaction(
        self,
        work: Callable[[psycopg.Connection[Any]], T],
        context: Invocation | None = None,
        *,
        read_only: bool = False,
        isolation: str | None = None,
        cursor_factory: Callable[..., Any] | None = None,
    ) -> T:
        """Run work in a transaction, again where it certainly left nothing behind. See `Keeper.run_transaction`."""

        @contextmanager
        def lend() -> Iterator[Any]:
            try:
                with self.transaction(
                    context, read_only=read_only, isolation=isolation, cursor_factory=cursor_factory
                ) as conn:
                    yield conn
            except psycopg.errors.Error as error:
                if may_be_repeated(error):
                    raise Conflict.of(error) from error
                raise

        try:
            return self._repeater(read_only)._repeat(lend, work, context, read_only)
        except Conflict as conflict:
            error = conflict.__cause__
        assert error is not None
        raise error

    def _is_alive(self, conn: Lent) -> bool:
        for _ in range(3):
            if conn.closed:
                return False
            if not self._readable(0):
                return True
            try:
                conn.pgconn.consume_input()
                conn.pgconn.is_busy()  # reads what came
            except psycopg.Error:
                return False
        return False

    def _attempt(
        self,
        reason: str,
        factory: Any,
        patience: float,
        report: Callable[[Attempt], None] | None = None,
    ) -> Attempt:
        return super()._attempt(reason, factory or _open_plain, patience, report)

    @contextmanager
    def _explaining(self, turn: Loan, *, committing: bool = False) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            explained = self._explain(turn, Told(error), committing=committing)
            if error.sqlstate == "40003":
                error.add_note("40003: whether the statement was completed is unknown")
            if explained is None:
                raise
            raise explained from error


class PsycopgLoan(Loan):
    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            if self._explaining and isinstance(error, psycopg.Error) and self._ref is not None:
                with self._keeper._explaining(self.outermost):
                    raise error
        except psycopg.Error:
            pass  # the work's own affair, which goes on as it was
        finally:
            super().__exit__(None, None, None)


class Told:
    """An error of psycopg's with the names of psycopg2's."""

    def __init__(self, error: psycopg.Error) -> None:
        self.pgcode, self.diag, self._text = error.sqlstate, error.diag, str(error)
        self.add_note = error.add_note

    def __str__(self) -> str:
        return self._text


def may_be_repeated(error: psycopg.Error) -> bool:
    """Tell whether a keeper is to judge an error of psycopg's."""
    return (error.sqlstate or "").startswith(("40", _READ_ONLY))


class Conflict(TransactionRollbackError):  # noqa: N818  it is seen by nobody
    """A deadlock, a serialization failure or a standby's refusal, by the name under which a keeper repeats it."""

    pgcode = None

    @classmethod
    def of(cls, error: psycopg.Error) -> Conflict:
        made = cls(str(error))
        made.__dict__["pgcode"] = error.sqlstate
        return made


@contextmanager
def watching(cursor: Any, query: Any) -> Iterator[None]:
    conn = cursor.connection
    assert isinstance(conn, Lent)
    try:
        yield
    except psycopg.Error as error:
        conn.note_error(Told(error))
        raise
    finally:
        if query.__class__ is not str or query not in _known:
            text = query.as_bytes(conn) if isinstance(query, Composable) else query
            plain = Session.note_statement(conn, text.encode() if isinstance(text, str) else bytes(text))
            if plain and isinstance(query, str):
                if len(_known) >= _KNOWN_AT_MOST:
                    _known.clear()
                _known.add(query)


_known: set[str] = set()


@cache
def _watched(watched: Any, factory: Any) -> Any:
    """Return a class of cursors like the one asked for, and watched."""
    if issubclass(factory, watched):
        return factory
    return type(factory.__name__, (watched, factory), {"__module__": factory.__module__})


def _open_session(dsn: str) -> Any:
    return connect_by(lambda: PsycopgSession.connect(dsn, prepare_threshold=None))


def _open_plain(dsn: str) -> Any:
    return connect_by(lambda: psycopg.Connection.connect(dsn, prepare_threshold=None))


def connect_by(way: Callable[[], Any]) -> Any:
    """Connect where psycopg2.connect() would, with the error that the library reads; no frame of it is kept."""
    try:
        return way()
    except psycopg.Error as error:
        text = str(error)
    raise psycopg2.OperationalError(text)


def connection(
    context: Invocation | None = None,
    *,
    read_only: bool = False,
    cursor_factory: Callable[..., Any] | None = None,
) -> AbstractContextManager[psycopg.Connection[Any]]:
    """Lend this environment's connection, in autocommit. See `Keeper.connection`."""
    return _keeper().connection(context, read_only=read_only, cursor_factory=cursor_factory)


def transaction(
    context: Invocation | None = None,
    *,
    read_only: bool = False,
    isolation: str | None = None,
    cursor_factory: Callable[..., Any] | None = None,
) -> AbstractContextManager[psycopg.Connection[Any]]:
    """Lend this environment's connection for one transaction. See `Keeper.transaction`."""
    return _keeper().transaction(context, read_only=read_only, isolation=isolation, cursor_factory=cursor_factory)


def run_transaction(
    work: Callable[[psycopg.Connection[Any]], T],
    context: Invocation | None = None,
    *,
    read_only: bool = False,
    isolation: str | None = None,
    cursor_factory: Callable[..., Any] | None = None,
) -> T:
    """Run work in a transaction, again where it certainly left nothing behind. See `Keeper.run_transaction`."""
    return _keeper().run_transaction(
        work, context, read_only=read_only, isolation=isolation, cursor_factory=cursor_factory
    )


def connect(
    context: Invocation | None = None, *, cursor_factory: Callable[..., Any] | None = None
) -> psycopg.Connection[Any]:
    """Open a plain connection that the caller owns. See `Keeper.connect`."""
    return _keeper().connect(context, cursor_factory=cursor_factory)


def warm() -> None:
    """Begin to connect during init; a failure is kept for the first invocation. See `Keeper.warm`."""
    try:
        keeper = _keeper()
    except NotConfigured:
        return
    keeper.warm()


@cache
def _keeper() -> PsycopgKeeper:
    return PsycopgKeeper(Settings.from_environment())
