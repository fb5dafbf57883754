"""CloudWatch alarms: refused as by CloudWatch, in the state that they are in, with their history."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from moto.cloudwatch.exceptions import ResourceNotFound, ValidationError
from moto.cloudwatch.models import CloudWatchBackend
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult

from local.aws.cloudwatch.alarm_rules import AlarmRule
from local.aws.cloudwatch.alarms import clock, evaluate_composites, history_of, parents, remember, set_state
from local.aws.cloudwatch.evaluation import INSUFFICIENT_DATA, STATES
from local.aws.cloudwatch.requests import RequestError, check_composite_alarm, check_metric_alarm
from local.aws.moto import Method, Moto

_STATE = ("state_value", "state_reason", "state_reason_data", "state_updated_timestamp", "state_transitioned_timestamp")
_LONGEST_PAGE = 100


def correct(moto: Moto) -> None:
    """Apply the corrections of this room."""
    alarms_are_checked_and_begin_without_data(moto)
    alarms_of_a_composite_stay(moto)
    states_can_be_set(moto)
    alarms_are_described_by_type(moto)
    alarms_have_a_history(moto)


def alarms_are_checked_and_begin_without_data(moto: Moto) -> None:
    """A new alarm is INSUFFICIENT_DATA; one that is changed keeps its state. Composite alarms exist.

    CloudWatch API Reference, PutMetricAlarm and PutCompositeAlarm. moto's PutMetricAlarm reads an AlarmRule, too.
    """
    stock = CloudWatchResponse.put_metric_alarm

    def put(self: Any, check: Callable[[Mapping[str, Any]], None]) -> Any:
        given, alarms = self._get_params(), self.cloudwatch_backend.alarms
        _raising(lambda: check(given))
        before = alarms.get(given["AlarmName"])
        answer = stock(self)
        alarm, now = alarms[given["AlarmName"]], clock()
        if before is None:
            alarm.state_value = INSUFFICIENT_DATA
            alarm.state_transitioned_timestamp = alarm.state_updated_timestamp
        else:
            for name in _STATE:
                setattr(alarm, name, getattr(before, name))
        done = "created" if before is None else "updated"
        summary = f'Alarm "{alarm.name}" {done}'
        remember(self.cloudwatch_backend, alarm, "ConfigurationUpdate", summary, {"version": "1.0"}, now=now)
        return answer

    def put_metric_alarm(self: Any) -> Any:
        return put(self, check_metric_alarm)

    def put_composite_alarm(self: Any) -> Any:
        answer = put(self, lambda given: check_composite_alarm(given, list(self.cloudwatch_backend.alarms)))
        evaluate_composites(self.cloudwatch_backend, clock())
        return answer

    moto.set(CloudWatchResponse, "put_metric_alarm", put_metric_alarm)
    moto.set(CloudWatchResponse, "put_composite_alarm", put_composite_alarm)


def alarms_of_a_composite_stay(moto: Moto) -> None:
    """What a composite alarm depends on is not deleted, unless the composite is deleted in the same call.

    CloudWatch API Reference, DeleteAlarms, which takes one composite alarm at most; the words of the refusal are those
    of cloud-custodian/cloud-custodian#7763 and ekristen/aws-nuke#462. That one call may have both is an assumption.
    """

    @moto.around(CloudWatchBackend, "delete_alarms")
    def delete(original: Method, self: Any, alarm_names: list[str]) -> None:
        composites = [name for name in alarm_names if name in self.alarms and self.alarms[name].rule is not None]
        if len(composites) > 1:
            raise ValidationError("At most one composite alarm can be deleted in one operation.")
        held = [name for name in alarm_names if {parent.name for parent in parents(self, name)} - set(alarm_names)]
        if held:
            them = "it" if len(held) == 1 else "them"
            message = f"Cannot delete {','.join(held)} as there are composite alarm(s) depending on {them}."
            raise ValidationError(message)
        original(self, alarm_names)


def states_can_be_set(moto: Moto) -> None:
    """SetAlarmState executes the actions of the state, until the next evaluation (API Reference, SetAlarmState)."""

    @moto.around(CloudWatchBackend, "set_alarm_state")
    def set_alarm_state(original: Method, self: Any, alarm_name: str, *given: Any) -> None:
        reason, reason_data, state_value = given
        if alarm_name not in self.alarms:
            raise ResourceNotFound(f"The alarm {alarm_name} does not exist.")
        if state_value not in STATES or (reason_data is not None and not _is_json(reason_data)):
            original(self, alarm_name, *given)  # refuses it
        set_state(self, self.alarms[alarm_name], state_value, reason, reason_data or "{}", now=clock())
        evaluate_composites(self, clock())


def alarms_are_described_by_type(moto: Moto) -> None:
    """DescribeAlarms returns metric alarms unless told otherwise, and everything that it is told counts.

    CloudWatch API Reference, DescribeAlarms: AlarmTypes, ChildrenOfAlarmName, ParentsOfAlarmName, MaxRecords.
    """

    @moto.around(CloudWatchResponse, "describe_alarms")
    def describe(_: Method, self: Any) -> Any:
        given, backend = self._get_params(), self.cloudwatch_backend
        types = given.get("AlarmTypes") or ["MetricAlarm"]
        found = sorted(backend.alarms.values(), key=lambda alarm: str(alarm.name))
        if names := given.get("AlarmNames"):
            found = [alarm for alarm in found if alarm.name in names]
        if prefix := given.get("AlarmNamePrefix"):
            found = [alarm for alarm in found if alarm.name.startswith(prefix)]
        if state := given.get("StateValue"):
            found = [alarm for alarm in found if alarm.state_value == state]
        if prefix := given.get("ActionPrefix"):
            found = [alarm for alarm in found if any(arn.startswith(prefix) for arn in alarm.alarm_actions)]
        if (parent := given.get("ChildrenOfAlarmName")) in backend.alarms:
            children = AlarmRule.parse(backend.alarms[parent].rule or "FALSE").children
            found, types = [alarm for alarm in found if alarm.name in children], ["MetricAlarm", "CompositeAlarm"]
        if child := given.get("ParentsOfAlarmName"):
            found, types = parents(backend, child), ["CompositeAlarm"]
        found = [alarm for alarm in found if ("MetricAlarm" if alarm.rule is None else "CompositeAlarm") in types]
        page, token = _page(found, given)
        result = {
            "MetricAlarms": [alarm for alarm in page if alarm.rule is None],
            "CompositeAlarms": [alarm for alarm in page if alarm.rule is not None],
        }
        return ActionResult(result | token)


def alarms_have_a_history(moto: Moto) -> None:
    """DescribeAlarmHistory: changes of configuration and of state, and what became of actions (API Reference)."""

    @moto.add(CloudWatchResponse)
    def describe_alarm_history(self: Any) -> Any:
        given = self._get_params()
        items = list(history_of(self.cloudwatch_backend))
        for parameter, member in (("AlarmName", "AlarmName"), ("HistoryItemType", "HistoryItemType")):
            items = [item for item in items if item[member] == given.get(parameter, item[member])]
        types = given.get("AlarmTypes") or ["MetricAlarm"]
        items = [item for item in items if item["AlarmType"] in types]
        if given.get("ScanBy") != "TimestampAscending":
            items.reverse()
        page, token = _page(items, given)
        return ActionResult({"AlarmHistoryItems": page} | token)


def _page(items: list[Any], given: Mapping[str, Any]) -> tuple[list[Any], dict[str, str]]:
    begin = int(given.get("NextToken") or 0)
    end = begin + int(given.get("MaxRecords") or _LONGEST_PAGE)
    return items[begin:end], {"NextToken": str(end)} if end < len(items) else {}


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _raising(check: Callable[[], None]) -> None:
    try:
        check()
    except RequestError as error:
        raise ValidationError(str(error)) from error
