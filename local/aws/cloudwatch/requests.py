"""What CloudWatch refuses in a request for an alarm, in its own words where they are known.

Lengths, enumerations and patterns are those of the service's model in botocore; the rest is the CloudWatch API
Reference, PutMetricAlarm and PutCompositeAlarm.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import botocore.session
from botocore.model import Shape

from local.aws.cloudwatch.alarm_rules import AlarmRule, RuleError
from local.aws.cloudwatch.evaluation import COMPARISONS, TREATMENTS
from local.aws.cloudwatch.expressions import Expression, ExpressionError
from local.aws.cloudwatch.queries import Query, period_of
from local.aws.cloudwatch.series import is_statistic

MOST_METRICS = 10  # CloudWatch User Guide, "Limits that apply to alarms based on metric math expressions"

_DAY, _WEEK = 86_400, 604_800
_ID = re.compile(r"[a-z][a-zA-Z0-9_]*")
_SNS = r"arn:[\w-]+:sns:[\w-]+:\d{12}:[\w-]{1,256}(\.fifo)?"
_LAMBDA = r"arn:[\w-]+:lambda:[\w-]+:\d{12}:function:[\w-]+(:[\w$-]+)?"
_SYSTEMS_MANAGER = r"arn:[\w-]+:ssm:[\w-]+:\d{12}:opsitem:[1-4](#CATEGORY=\w+)?|arn:[\w-]+:ssm-incidents::\d{12}:.+"
_OTHERS = r"arn:[\w-]+:(automate|swf|autoscaling|aiops):.+"
_ACTIONS = ("AlarmActions", "OKActions", "InsufficientDataActions")
_OF_ONE_METRIC = ("Namespace", "MetricName", "Dimensions", "Period", "Unit", "Statistic", "ExtendedStatistic")


class RequestError(Exception):
    """Why a request is refused."""


def check_metric_alarm(given: Mapping[str, Any]) -> None:
    """Raise RequestError unless CloudWatch and the local stack take this alarm."""
    _check_model("PutMetricAlarm", given)
    for name in ("EvaluationCriteria", "EvaluationInterval", "ThresholdMetricId"):
        if name in given:
            raise RequestError(f"The local stack has no alarms with {name}.")
    if given.get("Metrics"):
        _check_metrics(given)
        period = period_of([Query.of(metric) for metric in given["Metrics"]])
    else:
        _check_metric(given)
        period = given["Period"]
    _check_condition(given)
    _check_period(period, given["EvaluationPeriods"])
    _check_actions(given, f"{_SNS}|{_LAMBDA}|{_SYSTEMS_MANAGER}|{_OTHERS}")


def check_composite_alarm(given: Mapping[str, Any], existing: Sequence[str]) -> None:
    """Raise RequestError unless CloudWatch and the local stack take this alarm, whose children must exist."""
    _check_model("PutCompositeAlarm", given)
    if "ActionsSuppressor" in given:
        raise RequestError("The local stack does not suppress the actions of composite alarms.")
    try:
        children = AlarmRule.parse(given["AlarmRule"]).children
    except RuleError as error:
        raise RequestError(str(error)) from error
    if missing := [child for child in children if child not in existing]:
        # The words are those of awsdocs/aws-cloudformation-user-guide#911.
        names = ", ".join(missing)
        raise RequestError(f"Could not save the composite alarm as alarms [{names}] in the alarm rule do not exist")
    _check_actions(given, f"{_SNS}|{_LAMBDA}|{_SYSTEMS_MANAGER}|arn:[\\w-]+:aiops:.+")


def _check_metrics(given: Mapping[str, Any]) -> None:
    if both := [name for name in _OF_ONE_METRIC if given.get(name)]:
        raise RequestError(f"Metrics and {both[0]} are mutually exclusive.")
    metrics = given["Metrics"]
    ids = [metric["Id"] for metric in metrics]
    if bad := [name for name in ids if not _ID.fullmatch(name)]:
        raise RequestError(f"The Id {bad[0]} must begin with a lowercase letter and have letters, numbers and _ only.")
    if len(set(ids)) < len(ids):
        raise RequestError("The values for parameter Id in Metrics are not unique.")
    if sum("MetricStat" in metric for metric in metrics) > MOST_METRICS:
        raise RequestError(f"An alarm with metric math has at most {MOST_METRICS} metrics.")
    if sum(bool(metric.get("ReturnData", True)) for metric in metrics) != 1:
        # The words are those of hashicorp/terraform-provider-aws#29894.
        raise RequestError("Exactly one element of the metrics list should return data.")
    for metric in metrics:
        if ("MetricStat" in metric) is ("Expression" in metric):
            raise RequestError(f"Element {metric['Id']} must have either MetricStat or Expression.")
        if "MetricStat" in metric:
            _check_statistic(metric["MetricStat"]["Stat"])
            _check_named(metric["MetricStat"]["Metric"])
            continue
        try:
            unknown = Expression(metric["Expression"]).ids - set(ids)
        except ExpressionError as error:
            raise RequestError(f"Error in expression '{metric['Id']}': {error}") from error
        if unknown:
            raise RequestError(f"Error in expression '{metric['Id']}': no element has the id {min(unknown)}.")


def _check_metric(given: Mapping[str, Any]) -> None:
    _check_named(given)
    if "Period" not in given:
        raise RequestError("Period must not be null")
    if ("Statistic" in given) is ("ExtendedStatistic" in given):
        raise RequestError("Exactly one of Statistic and ExtendedStatistic must be specified.")
    _check_statistic(given.get("Statistic") or given["ExtendedStatistic"])


def _check_named(metric: Mapping[str, Any]) -> None:
    for name in ("MetricName", "Namespace"):
        if not metric.get(name):
            raise RequestError(f"{name} must not be null")


def _check_statistic(name: str) -> None:
    if not is_statistic(name):
        raise RequestError(f"The local stack does not know the statistic {name}, only percentiles such as p99.")


def _check_condition(given: Mapping[str, Any]) -> None:
    for name in ("EvaluationPeriods", "Threshold", "ComparisonOperator"):
        if name not in given:
            raise RequestError(f"{name} must not be null")
    if given["ComparisonOperator"] not in COMPARISONS:
        raise RequestError(f"The local stack has no anomaly detection: {given['ComparisonOperator']}.")
    if given.get("DatapointsToAlarm", 1) > given["EvaluationPeriods"]:
        # The words are those of hashicorp/terraform#24070.
        raise RequestError("DatapointsToAlarm must be less than or equal to EvaluationPeriods")
    if (treatment := given.get("TreatMissingData", TREATMENTS[0])) not in TREATMENTS:
        raise RequestError(f"Option {treatment} is not supported for TreatMissingData: {', '.join(TREATMENTS)}.")


def _check_period(period: int, periods: int) -> None:
    if period in (10, 20, 30):
        raise RequestError("The local stack has no alarms of high resolution: Period must be a multiple of 60.")
    if period % 60:
        raise RequestError("Period must be 10, 20, 30 or a multiple of 60")
    most = _DAY if period < 3600 else _WEEK
    if period * periods > most:
        within = "a day" if most == _DAY else "seven days"
        raise RequestError(
            f"Metrics cannot be checked across more than {within} (EvaluationPeriods * Period must be <= {most})."
        )


def _check_actions(given: Mapping[str, Any], pattern: str) -> None:
    for name in _ACTIONS:
        for arn in given.get(name, []):
            if not re.fullmatch(pattern, arn):
                raise RequestError(f"Invalid arn syntax: {arn}")


@functools.cache
def _input(operation: str) -> Shape:
    model = botocore.session.get_session().get_service_model("cloudwatch")
    shape: Shape = model.operation_model(operation).input_shape
    return shape


def _check_model(operation: str, given: Mapping[str, Any]) -> None:
    problems = list(_problems(_input(operation), given, ""))
    if problems:
        plural = "s" if len(problems) > 1 else ""
        raise RequestError(f"{len(problems)} validation error{plural} detected: {'; '.join(problems)}")


def _problems(shape: Any, value: Any, path: str) -> Iterator[str]:
    """Yield what of a value breaks the service's model, as AWS's services say it."""
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            place = f"{path}.{_lower(name)}" if path else _lower(name)
            if name in value:
                yield from _problems(member, value[name], place)
            elif name in shape.required_members:
                yield f"Value null at '{place}' failed to satisfy constraint: Member must not be null"
        return
    for rule in _broken(shape.metadata, value):
        yield f"Value '{value}' at '{path}' failed to satisfy constraint: Member must {rule}"
    if shape.type_name == "list":
        for number, member in enumerate(value, start=1):
            yield from _problems(shape.member, member, f"{path}.{number}.member")


def _broken(limits: Mapping[str, Any], value: Any) -> Iterator[str]:
    sized = isinstance(value, str | list)
    size, noun = (len(value), "length") if sized else (value, "value")
    if "max" in limits and size > limits["max"]:
        yield f"have {noun} less than or equal to {limits['max']}"
    if "min" in limits and size < limits["min"]:
        yield f"have {noun} greater than or equal to {limits['min']}"
    if limits.get("enum") and value not in limits["enum"]:
        yield f"satisfy enum value set: [{', '.join(limits['enum'])}]"
    if "pattern" in limits and not re.fullmatch(limits["pattern"], value):
        yield f"satisfy regular expression pattern: {limits['pattern']}"


def _lower(name: str) -> str:
    return name[0].lower() + name[1:]
