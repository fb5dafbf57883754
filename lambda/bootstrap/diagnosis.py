"""What stands between the users and the database, for `make doctor` and `make status`: each part by itself.

Nothing is changed, and the answer holds no secret.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import psycopg2
from botocore.exceptions import BotoCoreError, ClientError
from psycopg2 import extensions

from .database import connect, refusal
from .errors import BootstrapError
from .hook import Revision
from .migration_files import Migration, pending
from .migrator import applied_migrations, last_applied
from .preparation import preparation
from .secret_store import Login, SecretStore
from .settings import Settings, User

_SESSIONS = "backend_type = 'client backend'"
_SERVER = f"""
SELECT current_setting('server_version'), current_setting('max_connections')::int,
       (SELECT count(*) FROM pg_stat_activity WHERE {_SESSIONS})
"""  # noqa: S608
# What a cluster's server really has is not known before: see the README of modules/cluster.
_SETTINGS = """
SELECT coalesce(jsonb_object_agg(name, setting::int), '{}'),
       current_setting('rds.accepted_password_auth_method', true)
FROM pg_settings WHERE name LIKE '%reserved_connections'
"""
_ROLE = "SELECT pg_has_role(oid, 'rds_iam', 'MEMBER') FROM pg_roles WHERE rolname = %s"

Read = Callable[[], Sequence[Migration | Revision]]


def diagnose(
    settings: Settings, store: SecretStore, read_master: Callable[[], Login], read_files: Read
) -> dict[str, Any]:
    """Look at the server, its users and its migrations; what cannot be looked at has its reason instead."""
    found: dict[str, Any] = {"host": settings.host}
    step = "secret"
    try:
        master = read_master()
        step = "connection"
        with closing(connect(settings, master)) as connection:
            connection.set_session(readonly=True)
            step = "server"
            with connection, connection.cursor() as cursor:
                found[step] = _server(cursor)
                found["users"] = {user.name: _user(cursor, user) for user in settings.users}
            found["migrations"] = _guarded(lambda: _migrations(connection, settings, read_files))
            found["changes"] = _guarded(lambda: _changes(connection, settings))
    except (BootstrapError, BotoCoreError, ClientError, psycopg2.Error) as error:
        return found | {"failed": step, "reason": _reason(error)}
    for user in settings.users:
        if user.auth == "password":
            found["users"][user.name] |= _login(settings, store, user)
    return found


def _server(cursor: extensions.cursor) -> dict[str, Any]:
    cursor.execute(_SERVER)
    version, most, now = cursor.fetchone() or (None, None, None)
    cursor.execute(_SETTINGS)
    reserved, method = cursor.fetchone() or ({}, None)
    found = {"version": version, "max_connections": most, "connections": now, "reserved": reserved}
    return found | ({"password_method": method} if method else {})


def _user(cursor: extensions.cursor, user: User) -> dict[str, Any]:
    """Tell how the user is to log in, and whether the server has it do so; None where there is no such role."""
    cursor.execute(_ROLE, [user.name])
    [by_iam] = cursor.fetchone() or [None]
    return {"auth": user.auth, "rds_iam": by_iam}


def _login(settings: Settings, store: SecretStore, user: User) -> dict[str, Any]:
    """Try the password of the user's secret: the reason why it is none, or why the server refuses it."""
    try:
        login = store.current(user.secret_arn or "")
    except (BootstrapError, BotoCoreError, ClientError) as error:
        return {"secret": _reason(error)}
    if login is None:
        return {"secret": "it has no value"}
    if login.username != user.name:
        return {"secret": f"it holds the login of {login.username!r}"}
    try:
        return {"login": refusal(settings, login)}
    except Exception as error:  # the text of an error that nobody foresaw may hold the password
        return {"login": type(error).__name__}


def _migrations(connection: extensions.connection, settings: Settings, read_files: Read) -> dict[str, Any]:
    with connection, connection.cursor() as cursor:
        applied = applied_migrations(cursor, settings)
        last = last_applied(cursor, settings)
    found = {"applied": len(applied), "last": last and list(last)}
    return found | {"pending": [file.name for file in pending(read_files(), applied)]}


def _changes(connection: extensions.connection, settings: Settings) -> list[str]:
    with connection, connection.cursor() as cursor:
        return [change.what for change in preparation(cursor, settings)]


def _guarded(look: Callable[[], Any]) -> Any:
    try:
        return look()
    except (BootstrapError, psycopg2.Error) as error:
        return {"reason": _reason(error)}


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
