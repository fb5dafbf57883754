"""The connection that is lent: it notices what would outlive a loan, and a transaction that its work ended itself.

It looks at the text of each statement that a cursor sends, once for each text; what a function does inside the server
is invisible to it. It is on the warm path of every invocation: what is done often does little.
"""

from __future__ import annotations

from typing import Any

from psycopg2 import Error
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT, connection, cursor

# A single statement that begins so and holds none of the words leaves nothing behind in the session.
_PLAIN = (b"select", b"insert", b"update", b"delete", b"merge", b"with", b"values", b"copy", b"lock", b"notify")
_WORDS = (b"temp", b"set_config", b"advisory")
_KNOWN_AT_MOST = 1000

_autocommit: Any = connection.autocommit
_readonly: Any = connection.readonly
_isolation_level: Any = connection.isolation_level
_deferrable: Any = connection.deferrable
_cursor_factory: Any = connection.cursor_factory
_make_cursor: Any = connection.cursor


class State:
    """What is known of a connection's borrower."""

    altered: str | None = None
    """What must not reach the next borrower and cannot be undone without a round trip."""
    touched = False
    """An attribute was set: more is looked at when the loan ends."""
    in_block = False
    """Inside `transaction()`."""
    ended = False
    """The block's work ended its transaction itself, and may have committed some of it."""
    wrote = False
    """Read-only work may have written: it made its transaction writable, or has the writer's connection too."""
    on_standby = False
    """A write was refused, and not for the user's own default_transaction_read_only."""


class Session(connection):
    """A connection that knows what its borrower did."""

    default_cursor_factory: Any = None
    state: State
    _first_encoding: str
    _first_notices: list[str]
    _first_notifies: list[Any]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        keep = super().__setattr__
        keep("state", State())
        keep("_first_encoding", self.encoding)
        keep("_first_notices", self.notices)
        keep("_first_notifies", self.notifies)
        _cursor_factory.__set__(self, _watched(self.default_cursor_factory))

    def __setattr__(self, name: str, value: Any) -> None:
        self.state.touched = True
        if name == "autocommit" and value and self.state.in_block:
            self.state.ended = True
        if name == "readonly" and self.state.in_block and self.readonly:
            self.state.wrote = True
        super().__setattr__(name, _watched(value) if name == "cursor_factory" else value)

    def cursor(  # type: ignore[override]
        self, name: Any = None, cursor_factory: Any = None, scrollable: Any = None, withhold: bool = False
    ) -> Any:
        if name is cursor_factory is None:
            return _make_cursor(self)
        factory = _watched(cursor_factory) if cursor_factory else None
        return super().cursor(name, factory, scrollable=scrollable, withhold=withhold)

    def commit(self) -> None:
        self.state.ended = True
        super().commit()

    def tpc_prepare(self) -> None:
        self.state.ended = True
        super().tpc_prepare()

    def tpc_commit(self, *xid: Any) -> None:
        self.state.ended = True
        super().tpc_commit(*xid)

    def set_session(self, *arguments: Any, **options: Any) -> None:
        self.state.touched = True
        self.state.wrote |= self.state.in_block and bool(self.readonly)
        super().set_session(*arguments, **options)
        self.state.ended |= self.state.in_block and self.autocommit

    def set_isolation_level(self, level: Any) -> None:
        self.state.touched = True
        super().set_isolation_level(level)
        self.state.ended |= self.state.in_block and level == ISOLATION_LEVEL_AUTOCOMMIT

    def set_client_encoding(self, encoding: str) -> None:
        self.state.touched = True
        super().set_client_encoding(encoding)

    def reset(self) -> None:
        self.state.touched = True
        super().reset()

    def become_ready(self) -> None:
        """Turn autocommit on, which sends nothing."""
        _autocommit.__set__(self, True)

    @property
    def settings(self) -> tuple[Any, ...]:
        """Tell what `end_block` is to restore."""
        return (self.autocommit, self.readonly, self.isolation_level, self.deferrable)

    def begin_block(self, *, read_only: bool, isolation: str | None) -> None:
        """Prepare for a transaction and send nothing."""
        self.state.in_block = True
        self.state.ended = self.state.wrote = self.state.on_standby = False
        # psycopg2 sends BEGIN with the first statement: until then no connection of the proxy's pool is taken.
        _autocommit.__set__(self, False)
        if read_only:
            _readonly.__set__(self, True)
        if isolation:
            _isolation_level.__set__(self, isolation)

    def commit_block(self) -> None:
        """Commit in the name of the library, not of the work."""
        super().commit()

    def plain_cursor(self) -> Any:
        """Make a cursor that shows its statements to nobody."""
        return cursor(self)

    def end_block(self, before: tuple[Any, ...]) -> None:
        """Undo `begin_block`, once the transaction has ended."""
        self.state.in_block = False
        if not self.closed and not self.get_transaction_status():
            # Before autocommit: with it on, psycopg2 would send a SET for each.
            for attribute, value in zip((_readonly, _isolation_level, _deferrable), before[1:], strict=True):
                attribute.__set__(self, value)
            _autocommit.__set__(self, before[0])

    def restore(self) -> str | None:
        """Make it what the next borrower expects; tell why that cannot be done for nothing."""
        try:
            if self.get_transaction_status():  # any but TRANSACTION_STATUS_IDLE
                return "lost" if self.closed else "left in a transaction"
        except Error:
            return "lost"
        if self.state.touched or self.notices or self.notifies or self.string_types:
            return self._restore_attributes()
        return None

    def _restore_attributes(self) -> str | None:
        if self.state.altered:
            return self.state.altered
        self.string_types.clear()
        if not (self.readonly is self.isolation_level is self.deferrable is None):
            return "left with session settings"  # with autocommit on, psycopg2 sent a SET
        if self.encoding != self._first_encoding:
            return "left with another encoding"
        if not self.autocommit:
            self.autocommit = True
        self.cursor_factory = self.default_cursor_factory
        self.notices, self.notifies = self._first_notices, self._first_notifies
        self.notices.clear()
        self.notifies.clear()
        self.state.touched = False
        return None

    def note_statement(self, query: bytes | None) -> bool:
        """Look at what was sent, whatever came of it; tell whether it is plain."""
        text = (query or b"").lower().strip(b"; \t\r\n")
        if text.startswith(_PLAIN) and b";" not in text and not any(word in text for word in _WORDS):
            return True
        from .pinning import explain_lasting  # noqa: PLC0415  regular expressions, for what is rarely done

        lasting, ends_transaction, makes_writable = explain_lasting(query or b"")
        if lasting:
            self.state.touched, self.state.altered = True, self.state.altered or lasting
        self.state.ended = self.state.ended or ends_transaction
        self.state.wrote = self.state.wrote or (makes_writable and self.state.in_block and bool(self.settings[1]))
        return False

    def note_error(self, error: Error) -> None:
        """See what a failed statement tells of the server, also when the borrower swallows its error."""
        if error.pgcode == "25006" and not self.closed and not self.readonly:
            # The writer until a failover: connect anew, where the name leads now.
            self.state.touched, self.state.altered = True, "read-only server"
            self.state.on_standby = self.info.parameter_status("in_hot_standby") != "off"


class WatchedCursor(cursor):
    """A cursor that shows its connection each statement."""

    __slots__ = ()
    connection: Session

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002  psycopg2's name
        try:
            super().execute(query, vars)
        except Error as error:
            self.connection.note_error(error)
            raise
        finally:
            # A text that was plain is plain again: its %s become literals. A named cursor adds DECLARE.
            if query.__class__ is not str or query not in _known or self.name is not None:
                self._note(query)

    def executemany(self, query: Any, vars_list: Any) -> None:
        try:
            super().executemany(query, vars_list)
        except Error as error:
            self.connection.note_error(error)
            raise
        finally:
            self._note(None)

    def callproc(self, procname: Any, parameters: Any = None) -> None:
        try:
            super().callproc(procname, parameters)
        except Error as error:
            self.connection.note_error(error)
            raise
        finally:
            self._note(None)

    def _note(self, query: Any) -> None:
        if self.connection.note_statement(self.query) and query.__class__ is str and self.name is None:
            if len(_known) >= _KNOWN_AT_MOST:
                _known.clear()
            _known.add(query)


_known: set[str] = set()
_factories: dict[Any, Any] = {None: WatchedCursor}


def _watched(factory: Any) -> Any:
    """Return a class of cursors like the one asked for, and watched; a function that makes cursors stays as it is."""
    if factory not in _factories:
        watched = factory
        if isinstance(factory, type) and not issubclass(factory, WatchedCursor):
            watched = type(factory.__name__, (WatchedCursor, factory), {"__module__": factory.__module__})
        _factories[factory] = watched
    return _factories[factory]
