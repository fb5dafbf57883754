"""The stand-ins behind the account's proxies: a listener for each endpoint, led to the servers of the target."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from local.aws.account import Proxy, ProxyEndpoint
from local.aws.iam import Iam, SecretRefused
from local.aws.reachability import reachable
from local.certificates import Certificates
from local.databases import Databases
from local.endpoints import Endpoint, Endpoints, resource_prefix
from local.monitoring import ProxyMetrics
from local.postgres.server import PostgresServer
from local.rds_proxy.listener import ProxyListener, ProxySettings
from local.rds_proxy.pool import PoolSettings, Secret
from local.rds_proxy.server_connection import Target, TargetHealth

# By analogy with what the Aurora user guide, rds-proxy-gdb, tells of an endpoint without a writer.
_NO_READER = "The target group doesn't have any associated read-only instances"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Registration:
    """Which instance is a proxy's target, and since when it may be used (of this machine's monotonic clock)."""

    resource_id: str
    begun: float
    ready: float


@dataclass
class Proxies:
    """Proxies by their names. A new target becomes AVAILABLE after `target_delay_seconds`."""

    loop: asyncio.AbstractEventLoop
    certificates: Certificates
    iam: Iam
    endpoints: Endpoints
    databases: Databases
    target_delay_seconds: float
    _made: dict[str, Proxy] = field(default_factory=dict)
    _listeners: dict[str, dict[str, ProxyListener]] = field(default_factory=dict)  # by name, then by host name
    _registrations: dict[str, _Registration] = field(default_factory=dict)
    _metrics: ProxyMetrics = field(default_factory=ProxyMetrics)

    def names(self) -> list[str]:
        return list(self._listeners)

    def listener(self, name: str, endpoint: str = "default") -> ProxyListener:
        """Return what listens at an endpoint."""
        [host] = [given.host for given in self._made[name].endpoints if given.name == endpoint]
        return self._listeners[name][host]

    def change(self, proxy: Proxy) -> None:
        """Have a listener for each endpoint of a proxy, with its settings, and lead all of them to its target."""
        self._made[proxy.name] = proxy
        settings, listeners = self._settings(proxy), self._listeners.setdefault(proxy.name, {})
        gone = listeners.keys() - {endpoint.host for endpoint in proxy.endpoints}
        self.endpoints.close(gone)
        for host in gone:
            del listeners[host]
        led = {}
        for endpoint in proxy.endpoints:
            host = endpoint.host
            if host in listeners:
                listeners[host].configure(settings)
            else:
                listeners[host] = self._listen(proxy, endpoint, settings)
            led[host] = Endpoint(proxy.arn, listeners[host], "proxy", endpoint.security_group_ids, proxy.port)
        self.endpoints.lead(led)
        self._register(proxy)

    def delete(self, proxy: Proxy) -> None:
        self._made.pop(proxy.name, None)
        self._registrations.pop(proxy.name, None)
        self.endpoints.close(reversed(self._listeners.pop(proxy.name, {})))  # last the one whose pool others share

    def follow(self, identifier: str) -> None:
        """Lead the proxies of a database to the servers that it has now."""
        for proxy in list(self._made.values()):
            if proxy.instance is not None and proxy.instance.identifier == identifier:
                self._register(proxy)

    def health(self, proxy: Proxy) -> TargetHealth:
        """REGISTERING, then UNAVAILABLE until there is capacity, then what the stand-in finds by trying its secrets.

        States and words: AWS CLI reference, rds describe-db-proxy-targets; API reference, TargetHealth.
        """
        listeners, registration = self._listeners.get(proxy.name), self._registrations.get(proxy.name)
        if listeners is None or registration is None:
            return TargetHealth("REGISTERING")
        listener = listeners[proxy.host]
        now, pending = time.monotonic(), listener.health.state == "REGISTERING" and self.target_delay_seconds > 0
        if now < (registration.begun + registration.ready) / 2:
            return TargetHealth("REGISTERING")
        if now < registration.ready or pending:
            description = "DBProxy Target is waiting for proxy to scale to desired capacity"
            return TargetHealth("UNAVAILABLE", "PENDING_PROXY_CAPACITY", description)
        return listener.health

    def reports(self, at: float) -> list[Callable[[], None]]:
        """Return what publishes the metrics of each one for a minute around this time."""
        return [partial(self._publish, proxy, at) for proxy in list(self._made.values())]

    def _publish(self, proxy: Proxy, at: float) -> None:
        if listeners := self._listeners.get(proxy.name):
            self._metrics.publish(proxy, listeners[proxy.host].report(), at)

    def _listen(self, proxy: Proxy, endpoint: ProxyEndpoint, settings: ProxySettings) -> ProxyListener:
        default = self._listeners[proxy.name].get(proxy.host)
        listener = ProxyListener(
            self.loop,
            name=proxy.name if default is None else endpoint.name,
            host_name=endpoint.host,
            certificate=self.certificates.host("proxy", endpoint.host),
            directory=self.iam,
            resource_prefix=resource_prefix(proxy.arn, proxy.id),
            settings=settings,
            pool=None if default is None or endpoint.is_reader else default.pool,
        )
        listener.start()
        _log.info("%s leads to a stand-in for RDS Proxy on port %d", endpoint.host, listener.port)
        return listener

    def _register(self, proxy: Proxy) -> None:
        """Lead a proxy to its target; until a new one is ready clients wait for the borrow timeout, and are refused."""
        listeners = self._listeners[proxy.name].values()
        if proxy.instance is None:
            self._registrations.pop(proxy.name, None)
            for listener in listeners:
                listener.register()
            return
        now, known = time.monotonic(), self._registrations.get(proxy.name)
        if known is None or known.resource_id != proxy.instance.resource_id:
            known = _Registration(proxy.instance.resource_id, now, now + self.target_delay_seconds)
            self._registrations[proxy.name] = known
            for listener in listeners:
                listener.register()
        if known.ready <= now:
            self._lead_on(proxy)
        else:
            self.loop.call_soon_threadsafe(
                self.loop.call_later, known.ready - now, self._register_later, proxy.name, known
            )

    def _register_later(self, name: str, registration: _Registration) -> None:
        if self._registrations.get(name) is registration:
            self._lead_on(self._made[name])

    def _lead_on(self, proxy: Proxy) -> None:
        """Lead the endpoints of a proxy to the writer, and those that only read to the readers."""
        assert proxy.instance is not None
        server = self.databases.servers[proxy.instance.identifier]
        if isinstance(server, PostgresServer):
            writers, readers = [server], []
        else:
            writers, readers = [server.writer] if server.members else [], server.readers
        path = reachable(proxy.security_group_ids, proxy.instance.security_group_ids, proxy.instance.port)
        if not path:
            _log.warning("%s cannot reach %s: no path of security groups", proxy.name, proxy.instance.host)
        for endpoint in proxy.endpoints:
            self._listeners[proxy.name][endpoint.host].register(
                *(
                    Target(
                        host_name=server.host_name,
                        port=server.port if path else self.endpoints.nowhere,
                        ca_file=self.certificates.ca_file("rds"),
                        max_connections=server.max_connections,
                    )
                    for server in (readers if endpoint.is_reader else writers)
                ),
                refusal=_NO_READER if endpoint.is_reader else "",
            )

    def _settings(self, proxy: Proxy) -> ProxySettings:
        pool = PoolSettings(
            secret=lambda user: self._secrets(proxy).get(user),
            users=lambda: list(self._secrets(proxy)),
            max_connections_percent=proxy.max_connections_percent,
            max_idle_connections_percent=proxy.max_idle_connections_percent,
            borrow_timeout_seconds=proxy.borrow_timeout_seconds,
            init_query=proxy.init_query or "",
        )
        return ProxySettings(
            pool=pool,
            iam_required=any(auth.iam_auth == "REQUIRED" for auth in proxy.auth),
            require_tls=proxy.require_tls,
            idle_client_timeout_seconds=proxy.idle_client_timeout_seconds,
        )

    def _secrets(self, proxy: Proxy) -> dict[str, Secret]:
        """Read the proxy's secrets with the proxy's own role; return them by user."""
        secrets: dict[str, Secret] = {}
        for auth in proxy.auth:
            try:
                value = self.iam.read_secret(proxy.role_arn, auth.secret_arn)
            except SecretRefused as refusal:
                _log.warning("%s cannot read its secret: %s", proxy.name, refusal)
                continue
            user = value.get("username", "")
            secrets.setdefault(user, Secret(user, value.get("password", "")))
        return secrets
