"""Connections to the instance itself: never through the proxy, always with its certificate and name verified."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg2
from psycopg2 import extensions
from secret_store import Credential
from settings import Settings

_OPTIONS = (
    # When the function is killed its statement ends too, and with it the lock that the next invocation waits for.
    "-c client_connection_check_interval=1s"
    # The instance's own limits are for the application: a migration takes its time, and one that runs outside
    # a transaction leaves the connection that keeps the lock idle.
    " -c statement_timeout=0 -c idle_in_transaction_session_timeout=0"
)


def connect(settings: Settings, credential: Credential) -> extensions.connection:
    """Open a connection; PGHOSTADDR, where set, is libpq's to read."""
    return psycopg2.connect(
        host=settings.host,
        port=settings.port,
        dbname=settings.database,
        user=credential.username,
        password=credential.password,
        sslmode="verify-full",
        sslrootcert=settings.root_certificate,
        connect_timeout=10,
        application_name="bootstrap",
        keepalives_idle=60,
        options=_OPTIONS,
    )


def refusal(settings: Settings, credential: Credential) -> str | None:
    """Return why the server does not let this credential in, or None when it does."""
    try:
        connect(settings, credential).close()
    except psycopg2.OperationalError as error:
        return str(error).strip()
    return None


def accepts(settings: Settings, credential: Credential) -> bool:
    return refusal(settings, credential) is None


@contextmanager
def exclusive(connection: extensions.connection) -> Iterator[extensions.cursor]:
    """Open a transaction that no other invocation's can overlap; commit it, or roll it back on an error.

    The lock is the transaction's, so it cannot outlive a function that dies.
    """
    try:
        with connection.cursor() as cursor:
            _lock(cursor)
            yield cursor
    except BaseException:
        with suppress(psycopg2.Error):  # that the connection is lost must not hide what was being done
            connection.rollback()
        raise
    connection.commit()


def _lock(cursor: extensions.cursor) -> None:
    """Take the transaction's lock, asking until it is free.

    A session that waits inside a statement keeps its snapshot. The CREATE INDEX CONCURRENTLY of the invocation ahead
    would wait for that, and both for ever.
    """
    while True:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended('bootstrap', 0))")
        if cursor.fetchone() == (True,):
            return
        time.sleep(0.1)
