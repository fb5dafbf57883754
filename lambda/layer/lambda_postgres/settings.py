"""Where and how to connect, read once from the environment."""

# No annotations from __future__ here: NamedTuple would compile each of its own, 1.5 ms of a cold start.
import os
from collections.abc import Mapping
from typing import NamedTuple

from .errors import NotConfigured

# What libpq reads by itself and this library cannot overrule: variable, how its value may begin, why.
_ELSE_A_SET: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("PGDATESTYLE", ("iso",), "psycopg2 would send SET datestyle, which pins a session of RDS Proxy; leave it unset"),
    ("PGCLIENTENCODING", ("utf8", "utf-8", "unicode"), "drivers would send SET client_encoding; leave it unset"),
    ("PGSERVICE", (), "the settings are read from the variables alone; leave it unset"),
    ("PGSSLNEGOTIATION", ("postgres",), "RDS Proxy does not know it; leave it unset"),
)


class Settings(NamedTuple):
    """One connection's settings; the variable of each is in `from_environment`."""

    host: str
    port: int
    database: str
    user: str
    ca_file: str
    """The path of the PEM file with the only roots that are trusted."""
    auth: str
    """`iam`: a token signed for each connection. `secret`: the password in secret_arn."""
    region: str
    secret_arn: str | None = None
    application_name: str = "lambda_postgres"
    connect_timeout_seconds: int = 5
    retry_seconds: float = 10
    """How long an invocation goes on trying to connect, while its remaining time lasts."""
    max_idle_seconds: float = 300
    """A frozen environment answers no keepalive: RDS gives such a client up after 300 + 2 * 30 s."""
    max_age_seconds: float = 23 * 3600
    """RDS Proxy closes every connection after 24 h."""
    reader_host: str | None = None
    """Where read-only work goes; None: to the writer."""
    reader_port: int = 0
    reader_fallback: bool = False
    """Read-only work goes to the writer while the reader fails."""
    endpoint: str = "writer"
    """Which of the two `host` is."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Read and check the variables; NotConfigured names the first that is wrong."""
        read = _Reader(os.environ if environ is None else environ)
        for variable in ("PGOPTIONS", "PGGEQO"):
            if variable in read.environ:
                raise NotConfigured(f"{variable} must not be set: RDS Proxy refuses it; use ALTER ROLE … SET instead")
        for variable, allowed, why in _ELSE_A_SET:
            value = read.environ.get(variable, "")
            if value and not value.lower().startswith(allowed):
                raise NotConfigured(f"{variable} must not be {value!r}: {why}")
        auth = read.one_of("DB_AUTH", ("iam", "secret"))
        port = int(read.number("PGPORT", 5432, low=1, high=65535))
        return cls(
            host=read.text("PGHOST"),
            port=port,
            database=read.text("PGDATABASE"),
            user=read.text("PGUSER"),
            ca_file=read.file("PGSSLROOTCERT"),
            auth=auth,
            region=read.text("AWS_REGION"),
            secret_arn=read.text("DB_SECRET_ARN") if auth == "secret" else None,
            application_name=read.environ.get("PGAPPNAME")
            or read.environ.get("AWS_LAMBDA_FUNCTION_NAME")
            or cls._field_defaults["application_name"],
            # libpq knows no shorter timeout than two seconds.
            connect_timeout_seconds=int(read.number("PGCONNECT_TIMEOUT", 5, low=2, high=60)),
            retry_seconds=read.number("DB_RETRY_SECONDS", 10, low=0, high=900),
            max_idle_seconds=read.number("DB_MAX_IDLE_SECONDS", 300, low=1, high=28_800),
            reader_host=read.text("PGHOST_READER") if read.environ.get("PGHOST_READER") else None,
            reader_port=int(read.number("PGPORT_READER", port, low=1, high=65535)),
            reader_fallback=read.one_of("DB_READER_FALLBACK", ("off", "writer"), "off") == "writer",
        )

    @property
    def target(self) -> str:
        """Name the connection in messages."""
        endpoint = f"{self.endpoint} " if self.reader_host else ""
        return f"{endpoint}{self.host}:{self.port}/{self.database} as {self.user}"


class _Reader:
    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ

    def text(self, variable: str) -> str:
        value = self.environ.get(variable, "")
        if not value:
            raise NotConfigured(f"{variable} is not set")
        if value != value.strip() or not value.isprintable():
            raise NotConfigured(f"{variable} has spaces around it or characters that cannot be printed: {value!r}")
        return value

    def one_of(self, variable: str, choices: tuple[str, ...], default: str = "") -> str:
        value = self.environ.get(variable) or default or self.text(variable)
        if value not in choices:
            raise NotConfigured(f"{variable} must be {' or '.join(choices)}, not {value!r}")
        return value

    def number(self, variable: str, default: int, *, low: int, high: int) -> float:
        value = self.environ.get(variable) or str(default)
        if not (value.isascii() and value.isdigit() and low <= int(value) <= high):
            raise NotConfigured(f"{variable} must be a whole number from {low} to {high}, not {value!r}")
        return int(value)

    def file(self, variable: str) -> str:
        path = self.text(variable)
        if not os.access(path, os.R_OK):
            raise NotConfigured(f"{variable} names no readable file: {path!r}")
        return path
