"""local/aws/corrections/alarms.py: as AWS documents it, where stock moto does not yet."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

ONE = {
    "Namespace": "AWS/RDS",
    "MetricName": "DatabaseConnections",
    "Statistic": "Sum",
    "Period": 60,
    "EvaluationPeriods": 1,
    "Threshold": 1,
    "ComparisonOperator": "GreaterThanThreshold",
}
STAT = {"Metric": {"Namespace": "N", "MetricName": "M"}, "Period": 60, "Stat": "Sum"}
CONDITION = {name: ONE[name] for name in ("EvaluationPeriods", "Threshold", "ComparisonOperator")}
TOPIC = "arn:aws:sns:us-east-1:123456789012:topic"


def put(aws: Any, name: str, **settings: Any) -> None:
    aws.cloudwatch.put_metric_alarm(AlarmName=name, **(ONE | settings))


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in ONE.items() if name not in names}


def math(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"Metrics": list(elements), **CONDITION}


def found(aws: Any, name: str, kind: str = "MetricAlarm") -> dict[str, Any]:
    [alarm] = aws.cloudwatch.describe_alarms(AlarmNames=[name], AlarmTypes=[kind])[f"{kind}s"]
    return dict(alarm)


def test_composite_alarm_exists(aws):
    put(aws, "one")
    aws.cloudwatch.put_composite_alarm(AlarmName="both", AlarmRule="ALARM(one) AND OK(one)")
    assert found(aws, "both", "CompositeAlarm")["AlarmRule"] == "ALARM(one) AND OK(one)"


def test_a_new_alarm_has_no_data(aws):
    put(aws, "new")
    assert found(aws, "new")["StateValue"] == "INSUFFICIENT_DATA"


def test_an_alarm_that_is_changed_keeps_its_state(aws):
    put(aws, "changed")
    aws.cloudwatch.set_alarm_state(AlarmName="changed", StateValue="ALARM", StateReason="test")
    put(aws, "changed", Threshold=5)
    assert (found(aws, "changed")["StateValue"], found(aws, "changed")["Threshold"]) == ("ALARM", 5)


REFUSED = {
    "no metric": (without("MetricName"), "MetricName must not be null"),
    "no namespace": (without("Namespace"), "Namespace must not be null"),
    "no period": (without("Period"), "Period must not be null"),
    "no condition": (without("Threshold"), "Threshold must not be null"),
    "no comparison": (without("ComparisonOperator"), "ComparisonOperator must not be null"),
    "no statistic": (without("Statistic"), "Exactly one of Statistic and ExtendedStatistic"),
    "two statistics": (ONE | {"ExtendedStatistic": "p99"}, "Exactly one of Statistic and ExtendedStatistic"),
    "another statistic": (without("Statistic") | {"ExtendedStatistic": "pXX"}, "does not know the statistic pXX"),
    "no such enum": (ONE | {"Statistic": "Mean"}, "satisfy enum value set: .SampleCount"),
    "no such unit": (ONE | {"Unit": "Microsecond"}, "at 'unit' failed to satisfy constraint"),
    "a long description": (ONE | {"AlarmDescription": "x" * 1025}, "less than or equal to 1024"),
    "more than it looks at": (ONE | {"DatapointsToAlarm": 2}, "DatapointsToAlarm must be less than or equal to"),
    "an uneven period": (ONE | {"Period": 90}, "Period must be 10, 20, 30 or a multiple of 60"),
    "more than a day": (ONE | {"Period": 300, "EvaluationPeriods": 289}, r"across more than a day .* <= 86400"),
    "more than a week": (ONE | {"Period": 3600, "EvaluationPeriods": 169}, "across more than seven days"),
    "no such treatment": (ONE | {"TreatMissingData": "good"}, "Option good is not supported"),
    "no topic": (ONE | {"AlarmActions": ["topic"]}, "Invalid arn syntax: topic"),
    "six topics": (ONE | {"AlarmActions": [f"{TOPIC}{number}" for number in range(6)]}, "less than or equal to 5"),
    "one metric and several": (ONE | {"Metrics": [{"Id": "m", "MetricStat": STAT}]}, "mutually exclusive"),
    "nothing returned": (math({"Id": "m", "MetricStat": STAT, "ReturnData": False}), "Exactly one element"),
    "two returned": (math({"Id": "m", "MetricStat": STAT}, {"Id": "n", "MetricStat": STAT}), "Exactly one element"),
    "twice an id": (math({"Id": "m", "MetricStat": STAT}, {"Id": "m", "MetricStat": STAT}), "not unique"),
    "a large id": (math({"Id": "M", "MetricStat": STAT}), "must begin with a lowercase letter"),
    "another id": (math({"Id": "e", "Expression": "m + 1", "Period": 60}), "no element has the id m"),
    "other math": (math({"Id": "e", "Expression": "RATE(m)", "Period": 60}), r"does not know RATE\(\)"),
    "many metrics": (
        math(*({"Id": f"m{n}", "MetricStat": STAT, "ReturnData": n == 0} for n in range(11))),
        "at most 10 metrics",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cloudwatch_refuses_is_refused(aws, settings, words):
    with pytest.raises(ClientError, match=words):
        aws.cloudwatch.put_metric_alarm(AlarmName="refused", **settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"AlarmRule": "ALARM(nobody) OR ALARM(nothing)"},
            r"alarms \[nobody, nothing\] in the alarm rule do not exist",
        ),
        ({"AlarmRule": "()"}, r"Error in AlarmRule \[Unsupported token '\)' at char 1\]"),
        ({"AlarmRule": "TRUE", "AlarmActions": ["arn:aws:automate:us-east-1:ec2:stop"]}, "Invalid arn syntax"),
        ({"AlarmRule": "TRUE", "ActionsSuppressor": "x", "ActionsSuppressorWaitPeriod": 60}, "does not suppress"),
    ],
)
def test_composite_alarms_are_refused_too(aws, settings, words):
    with pytest.raises(ClientError, match=words):
        aws.cloudwatch.put_composite_alarm(AlarmName="refused", **settings)


def test_what_a_composite_alarm_depends_on_is_not_deleted(aws):
    for name in ("child", "sibling"):
        put(aws, name)
    aws.cloudwatch.put_composite_alarm(AlarmName="parent", AlarmRule="ALARM(child) OR ALARM(sibling)")
    with pytest.raises(ClientError, match=r"Cannot delete child,sibling as there are composite .* depending on them"):
        aws.cloudwatch.delete_alarms(AlarmNames=["child", "sibling"])
    with pytest.raises(ClientError, match=r"Cannot delete child as there are composite .* depending on it"):
        aws.cloudwatch.delete_alarms(AlarmNames=["child"])
    aws.cloudwatch.delete_alarms(AlarmNames=["parent"])
    aws.cloudwatch.delete_alarms(AlarmNames=["child", "sibling"])


def test_one_composite_alarm_is_deleted_at_a_time(aws):
    for name in ("first", "second"):
        aws.cloudwatch.put_composite_alarm(AlarmName=name, AlarmRule="FALSE")
    with pytest.raises(ClientError, match="At most one composite alarm"):
        aws.cloudwatch.delete_alarms(AlarmNames=["first", "second"])


def test_only_metric_alarms_are_described_unless_asked(aws):
    put(aws, "described")
    aws.cloudwatch.put_composite_alarm(AlarmName="described-too", AlarmRule="ALARM(described)")

    def names(**given: Any) -> list[str]:
        answer = aws.cloudwatch.describe_alarms(AlarmNamePrefix="described", **given)
        return [alarm["AlarmName"] for alarm in answer["MetricAlarms"] + answer["CompositeAlarms"]]

    assert names() == ["described"]
    assert names(AlarmTypes=["CompositeAlarm"]) == ["described-too"]
    assert names(AlarmTypes=["MetricAlarm", "CompositeAlarm"]) == ["described", "described-too"]


def test_children_and_parents_are_described(aws):
    put(aws, "young")
    aws.cloudwatch.put_composite_alarm(AlarmName="old", AlarmRule="ALARM(young)")
    children = aws.cloudwatch.describe_alarms(ChildrenOfAlarmName="old")
    assert [alarm["AlarmName"] for alarm in children["MetricAlarms"]] == ["young"]
    parents = aws.cloudwatch.describe_alarms(ParentsOfAlarmName="young")
    assert [alarm["AlarmName"] for alarm in parents["CompositeAlarms"]] == ["old"]


def test_alarms_come_in_pages(aws):
    for number in range(3):
        put(aws, f"page-{number}")
    pages = aws.cloudwatch.get_paginator("describe_alarms").paginate(
        AlarmNamePrefix="page-", PaginationConfig={"PageSize": 2}
    )
    assert [len(page["MetricAlarms"]) for page in pages] == [2, 1]


def test_everything_that_is_asked_counts(aws):
    for name in ("ask-1", "ask-2"):
        put(aws, name)
    aws.cloudwatch.set_alarm_state(AlarmName="ask-1", StateValue="OK", StateReason="test")
    answer = aws.cloudwatch.describe_alarms(AlarmNamePrefix="ask-", StateValue="OK")
    assert [alarm["AlarmName"] for alarm in answer["MetricAlarms"]] == ["ask-1"]
    assert aws.cloudwatch.describe_alarms(AlarmNamePrefix="ask-", StateValue="ALARM")["MetricAlarms"] == []


def test_alarms_have_a_history(aws):
    put(aws, "remembered")
    aws.cloudwatch.set_alarm_state(AlarmName="remembered", StateValue="OK", StateReason="test")
    items = aws.cloudwatch.describe_alarm_history(AlarmName="remembered")["AlarmHistoryItems"]
    assert [(item["HistoryItemType"], item["HistorySummary"]) for item in items] == [
        ("StateUpdate", "Alarm updated from INSUFFICIENT_DATA to OK"),
        ("ConfigurationUpdate", 'Alarm "remembered" created'),
    ]
    changed = json.loads(items[0]["HistoryData"])
    assert (changed["oldState"]["stateValue"], changed["newState"]["stateReason"]) == ("INSUFFICIENT_DATA", "test")
