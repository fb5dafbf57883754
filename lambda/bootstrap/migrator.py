"""Run migration files, each once: in a transaction with its own record, or marked as not fit for one."""

from collections.abc import Sequence
from contextlib import closing

import psycopg2
from database import connect, exclusive
from errors import MigrationError
from log import log
from migration_files import Migration, pending
from psycopg2 import extensions, sql
from secret_store import Credential
from settings import Settings
from statements import Statement

# Rather than have all that use a table wait behind it, a migration fails. A file may set its own.
_LOCK_TIMEOUT = "10s"
_IN_TRANSACTION_BLOCK = "25001"


def applied_migrations(cursor: extensions.cursor) -> dict[str, str]:
    """Return the checksum of each file that was applied, by name."""
    cursor.execute("SELECT to_regclass('bootstrap.migrations') IS NOT NULL")
    if not _value(cursor):
        return {}
    cursor.execute("SELECT name, checksum FROM bootstrap.migrations ORDER BY name")
    return dict(cursor.fetchall())


def create_ledger(cursor: extensions.cursor) -> None:
    """Make the table of applied files, in a schema that only the master user reaches."""
    cursor.execute("SELECT to_regclass('bootstrap.migrations') IS NULL")
    if _value(cursor):
        cursor.execute("CREATE SCHEMA IF NOT EXISTS bootstrap")
        cursor.execute(
            "CREATE TABLE bootstrap.migrations ("
            "name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )


def migrate(
    connection: extensions.connection, master: Credential, settings: Settings, files: Sequence[Migration]
) -> list[str]:
    """Apply the pending files in order; return the names of those that this invocation ran."""
    done = []
    for file in files:
        with exclusive(connection) as cursor:
            # Read again under the lock: another invocation may have been quicker.
            if file in pending(files, applied_migrations(cursor)):
                _apply(cursor, file, master, settings)
                done.append(file.name)
        connection.reset()  # a file's SET must not reach the next one
    return done


def _apply(cursor: extensions.cursor, file: Migration, master: Credential, settings: Settings) -> None:
    log("migration started", file=file.name)
    if file.in_transaction:
        cursor.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(_LOCK_TIMEOUT)))
        _run(cursor, file, settings)
        cursor.execute("RESET ROLE")
    else:
        # This transaction only keeps the lock; the statements run beside it.
        with closing(connect(settings, master)) as beside:
            beside.autocommit = True
            with beside.cursor() as outside:
                _drop_unfinished_indexes(outside, file, settings)
                _run(outside, file, settings)
    cursor.execute("INSERT INTO bootstrap.migrations (name, checksum) VALUES (%s, %s)", [file.name, file.checksum])
    log("migration applied", file=file.name, statements=len(file.statements))


def _run(cursor: extensions.cursor, file: Migration, settings: Settings) -> None:
    """Send the statements as the role that is to own what they make."""
    cursor.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(settings.owner)))
    cursor.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(settings.schema)))
    for statement in file.statements:
        try:
            cursor.execute(statement.text)
        except psycopg2.Error as error:
            raise MigrationError(_explain(file, statement, error)) from error


def _explain(file: Migration, statement: Statement, error: psycopg2.Error) -> str:
    line = statement.line
    if error.diag.statement_position:
        line += statement.text.count("\n", 0, int(error.diag.statement_position) - 1)
    message = error.diag.message_primary or str(error).strip()
    hint = " (put `-- transaction: none` on the file's first line)" if error.pgcode == _IN_TRANSACTION_BLOCK else ""
    return f"{file.name}:{line}: {message}{hint}"


def _drop_unfinished_indexes(cursor: extensions.cursor, file: Migration, settings: Settings) -> None:
    """Remove what an interrupted CREATE INDEX CONCURRENTLY of this file left, or IF NOT EXISTS would keep it."""
    cursor.execute(
        "SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
        " WHERE NOT indisvalid AND relkind = 'i' AND relnamespace = %s::regnamespace",
        [_quoted(cursor, settings.schema)],
    )
    for (name,) in cursor.fetchall():
        if any(name in statement.text for statement in file.statements):
            cursor.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.Identifier(settings.schema, name)))
            log("unfinished index dropped", index=name)


def _quoted(cursor: extensions.cursor, name: str) -> str:
    return sql.Identifier(name).as_string(cursor)


def _value(cursor: extensions.cursor) -> object:
    row = cursor.fetchone()
    assert row is not None
    return row[0]
