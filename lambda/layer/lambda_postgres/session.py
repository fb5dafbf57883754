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
        self.cursor_factory = self.default_cursor_factory
        self._first_encoding = self.encoding
        self._first_notices, self._first_notifies = self.notices, self.notifies

    def cursor(self, name: Any = None, cursor_factory: Any = None, *more: Any, **options: Any) -> Any:
        factory = _watched(cursor_factory or self.cursor_factory)
        return super().cursor(name, factory, *more, **options)

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

    def note_success(self) -> None:
        """See whether a statement has left the transaction that it was to run in."""
        if self.in_block and self.get_transaction_status() == TRANSACTION_STATUS_IDLE:
            self.ended = True  # by COMMIT or ROLLBACK, or never begun, in autocommit

    def note_statement(self, query: bytes | None) -> None:
        """Look at what was sent, whatever came of it."""
        text = (query or b"").lower().strip(b"; \t\r\n")
        if text.startswith(_PLAIN) and b";" not in text and not any(word in text for word in _WORDS):
            return
        from .pinning import explain_lasting  # noqa: PLC0415  regular expressions, for what is rarely done

        lasting, ends_transaction = explain_lasting(query or b"")
        self.altered = self.altered or lasting
        self.ended = self.ended or ends_transaction

    def note_error(self, error: Error) -> None:
        """See what a failed statement tells of the server, also when the borrower swallows its error."""
        if error.pgcode == "25006" and not self.readonly:
            # The writer until a failover: connect anew, where the name leads now.
            self.altered = "read-only server"


class WatchedCursor(cursor):
    """A cursor that shows its connection each statement."""

    connection: Session

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002  psycopg2's name
        try:
            super().execute(query, vars)
            self.connection.note_success()
        except Error as error:
            self.connection.note_error(error)
            raise
        finally:
            self.connection.note_statement(self.query)

    def executemany(self, query: Any, vars_list: Any) -> None:
        try:
            super().executemany(query, vars_list)
            self.connection.note_success()
        except Error as error:
            self.connection.note_error(error)
            raise
        finally:
            self.connection.note_statement(self.query)

    def callproc(self, procname: Any, parameters: Any = None) -> None:
        try:
            super().callproc(procname, parameters)
            self.connection.note_success()
        finally:
            self.connection.note_statement(self.query)


_factories: dict[Any, Any] = {None: WatchedCursor}


def _watched(factory: Any) -> Any:
    """Return a class of cursors like the one asked for, and watched; a function that makes cursors stays as it is."""
    if factory not in _factories:
        watched = factory
        if isinstance(factory, type) and not issubclass(factory, WatchedCursor):
            watched = type(factory.__name__, (WatchedCursor, factory), {"__module__": factory.__module__})
        _factories[factory] = watched
    return _factories[factory]
