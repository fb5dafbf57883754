"""What the stack's parts report each minute, published as CloudWatch has it; then the alarms are evaluated.

RDS User Guide, "Monitoring RDS Proxy metrics with Amazon CloudWatch", "Amazon CloudWatch metrics for Amazon RDS"; SQS
Developer Guide, "Available CloudWatch metrics". A stand-in is one node: the sum over the nodes is its own value.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from moto.sqs.models import sqs_backends

from local.aws.account import Instance, Proxy
from local.aws.cloudwatch.publishing import Dimensions, Publisher
from local.aws.cloudwatch.series import Distribution
from local.aws.moto import every
from local.postgres.figures import Figures
from local.rds_proxy.counts import Timing
from local.rds_proxy.listener import Report

_GIB = 1024**3

_log = logging.getLogger(__name__)


class Monitoring:
    """Calls a function at the end of each minute, with that time, until it is stopped."""

    def __init__(self, minute_seconds: float, minute_over: Callable[[float], None]) -> None:
        self._minute_seconds = minute_seconds
        self._minute_over = minute_over
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitoring", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            end = (time.time() // self._minute_seconds + 1) * self._minute_seconds
            if self._stopped.wait(end - time.time()):
                return
            self._minute_over(end)


class ProxyMetrics:
    """Publishes the reports of proxies: gauges from a proxy's first client on, rare events only when there are any."""

    def __init__(self) -> None:
        self._known: set[str] = set()  # those with a first successful client connection

    def publish(self, proxy: Proxy, report: Report, at: float) -> None:
        """Publish what happened in the minute of `at`, and what is so at its end."""
        by_proxy: Dimensions = {"ProxyName": proxy.name}
        by_endpoint: Dimensions = {"ProxyName": proxy.name, "EndpointName": "default"}
        by_group = {"ProxyName": proxy.name, "TargetGroup": "default"}
        by_role: Dimensions = by_group | {"TargetRole": "READ_WRITE"}
        targets = [by_group | {"Target": proxy.instance.identifier}, by_role] if proxy.instance else []
        publisher, metrics, counts = _publisher(proxy.arn), report.metrics, report.counts

        def put(name: str, value: float, *sets: Dimensions, unit: str = "Count") -> None:
            publisher.put(name, value, unit, *sets, at=at)

        def put_timing(name: str, timing: Timing, *sets: Dimensions) -> None:
            if timing.count:
                publisher.put(name, _microseconds(timing), "Microseconds", *sets, at=at)

        if report.availability_percent is not None:
            put("AvailabilityPercentage", report.availability_percent, by_role, unit="Percent")
        for name, count, sets in (
            ("ClientConnectionsSetupFailedAuth", counts.client_connections_setup_failed_auth, (by_proxy, by_endpoint)),
            ("ClientConnectionsSetupSucceeded", counts.client_connections_setup_succeeded, (by_proxy, by_endpoint)),
            ("DatabaseConnectionsSetupFailed", counts.database_connections_setup_failed, (by_proxy, *targets)),
            ("DatabaseConnectionsSetupSucceeded", counts.database_connections_setup_succeeded, (by_proxy, *targets)),
            (
                "DatabaseConnectionsBorrowRequestsAborted",
                counts.database_connections_borrow_requests_aborted,
                (by_role,),
            ),
        ):
            if count:
                put(name, count, *sets)
        if counts.client_connections_setup_succeeded:
            self._known.add(proxy.id)
        if proxy.id not in self._known:
            return
        clear = metrics.client_connections - metrics.clients_in_setup - metrics.clients_with_tls
        for name, value in (
            ("ClientConnections", metrics.client_connections),
            ("ClientConnectionsInSetup", metrics.clients_in_setup),
            ("ClientConnectionsTLS", metrics.clients_with_tls),
            ("ClientConnectionsNoTLS", clear),
            ("ClientConnectionsReceived", counts.client_connections_received),
            ("ClientConnectionsClosed", counts.client_connections_closed),
            ("QueryRequests", counts.query_requests_tls + counts.query_requests_no_tls),
            ("QueryRequestsTLS", counts.query_requests_tls),
            ("QueryRequestsNoTLS", counts.query_requests_no_tls),
        ):
            put(name, value, by_proxy, by_endpoint)
        for name, value in (
            ("DatabaseConnections", metrics.server_connections),
            ("DatabaseConnectionsWithTLS", metrics.server_connections),  # the stand-in has no others
            ("DatabaseConnectionsCurrentlyBorrowed", metrics.borrowed),
            ("DatabaseConnectionsCurrentlyInTransaction", metrics.in_transaction),
            ("DatabaseConnectionsCurrentlySessionPinned", metrics.pinned),
            ("DatabaseConnectionRequests", counts.database_connection_requests),
            ("DatabaseConnectionRequestsWithTLS", counts.database_connection_requests),
            ("MaxDatabaseConnectionsAllowed", metrics.max_server_connections),
        ):
            put(name, value, by_proxy, *targets)
        put("DatabaseConnectionsBorrowRequests", counts.database_connections_borrow_requests, by_role)
        put_timing(
            "DatabaseConnectionsBorrowLatency", counts.database_connections_borrow_latency, by_proxy, by_endpoint
        )
        put_timing("QueryResponseLatency", counts.query_response_latency, by_proxy, by_endpoint)
        put_timing(
            "QueryDatabaseResponseLatency",
            counts.query_database_response_latency,
            *(by_proxy, by_endpoint, *targets),
        )


class InstanceMetrics:
    """Publishes the figures of instances. A stopped one has none."""

    def __init__(self) -> None:
        self._cpu: dict[str, tuple[float, float]] = {}  # by resource id: seconds used, seconds up

    def publish(self, instance: Instance, figures: Figures, at: float) -> None:
        """Publish what an instance's server tells. The memory is this machine's, and so is the CPU's share."""
        publisher, dimensions = _publisher(instance.arn), {"DBInstanceIdentifier": instance.identifier}
        free: float | None = instance.allocated_storage_gib * _GIB - figures.stored_bytes
        uptime = None
        if instance.reader_host:  # a cluster: the storage has no size, and the server is its writer
            dimensions = {"DBClusterIdentifier": instance.identifier, "Role": "WRITER"}
            free, uptime = None, figures.uptime_seconds
        for name, value, unit in (
            ("DatabaseConnections", figures.connections, "Count"),
            ("FreeStorageSpace", free, "Bytes"),
            ("EngineUptime", uptime, "Seconds"),
            ("MaximumUsedTransactionIDs", figures.used_transaction_ids, "Count"),
            ("FreeableMemory", figures.available_memory_bytes, "Bytes"),
            ("CPUUtilization", self._cpu_percent(instance, figures), "Percent"),
        ):
            if value is not None:
                publisher.put(name, value, unit, dimensions, at=at)

    def publish_lag(self, cluster: Instance, seconds: Mapping[str, float], at: float) -> None:
        """Publish how far each reader of a cluster is behind: of Aurora in milliseconds, else in seconds."""
        publisher = _publisher(cluster.arn)
        for reader, lag in seconds.items():
            by_reader = {"DBInstanceIdentifier": reader}
            if cluster.is_aurora:
                publisher.put("AuroraReplicaLag", lag * 1000, "Milliseconds", by_reader, at=at)
            else:
                by_role = {"DBClusterIdentifier": cluster.identifier, "Role": "READER"}
                publisher.put("ReplicaLag", lag, "Seconds", by_reader, by_role, at=at)
        if cluster.is_aurora and seconds:
            longest, by_cluster = max(seconds.values()), {"DBClusterIdentifier": cluster.identifier}
            publisher.put("AuroraReplicaLagMaximum", longest * 1000, "Milliseconds", by_cluster, at=at)

    def _cpu_percent(self, instance: Instance, figures: Figures) -> float:
        used, up = figures.cpu_seconds, figures.uptime_seconds
        if used is None:  # a system without /proc: idle, so that the instance is not taken for silent
            return 0.0
        before = self._cpu.get(instance.resource_id, (0.0, 0.0))
        self._cpu[instance.resource_id] = (used, up)
        if up <= before[1] or used < before[0]:  # the server has started anew
            before = (0.0, 0.0)
        return min(100.0, 100 * (used - before[0]) / max(up - before[1], 0.001) / (os.cpu_count() or 1))


def publish_queues(at: float) -> None:
    """Publish the queues that have or had messages; CloudWatch has nothing of one that was empty for six hours."""
    for backend in every(sqs_backends):
        publisher = Publisher(backend.account_id, backend.region_name, "AWS/SQS")
        for queue in list(backend.queues.values()):
            held = list(queue._messages)
            if held or queue.deleted_messages:
                _publish_queue(publisher, queue.name, held, at)


def _publish_queue(publisher: Publisher, name: str, held: list[Any], at: float) -> None:
    dimensions = {"QueueName": name}
    due = [message for message in held if not message.delayed]
    visible = [message for message in due if message.visible]
    publisher.put("ApproximateNumberOfMessagesVisible", len(visible), "Count", dimensions, at=at)
    publisher.put("ApproximateNumberOfMessagesNotVisible", len(due) - len(visible), "Count", dimensions, at=at)
    if visible:  # without those in flight: awsdocs/amazon-sqs-developer-guide#14
        age = max(0.0, time.time() - min(message.sent_timestamp for message in visible) / 1000)
        publisher.put("ApproximateAgeOfOldestMessage", age, "Seconds", dimensions, at=at)


def _publisher(arn: str) -> Publisher:
    _, _, _, region, account, _ = arn.split(":", 5)
    return Publisher(account, region, "AWS/RDS")


def _microseconds(timing: Timing) -> Distribution:
    return Distribution(
        count=timing.count,
        total=timing.total * 1e6,
        minimum=timing.shortest * 1e6,
        maximum=timing.longest * 1e6,
        values=None,
    )
