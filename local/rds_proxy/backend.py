"""The PostgreSQL that the stand-in is put in front of: where its URL leads, and a first login there.

A URL is read as libpq reads it, and what it leaves out comes from libpq's environment variables.
"""

from __future__ import annotations

import asyncio
import getpass
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode

from ..postgres import wire
from .server_connection import Target

_SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_OWN = ("host", "port", "user", "password", "dbname", "sslmode", "sslrootcert")
# Each would lead elsewhere, or log in otherwise, than the stand-in does.
_REFUSED = (
    *("hostaddr", "service", "servicefile", "passfile", "target_session_attrs", "load_balance_hosts", "requirepeer"),
    *("sslcert", "sslkey", "sslpassword", "sslcrl", "sslcrldir", "sslnegotiation", "krbsrvname", "replication"),
)
_NO_QUERY = ("asyncpg", "pg8000")  # drivers of SQLAlchemy that know no sslmode; the first reads it from PGSSLMODE
_ENCODE = "In user and password write / ? : @ and % as %2F %3F %3A %40 and %25."
_SOCKET_FOLDERS = ("/var/run/postgresql", "/tmp")  # noqa: S108 (where packages of PostgreSQL put it)
_LOGIN_TIMEOUT_SECONDS = 10.0


class BackendError(Exception):
    """Why the server cannot be used: one line for the user."""


@dataclass(frozen=True)
class Backend:
    """A server, who logs in there, and what of the URL is for the client alone."""

    target: Target
    user: str
    password: str = field(repr=False)
    database: str
    driver: str = ""  # of SQLAlchemy: what follows the plus in postgresql+psycopg
    extra: tuple[tuple[str, str], ...] = ()

    @property
    def place(self) -> str:
        if self.target.address.startswith("/"):
            return f"{self.target.address}/.s.PGSQL.{self.target.port}"
        return f"{self.target.address}:{self.target.port}"

    def url(self, *, host: str, port: int, ca_file: Path, password: str | None = None) -> str:
        """Return the URL with which a client reaches the same database through the stand-in."""
        login = quote(self.user, safe="") + ("" if password is None else ":" + quote(password, safe=""))
        scheme = f"postgresql+{self.driver}" if self.driver else "postgresql"
        tls = () if self.driver in _NO_QUERY else (("sslmode", "verify-full"), ("sslrootcert", str(ca_file)))
        query = urlencode((*tls, *self.extra), quote_via=quote, safe="/")
        return f"{scheme}://{login}@{host}:{port}/{quote(self.database, safe='')}" + (f"?{query}" if query else "")


def read_url(url: str, environ: Mapping[str, str]) -> Backend:
    """Return what a URL and libpq's environment variables say; raise BackendError where they cannot be followed."""
    found = re.fullmatch(r"postgres(?:ql)?(?:\+(\w+))?://([^/?]*)(?:/([^?]*))?(?:\?(.*))?", url.strip(), re.DOTALL)
    if found is None:
        raise BackendError(
            "The URL must begin with postgresql://, for example postgresql://user@localhost:5432/database."
        )
    driver, netloc, path, parameters = (part or "" for part in found.groups())
    try:
        query = parse_qsl(parameters, keep_blank_values=True, strict_parsing=bool(parameters), errors="strict")
    except ValueError:
        raise BackendError("The URL's parameters cannot be read: they have the form name=value&name=value.") from None
    given = dict(query)
    for name in given:
        if name in _REFUSED:
            raise BackendError(f"The URL's parameter {name} is not supported: leave it out.")
    login, _, place = netloc.rpartition("@")
    user, colon, password = login.partition(":")
    host, port = _place(place)
    database = unquote(path)
    user = unquote(user) or given.get("user") or environ.get("PGUSER") or getpass.getuser()
    host = host or given.get("host") or environ.get("PGHOST") or ""
    if "," in host:
        raise BackendError("The URL names several hosts: give one.")
    number = _port(port or given.get("port") or environ.get("PGPORT") or "5432")
    database = database or given.get("dbname") or environ.get("PGDATABASE") or user
    target = _target(host, number, given, environ)
    return Backend(
        target=target,
        user=user,
        password=unquote(password)
        if colon
        else given.get("password") or environ.get("PGPASSWORD") or _from_passfile(environ, target, database, user),
        database=database,
        driver=driver,
        extra=tuple((name, value) for name, value in query if name not in _OWN),
    )


async def log_in(backend: Backend, init_query: str = "") -> Backend:
    """Log in once; return the same with what the server says of its connections, or raise BackendError."""
    target = backend.target
    try:
        async with asyncio.timeout(_LOGIN_TIMEOUT_SECONDS):
            connection = await target.open(asyncio.get_running_loop(), target.tls())
            try:
                await wire.log_in(connection, {"user": backend.user, "database": backend.database}, backend.password)
                most = wire.only_value(await wire.run(connection, "SHOW max_connections"))
                await _try(connection, init_query)
            finally:
                connection.close()
    except wire.PasswordNeeded:
        raise BackendError(
            f"The server at {backend.place} asks user {backend.user} for a password, and none is given: "
            "put it into the URL, PGPASSWORD or ~/.pgpass."
        ) from None
    except wire.ServerError as error:
        raise BackendError(f"The server at {backend.place} refused the login: {error}.") from error
    except ssl.SSLError as error:
        what = getattr(error, "verify_message", "") or error.reason or str(error)
        raise BackendError(
            f"TLS with the server at {backend.place} failed (sslmode={target.sslmode}): {what}."
        ) from error
    except TimeoutError as error:
        raise BackendError(
            f"The server at {backend.place} did not answer within {_LOGIN_TIMEOUT_SECONDS:.0f} s."
        ) from error
    except (OSError, wire.ProtocolError) as error:
        raise BackendError(f"The server at {backend.place} cannot be reached: {_plain(error)}.") from error
    if not most.isdecimal():
        raise BackendError(f"The server at {backend.place} does not say its max_connections.")
    return replace(backend, target=replace(target, max_connections=int(most)))


async def _try(connection: wire.Connection, init_query: str) -> None:
    if init_query:
        try:
            await wire.run(connection, init_query)
        except wire.ServerError as error:
            raise BackendError(f"The server refused --init-query: {error}.") from error


def _place(place: str) -> tuple[str, str]:
    """Split host and port; an IPv6 address stands in brackets."""
    found = re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]*)(?::([^:]*))?", place)
    if found is None:
        raise BackendError(f"The URL's host cannot be read: an IPv6 address stands in brackets. {_ENCODE}")
    return unquote(found[1]).strip("[]"), found[2] or ""


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise BackendError(f"The port must be a number from 1 to 65535. {_ENCODE}")
    return int(text)


def _target(host: str, port: int, given: Mapping[str, str], environ: Mapping[str, str]) -> Target:
    address = host or next(
        (folder for folder in _SOCKET_FOLDERS if Path(folder, f".s.PGSQL.{port}").exists()), "localhost"
    )
    sslmode = given.get("sslmode") or environ.get("PGSSLMODE") or "prefer"
    if sslmode not in _SSLMODES:
        raise BackendError(f"sslmode must be one of {', '.join(_SSLMODES)}.")
    root = given.get("sslrootcert") or environ.get("PGSSLROOTCERT") or ""
    ca_file = None if root == "system" else Path(root or "~/.postgresql/root.crt").expanduser()
    if sslmode == "require" and root not in ("", "system"):
        sslmode = "verify-ca"  # as libpq does
    verifies = sslmode.startswith("verify") and not address.startswith("/")
    if verifies and ca_file is not None:
        _check_authorities(ca_file, sslmode)
    return Target(address, port, ca_file if verifies else None, 1, address=address, sslmode=sslmode)


def _check_authorities(ca_file: Path, sslmode: str) -> None:
    try:
        ssl.create_default_context(cafile=str(ca_file))
    except OSError as error:
        raise BackendError(
            f"sslmode={sslmode} needs a file of authorities, and {ca_file} cannot be used: {_plain(error)}. "
            "Name one with sslrootcert=, or sslrootcert=system."
        ) from error


def _from_passfile(environ: Mapping[str, str], target: Target, database: str, user: str) -> str:
    """Return the password that libpq's password file has, empty if none."""
    path = Path(environ.get("PGPASSFILE") or "~/.pgpass").expanduser()
    try:
        if path.stat().st_mode & 0o077:
            return ""  # libpq ignores it, too
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return ""
    host = "localhost" if target.address.startswith("/") else target.address
    wanted = (host, str(target.port), database, user)
    for line in lines:
        fields = [re.sub(r"\\(.)", r"\1", part) for part in re.findall(r"((?:\\.|[^:\\])*)(?::|$)", line)][:5]
        fits = all(pattern in ("*", value) for pattern, value in zip(fields, wanted, strict=False))
        if fits and len(fields) == 5 and not line.startswith("#"):
            return fields[4]
    return ""


def _plain(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) and error.strerror else str(error)) or type(error).__name__
