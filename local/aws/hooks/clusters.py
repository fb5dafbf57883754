"""Clusters: each member is a server, the writer or a reader of it; the data stay until the cluster's end."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Any

from moto.core.responses import ActionResult
from moto.rds.exceptions import InvalidParameterCombination
from moto.rds.models import RDSBackend
from moto.rds.responses import RDSResponse

from local.aws.account import Events, cluster_of, member_of, proxy_of
from local.aws.corrections import clusters
from local.aws.hooks import reboots
from local.aws.moto import Method, Moto

# Instances of a cluster come and go side by side: what is told last must be what was so last. By the cluster's ARN.
_told_in_turn: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)


def hook(moto: Moto, events: Events) -> None:
    """Tell of clusters that get members, change, fail over, stop and start, are copied and go."""
    _hook_states(moto, events)

    @moto.around(RDSBackend, "create_db_instance")
    def create(original: Method, self: Any, db_kwargs: Any) -> Any:
        cluster = self.clusters.get(db_kwargs.get("db_cluster_identifier") or "")
        if cluster is None:
            return original(self, db_kwargs)
        member = original(self, db_kwargs)
        try:
            with _told_in_turn[cluster.arn]:
                tell = events.instance_changed if getattr(cluster, "serves", False) else events.instance_created
                tell(cluster_of(cluster))
                cluster.serves = True
        except BaseException:
            self.databases.pop(member.db_instance_identifier)
            raise
        return member

    @moto.around(RDSBackend, "delete_db_instance")
    def delete_member(original: Method, self: Any, db_instance_identifier: str, *args: Any, **kwargs: Any) -> Any:
        cluster = getattr(self.databases.get(db_instance_identifier), "cluster", None)
        deleted = original(self, db_instance_identifier, *args, **kwargs)
        if cluster is not None:
            _tell_change(events, self, cluster.db_cluster_identifier)
        return deleted

    @moto.around(RDSBackend, "modify_db_cluster")
    def modify(original: Method, self: Any, kwargs: Any) -> Any:
        answer = original(self, kwargs)
        _tell_change(events, self, kwargs.get("new_db_cluster_identifier") or kwargs["db_cluster_identifier"])
        return answer

    @moto.around(RDSBackend, "modify_db_cluster_parameter_group")
    def modify_group(original: Method, self: Any, db_cluster_parameter_group_name: str, given: Any) -> Any:
        group = original(self, db_cluster_parameter_group_name, given)
        for identifier, cluster in list(self.clusters.items()):
            if cluster.parameter_group == group.name:
                _tell_change(events, self, identifier)
        return group

    @moto.around(RDSBackend, "create_db_cluster_snapshot")
    def take_snapshot(original: Method, self: Any, *args: Any, **kwargs: Any) -> Any:
        snapshot = original(self, *args, **kwargs)
        if snapshot.snapshot_type == "manual" and getattr(snapshot.cluster, "serves", False):
            cluster = self.clusters[snapshot.cluster.db_cluster_identifier]
            snapshot.content = events.snapshot_taken(getattr(cluster, "going", None) or cluster_of(cluster))
        return snapshot

    @moto.around(RDSBackend, "delete_db_cluster")
    def delete(original: Method, self: Any, cluster_identifier: str, *args: Any, **kwargs: Any) -> Any:
        cluster = self.clusters.get(cluster_identifier)
        view = None
        if cluster is not None and getattr(cluster, "serves", False):
            view = cluster.going = cluster_of(cluster)  # before its secret is gone, which moto deletes first
        served = [
            proxy
            for proxy in list(self.db_proxies.values())
            if any(t.rds_resource_id == cluster_identifier for t in proxy.proxy_target_groups["default"].targets)
        ]
        try:
            deleted = original(self, cluster_identifier, *args, **kwargs)
        finally:
            if cluster is not None:
                cluster.going = None
        for proxy in served:
            events.proxy_changed(proxy_of(proxy))
        if view is not None:
            events.instance_deleted(view)
        return deleted


def _hook_states(moto: Moto, events: Events) -> None:
    @moto.around(RDSBackend, "failover_db_cluster")
    def failover(original: Method, self: Any, db_cluster_identifier: str, *args: Any, **kwargs: Any) -> Any:
        """Answer when the new writer takes writes; on AWS the call returns before."""
        cluster = self.clusters.get(db_cluster_identifier)
        writer = cluster and cluster.writer
        answer = original(self, db_cluster_identifier, *args, **kwargs)
        try:
            _tell_change(events, self, db_cluster_identifier)
        except BaseException:
            cluster.failover(writer)
            raise
        return answer

    @moto.around(RDSBackend, "stop_db_cluster")
    def stop(original: Method, self: Any, cluster_identifier: str) -> Any:
        answer = original(self, cluster_identifier)
        events.instance_stopped(cluster_of(self.clusters[cluster_identifier]))
        return answer

    @moto.around(RDSBackend, "start_db_cluster")
    def start(original: Method, self: Any, cluster_identifier: str) -> Any:
        answer = original(self, cluster_identifier)
        cluster = self.clusters[cluster_identifier]
        for member in cluster.members:
            clusters.restart(member)
        events.instance_started(cluster_of(cluster))
        return answer

    @moto.add(RDSResponse)
    def reboot_db_cluster(self: Any) -> ActionResult:
        """Restart the servers of a Multi-AZ cluster; answer at once. Aurora's instances are rebooted one by one.

        API reference, RebootDBCluster. The words of the refusal are an assumption.
        """
        cluster = self.backend.describe_db_clusters(self.params["DBClusterIdentifier"])[0]
        if cluster.engine == "aurora-postgresql":
            raise InvalidParameterCombination("This operation is for Multi-AZ DB clusters only: reboot the instances.")

        def restart_all() -> None:
            for member in cluster.members:
                restart(events, member)

        reboots.begin(cluster, cluster.db_cluster_identifier, restart_all)
        return ActionResult({"DBCluster": cluster})


def _tell_change(events: Events, backend: Any, identifier: str) -> None:
    cluster = backend.clusters[identifier]
    with _told_in_turn[cluster.arn]:
        if getattr(cluster, "serves", False):
            events.instance_changed(cluster_of(cluster))


def restart(events: Events, member: Any) -> None:
    """Restart one server with the parameters of the cluster's group."""
    clusters.restart(member)
    events.member_restarted(cluster_of(member.cluster), member_of(member))
