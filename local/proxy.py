"""The stand-in for RDS Proxy.

A client shows an IAM token, or the secret's password; the proxy logs in to the database with the secret. A server
connection is lent for one transaction, whose end ReadyForQuery tells, and for good to a client that pins it.
"""

import asyncio
import datetime
import logging
import secrets
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from local.certificates import HostCertificate
from local.credentials import Directory
from local.loop import run_in
from local.pinning import LONGEST_STATEMENT, pin_reason
from local.pool import IDLE, Key, Pool, PoolSettings, Refused, ServerConnection, Target, TargetHealth, Waiter
from local.postgres import tokens, wire
from local.scram import ScramError, ScramServer

log = logging.getLogger(__name__)

# What a client may ask for in its startup message, besides user and database.
ACCEPTED_PARAMETERS = frozenset(
    ("application_name", "client_encoding", "datestyle", "timezone", "extra_float_digits", "search_path")
)

_CLIENT_LIFETIME_SECONDS = 24 * 3600
_SWEEP_SECONDS = 1.0
_INSPECTED = LONGEST_STATEMENT + 1024  # of each message; the rest of a longer one passes unseen
_MOST_PENDING = 256 * 1024
_length = struct.Struct("!i").unpack_from
_READY = wire.ready_for_query(IDLE)
_BIND, _CLOSE, _DESCRIBE, _EXECUTE, _FLUSH, _PARSE = b"BCDEHP"
_COPY_DATA, _COPY_DONE, _COPY_FAIL = b"dcf"
_FUNCTION, _QUERY, _SYNC, _TERMINATE = b"FQSX"
_EXTENDED = frozenset((_BIND, _CLOSE, _DESCRIBE, _EXECUTE, _FLUSH, _PARSE))
_USES_STATEMENT = frozenset((_BIND, _DESCRIBE))
_BEGINS = frozenset((_QUERY, _FUNCTION, *_EXTENDED)) - {_FLUSH}
# Among what is awaited: here ends a copy. A batch has its Sync after that, a Query stands before it.
_END_OF_BATCHS_COPY, _END_OF_QUERYS_COPY = _COPY_ENDS = (_COPY_DONE, _COPY_FAIL)
_COPY = frozenset((_COPY_DATA, _COPY_DONE, _COPY_FAIL))
_UNSUPPORTED = {"options": "command-line options", "replication": "streaming replication mode"}


@dataclass(frozen=True)
class ProxySettings:
    """What aws_db_proxy and its default target group say."""

    pool: PoolSettings
    iam_required: bool = True
    require_tls: bool = True
    idle_client_timeout_seconds: float = 1800


@dataclass(frozen=True)
class Metrics:
    """As CloudWatch has them: the first six are of this moment, the others count from the start."""

    client_connections: int
    server_connections: int
    max_server_connections: int
    borrowed: int
    in_transaction: int
    pinned: int
    waiting: int
    pins: int
    borrow_timeouts: int
    refused_logins: int


class Proxy(wire.Listener):
    """One endpoint of a proxy.

    `resource_prefix` is the proxy's own in policies: `arn:…:dbuser:prx-0123`.
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
        clock: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        super().__init__(loop, certificate)
        self.name = name
        self.host_name = host_name
        self.pins = 0
        self.refused_logins = 0
        self.pool = Pool(loop, name, settings.pool)
        self.sessions: set[Session] = set()
        self._settings = settings
        self._directory = directory
        self._resource_prefix = resource_prefix
        self._clock = clock
        self._sweepers: list[asyncio.Task[None]] = []

    def configure(self, settings: ProxySettings) -> None:
        """Apply other settings to whatever begins from now on."""
        self._loop.call_soon_threadsafe(self._configure, settings)

    def register(self, target: Target | None) -> None:
        """Set or take away the target of the default target group."""
        self._loop.call_soon_threadsafe(self.pool.register, target)

    @property
    def health(self) -> TargetHealth:
        return self.pool.health

    def metrics(self) -> Metrics:
        return run_in(self._loop, self._metrics())

    def _configure(self, settings: ProxySettings) -> None:
        self._settings = settings
        self.pool.settings = settings.pool

    async def _metrics(self) -> Metrics:
        lent = [server for server in self.pool.servers if server.session is not None]
        return Metrics(
            client_connections=len(self.sessions),
            server_connections=len(self.pool.servers),
            max_server_connections=self.pool.max_connections,
            borrowed=len(lent),
            in_transaction=sum(server.status != IDLE for server in lent),
            pinned=sum(session.pinned is not None for session in self.sessions),
            waiting=self.pool.waiting,
            pins=self.pins,
            borrow_timeouts=self.pool.timeouts,
            refused_logins=self.refused_logins,
        )

    async def _listen(self, port: int) -> None:
        await super()._listen(port)
        works = (self.pool.sweep(), self.pool.watch(), self._sweep())
        self._sweepers = [self._loop.create_task(work) for work in works]

    async def _close(self) -> None:
        for task in self._sweepers:
            task.cancel()
        await super()._close()
        await self.pool.close()

    async def _sweep(self) -> None:
        """Close clients that are idle for too long, or too old."""
        while True:
            idle_timeout = self._settings.idle_client_timeout_seconds
            await asyncio.sleep(min(_SWEEP_SECONDS, idle_timeout))
            now = self._loop.time()
            for session in list(self.sessions):
                idle = session.idle and session.active_at + idle_timeout <= now
                if idle or session.since + _CLIENT_LIFETIME_SECONDS <= now:
                    log.info("%s: closed a client of user %s: idle or too old", self.name, session.key.user)
                    session.client.close()

    async def _serve(self, client: wire.Connection) -> None:
        try:
            async with asyncio.timeout(wire.AUTHENTICATION_TIMEOUT_SECONDS):
                startup = await self._startup(client)
                if isinstance(startup, wire.CancelRequest):
                    client.close()  # RDS Proxy cancels nothing
                    return
                key = self._key(startup)
                await self._authenticate(client, key.user)
            # A first client of its kind waits for a server connection, no longer than the borrow timeout.
            statuses = await self.pool.statuses(key)
        except Refused as refusal:
            if refusal.sqlstate.startswith("28"):
                self.refused_logins += 1
            client.refuse(refusal.sqlstate, refusal.text)
            return
        client.write(
            wire.authentication(wire.AUTHENTICATION_OK) + statuses + wire.message(b"K", secrets.token_bytes(8)) + _READY
        )
        Session(self, client, key, self._loop.time)

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
            await self._check_token(client, user)
        else:
            await self._check_password(client, user, secret.password)

    async def _check_token(self, client: wire.Connection, user: str) -> None:
        client.write(wire.authentication(wire.AUTHENTICATION_CLEARTEXT))
        token = await wire.read_password(client)
        try:
            await asyncio.to_thread(
                tokens.verify,
                token,
                directory=self._directory,
                host=self.host_name,
                port=self.port,
                user=user,
                resource_prefix=self._resource_prefix,
                now=self._clock(),
            )
        except tokens.TokenRefused as refusal:
            log.warning("%s: token of user %s refused: %s", self.name, user, refusal)
            raise Refused(
                "28P01",
                f"IAM authentication failed for user {user}. Check the IAM token for this user and try again.",
            ) from None

    async def _check_password(self, client: wire.Connection, user: str, password: str) -> None:
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


class Session:
    """A client that has logged in, and the server connection that it has at the moment."""

    def __init__(self, proxy: Proxy, client: wire.Connection, key: Key, time: Callable[[], float]) -> None:
        self.client = client
        self.key = key
        self.pinned: str | None = None
        self.since = self.active_at = time()
        self._proxy = proxy
        self._pool = proxy.pool
        self._time = time
        self._server: ServerConnection | None = None
        self._waiter: Waiter | None = None
        self._pending: list[bytes] = []  # for the server connection that is waited for
        self._pending_size = 0
        self._held = b""  # begin of a message that is to be seen whole
        self._rest = 0  # bytes of a message whose begin has passed
        self._drop_rest = False
        self._awaited: deque[int] = deque()  # what ReadyForQuery is still to come for
        self._in_batch = False  # extended messages were sent, Sync was not
        self._skipping = False  # all messages until Sync, after an error of the proxy's own
        self._copying = False
        self._unnamed: bytes | None = None  # the Parse of the client's unnamed statement
        self._parsed = False  # … and whether this server connection has that statement
        self._own_parse: int | None = None  # so many ReadyForQuery come before a ParseComplete that is the proxy's own
        proxy.sessions.add(self)
        client.relay(self._received, self._client_lost)

    @property
    def idle(self) -> bool:
        return not self._awaited and not self._in_batch

    # What the client sends.

    def _received(self, data: bytes) -> None:
        """Pass messages on as they come; see their headers, and the begin of each that may need a decision."""
        self.active_at = self._time()
        if self._held:
            data, self._held = self._held + data, b""
        size = len(data)
        position = self._rest
        start = min(position, size) if self._drop_rest else 0
        while position + 5 <= size:
            length = 1 + _length(data, position + 1)[0]
            if length < 5:
                self.client.refuse("08P01", "invalid message length")
                return
            if position + length > size and size - position < _INSPECTED:
                break
            kind = data[position]
            if kind == _TERMINATE:
                self._forward(data[start:position])
                self.client.close()
                return
            self._drop_rest = not self._passes(kind, data, position, length)
            if self._drop_rest:
                self._forward(data[start:position])
                start = min(position + length, size)
            elif kind in _USES_STATEMENT and self._lacks_statement(kind, data, position):
                assert self._unnamed is not None
                self._forward(data[start:position] + self._unnamed)
                start = position
                self._parsed = True
                self._own_parse = sum(awaited not in _COPY_ENDS for awaited in self._awaited)
            position += length
        end = min(position, size)
        self._rest = position - end
        self._held = data[end:]
        self._forward(data[start:end])
        self.settle()

    def _passes(self, kind: int, data: bytes, position: int, length: int) -> bool:
        """Take note of a message; tell whether it is for the server."""
        unheard = self._server is None and not self._awaited and not self._in_batch
        if self._skipping:
            self._skipping = kind != _SYNC
            if not self._skipping:
                self.client.write(_READY)
            return False
        if kind in (_QUERY, _FUNCTION):
            self._awaited.append(kind)
            if kind == _QUERY:
                self._judge(data, position + 5, length)
        elif kind == _SYNC and unheard:
            self.client.write(_READY)
        elif kind == _SYNC:
            if not self._copying:  # else the server ignores it
                self._in_batch = False
                self._awaited.append(kind)
        elif kind in _EXTENDED:
            self._in_batch |= not (kind == _FLUSH and unheard)
            if kind == _PARSE:
                self._parse(data, position, length)
        elif kind in _COPY:
            if kind != _COPY_DATA:
                self._end_copy()
        else:
            self.client.refuse("08P01", f"unexpected message {chr(kind)!r}")
        # What only ends or continues something needs no server connection; a late CopyData is ignored by a server, too.
        return not (unheard and kind not in _BEGINS)

    def _end_copy(self) -> None:
        if self._copying:
            self._copying = False
        elif self._in_batch:  # sent before the server has said that it copies
            self._awaited.append(_END_OF_BATCHS_COPY)
        elif self._awaited:
            self._awaited.append(_END_OF_QUERYS_COPY)

    def _judge(self, data: bytes, start: int, length: int) -> None:
        if self.pinned is not None:
            return
        if length > LONGEST_STATEMENT:
            self._pin("a statement larger than 16 KB")
            return
        reason = pin_reason(data[start : data.index(0, start)].decode(errors="replace"))
        if reason is not None:
            self._pin(reason)

    def _parse(self, data: bytes, position: int, length: int) -> None:
        name_end = data.index(0, position + 5)
        self._judge(data, name_end + 1, length)
        if name_end > position + 5:
            # RDS Proxy shares connections here since 2023; the stand-in does not carry named statements along.
            self._pin("a named prepared statement")
        else:
            self._unnamed = data[position : position + length]
            self._parsed = True

    def _lacks_statement(self, kind: int, data: bytes, position: int) -> bool:
        """Tell whether a message uses the unnamed statement that was parsed on another server connection."""
        if self._parsed or self._unnamed is None or self.pinned is not None:
            return False
        if kind == _BIND:
            return data[data.index(0, position + 5) + 1] == 0
        return data[position + 5 : position + 7] == b"S\0"

    def _forward(self, data: bytes) -> None:
        if not data:
            return
        if self._server is not None:
            self._server.connection.write(data)
            return
        self._pending.append(data)
        self._pending_size += len(data)
        if self._waiter is None:
            server = self._pool.lend(self.key, self._wait)
            if server is not None:
                self._attach(server)
        elif self._pending_size > _MOST_PENDING:
            self.client.transport.pause_reading()

    # What becomes of the server connection.

    def _wait(self) -> Waiter:
        self._waiter = Waiter(self.key, self._attach, self._refused, self._time())
        return self._waiter

    def _attach(self, server: ServerConnection) -> None:
        self._server, self._waiter = server, None
        server.lend(self)
        self._log_pin()
        pending, self._pending, self._pending_size = b"".join(self._pending), [], 0
        server.connection.write(pending)
        self.client.transport.resume_reading()

    def _refused(self, sqlstate: str, text: str) -> None:
        """Answer in the server's stead: an error, and that the client may go on."""
        failure = wire.error("ERROR", sqlstate, text)
        self.client.write((failure + _READY) * len(self._awaited))
        if self._in_batch:
            self.client.write(failure)
        self._skipping, self._in_batch = self._in_batch, False
        self._waiter, self._drop_rest, self._copying = None, True, False
        self._pending, self._pending_size = [], 0
        self._awaited.clear()
        self.client.transport.resume_reading()

    def settle(self) -> None:
        """Give the server connection back if nothing of this client's is left on it."""
        server = self._server
        if (
            server is None
            or self._awaited
            or self._in_batch
            or self._rest
            or self.pinned is not None
            or server.status != IDLE
        ):
            return
        self._server = None
        self._parsed, self._own_parse = False, None
        self._pool.release(server)

    def _pin(self, reason: str) -> None:
        if self.pinned is None:
            self.pinned = reason
            self._proxy.pins += 1
            if self._server is not None:
                self._log_pin()

    def _log_pin(self) -> None:
        if self.pinned is not None and self._server is not None:
            log.warning(
                "%s: The client session was pinned to the database connection [dbConnection=%d] for the remainder of "
                "the session. The proxy can't reuse this connection until the session ends. Reason: %s.",
                *(self._proxy.name, self._server.number, self.pinned),
            )

    def _client_lost(self) -> None:
        self._proxy.sessions.discard(self)
        if self._waiter is not None:
            self._pool.give_up(self._waiter)
        if self._server is not None:  # in a transaction, in the middle of an answer, or pinned
            server, self._server = self._server, None
            self._pool.discard(server)

    # What the server sends, as its connection tells.

    def answered(self) -> None:
        """ReadyForQuery."""
        while self._awaited and self._awaited.popleft() in _COPY_ENDS:
            pass
        while self._awaited and self._awaited[0] == _END_OF_QUERYS_COPY:  # which never began
            self._awaited.popleft()
        if self._own_parse:
            self._own_parse -= 1

    def failed(self) -> None:
        """ErrorResponse."""
        self._copying = False
        if self._own_parse == 0:
            self._own_parse = None

    def copying(self) -> None:
        """CopyInResponse: until the copy ends the server ignores each Sync, also those under way."""
        waiting = list(self._awaited)
        end = next((index for index, kind in enumerate(waiting) if kind in _COPY_ENDS), None)
        during = waiting[:end]
        self._copying = end is None
        self._in_batch = self._in_batch or (self._copying and _SYNC in during)
        self._awaited = deque(kind for kind in during if kind != _SYNC)
        if end is not None:
            self._awaited.extend(waiting[end + 1 :])

    def is_own_parse(self) -> bool:
        """ParseComplete: tell whether it is for the proxy, not for the client."""
        own = self._own_parse == 0
        if own:
            self._own_parse = None
        return own

    def server_lost(self, *, told: bool) -> None:
        """Cut the client, as RDS Proxy does in a failover; `told` when the server has said why."""
        self._server = None
        if told:
            self.client.close()
        else:
            self.client.refuse("08006", "The connection to the database was lost.")
