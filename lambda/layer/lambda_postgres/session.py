"""The connection that is lent: it notices what would outlive a loan, and a transaction that its work ended itself.

It looks at the text of each statement that a cursor sends, which costs less than a microsecond. What a function does
inside the server is invisible to it.
"""

from __future__ import annotations

from typing import Any

from psycopg2 import Error
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, connection, cursor

# A single statement that begins so and holds none of the words leaves nothing behind in the session.
_PLAIN = (b"select", b"insert", b"update", b"delete", b"merge", b"with", b"values", b"copy", b"lock", b"notify")
_WORDS = (b"temp", b"set_config", b"advisory")


_FACTORY: Any = connection.cursor_factory


class Session(connection):
    """A connection that knows what its borrower did."""

    default_cursor_factory: Any = None
    altered: str | None = None
    """What must not reach the next borrower and cannot be undone without a round trip."""
    in_block = False
    """Inside `transaction()`."""
    ended = False
    """The block's work ended its transaction itself, and may have committed some of it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._first_encoding = self.encoding
        self._first_notices, self._first_notifies = self.notices, self.notifies
        self.cursor_factory = self.default_cursor_factory

    @property
    def cursor_factory(self) -> Any:
        """Return what makes the cursors: a class like the one that was set, and watched."""
        return _FACTORY.__get__(self)

    @cursor_factory.setter
    def cursor_factory(self, factory: Any) -> None:
        _FACTORY.__set__(self, _watched(factory))

    def cursor(self, name: Any = None, cursor_factory: Any = None, *more: Any, **options: Any) -> Any:
        if name is cursor_factory is None and not options:
            return connection.cursor(self)
        return super().cursor(name, _watched(cursor_factory) if cursor_factory else None, *more, **options)

    def commit(self) -> None:
        self.ended = True
        super().commit()

    def tpc_prepare(self) -> None:
        self.ended = True
        super().tpc_prepare()

    def tpc_commit(self, *xid: Any) -> None:
        self.ended = True
        super().tpc_commit(*xid)

    def restore(self) -> str | None:
        """Make it what the next borrower expects; tell why that cannot be done for nothing."""
        if self.closed:
            return "lost"
        if self.get_transaction_status() != TRANSACTION_STATUS_IDLE:
            return "left in a transaction"
        if self.altered:
            return self.altered
        if not (self.readonly is self.isolation_level is self.deferrable is None):
            return "left with session settings"  # with autocommit on, psycopg2 sent a SET
        if self.encoding != self._first_encoding:
            return "left with another encoding"
        if not self.autocommit:
            self.autocommit = True
        if _FACTORY.__get__(self) is not _factories[self.default_cursor_factory]:
            self.cursor_factory = self.default_cursor_factory
        if self.notices or self.notices is not self._first_notices:
            self.notices = self._first_notices
            self.notices.clear()
        if self.notifies or self.notifies is not self._first_notifies:
            self.notifies = self._first_notifies
            self.notifies.clear()
        if self.string_types or self.binary_types:
            self.string_types.clear()
            self.binary_types.clear()
        return None

    def note_statement(self, query: bytes | None) -> bool:
        """Look at what was sent, whatever came of it; tell whether it is plain."""
        text = (query or b"").lower().strip(b"; \t\r\n")
        if text.startswith(_PLAIN) and b";" not in text and not any(word in text for word in _WORDS):
            return True
        from .pinning import explain_lasting  # noqa: PLC0415  regular expressions, for what is rarely done

        lasting, ends_transaction = explain_lasting(query or b"")
        self.altered = self.altered or lasting
        self.ended = self.ended or ends_transaction
        return False

    def note_error(self, error: Error) -> None:
        """See what a failed statement tells of the server, also when the borrower swallows its error."""
        if error.pgcode == "25006" and not self.readonly:
            # The writer until a failover: connect anew, where the name leads now.
            self.altered = "read-only server"


class WatchedCursor(cursor):
    """A cursor that shows its connection each statement."""

    connection: Session

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002  psycopg2's name
        conn = self.connection
        try:
            super().execute(query, vars)
            if conn.in_block and conn.get_transaction_status() == TRANSACTION_STATUS_IDLE:
                conn.ended = True  # by COMMIT or ROLLBACK, or never begun, in autocommit
        except Error as error:
            conn.note_error(error)
            raise
        finally:
            # A text that was plain is plain again: what takes the places of its %s are literals.
            if (type(query) is not str or query not in _known) and conn.note_statement(self.query):
                _remember(query)

    def executemany(self, query: Any, vars_list: Any) -> None:
        try:
            super().executemany(query, vars_list)
        except Error as error:
            self.connection.note_error(error)
            raise
        finally:
            self.connection.note_statement(self.query)

    def callproc(self, procname: Any, parameters: Any = None) -> None:
        try:
            super().callproc(procname, parameters)
        finally:
            self.connection.note_statement(self.query)


_known: set[str] = set()


def _remember(query: Any) -> None:
    if type(query) is str:
        if len(_known) >= 1000:
            _known.clear()
        _known.add(query)


_factories: dict[Any, Any] = {None: WatchedCursor}


def _watched(factory: Any) -> Any:
    """Return a class of cursors like the one asked for, and watched; a function that makes cursors stays as it is."""
    if factory not in _factories:
        watched = factory
        if isinstance(factory, type) and not issubclass(factory, WatchedCursor):
            watched = type(factory.__name__, (WatchedCursor, factory), {"__module__": factory.__module__})
        _factories[factory] = watched
    return _factories[factory]
