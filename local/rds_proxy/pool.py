"""The proxy's connections to its database: opened as clients wait for them, lent to one client at a time.

The targets are one server, or the readers of a cluster. Each has its share of connections, and a connection is opened
to the one that has the fewest.
"""

import asyncio
import itertools
import logging
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ..postgres import wire
from .counts import Availability, Counter
from .server_connection import Key, Place, ServerConnection, Target, TargetHealth

log = logging.getLogger(__name__)

_OPENED_AT_ONCE = 8
_RETRY_SECONDS = 0.2
_PATIENCE_SECONDS = 0.5
_SWEEP_SECONDS = 1.0
_WATCH_SECONDS = 0.5
_CONNECT_TIMEOUT_SECONDS = 10.0
# Too many connections, starting up or shutting down: worth waiting for, as an unreachable server is.
_PASSING = {"53300", "57P01", "57P02", "57P03"}


class Refused(Exception):  # noqa: N818 (what a client is told)
    """Why a client gets no connection."""

    def __init__(self, sqlstate: str, text: str) -> None:
        super().__init__(text)
        self.sqlstate = sqlstate
        self.text = text


@dataclass(frozen=True)
class Secret:
    """What a secret that the proxy may read holds."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class PoolSettings:
    """The target group's connection pool, and the secret of each user."""

    secret: Callable[[str], Secret | None]
    max_connections_percent: int = 100
    max_idle_connections_percent: int = 50
    borrow_timeout_seconds: float = 120
    init_query: str = ""
    idle_seconds: float = 300  # no setting of AWS: after this long without work a connection counts as idle
    users: Callable[[], list[str]] = list  # those of the secrets, whom the proxy tries by itself
    health_database: str = "postgres"  # … and the database that it tries them with


@dataclass(eq=False)
class Waiter:
    """Someone who wants a connection: `granted` or `refused` is called once."""

    key: Key
    granted: Callable[[ServerConnection], None]
    refused: Callable[[str, str], None]
    since: float
    timer: asyncio.TimerHandle | None = None


class Pool:
    """All server connections of one proxy. Lives in its loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str, settings: PoolSettings) -> None:
        self.settings = settings
        self.counter = Counter()
        self.availability = Availability(loop.time())
        self.timeouts = 0
        self.servers: set[ServerConnection] = set()
        self._name = name
        self._loop = loop
        self._places: list[Place] = []
        self._refusal = ""
        self._without_target = TargetHealth("UNAVAILABLE", "PENDING_PROXY_CAPACITY")
        self._idle: defaultdict[Key, list[ServerConnection]] = defaultdict(list)
        self._waiting: dict[Key, deque[Waiter]] = {}
        self._opening: defaultdict[Key, int] = defaultdict(int)
        self._statuses: dict[Key, bytes] = {}
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def health(self) -> TargetHealth:
        """The best of the targets': one that is available is enough to serve."""
        healths = [place.health for place in self._places] or [self._without_target]
        return next((health for health in healths if health.state == "AVAILABLE"), healths[0])

    @property
    def targets(self) -> tuple[Target, ...]:
        return tuple(place.target for place in self._places)

    @property
    def max_connections(self) -> int:
        return self._shares(self.settings.max_connections_percent)

    @property
    def waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    def register(self, *targets: Target, refusal: str = "") -> None:
        """Set the targets; connections to others are not lent again.

        Without a target clients wait for one, no longer than the borrow timeout, or get the refusal at once.
        """
        self._refusal = refusal
        if targets == self.targets:
            return
        known = {place.target: place for place in self._places}
        self._places = [
            known.get(target) or Place(target, target.tls(), TargetHealth("REGISTERING")) for target in targets
        ]
        self._without_target = TargetHealth("UNAVAILABLE")
        self._note_availability()
        self._statuses.clear()
        for server in self._idle_servers():
            if server.place not in self._places:
                self._close(server)
        if refusal and not targets:
            for waiter in [waiter for queue in self._waiting.values() for waiter in queue]:
                self._leave(waiter).refused("XX000", refusal)
        self._grow()

    def lend(self, key: Key, waiter: Callable[[], Waiter]) -> ServerConnection | None:
        """Return an idle connection, or None and call the waiter's `granted` or `refused` later."""
        counts = self.counter.now
        counts.database_connections_borrow_requests += 1
        idle = self._idle.get(key)
        if idle:
            counts.database_connections_borrow_latency.add(0.0)
            return idle.pop()  # the one used last: others may grow idle
        self._wait(waiter())
        return None

    async def statuses(self, key: Key) -> bytes:
        """Return the ParameterStatus messages for a new client, from a server connection if none is known yet."""
        known = self._statuses.get(key)
        if known is not None:
            return known
        answer: asyncio.Future[bytes] = self._loop.create_future()

        def granted(server: ServerConnection) -> None:
            if not answer.done():
                answer.set_result(server.statuses)
            self._loop.call_soon(self.release, server)  # not at once: hundreds who wait would be as many nested calls

        def refused(sqlstate: str, text: str) -> None:
            if not answer.done():
                answer.set_exception(Refused(sqlstate, text))

        server = self.lend(key, lambda: Waiter(key, granted, refused, self._loop.time()))
        if server is not None:
            granted(server)
        return await answer

    def release(self, server: ServerConnection) -> None:
        """Take a connection back and lend it to the one who has waited longest for such a one."""
        server.take_back()
        if server.connection.closed:
            return
        first = self._first_waiting()
        own = self._waiting.get(server.key)
        overdue = first is not None and (own is None or own[0].since > first.since + _PATIENCE_SECONDS)
        if server.place not in self._places or (overdue and self._roomiest() is None):
            self._close(server)  # makes room: for another target's, or for another key's client
            return
        if own is not None:
            waiter = self._leave(own[0])
            self.counter.now.database_connections_borrow_latency.add(self._loop.time() - waiter.since)
            waiter.granted(server)
            return
        server.idle_since = self._loop.time()
        self._idle[server.key].append(server)

    def discard(self, server: ServerConnection) -> None:
        """Close a connection whose state nobody may inherit."""
        server.take_back()
        self._close(server)

    def give_up(self, waiter: Waiter) -> None:
        """Forget a waiter that is still waiting."""
        if waiter in self._waiting.get(waiter.key, ()):
            self._leave(waiter)
            self.counter.now.database_connections_borrow_requests_aborted += 1

    async def sweep(self) -> None:
        """Close connections that have been idle for long, down to the share that may stay."""
        while True:
            await asyncio.sleep(min(_SWEEP_SECONDS, self.settings.idle_seconds))
            idle = sorted(self._idle_servers(), key=lambda server: server.idle_since)
            allowed = self._shares(self.settings.max_idle_connections_percent)
            for server in idle[: max(0, len(idle) - allowed)]:
                if server.idle_since + self.settings.idle_seconds <= self._loop.time():
                    self._close(server)

    async def watch(self) -> None:
        """Log in with the secrets until each target is healthy: RDS Proxy tells its health before a client comes."""
        while True:
            for place in [place for place in self._places if place.health.state != "AVAILABLE"]:
                for user in await asyncio.to_thread(self.settings.users):
                    await self._try(Key(user, self.settings.health_database, ()), place)
            await asyncio.sleep(_WATCH_SECONDS)

    async def _try(self, key: Key, place: Place) -> None:
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_SECONDS):
                server = await self._connect(key, place, "")
        except wire.ServerError as error:
            self._failed(key, place, error)
        except (OSError, wire.ProtocolError) as error:
            self._unreachable(place, error)
        else:
            server.end()
            self._is(place, TargetHealth("AVAILABLE"))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for server in list(self.servers):
            self._close(server)

    def _is(self, place: Place, health: TargetHealth) -> None:
        place.health = health
        self._note_availability()

    def _note_availability(self) -> None:
        self.availability.set(self.health.state == "AVAILABLE", self._loop.time())

    def _shares(self, percent: int) -> int:
        return sum(_share(place, percent) for place in self._places)

    def _roomiest(self) -> Place | None:
        """Return the target with the fewest connections that may have one more, rather one that answers."""
        percent = self.settings.max_connections_percent
        return min(
            (place for place in self._places if place.connections < _share(place, percent)),
            key=lambda place: (place.health.state == "UNAVAILABLE", place.connections),
            default=None,
        )

    def _idle_servers(self) -> list[ServerConnection]:
        return [server for servers in self._idle.values() for server in servers]

    def _first_waiting(self) -> Waiter | None:
        return min((queue[0] for queue in self._waiting.values()), key=lambda waiter: waiter.since, default=None)

    def _wait(self, waiter: Waiter) -> None:
        if self._refusal and not self._places:
            self._loop.call_soon(waiter.refused, "XX000", self._refusal)
            return

        def time_out() -> None:
            self.timeouts += 1
            log.warning("%s: timed-out waiting to acquire a database connection for %s", self._name, waiter.key.user)
            self._leave(waiter).refused("08000", "Timed-out waiting to acquire database connection.")

        waiter.timer = self._loop.call_later(self.settings.borrow_timeout_seconds, time_out)
        self._waiting.setdefault(waiter.key, deque()).append(waiter)
        self._grow()

    def _leave(self, waiter: Waiter) -> Waiter:
        queue = self._waiting[waiter.key]
        queue.remove(waiter)
        if not queue:
            del self._waiting[waiter.key]
        if waiter.timer is not None:
            waiter.timer.cancel()
        return waiter

    def _grow(self) -> None:
        """Open connections for those who wait, as far as there is room; idle ones of other keys make room."""
        for key, queue in sorted(self._waiting.items(), key=lambda item: item[1][0].since):
            while self._opening[key] < len(queue) and sum(self._opening.values()) < _OPENED_AT_ONCE:
                place = self._roomiest()
                if place is None:
                    idle = self._idle_servers()
                    if not idle:
                        return
                    oldest = min(idle, key=lambda server: server.idle_since)
                    self._close(oldest, grow=False)
                    place = oldest.place
                place.connections += 1
                self._opening[key] += 1
                self.counter.now.database_connection_requests += 1
                task = self._loop.create_task(self._open(key, place))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _open(self, key: Key, place: Place) -> None:
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_SECONDS):
                server = await self._connect(key, place, self.settings.init_query)
        except wire.ServerError as error:
            self._opened(key, place, failed=True)
            self._failed(key, place, error)
            # While other connections of this key serve, a new password may be on its way into the secret.
            if error.sqlstate not in _PASSING and not any(server.key == key for server in self.servers):
                for waiter in list(self._waiting.get(key, ())):
                    self._leave(waiter).refused("XX000", f"Request returned an error: {error.message}.")
        except (OSError, wire.ProtocolError) as error:
            self._opened(key, place, failed=True)
            self._unreachable(place, error)
        except Exception:
            self._opened(key, place, failed=True)
            log.exception("%s: cannot open a connection for user %s", self._name, key.user)
        else:
            self._opened(key, place, failed=False)
            self._is(place, TargetHealth("AVAILABLE"))
            self._statuses[key] = server.statuses
            self.servers.add(server)
            server.connection.relay(server.received, lambda: self._lost(server))
            self.release(server)
            self._grow()
            return
        await asyncio.sleep(_RETRY_SECONDS)
        self._grow()

    def _opened(self, key: Key, place: Place, *, failed: bool) -> None:
        self._opening[key] -= 1
        place.connections -= failed
        self.counter.now.database_connections_setup_failed += failed
        self.counter.now.database_connections_setup_succeeded += not failed

    def _unreachable(self, place: Place, error: Exception) -> None:
        self._is(place, TargetHealth("UNAVAILABLE", "UNREACHABLE", str(error) or "the connection timed out"))

    def _failed(self, key: Key, place: Place, error: wire.ServerError) -> None:
        reason = "AUTH_FAILURE" if error.sqlstate.startswith("28") else "CONNECTION_FAILED"
        self._is(place, TargetHealth("UNAVAILABLE", reason, error.message))
        log.warning("%s: the database refused a connection of user %s: %s", self._name, key.user, error)

    async def _connect(self, key: Key, place: Place, init_query: str) -> ServerConnection:
        secret = await asyncio.to_thread(self.settings.secret, key.user)
        if secret is None:
            raise wire.ServerError(b"C28000\0Mthe proxy has no credentials for this role any more\0")
        connection = await place.target.open(self._loop, place.tls)
        try:
            parameters = {"user": secret.username, "database": key.database, **dict(key.parameters)}
            statuses = await wire.log_in(connection, parameters, secret.password)
            if init_query:
                await wire.run(connection, init_query)
        except BaseException:
            connection.abort()
            raise
        return ServerConnection(next(self._numbers), key, place, connection, statuses)

    def _lost(self, server: ServerConnection) -> None:
        """Meet the end of a connection, wherever it came from."""
        if server not in self.servers:
            return
        borrower = server.borrower
        self._forget(server)
        server.take_back()
        if borrower is not None:
            borrower.server_lost(told=server.said_goodbye)
        self._grow()

    def _close(self, server: ServerConnection, *, grow: bool = True) -> None:
        self._forget(server)
        server.end()
        if grow:
            self._grow()

    def _forget(self, server: ServerConnection) -> None:
        if server in self.servers:
            self.servers.discard(server)
            server.place.connections -= 1
        if server in self._idle.get(server.key, ()):
            self._idle[server.key].remove(server)


def _share(place: Place, percent: int) -> int:
    """How many connections a target gets: the percentage counts for each."""
    return max(1, place.target.max_connections * percent // 100)
