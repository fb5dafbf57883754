"""What CloudWatch saw in the last hour: sessions, and alarms."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tools.doctor.finding import Finding, ok, unknown, wrong
from tools.doctor.inside import has_no_room
from tools.doctor.site import Site

HOUR_SECONDS = 3600
PERIOD_SECONDS = 60

MOST_PINNED_PERCENT = 10
MOST_USED_PERCENT = 70  # RDS User Guide, rds-proxy-monitoring-dashboard: 30 % of headroom
MOST_DIRECT_PERCENT = 90  # CloudWatch User Guide, recommended alarms of RDS: DatabaseConnections

YOUNG = timedelta(hours=1)  # until then a metric may have no point yet

Series = Mapping[str, Mapping[datetime, float]]

# By name: metric and statistic, on ProxyName alone or, the last two, as AWS writes the role in two ways.
_OF_A_PROXY = {
    "pinned": ("DatabaseConnectionsCurrentlySessionPinned", {}),
    "open": ("DatabaseConnections", {}),
    "allowed": ("MaxDatabaseConnectionsAllowed", {}),
    "given_up": ("DatabaseConnectionsBorrowRequestsAborted", {"TargetGroup": "default", "TargetRole": "READ_WRITE"}),
    "given_up_too": ("DatabaseConnectionsBorrowRequestsAborted", {"TargetGroup": "default", "TargetRole": "READWRITE"}),
}


def sessions(site: Site) -> Finding:
    """Look at pinned sessions, the pool's use and borrow timeouts; without a proxy at the server's connections."""
    view = site.known_view("view")
    if has_no_room(view):
        return wrong(
            f"No connection is free: {view['reason']}.",
            "Look for pinned sessions and long transactions (docs/pinning.md), or enlarge the pool.",
            follows=("rules", "policy", "target", "secret", "login"),
        )
    return _direct(site) if site.proxy is None else _pooled(site, site.proxy["DBProxyName"])


def alarms(site: Site) -> Finding:
    """See which alarms of the environment are in ALARM."""
    mine = list(alarms_of(site))
    if not mine:
        return unknown("No alarm watches this environment: add modules/observability.")
    ringing = [alarm for alarm in mine if alarm["StateValue"] == "ALARM"]
    if ringing:
        names = ", ".join(sorted(alarm["AlarmName"] for alarm in ringing))
        first = min(ringing, key=lambda alarm: str(alarm["AlarmName"]))
        told = str(first.get("AlarmDescription") or "").strip()
        return wrong(f"In ALARM: {names}.", told or "Read the alarm's description in CloudWatch.")
    if unseen := _unseen(site, mine):
        return wrong(
            f"CloudWatch has no metric of what these alarms watch: {', '.join(unseen)}.",
            "Compare their dimensions with aws cloudwatch list-metrics --namespace AWS/RDS --dimensions "
            f"Name=DBClusterIdentifier,Value={site.database.name}, and correct modules/observability.",
        )
    return ok(f"none of {len(mine)} is in ALARM")


def alarms_of(site: Site) -> Iterator[dict[str, Any]]:
    """Yield the alarms of the state, and those that watch one of the environment's things."""
    names = {
        alarm.get("alarm_name") or alarm.get("name")
        for kind in ("aws_cloudwatch_metric_alarm", "aws_cloudwatch_composite_alarm")
        for alarm in site.of_type(kind)
    }
    watched = {site.function["FunctionName"], site.bootstrap["FunctionName"], site.database.name}
    watched |= {one["DBInstanceIdentifier"] for one in site.database.instances}
    if site.proxy is not None:
        watched.add(site.proxy["DBProxyName"])
    pages = site.client("cloudwatch").get_paginator("describe_alarms")
    for page in pages.paginate(AlarmTypes=["MetricAlarm", "CompositeAlarm"]):
        for alarm in [*page.get("MetricAlarms", []), *page.get("CompositeAlarms", [])]:
            if alarm["AlarmName"] in names or watched & {given["Value"] for given in _dimensions(alarm)}:
                yield alarm


def _pooled(site: Site, proxy: str) -> Finding:
    found = _series(
        site, {name: (metric, {"ProxyName": proxy, **more}) for name, (metric, more) in _OF_A_PROXY.items()}
    )
    if not found["open"] and not found["allowed"]:
        return unknown(f"CloudWatch has no metric of {proxy} of the last hour.")
    pinned = _most_percent(found["pinned"], found["open"])
    used = _most_percent(found["open"], found["allowed"])
    given_up = sum(found["given_up"].values()) + sum(found["given_up_too"].values())
    if pinned > MOST_PINNED_PERCENT:
        return wrong(
            f"In the last hour up to {pinned:.0f} % of the pool's connections were pinned.",
            "Find the statement that pins: set DB_PINNING_GUARD on the function (docs/pinning.md).",
        )
    if given_up:
        return wrong(
            f"In the last hour {given_up:.0f} clients waited in vain for a connection of the pool.",
            "Shorten transactions, or enlarge pool.max_percent or the instance.",
            follows=("target",),
        )
    if used > MOST_USED_PERCENT:
        return wrong(
            f"In the last hour up to {used:.0f} % of the pool was open.",
            "Enlarge pool.max_percent or the instance: 30 % should be left for peaks.",
        )
    return ok(f"in the last hour at most {used:.0f} % of the pool open, {pinned:.0f} % pinned, no borrow timeout")


def _unseen(site: Site, watching: Iterable[dict[str, Any]]) -> list[str]:
    """Name the alarms on a cluster whose metric, with its dimensions, CloudWatch has not had for a while.

    Nothing is said of a young cluster, nor of one that is paused, which publishes little.
    """
    database = site.database
    made = database.described.get("ClusterCreateTime")
    if not database.is_cluster or made is None or site.paused or datetime.now(UTC) - made < YOUNG:
        return []
    pages = site.client("cloudwatch").get_paginator("list_metrics")
    known = {
        (metric["MetricName"], frozenset((given["Name"], given["Value"]) for given in metric["Dimensions"]))
        for page in pages.paginate(
            Namespace="AWS/RDS", Dimensions=[{"Name": "DBClusterIdentifier", "Value": database.name}]
        )
        for metric in page["Metrics"]
    }
    return sorted(
        alarm["AlarmName"]
        for alarm in watching
        for name, dimensions in _metrics(alarm)
        if ("DBClusterIdentifier", database.name) in dimensions and (name, dimensions) not in known
    )


def _metrics(alarm: Mapping[str, Any]) -> Iterator[tuple[str, frozenset[tuple[str, str]]]]:
    """Yield the metrics that an alarm watches, alone or in an expression."""
    watched = [alarm, *(query.get("MetricStat", {}).get("Metric", {}) for query in alarm.get("Metrics", []))]
    for metric in watched:
        if "MetricName" in metric:
            given = metric.get("Dimensions", [])
            yield metric["MetricName"], frozenset((one["Name"], one["Value"]) for one in given)


def _direct(site: Site) -> Finding:
    name, writer = site.database.name, site.database.writer
    if writer is None:
        return unknown(f"{name} has no writer.")
    dimensions = {"open": ("DatabaseConnections", {"DBInstanceIdentifier": writer["DBInstanceIdentifier"]})}
    if site.database.is_cluster:  # AWS's guide lists both dimensions, not which metric has them
        dimensions["open_too"] = ("DatabaseConnections", {"DBClusterIdentifier": name, "Role": "WRITER"})
    found = _series(site, dimensions, statistic="Maximum")
    opened = [*found["open"].values(), *found.get("open_too", {}).values()]
    most = site.known_view("database_view").get("server", {}).get("max_connections")
    if not opened and site.paused:
        return ok("nobody was connected in the last hour: paused")
    if not opened or not most:
        return unknown(f"CloudWatch has no metric of {name} of the last hour.")
    used = 100 * max(opened) / most
    if used > MOST_DIRECT_PERCENT:
        return wrong(
            f"In the last hour up to {used:.0f} % of max_connections ({most}) were in use.",
            "Connect through the proxy, lower reserved_concurrency, or take a larger instance.",
        )
    return ok(f"in the last hour at most {used:.0f} % of max_connections ({most}) in use")


def _series(site: Site, wanted: Mapping[str, tuple[str, Mapping[str, str]]], *, statistic: str = "Sum") -> Series:
    """Ask for metrics of RDS of the last hour, by name; {} for one that has no point."""
    end = int(time.time()) // PERIOD_SECONDS * PERIOD_SECONDS + PERIOD_SECONDS
    queries = [
        {
            "Id": name,
            "MetricStat": {
                "Metric": {
                    "Namespace": "AWS/RDS",
                    "MetricName": metric,
                    "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
                },
                "Period": PERIOD_SECONDS,
                "Stat": statistic,
            },
        }
        for name, (metric, dimensions) in wanted.items()
    ]
    answer = site.client("cloudwatch").get_metric_data(
        MetricDataQueries=queries,
        StartTime=datetime.fromtimestamp(end - HOUR_SECONDS, UTC),
        EndTime=datetime.fromtimestamp(end, UTC),
    )
    return {
        result["Id"]: dict(zip(result["Timestamps"], result["Values"], strict=True))
        for result in answer["MetricDataResults"]
    }


def _most_percent(part: Mapping[datetime, float], whole: Mapping[datetime, float]) -> float:
    """The largest share of one series in another, at the same minute."""
    return max((100 * part[at] / whole[at] for at in part.keys() & whole.keys() if whole[at]), default=0.0)


def _dimensions(alarm: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    yield from alarm.get("Dimensions", [])
    for query in alarm.get("Metrics", []):
        yield from query.get("MetricStat", {}).get("Metric", {}).get("Dimensions", [])
