"""Metrics and expressions of one request, as GetMetricData and alarms have them, answered from the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local.aws.cloudwatch.expressions import Expression, ExpressionError, Series, Value
from local.aws.cloudwatch.series import Metric, Store


@dataclass(frozen=True)
class Query:
    """One element: either a statistic of a metric, or an expression over other elements. A period is CloudWatch's."""

    id: str
    metric: Metric | None = None
    statistic: str = ""
    unit: str | None = None
    expression: str | None = None
    period: int | None = None
    returned: bool = True

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Query:
        """Read an element as the API has it."""
        period = given.get("Period")
        if "MetricStat" not in given:
            return cls(
                given["Id"],
                expression=given.get("Expression"),
                period=period and int(period),
                returned=given.get("ReturnData", True),
            )
        stat = given["MetricStat"]
        metric = stat["Metric"]
        dimensions = {dimension["Name"]: dimension["Value"] for dimension in metric.get("Dimensions", [])}
        return cls(
            given["Id"],
            metric=Metric.of(metric.get("Namespace", ""), metric["MetricName"], dimensions),
            statistic=stat["Stat"],
            unit=stat.get("Unit"),
            period=int(stat["Period"]),
            returned=given.get("ReturnData", True),
        )


def period_of(queries: Sequence[Query]) -> int:
    """Return the one period of a request's metrics. That there is only one is a limit of the local stack."""
    periods = {query.period for query in queries if query.period is not None}
    if len(periods) != 1:
        raise ExpressionError("The local stack wants one and the same Period for all metrics of an expression.")
    return periods.pop()


def answer(store: Store, queries: Sequence[Query], first: int, last: int, length: int) -> dict[str, Series]:
    """Return each element's values in windows of so many minutes, by the minute that a window begins with."""
    times = list(range(first, last, length))
    values: dict[str, Value] = {}
    results: dict[str, Series] = {}
    waiting = list(queries)
    while waiting:
        ready = [query for query in waiting if query.metric or _needs(query) <= set(values)]
        if not ready:
            ids = sorted({needed for query in waiting for needed in _needs(query)} - {query.id for query in queries})
            raise ExpressionError(
                f"No element of the request has the id {', '.join(ids)}." if ids else "Expressions refer to each other."
            )
        for query in ready:
            waiting.remove(query)
            values[query.id] = results[query.id] = _series(store, query, values, times, length)
    return results


def _needs(query: Query) -> set[str]:
    return Expression(query.expression or "").ids


def _series(store: Store, query: Query, values: Mapping[str, Value], times: Sequence[int], length: int) -> Series:
    if query.metric is None:
        return Expression(query.expression or "").evaluate(values, times)
    last = times[-1] + length if times else 0
    found = store.windows(query.metric, times[0] if times else 0, last, length, query.unit)
    statistics = {time: distribution.statistic(query.statistic) for time, distribution in found.items()}
    return {time: value for time, value in statistics.items() if value is not None}
