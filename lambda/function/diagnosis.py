"""What the function sees of its way to the database, for `make doctor`.

Leave this file and the handler's lines for it out, and the doctor says that it cannot look from inside the VPC.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from contextlib import closing
from typing import Any

import psycopg2
from lambda_postgres import Error, Settings
from lambda_postgres.connecting import try_logins
from lambda_postgres.login import SecretLogins, TokenLogins

_SSL_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f"
_SECONDS = 6


def diagnose() -> dict[str, Any]:
    """Go the way step by step and change nothing: what each step found, and why one failed. It holds no secret."""
    step = "settings"
    found: dict[str, Any] = {}
    try:
        settings = Settings.from_environment()
        found[step] = {"host": settings.host, "port": settings.port, "user": settings.user, "auth": settings.auth}
        step = "address"
        found[step] = _address(settings)
        step = "server"
        with socket.create_connection((found["address"], settings.port), _SECONDS) as plain:
            plain.sendall(_SSL_REQUEST)
            found[step] = plain.recv(1) == b"S"
            step = "certificate"
            found[step] = _certificate(plain, settings)
        step = "login"
        with closing(_log_in(settings)) as connection, connection.cursor() as cursor:
            found[step] = settings.user
            step = "query"
            cursor.execute("SELECT current_user, current_setting('server_version')")
            found[step] = cursor.fetchone()
    except (OSError, Error, psycopg2.Error) as error:
        found |= {"failed": step, "error": type(error).__name__, "reason": str(error).strip()}
    return found


def _address(settings: Settings) -> str:
    host = os.environ.get("PGHOSTADDR") or settings.host
    return str(socket.getaddrinfo(host, settings.port, type=socket.SOCK_STREAM)[0][4][0])


def _certificate(plain: socket.socket, settings: Settings) -> Any:
    """Verify chain and name as libpq does. create_default_context() is stricter since Python 3.13."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(settings.ca_file)
    with context.wrap_socket(plain, server_hostname=settings.host) as encrypted:
        return encrypted.getpeercert()


def _log_in(settings: Settings) -> Any:
    logins = (SecretLogins if settings.auth == "secret" else TokenLogins)(settings, time.time)
    outcome = try_logins(settings, logins, timeout_seconds=settings.connect_timeout_seconds, factory=None)
    if isinstance(outcome, Error):
        raise outcome
    outcome.autocommit = True
    return outcome
