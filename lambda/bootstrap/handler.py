"""Make the database usable: migrate its schema, make its users, turn their passwords over.

{"action": "apply"}    what Terraform invokes; does nothing the second time
{"action": "plan"}     list what apply would do
{"action": "diagnose"}    say what keeps users out and what waits, for make doctor
{"action": "record", "file": "0007_large.sql"}    record the next migration as applied, which a person ran by hand
{"SecretId": …, "ClientRequestToken": …, "Step": …}    Secrets Manager's rotation
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import extensions

from .change import Change
from .claim import refuse_another_s
from .database import connect, exclusive
from .diagnosis import diagnose
from .errors import BootstrapError, EventError, SchemaTakenError, SettingsError
from .hook import Revision
from .log import log
from .migration_files import Migration, pending, read_migrations
from .migrator import LOCK_TIMEOUT, applied_migrations, migrate, record
from .passwords import ensure_login, login_works
from .preparation import preparation, remarks
from .rotation import Rotation
from .secret_store import Login, SecretStore
from .settings import Settings, User, read_settings

MIGRATIONS = Path(__file__).parent / "migrations"


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 (Lambda's signature)
    """Do what the event asks for; the answer holds no secret, since it lands in Terraform's state."""
    action = event.get("Step") or event.get("action")
    try:
        answer = _act(event)
    except Exception as error:
        log("failed", action=action, error=type(error).__name__, message=str(error))
        raise
    log("done", action=action, **answer)
    return answer


def _act(event: Mapping[str, Any]) -> dict[str, Any]:
    settings = read_settings(os.environ)
    store = SecretStore()
    match event:
        case {"Step": step, "SecretId": secret, "ClientRequestToken": version}:
            Rotation(settings, store, _master(settings, store), secret=secret, version=version).run(step)
            return {"step": step}
        case {"action": "apply"}:
            return apply(settings, store)
        case {"action": "plan"}:
            return plan(settings, store)
        case {"action": "diagnose"}:
            return diagnose(settings, store, lambda: _master(settings, store), lambda: read_migrations(MIGRATIONS))
        case {"action": "record", "file": str(file)}:
            with closing(connect(settings, _master(settings, store))) as connection:
                record(connection, settings, read_migrations(MIGRATIONS), file)
            return {"recorded": file}
    raise EventError(
        'The event must be {"action": "apply"}, {"action": "plan"}, {"action": "diagnose"},'
        ' {"action": "record", "file": "0007_large.sql"} or a rotation step.'
    )


def apply(settings: Settings, store: SecretStore) -> dict[str, Any]:
    """Bring the roles, the passwords and the schema to what the settings and the migration files say."""
    files = read_migrations(MIGRATIONS)
    master = _master(settings, store)
    with closing(connect(settings, master)) as connection:
        changed = _prepare(connection, settings, files)
        passwords = [user.name for user in _password_users(settings) if ensure_login(connection, store, settings, user)]
        migrations = migrate(connection, settings, files)
    return {
        "application_user": settings.application.name,
        "migrations": migrations,
        "changes": changed,
        "passwords": passwords,
    }


def plan(settings: Settings, store: SecretStore) -> dict[str, Any]:
    """Tell what apply would do, in a transaction that cannot write, with each statement.

    Where it would refuse because the schema is somebody else's: why, and what it would do to adopt it.
    """
    files = read_migrations(MIGRATIONS)
    refused = {}
    with closing(connect(settings, _master(settings, store))) as connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection, connection.cursor() as cursor:
            refuse_another_s(cursor, settings)
            waiting = pending(files, applied_migrations(cursor, settings))
            for file in waiting:
                file.check()
            try:
                found = list(preparation(cursor, settings))
            except SchemaTakenError as error:
                refused = {"refused": str(error)}
                settings = replace(settings, adopt=True)
                found = list(preparation(cursor, settings))
            statements = [text.as_string(cursor) for change in found for text in change.statements]
            remarked = remarks(cursor, settings)
    return {
        **refused,
        "application_user": settings.application.name,
        "migrations": [file.name for file in waiting],
        "changes": [change.what for change in found],
        "passwords": [user.name for user in _password_users(settings) if not login_works(store, settings, user)],
        "statements": statements,
        "remarks": remarked,
    }


def _prepare(connection: extensions.connection, settings: Settings, files: Sequence[Migration | Revision]) -> list[str]:
    """Check the history before anything runs, then make the roles and the schema in one transaction."""
    done = []
    with exclusive(connection, settings.database_lock, settings.roles_lock) as cursor:
        refuse_another_s(cursor, settings)
        for file in pending(files, applied_migrations(cursor, settings)):
            file.check()
        # An ALTER that waits for a table keeps what it altered before from everyone.
        cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        for change in preparation(cursor, settings):
            _make(cursor, change)
            log("changed", what=change.what)
            done.append(change.what)
        # PostgreSQL only warns of a REVOKE that it did not do.
        left = [change.what for change in preparation(cursor, settings)]
        if left:
            raise BootstrapError(f"The master user may not {'; '.join(left)}.")
    return done


def _make(cursor: extensions.cursor, change: Change) -> None:
    try:
        for statement in change.statements:
            cursor.execute(statement)
    except psycopg2.Error as error:
        if error.pgcode is None:  # the connection is lost
            raise
        raise BootstrapError(
            f"The master user could not {change.what}: {error.diag.message_primary}. Nothing was changed."
        ) from error


def _master(settings: Settings, store: SecretStore) -> Login:
    master = store.current(settings.master_secret_arn)
    if master is None:
        raise SettingsError("MASTER_SECRET_ARN names a secret that has no value.")
    if master.username in [user.name for user in settings.users]:
        raise SettingsError(f"The master user {master.username!r} cannot be an application user.")
    return master


def _password_users(settings: Settings) -> list[User]:
    return [user for user in settings.users if user.auth == "password"]
