"""Connections to the instance itself: never through the proxy, always with its certificate and name verified."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg2
from psycopg2 import extensions
from secret_store import Credential
from settings import Settings


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
        # When the function is killed its statement ends too, and with it the lock that the next invocation waits for.
        options="-c client_connection_check_interval=1s",
    )


def accepts(settings: Settings, credential: Credential) -> bool:
    """Tell whether the server lets this credential in."""
    try:
        connect(settings, credential).close()
    except psycopg2.OperationalError:
        return False
    return True


@contextmanager
def exclusive(connection: extensions.connection) -> Iterator[extensions.cursor]:
    """Open a transaction that no other invocation's can overlap; commit it, or roll it back on an error.

    The lock is the transaction's, so it cannot outlive a function that dies.
    """
    try:
        with connection.cursor() as cursor:
            # The instance may end idle transactions, and this one idles while another connection works for it.
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
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
