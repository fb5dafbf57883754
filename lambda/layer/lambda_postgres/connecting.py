"""One attempt to connect, and what its failure means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg2

from .errors import CannotConnect, LoginRefused, PoolExhausted

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

    from .login import Login
    from .settings import Settings

# libpq gives no SQLSTATE for a failed connect, only the server's text. First match wins.
_MEANINGS: tuple[tuple[str, str, type[CannotConnect], bool], ...] = (
    ("too many clients already", "53300", PoolExhausted, True),
    ("remaining connection slots are reserved", "53300", PoolExhausted, True),
    ("too many connections for", "53300", PoolExhausted, True),
    ("maximum number of client connections", "53300", PoolExhausted, True),
    ("Rate of connection to proxy exceeded", "53300", PoolExhausted, True),
    ("too many competing requests", "53300", PoolExhausted, True),
    # PgBouncer's; before the refusals, since the reason that it may quote is that of its own login.
    ("no more connections allowed", "08P01", PoolExhausted, True),
    ("query_wait_timeout", "08P01", PoolExhausted, True),
    ("server login has been failing", "08P01", CannotConnect, True),
    ("Timed-out waiting to acquire database connection", "08000", PoolExhausted, True),
    ("the database system is", "57P03", CannotConnect, True),
    ("terminating connection due to administrator command", "57P01", CannotConnect, True),
    ("password authentication failed", "28P01", LoginRefused, False),
    ("The password that was provided", "28P01", LoginRefused, False),
    ("IAM authentication failed", "28P01", LoginRefused, False),
    ("PAM authentication failed", "28000", LoginRefused, False),
    ("no credentials for the role", "28000", LoginRefused, False),
    ("IAM authentication is allowed only", "28000", LoginRefused, False),
    ("RDS supports only IAM", "28000", LoginRefused, False),
    ("requires TLS", "28000", LoginRefused, False),
    ("no pg_hba.conf entry", "28000", LoginRefused, False),
    ("is not permitted to log in", "28000", LoginRefused, False),
    ('role "', "28000", LoginRefused, False),
    ("FATAL:", "", CannotConnect, False),
    ("certificate", "", CannotConnect, False),
    ("does not support SSL", "", CannotConnect, False),
    ("", "08001", CannotConnect, True),  # nothing from the server: refused, reset, timed out, no address
)


def connect(settings: Settings, login: Login, *, timeout_seconds: int, guard: bool) -> Connection | CannotConnect:
    """Open a connection, or return why not.

    Returned and not raised: this frame, and psycopg2's below it, hold the password, and a traceback would show them.
    """
    factory = None
    if guard:
        from .pinning import GuardedConnection  # noqa: PLC0415  for development only

        factory = GuardedConnection
    try:
        connection: Connection = psycopg2.connect(
            host=settings.host,
            port=settings.port,
            dbname=settings.database,
            user=login.user,
            password=login.password,
            sslmode="verify-full",
            sslrootcert=settings.root_certificates,
            gssencmode="disable",
            application_name=settings.application_name,
            connect_timeout=timeout_seconds,
            # A peer that is gone is noticed: after 10 s while sending, 20 s while waiting for an answer.
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=2,
            tcp_user_timeout=10_000,
            connection_factory=factory,
        )
    except psycopg2.Error as error:
        return _explain(settings, error)
    connection.autocommit = True  # sends nothing
    return connection


def _explain(settings: Settings, error: psycopg2.Error) -> CannotConnect:
    text = "; ".join(str(error).split("\n")).strip("; ")
    sqlstate, kind, transient = next(row[1:] for row in _MEANINGS if row[0] in text)
    explained = kind(settings.target, text, sqlstate=sqlstate or None, transient=transient)
    explained.__cause__ = error.with_traceback(None)
    return explained
