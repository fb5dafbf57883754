"""The stand-in for RDS Proxy.

A client shows an IAM token, or the secret's password; the proxy logs in to the database with the secret. A server
connection is lent for one transaction, whose end ReadyForQuery tells, and for good to a client that pins it.
"""

import asyncio
import datetime
import hmac
import logging
import secrets
import ssl
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ..certificates import HostCertificate
from ..credentials import Directory
from ..loop import call_in, run_in
from ..postgres import wire
from ..postgres.token_login import TokenLogin, now
from .counts import Counts
from .pool import Pool, PoolSettings, Refused
from .scram import ScramError, ScramServer
from .server_connection import IDLE, Key, Target, TargetHealth
from .session import READY, Clients, Pin, Session

log = logging.getLogger(__name__)

# What a client may ask for in its startup message, besides user and database.
ACCEPTED_PARAMETERS = frozenset(
    ("application_name", "client_encoding", "datestyle", "timezone", "extra_float_digits", "search_path")
)

_SWEEP_SECONDS = 1.0
_UNSUPPORTED = {"options": "command-line options", "replication": "streaming replication mode"}


@dataclass(frozen=True)
class ProxySettings:
    """What aws_db_proxy and its default target group say, and limits of AWS's own.

    That both last limits exist is documented, their figures are not: without one there is none.
    """

    pool: PoolSettings
    iam_required: bool = True
    require_tls: bool = True
    idle_client_timeout_seconds: float = 1800
    md5_passwords: bool = False  # instead of SCRAM, between clients and the proxy
    client_lifetime_seconds: float = 24 * 3600
    max_client_connections: int | None = None
    max_new_connections_per_second: int | None = None


@dataclass(frozen=True)
class Metrics:
    """As CloudWatch has them: the first eight are of this moment, the others count from the start."""

    client_connections: int
    clients_in_setup: int
    clients_with_tls: int
    server_connections: int
    max_server_connections: int
    borrowed: int
    in_transaction: int
    pinned: int
    waiting: int
    pins: int
    borrow_timeouts: int
    refused_logins: int


@dataclass(frozen=True)
class Report:
    """What there is of a proxy at this moment, and what happened since its last report."""

    metrics: Metrics
    counts: Counts
    availability_percent: float | None  # None without a target


class ProxyListener(wire.Listener):
    """One endpoint of a proxy.

    `resource_prefix` is the proxy's own in policies: `arn:…:dbuser:prx-0123`. With a `pool` it shares that of another
    endpoint, which keeps it; else it has its own.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        name: str,
        host_name: str,
        certificate: HostCertificate,
        directory: Directory,
        resource_prefix: str,
        settings: ProxySettings,
        clock: Callable[[], datetime.datetime] = now,
        address: str = "127.0.0.1",
        on_pin: Callable[[Pin], None] | None = None,
        pool: Pool | None = None,
    ) -> None:
        super().__init__(loop, certificate, address=address)
        self.name = name
        self.host_name = host_name
        self.refused_logins = 0
        self._in_setup = 0
        self._shares_pool = pool is not None
        self.pool = pool or Pool(loop, name, settings.pool)
        self._clients = Clients(name, self.pool, time.monotonic, on_pin)
        self._arrivals: deque[float] = deque()  # of the last second
        self._settings = settings
        self._token_login = TokenLogin(
            name=name,
            host_name=host_name,
            directory=directory,
            resource_prefix=resource_prefix,
            clock=clock,
        )
        self._sweepers: list[asyncio.Task[None]] = []

    def configure(self, settings: ProxySettings) -> None:
        """Apply other settings to whatever begins from now on."""
        call_in(self._loop, self._configure, settings)

    def register(self, *targets: Target, refusal: str = "") -> None:
        """Set the targets of the pool, or take them away: then clients wait, or get the refusal if there is one."""
        call_in(self._loop, partial(self.pool.register, *targets, refusal=refusal))

    @property
    def sessions(self) -> set[Session]:
        """The clients that have logged in."""
        return self._clients.sessions

    @property
    def health(self) -> TargetHealth:
        return self.pool.health

    def metrics(self) -> Metrics:
        return run_in(self._loop, self._metrics())

    def report(self) -> Report:
        """Return what CloudWatch is told each minute."""
        return run_in(self._loop, self._report())

    def _configure(self, settings: ProxySettings) -> None:
        self._settings = settings
        self.pool.settings = settings.pool

    async def _metrics(self) -> Metrics:
        lent = [server for server in self.pool.servers if server.borrower is not None]
        return Metrics(
            client_connections=len(self.sessions) + self._in_setup,
            clients_in_setup=self._in_setup,
            clients_with_tls=sum(session.encrypted for session in self.sessions),
            server_connections=len(self.pool.servers),
            max_server_connections=self.pool.max_connections,
            borrowed=len(lent),
            in_transaction=sum(server.status != IDLE for server in lent),
            pinned=sum(session.pinned is not None for session in self.sessions),
            waiting=self.pool.waiting,
            pins=self._clients.pins,
            borrow_timeouts=self.pool.timeouts,
            refused_logins=self.refused_logins,
        )

    async def _report(self) -> Report:
        availability = self.pool.availability.take(self._loop.time())
        return Report(
            metrics=await self._metrics(),
            counts=self.pool.counter.take(),
            availability_percent=availability if self.pool.targets else None,
        )

    async def _listen(self, port: int) -> None:
        await super()._listen(port)
        works = [self._sweep()] if self._shares_pool else [self.pool.sweep(), self.pool.watch(), self._sweep()]
        self._sweepers = [self._loop.create_task(work) for work in works]

    async def _close(self) -> None:
        for task in self._sweepers:
            task.cancel()
        await super()._close()
        if not self._shares_pool:
            await self.pool.close()

    async def _sweep(self) -> None:
        """Close clients that are idle for too long, or too old."""
        while True:
            idle_timeout = self._settings.idle_client_timeout_seconds
            await asyncio.sleep(min(_SWEEP_SECONDS, idle_timeout, self._settings.client_lifetime_seconds))
            now = self._loop.time()
            for session in list(self.sessions):
                idle = session.idle and session.active_at + idle_timeout <= now
                if idle or session.since + self._settings.client_lifetime_seconds <= now:
                    log.info("%s: closed a client of user %s: idle or too old", self.name, session.key.user)
                    session.client.close()

    async def _serve(self, client: wire.Connection) -> None:
        self.pool.counter.now.client_connections_received += 1
        self._in_setup += 1
        try:
            await self._set_up(client)
        except ssl.SSLError:
            self.pool.counter.now.client_connections_setup_failed_auth += 1
            raise
        finally:
            self._in_setup -= 1

    async def _set_up(self, client: wire.Connection) -> None:
        try:
            async with asyncio.timeout(wire.AUTHENTICATION_TIMEOUT_SECONDS):
                startup = await self._startup(client)
                if isinstance(startup, wire.CancelRequest):
                    client.close()  # RDS Proxy cancels nothing
                    return
                self._admit()
                key = self._key(startup)
                await self._authenticate(client, key.user)
            # A first client of its kind waits for a server connection, no longer than the borrow timeout.
            statuses = await self.pool.statuses(key)
        except Refused as refusal:
            if refusal.sqlstate.startswith("28"):
                self.refused_logins += 1
                self.pool.counter.now.client_connections_setup_failed_auth += 1
            client.refuse(refusal.sqlstate, refusal.text)
            return
        client.write(
            wire.authentication(wire.AUTHENTICATION_OK) + statuses + wire.message(b"K", secrets.token_bytes(8)) + READY
        )
        self.pool.counter.now.client_connections_setup_succeeded += 1
        Session(self._clients, client, key, encrypted=startup.encrypted)

    def _admit(self) -> None:
        """Refuse a client that is one too many."""
        most, rate = self._settings.max_client_connections, self._settings.max_new_connections_per_second
        if rate is not None:
            now = self._loop.time()
            while self._arrivals and self._arrivals[0] <= now - 1:
                self._arrivals.popleft()
            if len(self._arrivals) >= rate:
                raise Refused("53300", f"Rate of connection to proxy exceeded {rate}.")
            self._arrivals.append(now)
        if most is not None and len(self.sessions) + self._in_setup > most:
            raise Refused("53300", f"The maximum number of client connections to the proxy exceeded {most}.")

    def _key(self, startup: wire.Startup) -> Key:
        if startup.version != (3, 0):
            raise Refused(
                "0A000",
                "Feature not supported: RDS Proxy supports only version 3.0 of the PostgreSQL messaging protocol.",
            )
        if self._settings.require_tls and not startup.encrypted:
            raise Refused("28000", "This RDS Proxy requires TLS connections.")
        if self._settings.iam_required and not startup.encrypted:
            raise Refused("28000", "IAM authentication is allowed only with SSL connections.")
        parameters = dict(startup.parameters)
        user = parameters.pop("user", "")
        if not user:
            raise Refused(
                "28000",
                "A user name is missing from the connection startup packet. Provide a user name for this connection.",
            )
        database = parameters.pop("database", user)
        for name in parameters:
            if name.lower() not in ACCEPTED_PARAMETERS:
                what = _UNSUPPORTED.get(name, f"the option {name}")
                raise Refused("0A000", f"Feature not supported: RDS Proxy currently doesn't support {what}.")
        return Key(user, database, tuple(sorted(parameters.items())))

    async def _authenticate(self, client: wire.Connection, user: str) -> None:
        settings = self._settings
        secret = await asyncio.to_thread(settings.pool.secret, user)
        if secret is None:
            raise Refused(
                "28000",
                f"This RDS proxy has no credentials for the role {user}. "
                "Check the credentials for this role and try again.",
            )
        if settings.iam_required:
            if not await self._token_login.accepts(client, user=user, port=self.port):
                raise Refused(
                    "28P01",
                    f"IAM authentication failed for user {user}. Check the IAM token for this user and try again.",
                )
        else:
            check = self._check_md5 if settings.md5_passwords else self._check_scram
            await check(client, user, secret.password)

    async def _check_md5(self, client: wire.Connection, user: str, password: str) -> None:
        salt = secrets.token_bytes(4)
        client.write(wire.authentication(wire.AUTHENTICATION_MD5, salt))
        shown = await wire.read_password(client)
        if not hmac.compare_digest(shown.encode(), wire.md5_password(user, password, salt).encode()):
            raise Refused("28P01", f"The password that was provided for the role {user} is wrong.")

    async def _check_scram(self, client: wire.Connection, user: str, password: str) -> None:
        scram = ScramServer(password)
        client.write(wire.authentication(wire.AUTHENTICATION_SASL, b"SCRAM-SHA-256\0\0"))
        kind, payload = await client.read_message()
        mechanism, _, first = payload.partition(b"\0")
        if kind != b"p" or mechanism != b"SCRAM-SHA-256":
            raise Refused("28000", "RDS supports only IAM, MD5, or SCRAM authentication.")
        try:
            answer = scram.first(first[4:].decode(errors="replace"))
            client.write(wire.authentication(wire.AUTHENTICATION_SASL_CONTINUE, answer.encode()))
            _, payload = await client.read_message()
            answer = scram.final(payload.decode(errors="replace"))
        except ScramError as error:
            raise Refused("28P01", f"The password that was provided for the role {user} is wrong.") from error
        client.write(wire.authentication(wire.AUTHENTICATION_SASL_FINAL, answer.encode()))
