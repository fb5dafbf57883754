"""CloudWatch metrics: kept by the minute, found by all of their dimensions, with percentiles and metric math."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from moto.cloudwatch.exceptions import InvalidParameterCombination, InvalidParameterValue, ValidationError
from moto.cloudwatch.models import CloudWatchBackend
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult, EmptyResult

from local.aws.cloudwatch.alarms import clock, store_of
from local.aws.cloudwatch.expressions import ExpressionError
from local.aws.cloudwatch.queries import Query, answer, period_of
from local.aws.cloudwatch.series import Distribution, Metric, Store, is_statistic
from local.aws.moto import Method, Moto

_LONGEST_PAGE = 500


def correct(moto: Moto) -> None:
    """Apply the corrections of this room."""
    moto.set(CloudWatchBackend, "minute_seconds", 60)
    data_goes_into_the_store(moto)
    data_is_found_by_all_dimensions(moto)
    statistics_are_found_by_all_dimensions(moto)
    metrics_are_listed(moto)


def data_goes_into_the_store(moto: Moto) -> None:
    """PutMetricData: moto keeps each value in one list, which a minute of a busy stack makes long."""

    @moto.around(CloudWatchResponse, "put_metric_data")
    def put(_: Method, self: Any) -> Any:
        given, backend = self._get_params(), self.cloudwatch_backend
        for number, datum in enumerate(given.get("MetricData", []), start=1):
            backend._validate_parameters_put_metric_data(datum, number)
        for datum in given.get("MetricData", []):
            at = _seconds(datum["Timestamp"]) if "Timestamp" in datum else clock()
            metric = Metric.of(given["Namespace"], datum["MetricName"], _named(datum.get("Dimensions", [])))
            store_of(backend).add_all(metric, _distribution(datum), at=at, unit=datum.get("Unit") or "None")
        return EmptyResult()


def data_is_found_by_all_dimensions(moto: Moto) -> None:
    """GetMetricData: one metric has all of its dimensions and no others; percentiles and metric math are answered.

    CloudWatch User Guide, "CloudWatch concepts" (dimensions: a unique combination is a separate metric). Times are
    those of whole periods, as GetMetricData has them (API Reference: StartTime).
    """

    @moto.around(CloudWatchResponse, "get_metric_data")
    def get(_: Method, self: Any) -> Any:
        given, store = self._get_params(), store_of(self.cloudwatch_backend)
        start, end = _seconds(given["StartTime"]), _seconds(given["EndTime"])
        if start >= end:
            raise ValidationError("The parameter StartTime must be less than the parameter EndTime.")
        for element in given["MetricDataQueries"]:
            if "MetricStat" not in element and "Expression" not in element:
                # AWS also returns the empty line
                raise ValidationError("The parameter MetricDataQueries.member.1.MetricStat is required.\n")
        queries = [Query.of(element) for element in given["MetricDataQueries"]]
        descending = given.get("ScanBy") != "TimestampAscending"
        try:
            found = _answered(store, queries, start, end)
        except (ExpressionError, ValueError) as error:
            raise ValidationError(str(error)) from error
        labels = {element["Id"]: element.get("Label") for element in given["MetricDataQueries"]}
        results = []
        for query in queries:
            if query.returned:
                times = sorted(found[query.id], reverse=descending)
                label = labels[query.id] or (query.metric.name if query.metric else query.id)
                results.append(
                    {
                        "Id": query.id,
                        "Label": label,
                        "Timestamps": [_time(store.begin(minute)) for minute in times],
                        "Values": [found[query.id][minute] for minute in times],
                        "StatusCode": "Complete",
                    }
                )
        return ActionResult({"MetricDataResults": results})


def statistics_are_found_by_all_dimensions(moto: Moto) -> None:
    """GetMetricStatistics: the same, for one metric (API Reference: "You must specify the same dimensions")."""

    @moto.around(CloudWatchResponse, "get_metric_statistics")
    def get(_: Method, self: Any) -> Any:
        given, store = self._get_params(), store_of(self.cloudwatch_backend)
        statistics, extended = given.get("Statistics") or [], given.get("ExtendedStatistics") or []
        if not statistics and not extended:
            raise InvalidParameterCombination("Must specify either Statistics or ExtendedStatistics")
        if unknown := [name for name in (*statistics, *extended) if not is_statistic(name)]:
            raise InvalidParameterValue(f"The local stack does not know the statistic {unknown[0]}.")
        start, end = _seconds(given["StartTime"]), _seconds(given["EndTime"])
        if start >= end:
            raise InvalidParameterValue("The parameter StartTime must be less than the parameter EndTime.")
        metric = Metric.of(given["Namespace"], given["MetricName"], _named(given.get("Dimensions", [])))
        first, last, length = _span(store, start, end, int(given["Period"]))
        windows = store.windows(metric, first, last, length, given.get("Unit"))
        datapoints = [
            {
                "Timestamp": _time(store.begin(minute)),
                "Unit": store.unit(metric),
                **{name: found.statistic(name) for name in statistics},
                "ExtendedStatistics": _known({name: found.statistic(name) for name in extended}),
            }
            for minute, found in windows.items()
        ]
        return ActionResult({"Label": given["MetricName"], "Datapoints": datapoints})


def metrics_are_listed(moto: Moto) -> None:
    """ListMetrics from the store."""

    @moto.around(CloudWatchResponse, "list_metrics")
    def list_metrics(_: Method, self: Any) -> Any:
        given = self._get_params()
        wanted = {filtered["Name"]: filtered.get("Value") for filtered in given.get("Dimensions", [])}
        found = [
            metric
            for metric in store_of(self.cloudwatch_backend).metrics()
            if given.get("Namespace") in (None, metric.namespace) and given.get("MetricName") in (None, metric.name)
            if all(wanted[name] in (None, dict(metric.dimensions).get(name)) for name in wanted)
            if set(wanted) <= set(dict(metric.dimensions))
        ]
        begin = int(given.get("NextToken") or 0)
        end = begin + _LONGEST_PAGE
        page = [
            {
                "Namespace": metric.namespace,
                "MetricName": metric.name,
                "Dimensions": [{"Name": name, "Value": value} for name, value in metric.dimensions],
            }
            for metric in found[begin:end]
        ]
        return ActionResult({"Metrics": page} | ({"NextToken": str(end)} if end < len(found) else {}))


def _answered(store: Store, queries: list[Query], start: float, end: float) -> dict[str, dict[int, float]]:
    """Answer each metric in its own period; expressions want one."""
    if any(query.metric is None for query in queries):
        first, last, length = _span(store, start, end, period_of(queries))
        return answer(store, queries, first, last, length)
    found: dict[str, dict[int, float]] = {}
    for query in queries:
        first, last, length = _span(store, start, end, query.period or 60)
        found |= answer(store, [query], first, last, length)
    return found


def _span(store: Store, start: float, end: float, period: int) -> tuple[int, int, int]:
    """Return the first minute, the minute after the last, and the minutes of a period, in whole periods."""
    if period < 60 or period % 60:
        raise InvalidParameterValue("The local stack keeps minutes: Period must be a multiple of 60.")
    length = store.minutes(period)
    first = store.minute(start) // length * length
    last = -(-end // (store.minute_seconds * length)) * length
    return first, int(last), length


def _distribution(datum: Mapping[str, Any]) -> Distribution:
    if values := datum.get("Values"):
        found = Distribution()
        for value, times in zip(values, datum.get("Counts") or [1] * len(values), strict=True):
            found.add(float(value), float(times))
        return found
    if statistics := datum.get("StatisticValues"):
        return Distribution(
            count=float(statistics["SampleCount"]),
            total=float(statistics["Sum"]),
            minimum=float(statistics["Minimum"]),
            maximum=float(statistics["Maximum"]),
            values=None,
        )
    found = Distribution()
    found.add(float(datum.get("Value", 0)))
    return found


def _known(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


def _named(dimensions: list[Mapping[str, str]]) -> dict[str, str]:
    return {dimension["Name"]: dimension["Value"] for dimension in dimensions}


def _seconds(time: Any) -> float:
    """Return the seconds of a time as moto parses it: a naive one is UTC."""
    at = time if isinstance(time, datetime) else datetime.fromisoformat(str(time))
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
