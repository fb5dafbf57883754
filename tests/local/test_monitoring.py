"""What the stack publishes by itself, as CloudWatch has it. A minute is a second here."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.monitoring import InstanceMetrics
from local.postgres.figures import Figures
from local.stack import Stack
from tests.local.account import Account, allow
from tests.modules.cloudwatch import TABLE
from tests.waiting import await_that

from .deployment import OUTPUT, Deployment

PROXY = {"ProxyName": "app"}
INSTANCE = {"DBInstanceIdentifier": "app"}

# What CloudWatch has and the local stack has not: disks of an instance, credits, clusters.
NOT_PUBLISHED = {
    *("CPUCreditBalance", "DiskQueueDepth", "EBSByteBalance%", "EBSIOBalance%", "SwapUsage"),
    *("ReadIOPS", "ReadLatency", "WriteIOPS", "WriteLatency"),
    *("ACUUtilization", "AuroraReplicaLagMaximum", "EngineUptime", "ReplicaLag", "ServerlessDatabaseCapacity"),
}


class Cloud:
    """CloudWatch of a stack, asked for the last minutes."""

    def __init__(self, deployment: Deployment) -> None:
        self.client = deployment.client("cloudwatch")

    def values(self, namespace: str, name: str, statistic: str = "Sum", **dimensions: str) -> list[float]:
        now = datetime.now(UTC)
        answer = self.client.get_metric_statistics(
            Namespace=namespace,
            MetricName=name,
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
            StartTime=now - timedelta(minutes=5),
            EndTime=now + timedelta(seconds=1),
            Period=60,
            **({"ExtendedStatistics": [statistic]} if statistic.startswith("p") else {"Statistics": [statistic]}),
        )
        points = sorted(answer["Datapoints"], key=lambda point: point["Timestamp"])
        return [point.get(statistic, point.get("ExtendedStatistics", {}).get(statistic)) for point in points]

    def published(self) -> set[tuple[str, str, tuple[str, ...]]]:
        pages = self.client.get_paginator("list_metrics").paginate()
        return {
            (found["Namespace"], found["MetricName"], tuple(sorted(named["Name"] for named in found["Dimensions"])))
            for page in pages
            for found in page["Metrics"]
        }

    def comes(self, condition: Callable[[], object]) -> None:
        await_that(condition, seconds=30)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A database, its proxy, and a function that has connected through it once."""
    if not (OUTPUT / "bootstrap.zip").exists():
        pytest.fail("Run make package first.")
    folder = tmp_path_factory.mktemp("stack")
    with Stack(folder, metric_minute_seconds=1) as stack:
        deployment = Deployment(stack, folder, "app")
        deployment.apply()
        deployment.make_function("through", deployment.make_proxy())
        deployment.invoke("through")
        yield deployment


@pytest.fixture(scope="module")
def cloud(deployment: Deployment) -> Cloud:
    return Cloud(deployment)


def test_what_is_published_is_in_the_table_and_on_all_of_its_dimensions(cloud: Cloud) -> None:
    """The table of the modules' alarms and dashboards: a metric there exists here, and none here is missing there."""
    known = {
        (namespace, name, tuple(sorted(TABLE["dimension_sets"][dimensions])))
        for namespace, metrics in TABLE["metrics"].items()
        for name, metric in metrics.items()
        for dimensions in metric["sets"]
    }
    regular = {
        (namespace, name, dimensions)
        for namespace, name, dimensions in known
        if namespace == "AWS/RDS"
        and "DBClusterIdentifier" not in dimensions
        and name not in NOT_PUBLISHED
        and not TABLE["metrics"][namespace][name].get("sparse")
    }
    cloud.comes(lambda: regular <= cloud.published())
    assert cloud.published() <= known
    assert not NOT_PUBLISHED & {name for _, name, _ in cloud.published()}


def test_units_are_those_of_the_table(cloud: Cloud) -> None:
    for namespace, name, dimensions in cloud.published():
        values = {"FunctionName": "through", "Resource": "through", "Target": "app", "TargetGroup": "default"}
        values |= {"TargetRole": "READ_WRITE", "EndpointName": "default", "reason": "first", **PROXY, **INSTANCE}
        now = datetime.now(UTC)
        answer = cloud.client.get_metric_statistics(
            Namespace=namespace,
            MetricName=name,
            Dimensions=[{"Name": dimension, "Value": values.get(dimension, "")} for dimension in dimensions],
            StartTime=now - timedelta(minutes=5),
            EndTime=now,
            Period=60,
            Statistics=["Sum"],
        )
        assert {point["Unit"] for point in answer["Datapoints"]} <= {TABLE["metrics"][namespace][name]["unit"]}


def test_gauges_of_a_proxy_come_each_minute_and_rare_events_only_when_there_are_any(cloud: Cloud) -> None:
    cloud.comes(lambda: len(cloud.values("AWS/RDS", "ClientConnections", **PROXY)) >= 4)
    assert cloud.values("AWS/RDS", "ClientConnections", **PROXY)[-1] == 1
    assert cloud.values("AWS/RDS", "MaxDatabaseConnectionsAllowed", **PROXY)[-1] == 20
    assert cloud.values("AWS/RDS", "DatabaseConnectionsCurrentlySessionPinned", **PROXY)[-1] == 0
    role = PROXY | {"TargetGroup": "default", "TargetRole": "READ_WRITE"}
    assert cloud.values("AWS/RDS", "AvailabilityPercentage", "Average", **role)[-1] == pytest.approx(100)
    for rare in ("ClientConnectionsSetupFailedAuth", "DatabaseConnectionsSetupFailed"):
        assert cloud.values("AWS/RDS", rare, **PROXY) == []
    assert sum(cloud.values("AWS/RDS", "ClientConnectionsSetupSucceeded", **PROXY)) == 1
    assert cloud.values("AWS/RDS", "DatabaseConnectionsBorrowLatency", "Average", **PROXY)


def test_an_instance_tells_real_figures_until_it_is_stopped(deployment: Deployment, cloud: Cloud) -> None:
    cloud.comes(lambda: cloud.values("AWS/RDS", "CPUUtilization", "Average", **INSTANCE))
    assert cloud.values("AWS/RDS", "DatabaseConnections", "Average", **INSTANCE)[-1] >= 1
    free = cloud.values("AWS/RDS", "FreeStorageSpace", "Minimum", **INSTANCE)[-1]
    assert 19 * 1024**3 < free < 20 * 1024**3
    [(age,)] = deployment.query("SELECT max(age(datfrozenxid)) FROM pg_database")
    assert 0 < cloud.values("AWS/RDS", "MaximumUsedTransactionIDs", "Maximum", **INSTANCE)[0] <= age

    def silent() -> bool:
        before = len(cloud.values("AWS/RDS", "DatabaseConnections", "Average", **INSTANCE))
        time.sleep(2.5)
        return before == len(cloud.values("AWS/RDS", "DatabaseConnections", "Average", **INSTANCE))

    rds: Any = deployment.client("rds")
    assert not silent()
    rds.stop_db_instance(DBInstanceIdentifier="app")
    cloud.comes(silent)
    with pytest.raises(RuntimeError):
        deployment.invoke("through")
    rds.start_db_instance(DBInstanceIdentifier="app")
    assert not silent()
    await_that(lambda: _answers(deployment), seconds=30)


def _answers(deployment: Deployment) -> bool:
    try:
        return bool(deployment.invoke("through")["statusCode"] == 200)
    except RuntimeError:
        return False


def test_invocations_publish_duration_errors_and_concurrency(deployment: Deployment, cloud: Cloud) -> None:
    lambdas: Any = deployment.client("lambda")
    function = made(
        deployment, "slow", "import time\ndef handler(event, _):\n    time.sleep(0.3)\n    return 1 / event\n"
    )
    for event in (b"1", b"0"):
        lambdas.invoke(FunctionName=function, Payload=event)
    name = {"FunctionName": function}
    for dimensions in (name, name | {"Resource": function}):
        assert sum(cloud.values("AWS/Lambda", "Invocations", **dimensions)) == 2
        assert sum(cloud.values("AWS/Lambda", "Errors", **dimensions)) == 1
        assert cloud.values("AWS/Lambda", "Throttles", **dimensions)[-1] == 0
        assert 300 <= min(cloud.values("AWS/Lambda", "Duration", "p99", **dimensions)) < 3000
        assert max(cloud.values("AWS/Lambda", "ConcurrentExecutions", "Maximum", **dimensions)) == 1
    lambdas.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    with pytest.raises(ClientError, match="TooManyRequestsException"):
        Account.of(deployment.stack.control_plane).invoke(function, 1)  # which tries once
    assert sum(cloud.values("AWS/Lambda", "Throttles", **name)) == 1
    assert sum(cloud.values("AWS/Lambda", "Invocations", **name)) == 2


def test_an_alias_has_metrics_of_its_own(deployment: Deployment, cloud: Cloud) -> None:
    lambdas: Any = deployment.client("lambda")
    function = made(deployment, "aliased", "def handler(event, _):\n    return event\n")
    version = lambdas.publish_version(FunctionName=function)["Version"]
    lambdas.create_alias(FunctionName=function, Name="live", FunctionVersion=version)
    lambdas.invoke(FunctionName=function, Qualifier="live", Payload=b"1")
    resource = {"FunctionName": function, "Resource": f"{function}:live"}
    for dimensions in ({"FunctionName": function}, resource, resource | {"ExecutedVersion": version}):
        assert cloud.values("AWS/Lambda", "Invocations", **dimensions) == [1]


def test_metrics_in_the_log_become_metrics(cloud: Cloud) -> None:
    assert cloud.values("LambdaPostgres", "ConnectMilliseconds", "SampleCount", FunctionName="through")[0] == 1
    named = {name for namespace, name, _ in cloud.published() if namespace == "LambdaPostgres"}
    assert named <= set(TABLE["metrics"]["LambdaPostgres"])


@pytest.mark.parametrize("may_send", [True, False])
def test_an_event_that_fails_thrice_is_a_dead_letter(deployment: Deployment, cloud: Cloud, may_send: bool) -> None:
    name = f"failing-{may_send}"
    queue = deployment.client("sqs").create_queue(QueueName=name)["QueueUrl"]
    arn = f"arn:aws:sqs:us-east-1:123456789012:{name}"
    actions = ["sqs:SendMessage"] if may_send else []
    function = made(
        deployment, name, "def handler(event, _):\n    raise ValueError(event)\n", *actions, dead_letters=arn
    )
    deployment.client("lambda").invoke(FunctionName=function, InvocationType="Event", Payload=b'"the event"')
    dimensions = {"FunctionName": function}
    cloud.comes(lambda: sum(cloud.values("AWS/Lambda", "AsyncEventsDropped", **dimensions)) == 1)
    assert sum(cloud.values("AWS/Lambda", "AsyncEventsReceived", **dimensions)) == 1
    assert sum(cloud.values("AWS/Lambda", "Errors", **dimensions)) == 3
    assert max(cloud.values("AWS/Lambda", "AsyncEventAge", "Maximum", **dimensions)) >= 3000
    if not may_send:
        cloud.comes(lambda: sum(cloud.values("AWS/Lambda", "DeadLetterErrors", **dimensions)) == 1)
        assert cloud.values("AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum", QueueName=name) == []
        return
    cloud.comes(lambda: cloud.values("AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum", QueueName=name))
    sqs: Any = deployment.client("sqs")
    [message] = sqs.receive_message(QueueUrl=queue, MessageAttributeNames=["All"])["Messages"]
    assert message["Body"] == '"the event"'
    assert message["MessageAttributes"]["ErrorMessage"]["StringValue"] == "the event"
    assert cloud.values("AWS/Lambda", "DeadLetterErrors", **dimensions) == []


def made(deployment: Deployment, name: str, code: str, *actions: str, dead_letters: str | None = None) -> str:
    """Make a function of a few lines with a role of its own."""
    account = Account.of(deployment.stack.control_plane)
    role = account.role(f"{name}-role", allow(["logs:*", *actions], "*"))
    settings = {"DeadLetterConfig": {"TargetArn": dead_letters}} if dead_letters else {}
    account.function(name, code, Role=role, Timeout=10, **settings)
    return name


def test_the_processors_share_is_of_the_time_since_the_last_minute(deployment: Deployment) -> None:
    instance = deployment.stack.databases.instances["app"]
    metrics, processors = InstanceMetrics(), os.cpu_count() or 1

    def share(up: float, cpu: float | None) -> float:
        return metrics._cpu_percent(instance, Figures(0, 0, 0, up, cpu, None)) * processors

    assert share(10, 1) == pytest.approx(10)  # since the server's start
    assert share(20, 6) == pytest.approx(50)
    assert share(4, 1) == pytest.approx(25)  # since a new start
    assert share(5, None) == 0
