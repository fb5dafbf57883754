"""How an alarm judges datapoints: a pure function of them and of the state before.

CloudWatch User Guide, "Alarm evaluation" and "Configuring how CloudWatch alarms treat missing data": the tables there
are tests here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

OK, ALARM, INSUFFICIENT_DATA = "OK", "ALARM", "INSUFFICIENT_DATA"
STATES = (OK, ALARM, INSUFFICIENT_DATA)
TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")

_COMPARISONS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "GreaterThanThreshold": ("greater than", lambda value, threshold: value > threshold),
    "GreaterThanOrEqualToThreshold": ("greater than or equal to", lambda value, threshold: value >= threshold),
    "LessThanThreshold": ("less than", lambda value, threshold: value < threshold),
    "LessThanOrEqualToThreshold": ("less than or equal to", lambda value, threshold: value <= threshold),
}
COMPARISONS = tuple(_COMPARISONS)


@dataclass(frozen=True)
class Condition:
    """What an alarm compares: M of N datapoints."""

    comparison: str
    threshold: float
    evaluation_periods: int
    datapoints_to_alarm: int
    treat_missing_data: str = "missing"

    @property
    def range(self) -> int:
        """How many datapoints are looked at.

        CloudWatch looks at more than it needs, how many depends on the period. In the guide's tables it is 5 for 3:
        that it is always 2 more is an assumption.
        """
        return self.evaluation_periods + 2

    def breaches(self, value: float) -> bool:
        return _COMPARISONS[self.comparison][1](value, self.threshold)


@dataclass(frozen=True)
class Datapoint:
    """The statistic of one period; `value` is None where nothing was published."""

    begin: float
    value: float | None


@dataclass(frozen=True)
class Verdict:
    """The state that an alarm is to have, and why."""

    state: str
    reason: str
    data: str


def judge(points: Sequence[Datapoint], condition: Condition, state: str) -> str:
    """Return the state of an alarm after these datapoints of its evaluation range, the oldest first."""
    needed, wanted = condition.evaluation_periods, condition.datapoints_to_alarm
    known = [point.value for point in points if point.value is not None][-needed:]
    breaching = sum(map(condition.breaches, known))
    filled = needed - len(known)
    treatment = condition.treat_missing_data
    if breaching >= wanted or not filled:
        return ALARM if breaching >= wanted else OK
    if treatment in ("breaching", "notBreaching"):
        return ALARM if treatment == "breaching" and breaching + filled >= wanted else OK
    if breaching < len(known):
        return OK
    if not known or treatment == "ignore":
        return state if treatment == "ignore" else INSUFFICIENT_DATA
    # All that is known breaches, but there is too little of it. It is enough once its oldest is as old as M periods;
    # until then "the alarm does not go immediately into ALARM state": that it keeps its state is an assumption.
    oldest = next(age for age, point in zip(range(len(points), 0, -1), points, strict=True) if point.value is not None)
    return ALARM if oldest >= wanted else state


def verdict(
    points: Sequence[Datapoint], condition: Condition, state: str, *, now: float, statistic: str | None, period: int
) -> Verdict:
    """Return the state after these datapoints, with the reason in CloudWatch's words."""
    found = judge(points, condition, state)
    known = [point for point in points if point.value is not None][-condition.evaluation_periods :]
    data = {
        "version": "1.0",
        "queryDate": stamp(now),
        **({"startDate": stamp(known[0].begin)} if known else {}),
        **({"statistic": statistic} if statistic else {}),
        "period": period,
        "recentDatapoints": [point.value for point in known],
        "threshold": condition.threshold,
        "evaluatedDatapoints": [{"timestamp": stamp(point.begin), "value": point.value} for point in reversed(known)],
    }
    return Verdict(found, _reason(known, condition, state, found), json.dumps(data, separators=(",", ":")))


def _reason(known: Sequence[Datapoint], condition: Condition, state: str, found: str) -> str:
    needed = condition.evaluation_periods
    filled = needed - len(known)
    if found == INSUFFICIENT_DATA:
        return f"Insufficient Data: {_counted(needed, 'datapoint')} {_was(needed)} unknown."
    if filled and condition.treat_missing_data in ("breaching", "notBreaching"):
        received = _counted(len(known), "datapoint") if known else "no datapoints"
        treated = {"breaching": "Breaching", "notBreaching": "NonBreaching"}[condition.treat_missing_data]
        return (
            f"Threshold Crossed: {received}{_listed(known)} {_was(len(known))} received for "
            f"{_counted(needed, 'period')} and {_counted(filled, 'missing datapoint')} {_was(filled)} treated as "
            f"[{treated}]."
        )
    chosen = [p for p in known if p.value is not None and condition.breaches(p.value) is (found == ALARM)]
    wanted = condition.datapoints_to_alarm
    minimum = wanted if found == ALARM else needed - wanted + 1
    negation = "" if found == ALARM else "not "
    before = state if state != found else {ALARM: OK, OK: ALARM}[found]
    return (
        f"Threshold Crossed: {len(chosen)} out of the last {len(known)} datapoints{_listed(chosen)} "
        f"{_was(len(chosen))} {negation}{_COMPARISONS[condition.comparison][0]} the threshold ({condition.threshold}) "
        f"(minimum {_counted(minimum, 'datapoint')} for {before} -> {found} transition)."
    )


def stamp(at: float) -> str:
    """Write a time as in an alarm's data and notifications."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "+0000")


def _listed(points: Sequence[Datapoint]) -> str:
    shown = (f"{point.value} ({datetime.fromtimestamp(point.begin, UTC):%d/%m/%y %H:%M:%S})" for point in points)
    return f" [{', '.join(shown)}]" if points else ""


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _was(number: int) -> str:
    return "was" if number == 1 else "were"
