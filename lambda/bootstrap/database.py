"""Connections to the instance itself: never through the proxy, always with its certificate and name verified."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg2
from psycopg2 import extensions

from .log import log
from .secret_store import Login
from .settings import Settings

_OPTIONS = {
    # From the first byte on no name leads to what somebody else could have made: a function in a schema of the master's
    # own name would run with the master's rights.
    "search_path": "pg_catalog,pg_temp",
    # When the function is killed its statement ends too, and with it the lock that the next invocation waits for. Where
    # even the end of the connection is lost on the way, the server notices within a minute.
    "client_connection_check_interval": "1s",
    "tcp_keepalives_idle": "20",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "60000",
    # The instance's own limits are for the application: a migration takes its time, and one that runs outside
    # a transaction leaves the connection that keeps the lock idle.
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
}


def connect(
    settings: Settings, login: Login, made_as: type[extensions.connection] = extensions.connection, **options: str
) -> extensions.connection:
    """Open a connection whose session begins with these parameters; PGHOSTADDR, where set, is libpq's to read."""
    return psycopg2.connect(
        connection_factory=made_as,
        host=settings.host,
        port=settings.port,
        dbname=settings.database,
        user=login.username,
        password=login.password,
        sslmode="verify-full",
        sslrootcert=settings.ca_file,
        connect_timeout=settings.connect_timeout_seconds,
        application_name="bootstrap",
        keepalives_idle=60,
        options=" ".join(f"-c {name}={value}" for name, value in (_OPTIONS | options).items()),
    )


def refusal(settings: Settings, login: Login) -> str | None:
    """Return why the server does not let this login in, or None when it does."""
    try:
        connect(settings, login).close()
    except psycopg2.OperationalError as error:
        if "too many connections for role" in str(error):
            return None  # the server says so once the password was right
        return str(error).strip()
    return None


def accepts(settings: Settings, login: Login) -> bool:
    return refusal(settings, login) is None


@contextmanager
def exclusive(connection: extensions.connection, *locks: str) -> Iterator[extensions.cursor]:
    """Open a transaction that no other invocation's can overlap; commit it, or roll it back on an error.

    The locks are the transaction's, so they cannot outlive a function that dies.
    """
    try:
        with connection.cursor() as cursor:
            for lock in locks:
                _wait_for(cursor, "pg_try_advisory_xact_lock", lock)
            yield cursor
    except BaseException:
        with suppress(psycopg2.Error):  # that the connection is lost must not hide what was being done
            connection.rollback()
        raise
    connection.commit()


@contextmanager
def held(connection: extensions.connection, lock: str) -> Iterator[extensions.cursor]:
    """Keep a lock on a session, each of whose statements is committed at once."""
    connection.autocommit = True
    with connection.cursor() as cursor:
        _wait_for(cursor, "pg_try_advisory_lock", lock)
        try:
            yield cursor
        finally:
            with suppress(psycopg2.Error):  # then the session is lost, and the lock with it
                cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [lock])
    connection.autocommit = False


def _wait_for(cursor: extensions.cursor, function: str, lock: str) -> None:
    """Take a lock, asking until it is free.

    A session that waits inside a statement keeps its snapshot. The CREATE INDEX CONCURRENTLY of the invocation ahead
    would wait for that, and both for ever.
    """
    waiting = False
    while True:
        cursor.execute(f"SELECT {function}(hashtextextended(%s, 0))", [lock])
        if cursor.fetchone() == (True,):
            return
        if not waiting:
            log("waiting for another invocation", lock=lock)
        waiting = True
        time.sleep(0.1)
