"""What an alarm's actions do: a message to an SNS topic, if the topic and its key let CloudWatch.

AWS re:Post, "cloudwatch-receive-sns-for-alarm-trigger" and "cloudwatch-configure-alarm-sns", have the errors and the
policies. A message goes to queues that subscribed; nothing leaves this machine.
"""

from __future__ import annotations

import json
from typing import Any

from moto.backends import get_backend

from local.aws import iam_policies
from local.aws.cloudwatch.evaluation import stamp

SERVICE = "cloudwatch.amazonaws.com"
_NEEDED_OF_KEY = ("kms:Decrypt", "kms:GenerateDataKey")
_WHO = {"Service": (SERVICE,), "AWS": ()}  # a topic's first policy lets everybody of its account: {"AWS": "*"}


class ActionError(Exception):
    """Why an action was not executed, as an alarm's history tells it."""


def notify(alarm: Any, action: str, message: dict[str, Any]) -> None:
    """Publish a message about an alarm to a topic; ActionError when CloudWatch may not."""
    _, _, service, region, account, name = action.split(":", 5)
    if service != "sns":
        raise ActionError(f"The local stack does not execute actions of {service}.")
    topic = get_backend("sns")[account][region].topics.get(action)
    if topic is None:
        raise ActionError(f"Resource: {action} does not exist: no topic {name}")
    context = {"aws:SourceArn": alarm.alarm_arn, "aws:SourceAccount": account, "AWS:SourceOwner": account}
    if not iam_policies.permits(json.loads(topic.policy), _WHO, "sns:Publish", action, context):
        raise ActionError(
            f"Resource: {alarm.alarm_arn} is not authorized to perform: SNS:Publish on resource: {action}"
        )
    if topic.kms_master_key_id and not _may_encrypt(topic.kms_master_key_id, account, region, context):
        raise ActionError("CloudWatch Alarms does not have authorization to access the SNS topic encryption key.")
    subject = f'{message["NewStateValue"]}: "{alarm.name}" in {message["Region"]}'
    _publish(topic, json.dumps(message), subject)


def message(alarm: Any, old_state: str, at: float, account: str, region: str) -> dict[str, Any]:
    """Return what CloudWatch writes about a change of state. There, Region is a name: US East (N. Virginia)."""
    return {
        "AlarmName": alarm.name,
        "AlarmDescription": alarm.description,
        "AWSAccountId": account,
        "NewStateValue": alarm.state_value,
        "NewStateReason": alarm.state_reason,
        "StateChangeTime": stamp(at),
        "Region": region,
        "AlarmArn": alarm.alarm_arn,
        "OldStateValue": old_state,
        "OKActions": alarm.ok_actions,
        "AlarmActions": alarm.alarm_actions,
        "InsufficientDataActions": alarm.insufficient_data_actions,
        **({"AlarmRule": alarm.rule} if alarm.rule is not None else {"Trigger": _trigger(alarm)}),
    }


def _trigger(alarm: Any) -> dict[str, Any]:
    return {
        "MetricName": alarm.metric_name,
        "Namespace": alarm.namespace,
        "StatisticType": "ExtendedStatistic" if alarm.extended_statistic else "Statistic",
        "Statistic": alarm.extended_statistic or alarm.statistic,
        "Dimensions": [{"name": dimension.name, "value": dimension.value} for dimension in alarm.dimensions],
        "Period": alarm.period,
        "EvaluationPeriods": alarm.evaluation_periods,
        "DatapointsToAlarm": alarm.datapoints_to_alarm,
        "ComparisonOperator": alarm.comparison_operator,
        "Threshold": alarm.threshold,
        "TreatMissingData": alarm.treat_missing_data,
    }


def _may_encrypt(key_id: str, account: str, region: str, context: dict[str, str]) -> bool:
    """Ask the policy of a topic's key. That of AWS's own key for SNS does not let CloudWatch, and cannot be changed."""
    if key_id.startswith("alias/aws/"):
        return False
    if key_id.startswith("arn:"):
        region, account = key_id.split(":")[3], key_id.split(":")[4]
    backend = get_backend("kms")[account][region]
    try:
        key = backend.describe_key(key_id)
    except Exception:  # moto has several for a key that does not exist
        return False
    if key.key_state != "Enabled" or key.key_manager == "AWS":
        return False
    policy = json.loads(key.policy)
    return all(iam_policies.permits(policy, _WHO, action, key.arn, context) for action in _NEEDED_OF_KEY)


def _publish(topic: Any, text: str, subject: str) -> None:
    """Keep the message at the topic, and bring it to queues; moto itself would also call addresses outside."""
    message_id = f"{len(topic.sent_notifications):036d}"
    for subscription in topic.sns_backend.list_subscriptions_by_topic(topic_arn=topic.arn)[0]:
        if subscription.protocol == "sqs":
            subscription.publish(text, message_id, subject=subject)
    topic.sent_notifications.append((message_id, text, subject, None, None))
