"""Run migration files, each once: in a transaction with its own record, or marked as not fit for one.

A file runs in a session of its own, of a login that can act as the schema's owner and as nobody else. What a file
calls may be anything that the owner made, triggers and defaults among it; RESET ROLE in there leads to no one's rights
but the owner's. The master's own session only keeps the lock.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta

import psycopg2
from psycopg2 import extensions, sql

from .change import Change
from .database import connect, exclusive, held
from .errors import HistoryError, MigrationError, RoleError
from .hook import Lent, Revision
from .indexes import IndexConflictError, clear_the_way, concurrent_index, require_valid
from .log import log
from .migration_files import Migration, pending
from .passwords import set_password
from .secret_store import Login, new_login
from .settings import Settings
from .statements import Statement

# Rather than have all that use a table wait behind it, a migration fails. A file may set its own.
LOCK_TIMEOUT = "10s"
# Longer than Lambda runs: should the function die, nobody logs in with it later.
_LOGIN_LASTS = timedelta(minutes=20)
_IN_TRANSACTION_BLOCK = "25001"


def applied_migrations(cursor: extensions.cursor, settings: Settings) -> dict[str, str]:
    """Return the checksum of each file that was applied, by name; RoleError when the table is not the master's."""
    if not _ledger_exists(cursor, settings):
        return {}
    cursor.execute(sql.SQL("SELECT name, checksum FROM {} ORDER BY name").format(_ledger(settings)))
    return dict(cursor.fetchall())


def last_applied(cursor: extensions.cursor, settings: Settings) -> tuple[str, str] | None:
    """Return the file that was applied last and when, in ISO 8601; None when there is none."""
    if not _ledger_exists(cursor, settings):
        return None
    last = sql.SQL("SELECT name, applied_at AT TIME ZONE 'UTC' FROM {} ORDER BY 2 DESC, 1 DESC LIMIT 1")
    cursor.execute(last.format(_ledger(settings)))
    found: tuple[str, datetime] | None = cursor.fetchone()
    return (found[0], f"{found[1]:%Y-%m-%dT%H:%M:%SZ}") if found else None


def ledger(cursor: extensions.cursor, settings: Settings) -> Iterator[Change]:
    """Yield what makes the application's table of applied files, which its owner may add to and nobody may change.

    It stands in a schema of the master's, so that no application can put something else in its place.
    """
    if _ledger_exists(cursor, settings):
        return
    names = {"ledger": _ledger(settings), "owner": sql.Identifier(settings.owner)}
    statements = (
        "CREATE SCHEMA IF NOT EXISTS bootstrap",
        "CREATE TABLE {ledger} ("
        "name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())",
        "GRANT USAGE ON SCHEMA bootstrap TO {owner}",
        "GRANT SELECT, INSERT ON {ledger} TO {owner}",
    )
    yield Change(
        f"make the record of migrations, bootstrap.{settings.schema}",
        tuple(sql.SQL(statement).format(**names) for statement in statements),
    )


def migrate(connection: extensions.connection, settings: Settings, files: Sequence[Migration | Revision]) -> list[str]:
    """Apply the pending files in order; return the names of those that this invocation ran."""
    with held(connection, settings.migrations_lock) as cursor:
        # Read again under the lock: another invocation may have been quicker.
        waiting = pending(files, applied_migrations(cursor, settings))
        if waiting:
            login = new_login(settings.deployer)
            role = sql.Identifier(settings.deployer)
            try:
                set_password(cursor, login)
                end = datetime.now(UTC) + _LOGIN_LASTS
                cursor.execute(sql.SQL("ALTER ROLE {} LOGIN VALID UNTIL {}").format(role, sql.Literal(end.isoformat())))
                for file in waiting:
                    _apply(file, login, settings)
            finally:
                with suppress(psycopg2.Error):  # then the master's session is lost, and the login ends by itself
                    cursor.execute(sql.SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL").format(role))
    return [file.name for file in waiting]


def record(
    connection: extensions.connection, settings: Settings, files: Sequence[Migration | Revision], name: str
) -> None:
    """Record the next pending file as applied, because a person ran it by hand: it takes longer than Lambda allows."""
    with exclusive(connection, settings.migrations_lock) as cursor:
        waiting = [file.name for file in pending(files, applied_migrations(cursor, settings))]
        if waiting[:1] != [name]:
            wanted = f"the next is {waiting[0]}" if waiting else "none is pending"
            raise HistoryError(f"{name} cannot be recorded as applied: {wanted}.")
        [file] = [file for file in files if file.name == name]
        _record(cursor, file, settings)


def _apply(file: Migration | Revision, login: Login, settings: Settings) -> None:
    log("migration started", file=file.name)
    made_as = Lent if isinstance(file, Revision) else extensions.connection
    with closing(connect(settings, login, made_as, role=settings.owner, search_path=settings.schema)) as session:
        session.autocommit = not file.in_transaction
        with session.cursor() as cursor:
            if file.in_transaction:
                cursor.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(LOCK_TIMEOUT)))
            if isinstance(file, Revision):
                assert isinstance(session, Lent)
                file.run(session)
            else:
                _run(cursor, file)
            cursor.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(settings.owner)))
            _record(cursor, file, settings)
        if file.in_transaction:
            session.commit()
    statements = {} if isinstance(file, Revision) else {"statements": len(file.statements)}
    log("migration applied", file=file.name, **statements)


def _run(cursor: extensions.cursor, file: Migration) -> None:
    """Send the statements one by one, so that an error can name the line."""
    for statement in file.statements:
        index = None if file.in_transaction else concurrent_index(statement.text)
        try:
            if index and clear_the_way(cursor, index):
                log("unfinished index dropped", index=index.name)
            cursor.execute(statement.text)
            if index:
                require_valid(cursor, index)
        except psycopg2.Error as error:
            raise MigrationError(_explain(file, statement, error)) from error
        except IndexConflictError as error:
            raise MigrationError(f"{file.name}:{statement.line}: {error}") from error


def _record(cursor: extensions.cursor, file: Migration | Revision, settings: Settings) -> None:
    insert = sql.SQL("INSERT INTO {} (name, checksum) VALUES (%s, %s)").format(_ledger(settings))
    cursor.execute(insert, [file.name, file.checksum])


def _ledger_exists(cursor: extensions.cursor, settings: Settings) -> bool:
    cursor.execute(
        "SELECT pg_get_userbyid(nspowner) = current_user,"
        " EXISTS (SELECT FROM pg_class WHERE relnamespace = pg_namespace.oid AND relname = %s)"
        " FROM pg_namespace WHERE nspname = 'bootstrap'",
        [settings.schema],
    )
    own, exists = cursor.fetchone() or (True, False)
    if not own:
        raise RoleError("The schema 'bootstrap' exists and is not the master user's: rename it, then apply again.")
    return bool(exists)


def _ledger(settings: Settings) -> sql.Identifier:
    return sql.Identifier("bootstrap", settings.schema)


def _explain(file: Migration, statement: Statement, error: psycopg2.Error) -> str:
    line = statement.line
    if error.diag.statement_position:
        line += statement.text.count("\n", 0, int(error.diag.statement_position) - 1)
    message = error.diag.message_primary or str(error).strip()
    hint = " (put `-- transaction: none` on the file's first line)" if error.pgcode == _IN_TRANSACTION_BLOCK else ""
    return f"{file.name}:{line}: {message}{hint}"
