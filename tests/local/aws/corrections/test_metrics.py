"""local/aws/corrections/metrics.py: as AWS documents it, where stock moto does not yet."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
SPAN = {"StartTime": START, "EndTime": START + timedelta(minutes=5)}


def put(aws: Any, namespace: str, values: list[float], minute: int = 0, **dimensions: str) -> None:
    datum = {
        "MetricName": "Latency",
        "Values": values,
        "Timestamp": START + timedelta(minutes=minute, seconds=30),
        "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
    }
    aws.cloudwatch.put_metric_data(Namespace=namespace, MetricData=[datum])


def metric(namespace: str, stat: str = "Sum", period: int = 60, **dimensions: str) -> dict[str, Any]:
    named = [{"Name": name, "Value": value} for name, value in dimensions.items()]
    return {
        "Metric": {"Namespace": namespace, "MetricName": "Latency", "Dimensions": named},
        "Stat": stat,
        "Period": period,
    }


def values(aws: Any, *queries: dict[str, Any]) -> list[list[float]]:
    answer = aws.cloudwatch.get_metric_data(MetricDataQueries=list(queries), ScanBy="TimestampAscending", **SPAN)
    return [result["Values"] for result in answer["MetricDataResults"]]


def test_percentiles(aws):
    put(aws, "percentiles", [float(number) for number in range(101)])
    assert values(aws, {"Id": "m", "MetricStat": metric("percentiles", "p99")}) == [[99.0]]
    answer = aws.cloudwatch.get_metric_statistics(
        Namespace="percentiles", MetricName="Latency", Period=60, ExtendedStatistics=["p90"], **SPAN
    )
    assert answer["Datapoints"][0]["ExtendedStatistics"] == {"p90": 90.0}


def test_a_metric_has_all_of_its_dimensions_and_no_others(aws):
    put(aws, "dimensions", [1])
    put(aws, "dimensions", [10], ProxyName="app")
    put(aws, "dimensions", [100], ProxyName="app", TargetGroup="default")

    def total(**dimensions: str) -> list[float]:
        given = [{"Name": name, "Value": value} for name, value in dimensions.items()]
        answer = aws.cloudwatch.get_metric_statistics(
            Namespace="dimensions", MetricName="Latency", Period=60, Statistics=["Sum"], Dimensions=given, **SPAN
        )
        return [point["Sum"] for point in answer["Datapoints"]]

    assert [total(), total(ProxyName="app"), total(ProxyName="app", TargetGroup="default")] == [[1], [10], [100]]
    assert values(aws, {"Id": "m", "MetricStat": metric("dimensions")}) == [[1]]


def test_another_namespace_is_another_metric(aws):
    for namespace, value in (("here", 1), ("there", 10)):
        put(aws, namespace, [value], FunctionName="app")
    assert values(aws, {"Id": "m", "MetricStat": metric("here", FunctionName="app")}) == [[1]]


def test_metric_math(aws):
    for minute, (part, whole) in enumerate([(1, 4), (3, 4), (0, 0)]):
        put(aws, "part", [part], minute)
        put(aws, "whole", [whole], minute)
    found = values(
        aws,
        {"Id": "part", "MetricStat": metric("part"), "ReturnData": False},
        {"Id": "whole", "MetricStat": metric("whole"), "ReturnData": False},
        {"Id": "share", "Expression": "100 * part / whole"},
        {"Id": "high", "Expression": "IF(share > 50, share)"},
    )
    assert found == [[25, 75], [75]]


def test_values_are_those_of_whole_periods(aws):
    for minute in range(4):
        put(aws, "periods", [1], minute)
    late = SPAN | {"StartTime": START + timedelta(seconds=50)}
    answer = aws.cloudwatch.get_metric_data(
        MetricDataQueries=[{"Id": "m", "MetricStat": metric("periods", period=120)}], **late
    )
    [result] = answer["MetricDataResults"]
    assert (result["Values"], result["Label"]) == ([2, 2], "Latency")
    assert [time.timestamp() for time in result["Timestamps"]] == [START.timestamp() + 120, START.timestamp()]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"Id": "e", "Expression": "SEARCH('{N} M', 'Sum', 60)", "Period": 60}, "cannot read"),
        ({"Id": "e", "Expression": "nobody + 1", "Period": 60}, "No element of the request has the id nobody"),
        ({"Id": "m", "MetricStat": metric("N", "tm90")}, "no statistic|does not know"),
    ],
)
def test_what_is_not_known_is_refused(aws, query, words):
    put(aws, "N", [1, 2])
    with pytest.raises(ClientError, match=words):
        values(aws, query)


def test_statistic_sets_keep_their_extremes(aws):
    statistics = {"SampleCount": 4, "Sum": 10, "Minimum": 1, "Maximum": 5}
    datum = {"MetricName": "Latency", "StatisticValues": statistics, "Timestamp": START, "Unit": "Microseconds"}
    aws.cloudwatch.put_metric_data(Namespace="sets", MetricData=[datum])
    names = ["SampleCount", "Sum", "Minimum", "Maximum", "Average"]
    [point] = aws.cloudwatch.get_metric_statistics(
        Namespace="sets", MetricName="Latency", Period=60, Statistics=names, ExtendedStatistics=["p99"], **SPAN
    )["Datapoints"]
    assert {name: point[name] for name in names} == statistics | {"Average": 2.5}
    assert (point["Unit"], point.get("ExtendedStatistics")) == ("Microseconds", {})


def test_metrics_are_listed_once_each(aws):
    for minute in range(3):
        put(aws, "listed", [1], minute)
        put(aws, "listed", [1], minute, ProxyName="app")
    listed = aws.cloudwatch.list_metrics(Namespace="listed")["Metrics"]
    assert [metric["Dimensions"] for metric in listed] == [[], [{"Name": "ProxyName", "Value": "app"}]]
    for wanted in ({"Name": "ProxyName"}, {"Name": "ProxyName", "Value": "app"}):
        assert len(aws.cloudwatch.list_metrics(Namespace="listed", Dimensions=[wanted])["Metrics"]) == 1
