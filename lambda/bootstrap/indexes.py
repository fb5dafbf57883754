"""Indexes that are made CONCURRENTLY: what a statement names, and what a run that was cut short has left of it."""

import re
from dataclasses import dataclass

from psycopg2 import extensions, sql

from .statements import identifier, tokens

# The session that builds an index keeps this lock on its table, from the first phase to the last.
_BUILDERS = """
    SELECT pg_locks.pid
    FROM pg_catalog.pg_locks JOIN pg_catalog.pg_stat_progress_create_index AS progress USING (pid)
    WHERE relation = %s AND mode = 'ShareUpdateExclusiveLock' AND granted
      AND pg_locks.pid <> pg_catalog.pg_backend_pid() AND datname = pg_catalog.current_database()
"""
_INDEX = """
    SELECT indrelid = %(table)s, indisvalid
    FROM pg_catalog.pg_class JOIN pg_catalog.pg_index ON indexrelid = pg_class.oid
    WHERE relname = %(name)s
      AND relnamespace = (SELECT relnamespace FROM pg_catalog.pg_class WHERE oid = %(table)s)
"""

# On the statement's tokens with a blank between each two.
_NAME = r'(?:"(?:[^"]|"")*"|[^\W\d][\w$]*)'
_CREATE = re.compile(
    rf"CREATE (?:UNIQUE )?INDEX CONCURRENTLY (?:IF NOT EXISTS )?(?:(?P<name>{_NAME}) )?"
    rf"ON (?:ONLY )?(?:(?P<schema>{_NAME}) \. )?(?P<table>{_NAME})",
    re.IGNORECASE,
)


class IndexConflictError(Exception):
    """An index of this name stands in the way, or is not what the statement was to make."""


@dataclass(frozen=True)
class ConcurrentIndex:
    """What CREATE INDEX CONCURRENTLY names; the index gets the schema of its table."""

    name: str  # empty when the statement leaves the choice to the server
    table: tuple[str, ...]  # with its schema where that is given


def concurrent_index(statement: str) -> ConcurrentIndex | None:
    """Return the index that a statement makes CONCURRENTLY, or None when it is another statement."""
    found = _CREATE.match(" ".join(tokens(statement)))
    if found is None:
        return None
    table = (found["schema"], found["table"]) if found["schema"] else (found["table"],)
    return ConcurrentIndex(identifier(found["name"] or ""), tuple(map(identifier, table)))


def clear_the_way(cursor: extensions.cursor, index: ConcurrentIndex) -> bool:
    """Drop what an interrupted run has left of an index, or IF NOT EXISTS would keep it; tell whether there was any.

    Raises IndexConflictError when the name is another table's, or a session is building the index at this moment.
    """
    table = _table(cursor, index)
    match _state(cursor, index, table):
        case (False, _):
            raise IndexConflictError(f"The index {index.name!r} is on another table: choose another name.")
        case (True, False):
            cursor.execute(_BUILDERS, [table])
            if builder := cursor.fetchone():
                raise IndexConflictError(
                    f"The index {index.name!r} is being built by another session (process {builder[0]}):"
                    " apply again when that has ended."
                )
            cursor.execute(
                "SELECT nspname FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace"
                " ON pg_namespace.oid = relnamespace WHERE pg_class.oid = %s",
                [table],
            )
            [schema] = cursor.fetchone() or ("",)
            cursor.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.Identifier(schema, index.name)))
            return True
    return False


def require_valid(cursor: extensions.cursor, index: ConcurrentIndex) -> None:
    """Raise IndexConflictError unless the index stands on its table and is valid."""
    if _state(cursor, index, _table(cursor, index)) != (True, True):
        raise IndexConflictError(f"The index {index.name!r} is not valid after its statement: apply again.")


def _table(cursor: extensions.cursor, index: ConcurrentIndex) -> int | None:
    """Return the table's oid, found as the statement finds it: by the search_path, unless its schema is given."""
    cursor.execute("SELECT pg_catalog.to_regclass(%s)::oid", [sql.Identifier(*index.table).as_string(cursor)])
    found: tuple[int | None] | None = cursor.fetchone()
    return found[0] if found else None


def _state(cursor: extensions.cursor, index: ConcurrentIndex, table: int | None) -> tuple[bool, bool] | None:
    """Tell whether the index of this name is on the table, and valid; None without one."""
    cursor.execute(_INDEX, {"name": index.name, "table": table})
    found: tuple[bool, bool] | None = cursor.fetchone()
    return found
