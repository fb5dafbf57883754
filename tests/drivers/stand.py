"""PostgreSQL, and the stand-in for RDS Proxy before it, for clients that are given a host, a port and a password."""

from __future__ import annotations

import contextlib
import datetime
import logging
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from local.certificates import Certificates
from local.loop import LoopThread
from local.postgres.server import PostgresServer
from local.rds_proxy.listener import ProxyListener, ProxySettings
from local.rds_proxy.pool import PoolSettings, Secret
from local.rds_proxy.server_connection import Target
from tests.local.data_plane import SmallDirectory, start_server

HOST = "localhost"
USER, PASSWORD, DATABASE = "postgres", "pw", "suite"  # pg8000's suite knows no other user

_PIN = re.compile(r"The client session was pinned .* Reason: (.*)\. Digest: ", re.DOTALL)


class Pins(logging.Handler):
    """Counts the reasons for which the stand-in says that it pinned a client."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.reasons: Counter[str] = Counter()
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if record.levelno >= logging.ERROR:
            self.errors.append(text)
        elif found := _PIN.search(text):
            self.reasons[found[1]] += 1


@dataclass
class Stand:
    """A server, the stand-in before it, and the pins so far."""

    server: PostgresServer
    proxy: ProxyListener
    certificates: Certificates
    pins: Pins = field(default_factory=Pins)

    def port(self, *, through: bool) -> int:
        return self.proxy.port if through else self.server.port

    def environment(self, *, through: bool) -> dict[str, str]:
        """Return what libpq and those that imitate it read."""
        return {
            "PGHOST": HOST,
            "PGPORT": str(self.port(through=through)),
            "PGUSER": USER,
            "PGPASSWORD": PASSWORD,
            "PGDATABASE": DATABASE,
            "PGSSLMODE": "require",
            "PGSSLROOTCERT": str(self.certificates.ca_file("proxy" if through else "rds")),
        }

    def reset(self, setup: str = "") -> None:
        """Begin with an empty database, but for what these statements make."""
        with self.server.administrator() as cursor:
            cursor.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{USER}'")
            cursor.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
            self.server.create_database(DATABASE, USER)
        if setup:
            with self.server.administrator(DATABASE) as cursor:
                cursor.execute(setup)
        self.pins.reasons.clear()


@contextlib.contextmanager
def prepare(folder: Path, *, superuser: bool = False, max_connections: int = 60) -> Iterator[Stand]:
    """Start both; the user of suites may be a superuser, as most of them demand."""
    certificates = Certificates(folder)
    server = start_server(certificates, host_name=HOST, max_connections=max_connections)
    loop = LoopThread()
    try:
        with server.administrator() as cursor:
            cursor.execute(f"CREATE ROLE {USER} LOGIN CREATEDB CREATEROLE PASSWORD '{PASSWORD}'")
            if superuser:
                cursor.execute(f"ALTER ROLE {USER} SUPERUSER")
        proxy = ProxyListener(
            loop.loop,
            name="suites",
            host_name=HOST,
            certificate=certificates.host("proxy", HOST),
            directory=SmallDirectory(set()),
            resource_prefix="arn:aws:rds-db:us-east-1:123456789012:dbuser:prx-0123456789abcdef0",
            settings=ProxySettings(
                PoolSettings(
                    lambda user: Secret(USER, PASSWORD) if user == USER else None, 90, borrow_timeout_seconds=10
                ),
                iam_required=False,
            ),
            clock=lambda: datetime.datetime.now(datetime.UTC),
        )
        proxy.register(Target(HOST, server.port, certificates.ca_file("rds"), server.max_connections))
        proxy.start()
        stand = Stand(server, proxy, certificates)
        for name in ("local", "asyncio"):
            logging.getLogger(name).addHandler(stand.pins)
        stand.reset()
        yield stand
        for name in ("local", "asyncio"):
            logging.getLogger(name).removeHandler(stand.pins)
        proxy.stop()
    finally:
        loop.stop()
        server.stop()
