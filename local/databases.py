"""The servers behind the account's instances and clusters, and the listeners at their host names."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from local.aws.account import Instance, Member
from local.certificates import Certificates
from local.credentials import Directory
from local.endpoints import Endpoint, Endpoints, resource_prefix
from local.monitoring import InstanceMetrics
from local.postgres.cluster import Cluster
from local.postgres.figures import measure
from local.postgres.instance_listener import InstanceListener
from local.postgres.server import PostgresServer, Snapshot

_log = logging.getLogger(__name__)


@dataclass
class Databases:
    """Instances and clusters by their identifiers.

    `moved` is told of each whose writer, readers or max_connections are others than before. `failover_seconds` and
    `stale_address_seconds` hold for clusters that are made afterwards: local/postgres/cluster.py.
    """

    loop: asyncio.AbstractEventLoop
    log_folder: Path
    certificates: Certificates
    directory: Directory
    endpoints: Endpoints
    moved: Callable[[str], None]
    failover_seconds: float
    stale_address_seconds: float
    servers: dict[str, PostgresServer | Cluster] = field(default_factory=dict)
    instances: dict[str, Instance] = field(default_factory=dict)
    _snapshots: list[Snapshot] = field(default_factory=list)
    _metrics: InstanceMetrics = field(default_factory=InstanceMetrics)

    def create(self, instance: Instance) -> None:
        server = self._start_cluster(instance) if instance.members else self._start_server(instance)
        self.servers[instance.identifier] = server
        self.instances[instance.identifier] = instance
        self._lead_to(instance)

    def change(self, instance: Instance) -> None:
        self.instances[instance.identifier] = instance
        server = self.servers[instance.identifier]
        if isinstance(server, Cluster):
            _have_members(server, instance)
        if instance.master_password and server.running:
            server.change_master_password(instance.master_password)
        self._lead_to(instance)

    def restart(self, instance: Instance) -> None:
        server = self.servers[instance.identifier]
        assert isinstance(server, PostgresServer)
        server.restart(max_connections=_max_connections(instance))
        self._begun_again(instance)

    def restart_member(self, cluster: Instance, member: Member) -> None:
        self.cluster(cluster.identifier).restart(member.identifier, max_connections=_max_connections(member))
        self._begun_again(cluster)

    def halt(self, instance: Instance) -> None:
        self.servers[instance.identifier].halt()

    def resume(self, instance: Instance) -> None:
        self.servers[instance.identifier].resume(max_connections=_max_connections(instance))
        self._begun_again(instance)

    def delete(self, instance: Instance) -> None:
        self.instances.pop(instance.identifier, None)
        self.endpoints.close(self.endpoints.hosts_of(instance.arn))
        if server := self.servers.pop(instance.identifier, None):
            server.stop()

    def snapshot(self, instance: Instance) -> Snapshot:
        snapshot = self.servers[instance.identifier].snapshot()
        self._snapshots.append(snapshot)  # kept to the end: a copy in the account may hold it, too
        return snapshot

    def cluster(self, identifier: str) -> Cluster:
        cluster = self.servers[identifier]
        assert isinstance(cluster, Cluster), f"{identifier} is an instance, not a cluster"
        return cluster

    def reports(self, at: float) -> list[Callable[[], None]]:
        """Return what publishes the metrics of each one for a minute around this time."""
        return [partial(self._publish, instance, at) for instance in list(self.instances.values())]

    def stop(self) -> None:
        """Stop every server and forget all data."""
        for server in self.servers.values():
            server.stop()
        for snapshot in self._snapshots:
            snapshot.discard()

    def _start_server(self, instance: Instance) -> PostgresServer:
        return PostgresServer.start(
            name=instance.identifier,
            host_name=instance.host,
            certificates=self.certificates,
            max_connections=_max_connections(instance),
            master_user=instance.master_username,
            master_password=instance.master_password,
            database=instance.database or "postgres",
            log_file=self.log_folder / f"{instance.identifier}.postgresql.log",
            snapshot=instance.content,
        )

    def _start_cluster(self, instance: Instance) -> Cluster:
        assert instance.reader_host is not None
        cluster = Cluster(
            name=instance.identifier,
            host_names=(instance.host, instance.reader_host),
            certificates=self.certificates,
            max_connections=_max_connections(instance),
            master_user=instance.master_username,
            master_password=instance.master_password,
            database=instance.database or "postgres",
            log_folder=self.log_folder,
            snapshot=instance.content,
            failover_seconds=self.failover_seconds,
            stale_address_seconds=self.stale_address_seconds,
            changed=partial(self.moved, instance.identifier),
        )
        try:
            _have_members(cluster, instance)
            if instance.content and instance.master_password:
                cluster.change_master_password(instance.master_password)  # else it stays the snapshot's
        except BaseException:
            cluster.stop()
            raise
        return cluster

    def _begun_again(self, instance: Instance) -> None:
        self.change(instance)
        self.moved(instance.identifier)  # proxies learn of max_connections only now

    def _lead_to(self, instance: Instance) -> None:
        """Have a listener for each host name of an instance or a cluster, and none for those that are gone."""
        ways = _ways(instance, self.servers[instance.identifier])
        self.endpoints.close([host for host in self.endpoints.hosts_of(instance.arn) if host not in ways])
        led = {}
        for host, socket_path in ways.items():
            known = self.endpoints.get(host)
            listener = known.listener if known else self._listen(instance, host, socket_path)
            assert isinstance(listener, InstanceListener)
            _configure(listener, instance)
            led[host] = Endpoint(instance.arn, listener, "rds", instance.security_group_ids, instance.port)
        self.endpoints.lead(led)

    def _listen(self, instance: Instance, host: str, socket_path: Callable[[], Path]) -> InstanceListener:
        listener = InstanceListener(
            self.loop,
            host_name=host,
            certificate=self.certificates.host("rds", host),
            socket_path=socket_path,
            directory=self.directory,
            resource_prefix=resource_prefix(instance.arn, instance.resource_id),
        )
        _configure(listener, instance)
        listener.start()
        _log.info("%s leads to %s on port %d", host, self.servers[instance.identifier], listener.port)
        return listener

    def _publish(self, instance: Instance, at: float) -> None:
        server = self.servers.get(instance.identifier)
        if server is None or not server.running:
            return
        if isinstance(server, Cluster):
            self._metrics.publish(instance, measure(server.writer), at)
            self._metrics.publish_lag(instance, server.lag_seconds(), at)
        else:
            self._metrics.publish(instance, measure(server), at)


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


def _max_connections(server: Instance | Member) -> int:
    return int(server.parameters.get("max_connections", 100))


def _configure(listener: InstanceListener, instance: Instance) -> None:
    """Set what clients meet; rds.force_ssl is 1 where the user does not set it, as in families 15 and later."""
    listener.force_ssl = instance.parameters.get("rds.force_ssl", "1") == "1"
    listener.iam_authentication = instance.iam_authentication
