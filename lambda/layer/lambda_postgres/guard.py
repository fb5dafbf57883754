"""With DB_PINNING_GUARD set: log each shape of statement that would pin a session of RDS Proxy, once, while running."""

from __future__ import annotations

from typing import Any

from .log import Log
from .pinning import explain_pinning, shape_of
from .session import Session, WatchedCursor


class GuardedCursor(WatchedCursor):
    """A cursor that warns of statements that would pin."""

    def execute(self, query: Any, vars: Any = None) -> None:  # noqa: A002  psycopg2's name
        _warn("DECLARE …" if self.name else self.mogrify(query, vars))
        super().execute(query, vars)

    def executemany(self, query: Any, vars_list: Any) -> None:
        _warn(self.mogrify(query))
        super().executemany(query, vars_list)


class GuardedConnection(Session):
    """A connection that warns of psycopg2's own calls that would pin, besides its cursors' statements."""

    default_cursor_factory = GuardedCursor

    def set_client_encoding(self, encoding: str) -> None:
        _warn("SET client_encoding")
        super().set_client_encoding(encoding)

    def set_session(self, *arguments: Any, **options: Any) -> None:
        if self.autocommit:
            _warn("SET default_transaction_…")
        super().set_session(*arguments, **options)

    def reset(self) -> None:
        _warn("DISCARD ALL")
        super().reset()


_warned: set[str] = set()


def _warn(sql: str | bytes) -> None:
    reason = explain_pinning(sql)
    if reason is None:
        return
    shape = shape_of(sql)
    if shape not in _warned:
        _warned.add(shape)
        Log.from_environment().write(
            "WARNING",
            "statement would pin the proxy session",
            reason=reason,
            statement=shape,
            metrics={"PinningStatements": ("Count", 1)},
        )
