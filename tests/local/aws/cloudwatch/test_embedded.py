"""local/aws/cloudwatch/embedded.py: metrics in log lines."""

import json
from typing import Any

import pytest

from local.aws.cloudwatch.embedded import Embedded, embedded_metrics
from local.aws.cloudwatch.series import Metric


def line(**changes: Any) -> str:
    directive = {
        "Namespace": "LambdaPostgres",
        "Dimensions": [["FunctionName"]],
        "Metrics": [{"Name": "ConnectMilliseconds", "Unit": "Milliseconds"}],
    }
    directive |= {name: changes.pop(name) for name in tuple(changes) if name in directive}
    aws = {"Timestamp": 1_767_268_800_500, "CloudWatchMetrics": [directive]} | changes.pop("_aws", {})
    return json.dumps({"_aws": aws, "FunctionName": "app", "ConnectMilliseconds": 12.5, "event": "connected"} | changes)


def found(text: str) -> list[Embedded]:
    return list(embedded_metrics([text]))


CONNECT = Metric.of("LambdaPostgres", "ConnectMilliseconds", {"FunctionName": "app"})


def test_a_line_of_the_library_s() -> None:
    assert found(line()) == [Embedded(CONNECT, "Milliseconds", 1_767_268_800.5, (12.5,))]


def test_each_set_of_dimensions_is_a_metric_and_so_is_none() -> None:
    sets = [embedded.metric.dimensions for embedded in found(line(Dimensions=[["FunctionName"], ["event"], []]))]
    assert sets == [(("FunctionName", "app"),), (("event", "connected"),), ()]


def test_several_values_and_no_unit() -> None:
    [embedded] = found(line(ConnectMilliseconds=[1, 2, 3], Metrics=[{"Name": "ConnectMilliseconds"}]))
    assert (embedded.values, embedded.unit) == ((1.0, 2.0, 3.0), "None")


@pytest.mark.parametrize(
    "text",
    [
        "START RequestId: 1 Version: 1",
        '{"event": "connected"}',
        'before it {"_aws": {}}',
        '{"_aws": ',
        '["_aws"]',
        line(_aws={"Timestamp": "now"}),
        line(Namespace=""),
        line(FunctionName=5),
        line(ConnectMilliseconds="12.5"),
        line(ConnectMilliseconds=True),
        line(ConnectMilliseconds=[1] * 101),
        line(Metrics=[{"Name": "Other"}]),
        line(Metrics=[{"Name": "ConnectMilliseconds"}] * 101),
        line(Dimensions=[["FunctionName"] * 31]),
    ],
)
def test_what_breaks_the_format_is_a_line_of_the_log_only(text: str) -> None:
    assert found(text) == []
