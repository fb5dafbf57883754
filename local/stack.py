"""The whole stack: the control plane, and behind it a real server, listener or process for what Terraform makes."""

import json
import logging
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property, partial
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3

from local.aws.account import Events, Instance, Member, Proxy, ProxyEndpoint
from local.aws.control_plane import ControlPlane
from local.aws.iam import SecretRefused
from local.aws.reachability import reachable
from local.certificates import Authority, Certificates
from local.lambda_runtime.function import Archive, FunctionVersion, Invocation
from local.lambda_runtime.runtime import LambdaRuntime
from local.loop import LoopThread
from local.monitoring import InstanceMetrics, Monitoring, ProxyMetrics, publish_queues
from local.postgres.cluster import Cluster
from local.postgres.figures import measure
from local.postgres.installation import find_binaries
from local.postgres.instance_listener import InstanceListener
from local.postgres.server import PostgresServer, Snapshot
from local.postgres.wire import Listener
from local.rds_proxy.listener import ProxyListener, ProxySettings
from local.rds_proxy.pool import PoolSettings, Secret
from local.rds_proxy.server_connection import Target, TargetHealth
from local.record import Record

ROOT = Path(__file__).resolve().parents[1]
ACCOUNT = "123456789012"
REGION = "us-east-1"
RUNTIME_PYTHON = ROOT / ".venv" / "runtime" / "bin" / "python"

_LOCAL_LAYER = "build/output/layer-local.zip"
# By analogy with what the Aurora user guide, rds-proxy-gdb, tells of an endpoint without a writer.
_NO_READER = "The target group doesn't have any associated read-only instances"
_CERTIFICATES_IN_LAYER = "/opt/certificates/"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Endpoint:
    """Where a host name of the plan leads to, and from which security groups it may be reached."""

    owner: str  # whose host name it is: the ARN
    listener: Listener
    authority: Authority
    security_group_ids: tuple[str, ...]
    port: int


class StackRunsError(Exception):
    """Another process serves a stack in this folder."""


@dataclass(frozen=True)
class _Registration:
    """Which instance is a proxy's target, and since when it may be used (of this machine's monotonic clock)."""

    resource_id: str
    begun: float
    ready: float


class Stack(Events):
    """One AWS account on this machine, open from `with` to its end. Keeps its files in `folder`.

    On AWS a new target of a proxy is not AVAILABLE for minutes; here for `target_delay_seconds`. What takes CloudWatch
    a minute takes `metric_minute_seconds`. A cluster that fails over has no writer for `failover_seconds`, and its
    address leads to the old writer for `stale_address_seconds` more; both hold for clusters that are made afterwards.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        target_delay_seconds: float = 0,
        metric_minute_seconds: float = 60,
        failover_seconds: float = 0,
        stale_address_seconds: float = 0,
    ) -> None:
        self._folder = folder.resolve()
        self.record = Record(self._folder)
        self._port = port
        self.target_delay_seconds = target_delay_seconds
        self.metric_minute_seconds = metric_minute_seconds
        self.failover_seconds = failover_seconds
        self.stale_address_seconds = stale_address_seconds
        self._registrations: dict[str, _Registration] = {}
        self._resources = ExitStack()
        self._servers: dict[str, PostgresServer | Cluster] = {}
        self._instances: dict[str, Instance] = {}
        self._made_proxies: dict[str, Proxy] = {}
        self._proxy_metrics, self._instance_metrics = ProxyMetrics(), InstanceMetrics()
        self._snapshots: list[Snapshot] = []
        self._proxies: dict[str, dict[str, ProxyListener]] = {}  # by name, then by host name, the default one first
        self._endpoints: dict[str, _Endpoint] = {}
        self._writing = threading.Lock()

    def __enter__(self) -> Self:
        with ExitStack() as resources:
            if not self.record.take():
                raise StackRunsError(f"A stack runs in {self._folder} already.")
            resources.callback(self.record.release)
            (self._folder / "logs").mkdir(exist_ok=True)
            certificates = self._folder / "certificates"
            resources.callback(shutil.rmtree, certificates, ignore_errors=True)
            self._certificates = Certificates(certificates)
            self._nowhere = resources.enter_context(socket.create_server(("127.0.0.1", 0)))
            self._loop = LoopThread()
            resources.callback(self._loop.stop)
            resources.callback(self._stop_servers)
            self._control_plane = ControlPlane(self, metric_minute_seconds=self.metric_minute_seconds)
            self._control_plane.start(self._port)
            self._write_endpoints()
            resources.callback(self._endpoints_file.unlink, missing_ok=True)
            resources.callback(self._control_plane.stop)
            self._runtime = LambdaRuntime(
                python=RUNTIME_PYTHON,
                folder=self._folder,
                credentials=self._control_plane.functions.credentials_for,
                endpoint_url=self.url,
                prepare=self._lead_here,
                log=self._control_plane.functions.write_log,
                began=self._control_plane.functions.began,
            )
            resources.callback(self._runtime.stop)
            monitoring = Monitoring(self.metric_minute_seconds, self._minute_over)
            monitoring.start()
            resources.callback(monitoring.stop)
            self.record.write(self.variables())
            self._resources = resources.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._resources.close()

    @property
    def control_plane(self) -> ControlPlane:
        """The account, for what a test does to it."""
        return self._control_plane

    @property
    def url(self) -> str:
        """The endpoint of every AWS API."""
        return self._control_plane.url

    def variables(self) -> dict[str, str]:
        """Return the environment variables that lead SDKs and Terraform here, and `make` to a state of its own."""
        key = self._control_plane.administrator
        others = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
        no_proxy = f"{others},127.0.0.1" if others else "127.0.0.1"
        return {
            "AWS_ACCESS_KEY_ID": key.access_key_id,
            "AWS_SECRET_ACCESS_KEY": key.secret_access_key,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "CHECKPOINT_DISABLE": "1",
            "NO_PROXY": no_proxy,
            "no_proxy": no_proxy,
            "TF_VAR_allowed_account_ids": f'["{ACCOUNT}"]',
            "LOCAL_STACK": str(self._folder),
        }

    def environment(self) -> dict[str, str]:
        """Return this process's environment, led here, with none of the user's own AWS settings."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MOTO_"))}
        return own | self.variables()

    def client(self, service: str) -> Any:
        """Return a client of one service with the administrator's key."""
        key = self._control_plane.administrator
        return boto3.client(
            service, REGION,
            endpoint_url=self.url,
            aws_access_key_id=key.access_key_id,
            aws_secret_access_key=key.secret_access_key,
        )  # fmt: skip

    def components(self) -> list[str]:
        """Say what stands in for what."""
        postgres = find_binaries()
        version = subprocess.run(
            [RUNTIME_PYTHON, "--version"], capture_output=True, text=True, check=True
        ).stdout.strip()
        return [
            f"AWS control plane   moto at {self.url}",
            f"RDS instances       PostgreSQL {postgres.version} in {postgres.folder}",
            "RDS Proxy           a stand-in of this project (local/rds_proxy)",
            f"Lambda              awslambdaric on {version}{self._layer_note()}",
        ]

    def folder_of(self, environment: str) -> Path:
        """Return where make keeps the state of an environment of this stack."""
        folder = self._folder / environment
        folder.mkdir(exist_ok=True)
        return folder

    def logs(self) -> list[Path]:
        """Return the files that functions and servers have written to."""
        return sorted(path for path in (self._folder / "logs").rglob("*") if path.is_file())

    def running(self) -> list[str]:
        """Name the databases and proxies that run."""
        return [*self._servers, *self._proxies]

    def let_window_pass(self) -> None:
        """Make the changes that wait for the maintenance window."""
        self._control_plane.let_window_pass()

    def begin_lag(self, cluster: str, reader: str) -> None:
        """Let a reader show the data of this moment, until `end_lag`."""
        self._cluster(cluster).begin_lag(reader)

    def end_lag(self, cluster: str, reader: str) -> None:
        """Let a reader follow the writer again; return when it shows what the writer has committed."""
        self._cluster(cluster).end_lag(reader)

    def write_late_lines(self) -> list[str]:
        """Let RDS write the last lines of what was deleted; return the log groups that it makes again for them."""
        return self._control_plane.write_late_lines()

    # --- what happens in the account ---

    def instance_created(self, instance: Instance) -> None:
        server = self._start_cluster(instance) if instance.members else self._start_server(instance)
        self._servers[instance.identifier] = server
        self._instances[instance.identifier] = instance
        self._lead_to(instance)

    def _start_server(self, instance: Instance) -> PostgresServer:
        return PostgresServer.start(
            name=instance.identifier,
            host_name=instance.host,
            certificates=self._certificates,
            max_connections=_max_connections(instance),
            master_user=instance.master_username,
            master_password=instance.master_password,
            database=instance.database or "postgres",
            log_file=self._folder / "logs" / f"{instance.identifier}.postgresql.log",
            snapshot=instance.content,
        )

    def _start_cluster(self, instance: Instance) -> Cluster:
        cluster = Cluster(
            name=instance.identifier,
            host_names=_hosts(instance),
            certificates=self._certificates,
            max_connections=_max_connections(instance),
            master_user=instance.master_username,
            master_password=instance.master_password,
            database=instance.database or "postgres",
            log_folder=self._folder / "logs",
            snapshot=instance.content,
            failover_seconds=self.failover_seconds,
            stale_address_seconds=self.stale_address_seconds,
            changed=partial(self._lead_proxies_to, instance.identifier),
        )
        try:
            _have_members(cluster, instance)
            if instance.content and instance.master_password:
                cluster.change_master_password(instance.master_password)  # else it stays the snapshot's
        except BaseException:
            cluster.stop()
            raise
        return cluster

    def instance_changed(self, instance: Instance) -> None:
        self._instances[instance.identifier] = instance
        server = self._servers[instance.identifier]
        if isinstance(server, Cluster):
            _have_members(server, instance)
        if instance.master_password and server.running:
            server.change_master_password(instance.master_password)
        self._lead_to(instance)

    def _lead_to(self, instance: Instance) -> None:
        """Have a listener for each host name of an instance or a cluster, and none for those that are gone."""
        ways = _ways(instance, self._servers[instance.identifier])
        for host, endpoint in list(self._endpoints.items()):
            if endpoint.owner == instance.arn and host not in ways:
                del self._endpoints[host]
                endpoint.listener.stop()
        for host, socket_path in ways.items():
            known = self._endpoints.get(host)
            listener = known.listener if known else self._listen(instance, host, socket_path)
            assert isinstance(listener, InstanceListener)
            _configure(listener, instance)
            self._endpoints[host] = _Endpoint(instance.arn, listener, "rds", instance.security_group_ids, instance.port)
        self._write_endpoints()

    def _listen(self, instance: Instance, host: str, socket_path: Callable[[], Path]) -> InstanceListener:
        listener = InstanceListener(
            self._loop.loop,
            host_name=host,
            certificate=self._certificates.host("rds", host),
            socket_path=socket_path,
            directory=self._control_plane.iam,
            resource_prefix=_resource_prefix(instance.arn, instance.resource_id),
        )
        _configure(listener, instance)
        listener.start()
        _log.info("%s leads to %s on port %d", host, self._servers[instance.identifier], listener.port)
        return listener

    def instance_restarted(self, instance: Instance) -> None:
        server = self._servers[instance.identifier]
        assert isinstance(server, PostgresServer)
        server.restart(max_connections=_max_connections(instance))
        self._begun_again(instance)

    def instance_stopped(self, instance: Instance) -> None:
        self._servers[instance.identifier].halt()

    def instance_started(self, instance: Instance) -> None:
        self._servers[instance.identifier].resume(max_connections=_max_connections(instance))
        self._begun_again(instance)

    def member_restarted(self, cluster: Instance, member: Member) -> None:
        self._cluster(cluster.identifier).restart(member.identifier, max_connections=_max_connections(member))
        self._begun_again(cluster)

    def _begun_again(self, instance: Instance) -> None:
        self.instance_changed(instance)
        self._lead_proxies_to(instance.identifier)  # which learn of max_connections only now

    def _lead_proxies_to(self, identifier: str) -> None:
        for proxy in list(self._made_proxies.values()):
            if proxy.instance is not None and proxy.instance.identifier == identifier:
                self._register(proxy)

    def instance_deleted(self, instance: Instance) -> None:
        self._instances.pop(instance.identifier, None)
        for host, endpoint in list(self._endpoints.items()):
            if endpoint.owner == instance.arn:
                del self._endpoints[host]
                endpoint.listener.stop()
        self._write_endpoints()
        if server := self._servers.pop(instance.identifier, None):
            server.stop()

    def snapshot_taken(self, instance: Instance) -> Snapshot:
        snapshot = self._servers[instance.identifier].snapshot()
        self._snapshots.append(snapshot)  # kept to the end: a copy in the account may hold it, too
        return snapshot

    def proxy_changed(self, proxy: Proxy) -> None:
        self._made_proxies[proxy.name] = proxy
        settings, listeners = self._settings(proxy), self._proxies.setdefault(proxy.name, {})
        for host in listeners.keys() - {endpoint.host for endpoint in proxy.endpoints}:
            del self._endpoints[host]
            listeners.pop(host).stop()
        for endpoint in proxy.endpoints:
            host = endpoint.host
            if host in listeners:
                listeners[host].configure(settings)
            else:
                listeners[host] = self._listen_for(proxy, endpoint, settings)
            self._endpoints[host] = _Endpoint(
                proxy.arn, listeners[host], "proxy", endpoint.security_group_ids, proxy.port
            )
        self._write_endpoints()
        self._register(proxy)

    def _listen_for(self, proxy: Proxy, endpoint: ProxyEndpoint, settings: ProxySettings) -> ProxyListener:
        default = self._proxies[proxy.name].get(proxy.host)
        listener = ProxyListener(
            self._loop.loop,
            name=proxy.name if default is None else endpoint.name,
            host_name=endpoint.host,
            certificate=self._certificates.host("proxy", endpoint.host),
            directory=self._control_plane.iam,
            resource_prefix=_resource_prefix(proxy.arn, proxy.id),
            settings=settings,
            pool=None if default is None or endpoint.is_reader else default.pool,
        )
        listener.start()
        _log.info("%s leads to a stand-in for RDS Proxy on port %d", endpoint.host, listener.port)
        return listener

    def proxy_deleted(self, proxy: Proxy) -> None:
        self._made_proxies.pop(proxy.name, None)
        self._registrations.pop(proxy.name, None)
        for host, listener in reversed(self._proxies.pop(proxy.name, {}).items()):
            del self._endpoints[host]
            listener.stop()
        self._write_endpoints()

    def target_health(self, proxy: Proxy) -> TargetHealth:
        """REGISTERING, then UNAVAILABLE until there is capacity, then what the stand-in finds by trying its secrets.

        States and words: AWS CLI reference, rds describe-db-proxy-targets; API reference, TargetHealth.
        """
        listeners, registration = self._proxies.get(proxy.name), self._registrations.get(proxy.name)
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

    def function_deleted(self, name: str) -> None:
        self._runtime.retire(name)

    def invoke(
        self, function: FunctionVersion, payload: bytes, *, reserved_concurrency: int | None, invoked_arn: str
    ) -> Invocation:
        layers = tuple(layer if self._runs_here(layer) else self._local_layer for layer in function.layers)
        return self._runtime.invoke(
            replace(function, layers=layers),
            payload,
            reserved_concurrency=reserved_concurrency,
            invoked_arn=invoked_arn,
        )

    # --- metrics ---

    def _minute_over(self, end: float) -> None:
        """Publish what the parts of the stack report of the minute that ends, and have the alarms evaluated."""
        at = end - self.metric_minute_seconds / 2
        parts: list[Callable[[], None]] = [
            *(partial(self._publish_proxy, proxy, at) for proxy in list(self._made_proxies.values())),
            *(partial(self._publish_instance, instance, at) for instance in list(self._instances.values())),
            partial(publish_queues, at),
            self._runtime.report,
            partial(self._control_plane.evaluate_alarms, end),
        ]
        for publish in parts:
            try:
                publish()
            except Exception:  # a part may end while it is asked
                _log.warning("a report is missing", exc_info=True)

    def _publish_proxy(self, proxy: Proxy, at: float) -> None:
        if listeners := self._proxies.get(proxy.name):
            self._proxy_metrics.publish(proxy, listeners[proxy.host].report(), at)

    def _publish_instance(self, instance: Instance, at: float) -> None:
        server = self._servers.get(instance.identifier)
        if server is None or not server.running:
            return
        if isinstance(server, Cluster):
            self._instance_metrics.publish(instance, measure(server.writer), at)
            self._instance_metrics.publish_lag(instance, server.lag_seconds(), at)
        else:
            self._instance_metrics.publish(instance, measure(server), at)

    # --- proxies ---

    def _register(self, proxy: Proxy) -> None:
        """Lead a proxy to its target; until a new one is ready clients wait for the borrow timeout, and are refused."""
        listeners = self._proxies[proxy.name].values()
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
            loop = self._loop.loop
            loop.call_soon_threadsafe(loop.call_later, known.ready - now, self._register_later, proxy.name, known)

    def _register_later(self, name: str, registration: _Registration) -> None:
        if self._registrations.get(name) is registration:
            self._lead_on(self._made_proxies[name])

    def _lead_on(self, proxy: Proxy) -> None:
        """Lead the endpoints of a proxy to the writer, and those that only read to the readers."""
        assert proxy.instance is not None
        server = self._servers[proxy.instance.identifier]
        if isinstance(server, PostgresServer):
            writers, readers = [server], []
        else:
            writers, readers = [server.writer] if server.members else [], server.readers
        path = reachable(proxy.security_group_ids, proxy.instance.security_group_ids, proxy.instance.port)
        if not path:
            _log.warning("%s cannot reach %s: no path of security groups", proxy.name, proxy.instance.host)
        for endpoint in proxy.endpoints:
            self._proxies[proxy.name][endpoint.host].register(
                *(
                    Target(
                        host_name=server.host_name,
                        port=server.port if path else self._nowhere.getsockname()[1],
                        ca_file=self._certificates.ca_file("rds"),
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
                value = self._control_plane.iam.read_secret(proxy.role_arn, auth.secret_arn)
            except SecretRefused as refusal:
                _log.warning("%s cannot read its secret: %s", proxy.name, refusal)
                continue
            user = value.get("username", "")
            secrets.setdefault(user, Secret(user, value.get("password", "")))
        return secrets

    # --- functions on this machine ---

    def _lead_here(self, function: FunctionVersion, variables: dict[str, str]) -> dict[str, str]:
        """Add where libpq finds the host on this machine, and the roots of the local authority in place of AWS's."""
        led = {}
        if authority := _authority(variables.get("PGSSLROOTCERT", ""), function):
            led["PGSSLROOTCERT"] = str(self._certificates.ca_file(authority))
        if variables.get("PGHOST") not in self._endpoints:
            return variables | led
        led |= {"PGHOSTADDR": "127.0.0.1", "PGPORT": str(self._port_for(function, variables["PGHOST"]))}
        if reader := variables.get("PGHOST_READER"):
            led["PGPORT_READER"] = str(self._port_for(function, reader))
        return variables | led

    def _port_for(self, function: FunctionVersion, host: str) -> int:
        """Return where a function finds a host: PGHOSTADDR is one for all of them, the port tells them apart."""
        endpoint = self._endpoints.get(host)
        groups = () if endpoint is None else endpoint.security_group_ids
        if endpoint is not None and reachable(function.security_group_ids, groups, endpoint.port):
            return endpoint.listener.port
        _log.warning("%s cannot reach %s: no path of security groups", function.name, host)
        return int(self._nowhere.getsockname()[1])  # packets that a security group drops are never answered

    def _write_endpoints(self) -> None:
        """Tell `make psql` where each host name leads to."""
        with self._writing:
            ways = {
                host: {
                    "port": endpoint.listener.port,
                    "ca_file": str(self._certificates.ca_file(endpoint.authority)),
                }
                for host, endpoint in list(self._endpoints.items())
            }
            self._endpoints_file.touch(mode=0o600)
            self._endpoints_file.write_text(json.dumps(ways, indent=2) + "\n")

    def _cluster(self, identifier: str) -> Cluster:
        cluster = self._servers[identifier]
        assert isinstance(cluster, Cluster), f"{identifier} is an instance, not a cluster"
        return cluster

    @property
    def _endpoints_file(self) -> Path:
        return self._folder / "endpoints.json"

    @cached_property
    def _extension_suffix(self) -> str:
        """What the runtime's Python looks for: .cpython-313-x86_64-linux-gnu.so."""
        command = [str(RUNTIME_PYTHON), "-c", "import sysconfig; print(sysconfig.get_config_var('EXT_SUFFIX'))"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def _layer_note(self) -> str:
        native = self._extension_suffix == ".cpython-313-x86_64-linux-gnu.so"
        return "" if native else f": the layer of Lambda does not run on it, {_LOCAL_LAYER} stands in"

    def _runs_here(self, layer: Archive) -> bool:
        extensions = [name for name in _names(layer) if "psycopg2/" in name and name.endswith(".so")]
        return not extensions or any(name.endswith(self._extension_suffix) for name in extensions)

    @cached_property
    def _local_layer(self) -> Archive:
        subprocess.run(["make", _LOCAL_LAYER], cwd=ROOT, check=True)
        return Archive.of((ROOT / _LOCAL_LAYER).read_bytes())

    def _stop_servers(self) -> None:
        for endpoint in self._endpoints.values():
            endpoint.listener.stop()
        for server in self._servers.values():
            server.stop()
        for snapshot in self._snapshots:
            snapshot.discard()


def _authority(ca_file: str, function: FunctionVersion) -> Authority | None:
    """The local authority in the place of a CA file that the function's layer really has."""
    name = ca_file.removeprefix(_CERTIFICATES_IN_LAYER)
    if name == ca_file or not any(f"certificates/{name}" in _names(layer) for layer in function.layers):
        return None
    if name == "amazon-trust-services.pem":
        return "proxy"
    return "rds" if re.fullmatch(rf"rds-{function.region}\.pem", name) else None


def _hosts(instance: Instance) -> list[str]:
    """The names that lead to an instance; a cluster has one for its readers."""
    return [instance.host, *([instance.reader_host] if instance.reader_host else [])]


def _ways(instance: Instance, server: PostgresServer | Cluster) -> dict[str, Callable[[], Path]]:
    """Return what each host name leads to: the socket of a server, asked for at each connection."""
    if isinstance(server, PostgresServer):
        return {instance.host: lambda: server.socket_path}
    assert instance.reader_host is not None
    return {
        instance.host: server.writer_socket,
        instance.reader_host: server.reader_socket,
        **{member.host: partial(server.member_socket, member.identifier) for member in instance.members},
    }


def _have_members(cluster: Cluster, instance: Instance) -> None:
    members = sorted(instance.members, key=lambda member: not member.is_writer)  # it is the first to start
    writers = [member.identifier for member in members if member.is_writer]
    cluster.become({member.identifier: member.host for member in members}, *writers)


def _max_connections(instance: Instance | Member) -> int:
    return int(instance.parameters.get("max_connections", 100))


def _configure(listener: InstanceListener, instance: Instance) -> None:
    """Set what clients meet; rds.force_ssl is 1 where the user does not set it, as in families 15 and later."""
    listener.force_ssl = instance.parameters.get("rds.force_ssl", "1") == "1"
    listener.iam_authentication = instance.iam_authentication


def _names(archive: Archive) -> list[str]:
    with zipfile.ZipFile(BytesIO(archive.content)) as content:
        return content.namelist()


def _resource_prefix(arn: str, resource_id: str) -> str:
    """The ARN that policies grant rds-db:connect on, without the user."""
    _, partition, _, region, account, _ = arn.split(":", 5)
    return f"arn:{partition}:rds-db:{region}:{account}:dbuser:{resource_id}"
