"""One change to the database: what it is for people, and its statements."""

from dataclasses import dataclass
from typing import Any

from psycopg2 import extensions, sql


@dataclass(frozen=True)
class Change:
    what: str
    statements: tuple[sql.Composable, ...]


def change(what: str, statement: str, *names: str) -> Change:
    """Make a change of one statement, whose places are names."""
    return Change(what, (sql.SQL(statement).format(*map(sql.Identifier, names)),))


def single(cursor: extensions.cursor, query: str, *arguments: str) -> Any:
    """Return the first column of the first row, which there is."""
    cursor.execute(query, arguments)
    return first(cursor)


def first(cursor: extensions.cursor) -> Any:
    row = cursor.fetchone()
    assert row is not None
    return row[0]
