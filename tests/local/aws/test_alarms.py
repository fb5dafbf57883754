"""Alarms of the control plane minute by minute, through the API: states, reasons, actions. The clock is passed in."""

import json
from typing import Any

import pytest

from tests.local.account import allow

NOON = 1_767_268_800  # 2026-01-01 12:00:00 UTC
ALL = ["MetricAlarm", "CompositeAlarm"]


class Watched:
    """Alarms on one metric of a namespace of their own, at a minute of the day."""

    def __init__(self, plane: Any, account: Any, namespace: str) -> None:
        self._plane, self.aws, self.namespace = plane, account, namespace
        self.minute = 0

    def alarm(self, name: str = "", **settings: Any) -> str:
        given = {
            "AlarmName": name or self.namespace,
            "Namespace": self.namespace,
            "MetricName": "M",
            "Statistic": "Sum",
            "Period": 60,
            "EvaluationPeriods": 1,
            "Threshold": 0,
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "notBreaching",
        }
        given = {name: value for name, value in (given | settings).items() if value is not None}
        self.aws.cloudwatch.put_metric_alarm(**given)
        return str(given["AlarmName"])

    def publish(self, *values: float, metric: str = "M", ago: int = 0) -> None:
        datum = {"MetricName": metric, "Values": list(values), "Timestamp": NOON + 60 * (self.minute - ago) + 30}
        self.aws.cloudwatch.put_metric_data(Namespace=self.namespace, MetricData=[datum])

    def passes(self, *values: float) -> str:
        """Let a minute pass in which these were published; return the state of the first alarm."""
        if values:
            self.publish(*values)
        self.minute += 1
        self._plane.evaluate_alarms(NOON + 60 * self.minute)
        return self.state()

    def state(self, name: str = "") -> str:
        return str(self.described(name)["StateValue"])

    def described(self, name: str = "") -> dict[str, Any]:
        answer = self.aws.cloudwatch.describe_alarms(AlarmNames=[name or self.namespace], AlarmTypes=ALL)
        [alarm] = answer["MetricAlarms"] + answer["CompositeAlarms"]
        return dict(alarm)

    def history(self, name: str = "") -> list[str]:
        answer = self.aws.cloudwatch.describe_alarm_history(
            AlarmName=name or self.namespace, AlarmTypes=ALL, HistoryItemType="Action", ScanBy="TimestampAscending"
        )
        return [item["HistorySummary"] for item in answer["AlarmHistoryItems"]]


@pytest.fixture
def watched(plane: Any, account: Any, request: pytest.FixtureRequest) -> Watched:
    return Watched(plane, account, request.node.name.replace("[", "-").replace("]", ""))


def test_an_alarm_goes_off_and_back(watched):
    watched.alarm()
    assert watched.state() == "INSUFFICIENT_DATA"
    assert [watched.passes(), watched.passes(3), watched.passes(0)] == ["OK", "ALARM", "OK"]
    assert watched.described()["StateReason"] == (
        "Threshold Crossed: 1 out of the last 1 datapoints [0.0 (01/01/26 12:02:00)] was not greater than the "
        "threshold (0.0) (minimum 1 datapoint for ALARM -> OK transition)."
    )


def test_data_from_before_an_alarm_was_made_counts(watched):
    watched.publish(5, ago=1)
    watched.alarm()
    watched._plane.evaluate_alarms(NOON)
    assert watched.state() == "ALARM"


def test_m_of_n(watched):
    watched.alarm(EvaluationPeriods=5, DatapointsToAlarm=3)
    states = [watched.passes(value) for value in (1, 0, 1, 0, 1, 0, 0, 0)]
    assert states == ["OK", "OK", "OK", "OK", "ALARM", "OK", "OK", "OK"]


def test_a_longer_period_is_a_window_that_moves_by_the_minute(watched):
    watched.alarm(Period=300, Threshold=3)
    states = [watched.passes(1) for _ in range(4)] + [watched.passes() for _ in range(3)]
    assert states == ["OK", "OK", "OK", "ALARM", "ALARM", "OK", "OK"]


def test_a_percentile(watched):
    watched.alarm(Statistic=None, ExtendedStatistic="p90", Threshold=100)
    assert [watched.passes(*[1] * 19, 1000), watched.passes(*[1] * 8, 1000, 1000)] == ["OK", "ALARM"]


def test_another_unit_is_never_seen(watched):
    watched.alarm(Unit="Microseconds", TreatMissingData="missing")
    assert watched.passes(5) == "INSUFFICIENT_DATA"
    assert watched.described()["StateReason"] == "Unchecked: Initial alarm creation"


def test_metric_math(watched):
    def stat(metric: str) -> dict[str, Any]:
        return {"Metric": {"Namespace": watched.namespace, "MetricName": metric}, "Period": 60, "Stat": "Sum"}

    watched.aws.cloudwatch.put_metric_alarm(
        AlarmName=watched.namespace,
        EvaluationPeriods=1,
        Threshold=70,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
        Metrics=[
            {"Id": "used", "MetricStat": stat("Used"), "ReturnData": False},
            {"Id": "allowed", "MetricStat": stat("Allowed"), "ReturnData": False},
            {"Id": "share", "Expression": "100 * used / allowed", "ReturnData": True},
        ],
    )
    states = []
    for used, allowed in ((10, 20), (15, 20), (5, 0), (0, 20)):
        watched.publish(used, metric="Used")
        watched.publish(allowed, metric="Allowed")
        states.append(watched.passes())
    assert states == ["OK", "ALARM", "ALARM", "OK"]  # divided by 0 the point is missing: the last known one counts


def test_a_composite_alarm_follows_at_once(watched):
    watched.alarm()
    watched.alarm("other")
    watched.aws.cloudwatch.put_composite_alarm(
        AlarmName="whole", AlarmRule=f'ALARM("{watched.namespace}") AND NOT ALARM(other)'
    )
    watched.aws.cloudwatch.put_composite_alarm(AlarmName="above", AlarmRule="ALARM(whole)")
    assert (watched.state("whole"), watched.state("above")) == ("OK", "OK")
    watched.aws.cloudwatch.set_alarm_state(AlarmName=watched.namespace, StateValue="ALARM", StateReason="test")
    assert (watched.state("whole"), watched.state("above")) == ("ALARM", "ALARM")
    arn = watched.described()["AlarmArn"]
    assert watched.described("whole")["StateReason"].startswith(f"{arn} transitioned to ALARM at ")
    [triggering] = json.loads(watched.described("whole")["StateReasonData"])["triggeringAlarms"]
    assert (triggering["arn"], triggering["state"]["value"]) == (arn, "ALARM")
    watched.aws.cloudwatch.set_alarm_state(AlarmName="other", StateValue="ALARM", StateReason="test")
    assert (watched.state("whole"), watched.state("above")) == ("OK", "OK")


def test_composite_alarms_in_a_cycle_come_to_an_end(watched):
    put = watched.aws.cloudwatch.put_composite_alarm
    put(AlarmName="chicken", AlarmRule="FALSE")
    put(AlarmName="egg", AlarmRule="NOT ALARM(chicken)")
    put(AlarmName="chicken", AlarmRule="ALARM(egg)")
    watched._plane.evaluate_alarms(NOON)


# Actions


def topic(aws: Any, name: str, **attributes: str) -> str:
    return str(aws.sns.create_topic(Name=name, Attributes=attributes)["TopicArn"])


def inbox(aws: Any, topic_arn: str) -> Any:
    """Subscribe a queue; return what it has got since it was read last."""
    url = aws.sqs.create_queue(QueueName=topic_arn.rsplit(":", maxsplit=1)[-1])["QueueUrl"]
    arn = aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    aws.sns.subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=arn)

    def read() -> list[dict[str, Any]]:
        found = aws.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        for message in found:
            aws.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return [json.loads(json.loads(message["Body"])["Message"]) for message in found]

    return read


def test_a_topic_is_told_of_each_change_and_no_more(watched):
    arn = topic(watched.aws, "told")
    read = inbox(watched.aws, arn)
    watched.alarm(AlarmActions=[arn], OKActions=[arn], AlarmDescription="what to do")
    for values in ([0], [5], [5], [0], [0]):
        watched.passes(*values)
    messages = read()
    assert [(told["OldStateValue"], told["NewStateValue"]) for told in messages] == [
        ("INSUFFICIENT_DATA", "OK"),
        ("OK", "ALARM"),
        ("ALARM", "OK"),
    ]
    assert (messages[1]["AlarmDescription"], messages[1]["Trigger"]["MetricName"]) == ("what to do", "M")
    assert watched.history() == [f"Successfully executed action {arn}"] * 3


def test_an_alarm_whose_actions_are_off_tells_nobody(watched):
    arn = topic(watched.aws, "untold")
    watched.alarm(AlarmActions=[arn], ActionsEnabled=False)
    assert watched.passes(5) == "ALARM"
    assert watched.history() == []


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def for_cloudwatch(action: Any, resource: str, **conditions: Any) -> dict[str, Any]:
    return allow(action, resource, **conditions) | {"Principal": {"Service": "cloudwatch.amazonaws.com"}}


TOPIC = "arn:aws:sns:us-east-1:123456789012:{}"
ALARM = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:{}"


@pytest.mark.parametrize(
    ("source", "told"), [("arn:aws:cloudwatch:us-east-1:123456789012:alarm:test_*", True), (ALARM.format("x"), False)]
)
def test_a_topic_s_policy_says_which_alarms_may_publish(watched, source, told):
    arn = TOPIC.format(f"guarded-{told}")
    statement = for_cloudwatch("sns:Publish", arn, ArnLike={"aws:SourceArn": source})
    topic(watched.aws, f"guarded-{told}", Policy=policy(statement))
    watched.alarm(AlarmActions=[arn])
    watched.passes(5)
    alarm = ALARM.format(watched.namespace)
    refused = f"Resource: {alarm} is not authorized to perform: SNS:Publish on resource: {arn}"
    failed = f'Failed to execute action {arn}. Received error: "{refused}"'
    assert watched.history() == [f"Successfully executed action {arn}" if told else failed]


NO_KEY = "CloudWatch Alarms does not have authorization to access the SNS topic encryption key."
ROOT = allow("kms:*", "*") | {"Principal": {"AWS": "arn:aws:iam::123456789012:root"}}


def key(aws: Any, *statements: dict[str, Any]) -> str:
    return str(aws.kms.create_key(Policy=policy(ROOT, *statements))["KeyMetadata"]["Arn"])


@pytest.mark.parametrize(
    ("actions", "told"),
    [(["kms:Decrypt", "kms:GenerateDataKey*"], True), (["kms:Decrypt"], False), ([], False)],
)
def test_cloudwatch_needs_the_key_of_a_topic(watched, actions, told):
    arn = key(watched.aws, *([for_cloudwatch(actions, "*")] if actions else []))
    name = f"key-{len(actions)}"
    topic(watched.aws, name, KmsMasterKeyId=arn)
    watched.alarm(AlarmActions=[TOPIC.format(name)])
    watched.passes(5)
    assert (NO_KEY in watched.history()[0]) is not told


def test_the_key_that_aws_manages_for_sns_lets_no_alarm_through(watched):
    arn = topic(watched.aws, "aws-key", KmsMasterKeyId="alias/aws/sns")
    watched.alarm(AlarmActions=[arn])
    watched.passes(5)
    assert watched.history() == [f'Failed to execute action {arn}. Received error: "{NO_KEY}"']


def test_a_disabled_key_lets_no_alarm_through(watched):
    arn = key(watched.aws, for_cloudwatch("kms:*", "*"))
    topic(watched.aws, "disabled-key", KmsMasterKeyId=arn)
    watched.aws.kms.disable_key(KeyId=arn.split("/")[1])
    watched.alarm(AlarmActions=[TOPIC.format("disabled-key")])
    watched.passes(5)
    assert NO_KEY in watched.history()[0]


def test_what_the_local_stack_does_not_execute_is_said(watched):
    gone, function = TOPIC.format("gone"), "arn:aws:lambda:us-east-1:123456789012:function:app"
    watched.alarm(AlarmActions=[gone, function])
    watched.passes(5)
    first, second = watched.history()
    assert "does not exist" in first
    assert "does not execute actions of lambda" in second
