"""What the stack takes part in of the account: instances, proxies, and the events of both and of functions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from local.aws.corrections import clusters, parameters, proxies
from local.aws.iam import current_value
from local.lambda_runtime.function import FunctionVersion, Invocation
from local.rds_proxy.server_connection import TargetHealth


@dataclass(frozen=True)
class Member:
    """An instance of a cluster."""

    identifier: str
    host: str
    is_writer: bool
    parameters: Mapping[str, str]


@dataclass(frozen=True)
class Instance:
    """A database instance as Terraform made it; or a cluster, whose parameters are its writer's."""

    identifier: str
    arn: str
    resource_id: str
    host: str
    port: int
    database: str | None
    master_username: str
    master_password: str = field(repr=False)
    iam_authentication: bool
    parameters: Mapping[str, str]
    security_group_ids: tuple[str, ...]
    allocated_storage_gib: int
    content: Any = field(default=None, repr=False)  # of the snapshot that it was restored from
    reader_host: str | None = None  # of a cluster
    members: tuple[Member, ...] = ()  # of a cluster
    is_aurora: bool = False


@dataclass(frozen=True)
class ProxyAuth:
    """One secret that a proxy logs in with."""

    secret_arn: str
    iam_auth: str


@dataclass(frozen=True)
class ProxyEndpoint:
    """One of the host names of a proxy."""

    name: str
    host: str
    is_reader: bool
    security_group_ids: tuple[str, ...]


@dataclass(frozen=True)
class Proxy:
    """A proxy as Terraform made it; complete once it has an instance for its target.

    Its own endpoint is the first of `endpoints`.
    """

    name: str
    id: str
    arn: str
    host: str
    port: int
    role_arn: str
    auth: tuple[ProxyAuth, ...]
    require_tls: bool
    idle_client_timeout_seconds: int
    security_group_ids: tuple[str, ...]
    instance: Instance | None
    max_connections_percent: int
    max_idle_connections_percent: int
    borrow_timeout_seconds: int
    init_query: str | None
    endpoints: tuple[ProxyEndpoint, ...]


class Events:
    """What happens in the account; override what the stack takes part in.

    A hook runs within the API call and may block. What it raises becomes the call's error, and an instance or a target
    that was just made is taken back.
    """

    def instance_created(self, instance: Instance) -> None: ...

    def instance_changed(self, instance: Instance) -> None:
        """An instance was modified, its master password rotated; a cluster has other members, or another writer."""

    def instance_restarted(self, instance: Instance) -> None:
        """An instance was rebooted, or changed in a way that restarts its server: its parameters are in force."""

    def member_restarted(self, cluster: Instance, member: Member) -> None:
        """One instance of a cluster was rebooted."""

    def instance_stopped(self, instance: Instance) -> None: ...

    def instance_started(self, instance: Instance) -> None:
        """An instance that was stopped is started again."""

    def instance_deleted(self, instance: Instance) -> None: ...

    def snapshot_taken(self, instance: Instance) -> Any:  # noqa: ARG002
        """Return what a snapshot holds: restored, it is the new instance's `content`."""
        return None

    def proxy_changed(self, proxy: Proxy) -> None:
        """A proxy got its target, or a setting of one that has a target changed, or it lost its target."""

    def proxy_deleted(self, proxy: Proxy) -> None: ...

    def target_health(self, proxy: Proxy) -> TargetHealth:  # noqa: ARG002
        return TargetHealth("AVAILABLE")

    def invoke(
        self, function: FunctionVersion, payload: bytes, *, reserved_concurrency: int | None, invoked_arn: str
    ) -> Invocation:
        raise NotImplementedError("Nothing here runs functions.")

    def function_deleted(self, name: str) -> None: ...


def _master_password(database: Any) -> str:
    """Return what moto's instance or cluster keeps, or what the secret holds that RDS manages for it."""
    if hasattr(database, "master_user_secret"):
        return str(json.loads(current_value(database.master_user_secret.secret_arn))["password"])
    return database._master_user_password or ""


def instance_of(database: Any) -> Instance:
    """Return moto's instance as the stack sees it."""
    return Instance(
        identifier=database.db_instance_identifier,
        arn=database.arn,
        resource_id=database.dbi_resource_id,
        host=database.address,
        port=int(database.port),
        database=database.db_name,
        master_username=database.master_username,
        master_password=_master_password(database),
        iam_authentication=bool(database.enable_iam_database_authentication),
        parameters=dict(parameters.in_force(database)),
        security_group_ids=tuple(database.vpc_security_group_ids),
        allocated_storage_gib=int(database.allocated_storage),
        content=getattr(database, "content", None),
    )


def cluster_of(cluster: Any) -> Instance:
    """Return moto's cluster as the stack sees it."""
    return Instance(
        identifier=cluster.db_cluster_identifier,
        arn=cluster.arn,
        resource_id=cluster.db_cluster_resource_id,
        host=cluster.endpoint,
        port=int(cluster.port),
        database=cluster.database_name,
        master_username=cluster.master_username,
        master_password=_master_password(cluster),
        iam_authentication=bool(cluster.iam_auth),
        parameters=clusters.in_force(cluster),
        security_group_ids=tuple(cluster.vpc_security_group_ids),
        allocated_storage_gib=int(cluster.allocated_storage),
        content=getattr(cluster, "content", None),
        reader_host=cluster.reader_endpoint,
        members=tuple(member_of(member) for member in cluster.members),
        is_aurora=cluster.engine == "aurora-postgresql",
    )


def member_of(member: Any) -> Member:
    """Return moto's instance of a cluster as the stack sees it."""
    return Member(
        identifier=member.db_instance_identifier,
        host=member.address,
        is_writer=bool(member.is_cluster_writer),
        parameters=clusters.in_force(member.cluster, member),
    )


def proxy_of(proxy: Any) -> Proxy:
    """Return moto's proxy as the stack sees it."""
    group = proxy.proxy_target_groups["default"]
    databases, of_account = proxy.backend.databases, proxy.backend.clusters
    targets = [instance_of(databases[t.rds_resource_id]) for t in group.targets if t.rds_resource_id in databases]
    targets += [
        cluster_of(of_account[t.rds_resource_id])
        for t in group.targets
        if t.type == "TRACKED_CLUSTER" and t.rds_resource_id in of_account
    ]
    groups = tuple(proxy.vpc_security_group_ids)
    further = [
        ProxyEndpoint(
            name=endpoint["DBProxyEndpointName"],
            host=endpoint["Endpoint"],
            is_reader=endpoint["TargetRole"] == "READ_ONLY",
            security_group_ids=tuple(endpoint["VpcSecurityGroupIds"]),
        )
        for endpoint in proxies.further_endpoints(proxy)
    ]
    return Proxy(
        name=proxy.db_proxy_name,
        id=proxy.unique_id,
        arn=proxy.arn,
        host=proxy.endpoint,
        port=5432,  # the proxy listens there for PostgreSQL, whatever the instance's port
        role_arn=proxy.role_arn,
        auth=tuple(ProxyAuth(auth["SecretArn"], auth.get("IAMAuth", "DISABLED")) for auth in proxy.auth),
        require_tls=bool(proxy.require_tls),
        idle_client_timeout_seconds=int(proxy.idle_client_timeout),
        security_group_ids=groups,
        instance=targets[0] if targets else None,
        max_connections_percent=int(group.max_connections),
        max_idle_connections_percent=int(group.max_idle_connections),
        borrow_timeout_seconds=int(group.borrow_timeout),
        init_query=getattr(group, "init_query", None),
        endpoints=(ProxyEndpoint("default", proxy.endpoint, is_reader=False, security_group_ids=groups), *further),
    )
