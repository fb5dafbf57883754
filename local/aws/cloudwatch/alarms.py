"""The alarms of one account and region, minute by minute: evaluated, moved to another state, their actions executed.

An alarm is moto's; what it watches is in the store. The time is passed in.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from local.aws.cloudwatch import notifications
from local.aws.cloudwatch.alarm_rules import AlarmRule
from local.aws.cloudwatch.evaluation import ALARM, INSUFFICIENT_DATA, OK, Condition, Datapoint, stamp, verdict
from local.aws.cloudwatch.expressions import ExpressionError, Series
from local.aws.cloudwatch.queries import Query, answer, period_of
from local.aws.cloudwatch.series import Metric, Store

_REMEMBERED = 5000  # items of history; CloudWatch keeps 30 days

_States = dict[str, str]


def store_of(backend: Any) -> Store:
    """Return the metrics of moto's backend of one account and region."""
    found: Store = backend.__dict__.setdefault("metric_store", Store(backend.minute_seconds))
    return found


def history_of(backend: Any) -> deque[dict[str, Any]]:
    """Return what happened to the alarms, the oldest first, as DescribeAlarmHistory has it."""
    found: deque[dict[str, Any]] = backend.__dict__.setdefault("alarm_history", deque(maxlen=_REMEMBERED))
    return found


def evaluate(backend: Any, now: float) -> None:
    """Evaluate every alarm on the minutes that are over."""
    alarms = list(backend.alarms.values())
    for alarm in alarms:
        if alarm.rule is None:
            _evaluate_metric_alarm(backend, alarm, now)
    evaluate_composites(backend, now)


def evaluate_composites(backend: Any, now: float) -> None:
    """Evaluate the composite alarms until nothing changes any more; of a cycle each at most once for each alarm."""
    composites = [alarm for alarm in list(backend.alarms.values()) if alarm.rule is not None]
    for _ in composites:
        changed = [_evaluate_composite(backend, alarm, now) for alarm in composites]
        if not any(changed):
            return


def set_state(backend: Any, alarm: Any, state: str, reason: str, data: str | None, *, now: float) -> None:
    """Give an alarm a state, and execute its actions if that is another than before."""
    before = alarm.state_value
    alarm.state_value, alarm.state_reason, alarm.state_reason_data = state, reason, data
    alarm.state_updated_timestamp = datetime.fromtimestamp(now, UTC).replace(tzinfo=None)
    if state == before:
        return
    alarm.state_transitioned_timestamp = alarm.state_updated_timestamp
    old_state = {"stateValue": before}
    new_state = {"stateValue": state, "stateReason": reason, "stateReasonData": json.loads(data or "{}")}
    changed = {"version": "1.0", "oldState": old_state, "newState": new_state}
    remember(backend, alarm, "StateUpdate", f"Alarm updated from {before} to {state}", changed, now=now)
    if alarm.actions_enabled:
        message = notifications.message(alarm, before, now, backend.account_id, backend.region_name)
        for action in _actions(alarm, state):
            _execute(backend, alarm, action, message, now)


def remember(backend: Any, alarm: Any, kind: str, summary: str, data: dict[str, Any], *, now: float) -> None:
    """Add an item to the history."""
    history_of(backend).append(
        {
            "AlarmName": alarm.name,
            "AlarmType": "MetricAlarm" if alarm.rule is None else "CompositeAlarm",
            "Timestamp": datetime.fromtimestamp(now, UTC).replace(tzinfo=None),
            "HistoryItemType": kind,
            "HistorySummary": summary,
            "HistoryData": json.dumps(data),
        }
    )


def parents(backend: Any, name: str) -> list[Any]:
    """Return the composite alarms that have an alarm in their rule."""
    return [
        alarm
        for alarm in list(backend.alarms.values())
        if alarm.rule is not None and name in AlarmRule.parse(alarm.rule).children
    ]


def queries_of(alarm: Any) -> list[Query]:
    """Return what a metric alarm watches; the last one is what it compares."""
    if not alarm.metric_data_queries:
        dimensions = {dimension.name: dimension.value for dimension in alarm.dimensions}
        metric = Metric.of(alarm.namespace, alarm.metric_name, dimensions)
        statistic = alarm.extended_statistic or alarm.statistic
        return [Query("m1", metric=metric, statistic=statistic, unit=alarm.unit, period=int(alarm.period))]
    queries = [_query(element) for element in alarm.metric_data_queries]
    return sorted(queries, key=lambda query: query.returned)


def _query(element: Any) -> Query:
    returned = element.return_data in (True, "true", None)
    stat = element.metric_stat
    if stat is None:
        period = None if element.period is None else int(element.period)
        return Query(element.id, expression=element.expression, period=period, returned=returned)
    dimensions = {dimension.name: dimension.value for dimension in stat.metric.dimensions}
    metric = Metric.of(stat.metric.namespace, stat.metric.metric_name, dimensions)
    return Query(
        element.id, metric=metric, statistic=stat.stat, unit=stat.unit, period=int(stat.period), returned=returned
    )


def _evaluate_metric_alarm(backend: Any, alarm: Any, now: float) -> None:
    store, queries = store_of(backend), queries_of(alarm)
    condition = Condition(
        comparison=alarm.comparison_operator,
        threshold=float(alarm.threshold),
        evaluation_periods=int(alarm.evaluation_periods),
        datapoints_to_alarm=int(alarm.datapoints_to_alarm or alarm.evaluation_periods),
        treat_missing_data=alarm.treat_missing_data or "missing",
    )
    period = period_of(queries)
    length, end = store.minutes(period), store.minute(now)
    first = end - condition.range * length
    try:
        watched: Series = answer(store, queries, first, end, length)[queries[-1].id]
    except ExpressionError as error:
        set_state(backend, alarm, INSUFFICIENT_DATA, f"Evaluation error: {error}", "{}", now=now)
        return
    points = [Datapoint(store.begin(minute), watched.get(minute)) for minute in range(first, end, length)]
    statistic = queries[-1].statistic or None
    found = verdict(points, condition, alarm.state_value, now=now, statistic=statistic, period=period)
    if found.state != alarm.state_value:
        set_state(backend, alarm, found.state, found.reason, found.data, now=now)


def _evaluate_composite(backend: Any, alarm: Any, now: float) -> bool:
    """Tell whether its state changed. The words are those of CloudWatch's events of composite alarms."""
    rule = AlarmRule.parse(alarm.rule)
    known = dict(backend.alarms)  # requests may delete some meanwhile
    children = [known[name] for name in rule.children if name in known]
    states = {child.name: child.state_value for child in children}
    state = ALARM if rule.test(lambda name: states.get(name, "")) else OK
    if state == alarm.state_value:
        return False
    latest = max(children, key=_changed_at, default=None)
    if alarm.state_value == INSUFFICIENT_DATA or latest is None:
        reason = f"{alarm.alarm_arn} was created and its alarm rule evaluates to {state}"
    else:
        at = f"{_changed_at(latest):%A %d %B, %Y %H:%M:%S} UTC"
        reason = f"{latest.alarm_arn} transitioned to {latest.state_value} at {at}"
    data = json.dumps({"triggeringAlarms": [_triggering(child) for child in ([latest] if latest else [])]})
    set_state(backend, alarm, state, reason, data, now=now)
    return True


def _changed_at(alarm: Any) -> datetime:
    changed: datetime = alarm.state_updated_timestamp
    return changed


def _triggering(alarm: Any) -> dict[str, Any]:
    at = stamp(_changed_at(alarm).replace(tzinfo=UTC).timestamp())
    return {"arn": alarm.alarm_arn, "state": {"value": alarm.state_value, "timestamp": at}}


def _actions(alarm: Any, state: str) -> Iterable[str]:
    actions: dict[str, list[str]] = {
        ALARM: alarm.alarm_actions,
        OK: alarm.ok_actions,
        INSUFFICIENT_DATA: alarm.insufficient_data_actions,
    }
    return actions[state]


def _execute(backend: Any, alarm: Any, action: str, message: dict[str, Any], now: float) -> None:
    data = {"actionState": "Succeeded", "notificationResource": action, "publishedMessage": json.dumps(message)}
    summary = f"Successfully executed action {action}"
    try:
        notifications.notify(alarm, action, message)
    except notifications.ActionError as error:
        data |= {"actionState": "Failed", "error": str(error)}
        summary = f'Failed to execute action {action}. Received error: "{error}"'
    remember(backend, alarm, "Action", summary, data, now=now)


def clock() -> float:
    """Return the time by this machine's clock."""
    return time.time()
