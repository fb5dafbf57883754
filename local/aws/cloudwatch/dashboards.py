"""What CloudWatch says of the body of a dashboard: errors, which refuse it, and warnings, with which it is stored.

CloudWatch API Reference, "Dashboard Body Structure and Syntax". The words are those of pulumi/pulumi#13059,
aws-samples/aws-eda-slurm-cluster#116 and aws-solutions-library-samples/guidance-for-automating-network-monitoring-and-
alerting-on-aws#7, where they are known. That a property which is not in the reference is a warning is an assumption.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local.aws.cloudwatch.expressions import Expression, ExpressionError
from local.aws.cloudwatch.series import is_statistic

NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
MOST_WIDGETS = 500
GRID = 24

_TYPES = ("metric", "text", "log", "alarm", "explorer")
_VIEWS = ("timeSeries", "singleValue", "gauge", "bar", "pie", "table")
_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
_ELSEWHERE = re.compile(r"SEARCH\(|SELECT ", re.IGNORECASE)  # what a graph may have, and this file does not read

_TOP = {"widgets", "variables", "start", "end", "periodOverride"}
_WIDGET = {"type", "x", "y", "width", "height", "properties"}
_RENDERING = {
    *("accountId", "color", "expression", "id", "label", "period", "region", "stat", "visible", "yAxis"),
}  # fmt: skip
_PROPERTIES = {
    "metric": {
        *("accountId", "annotations", "legend", "liveData", "metrics", "period", "region", "setPeriodToTimeRange"),
        *("singleValueFullPrecision", "sparkline", "stacked", "stat", "table", "timezone", "title", "trend", "view"),
        "yAxis",
    },
    "text": {"markdown", "background"},
    "log": {"accountId", "query", "region", "stacked", "title", "view", "queryLanguage"},
    "alarm": {"alarms", "sortBy", "states", "title"},
}


@dataclass(frozen=True)
class Finding:
    """What is wrong, and where."""

    path: str
    message: str
    warning: bool = False

    def described(self) -> dict[str, str]:
        return {"dataPath": self.path, "message": self.message}


def check(body: str) -> list[Finding]:
    """Return what CloudWatch says of a body."""
    try:
        dashboard = json.loads(body)
    except ValueError:
        return [Finding("", "The field DashboardBody must be a valid JSON object")]
    if not isinstance(dashboard, dict):
        return [Finding("", "Should be object")]
    return list(_dashboard(dashboard))


def refusal(errors: Sequence[Finding]) -> str:
    """Return the message of a refused PutDashboard."""
    listed = json.dumps([error.described() for error in errors], indent=2)
    return f"The dashboard body is invalid, there are {len(errors)} validation errors:\n{listed}"


def _dashboard(body: Mapping[str, Any]) -> Iterator[Finding]:
    yield from _unknown("", body, _TOP)
    if "widgets" not in body:
        yield Finding("", "Should have required property 'widgets'")
        return
    if not isinstance(body["widgets"], list):
        yield Finding("/widgets", "Should be array")
        return
    if len(body["widgets"]) > MOST_WIDGETS:
        yield Finding("/widgets", f"Should NOT have more than {MOST_WIDGETS} items")
    if body.get("periodOverride", "auto") not in ("auto", "inherit"):
        yield Finding("/periodOverride", "Should be equal to one of the allowed values")
    if "end" in body and "start" not in body:
        yield Finding("", "Should have property start when property end is present")
    for number, widget in enumerate(body["widgets"]):
        yield from _widget(f"/widgets/{number}", widget)


def _widget(path: str, widget: Any) -> Iterator[Finding]:
    if not isinstance(widget, dict):
        yield Finding(path, "Should be object")
        return
    yield from _unknown(path, widget, _WIDGET)
    for name in ("type", "properties"):
        if name not in widget:
            yield Finding(path, f"Should have required property '{name}'")
    if ("x" in widget) is not ("y" in widget):
        missing = "y" if "x" in widget else "x"
        yield Finding(path, f"Should have required property '{missing}'")
    for name, least, most in (("x", 0, GRID - 1), ("y", 0, None), ("width", 1, GRID), ("height", 1, 1000)):
        yield from _whole(f"{path}/{name}", widget.get(name, least), least, most)
    if widget.get("type") not in _TYPES:
        yield Finding(f"{path}/type", "Should be equal to one of the allowed values")
        return
    properties = widget.get("properties", {})
    if not isinstance(properties, dict):
        yield Finding(f"{path}/properties", "Should be object")
        return
    kind = widget["type"]
    if kind in _PROPERTIES:
        yield from _unknown(f"{path}/properties", properties, _PROPERTIES[kind])
        yield from _CHECKS[kind](f"{path}/properties", properties)


def _text(path: str, properties: Mapping[str, Any]) -> Iterator[Finding]:
    yield from _required(path, properties, "markdown")
    yield from _one_of(path, properties, "background", ("solid", "transparent"))


def _log(path: str, properties: Mapping[str, Any]) -> Iterator[Finding]:
    yield from _required(path, properties, "region", "query")
    yield from _one_of(path, properties, "view", ("table", "timeSeries", "bar", "pie"))


def _alarm(path: str, properties: Mapping[str, Any]) -> Iterator[Finding]:
    alarms = properties.get("alarms")
    if alarms is None:
        yield Finding(path, "Should have required property 'alarms'")
    elif not isinstance(alarms, list):
        yield Finding(f"{path}/alarms", "Should be array")
    elif not alarms:
        yield Finding(f"{path}/alarms", "Should NOT have less than 1 items")
    elif len(alarms) > 100:
        yield Finding(f"{path}/alarms", "Should NOT have more than 100 items")
    yield from _one_of(path, properties, "sortBy", ("default", "stateUpdatedTimestamp", "timestamp"))


def _metric(path: str, properties: Mapping[str, Any]) -> Iterator[Finding]:
    annotations = properties.get("annotations") or {}
    if "metrics" not in properties and not annotations.get("alarms"):
        yield Finding(path, "Should have required property 'metrics'")
        message = "The metric widget should have specified a region and a data source or an alarm annotation"
        yield Finding(path, message)
        yield Finding(path, "Should have required property 'annotations'")
        return
    yield from _required(path, properties, "region")
    yield from _one_of(path, properties, "view", _VIEWS)
    yield from _rendering(path, properties)
    if properties.get("view") == "gauge" and not {"min", "max"} <= set(
        (properties.get("yAxis") or {}).get("left") or {}
    ):
        yield Finding(f"{path}/yAxis", "A gauge needs min and max of the left yAxis")
    if annotations.get("alarms") and (annotations.get("horizontal") or annotations.get("vertical")):
        yield Finding(f"{path}/annotations", "A widget has either an alarm or other annotations")
    for number, line in enumerate(_flat(annotations.get("horizontal") or [])):
        if "value" not in line:
            yield Finding(f"{path}/annotations/horizontal/{number}", "Should have required property 'value'")
        yield from _rendering(f"{path}/annotations/horizontal/{number}", line)
    metrics = properties.get("metrics", [])
    if not isinstance(metrics, list):
        yield Finding(f"{path}/metrics", "Should be array")
        return
    if len(metrics) > 500:
        yield Finding(f"{path}/metrics", "Should NOT have more than 500 items")
    yield from _series(f"{path}/metrics", metrics)


def _series(path: str, metrics: Sequence[Any]) -> Iterator[Finding]:
    ids = [row[-1].get("id") for row in metrics if isinstance(row, list) and row and isinstance(row[-1], dict)]
    for number, row in enumerate(metrics):
        place = f"{path}/{number}"
        if not isinstance(row, list):
            yield Finding(place, "Should be array")
            text = "has to be an array of array of strings, with an optional metricRenderer object as last element"
            yield Finding(place, f'Field "metrics" {text}')
            continue
        words, rendering = (row[:-1], row[-1]) if row and isinstance(row[-1], dict) else (row, {})
        yield from _unknown(place, rendering, _RENDERING)
        yield from _rendering(place, rendering)
        if not all(isinstance(word, str) for word in words):
            yield Finding(place, "Should be string")
        if "expression" in rendering:
            yield from _expression(place, rendering["expression"], ids)
        elif len(words) < 2 or len(words) % 2:
            yield Finding(place, "A metric is a namespace, a name, and pairs of a dimension and its value")
        elif number == 0 and "." in words:
            yield Finding(place, "The first metric has nothing that '.' could stand for")


def _expression(path: str, text: Any, ids: Sequence[str | None]) -> Iterator[Finding]:
    if not isinstance(text, str):
        yield Finding(f"{path}/expression", "Should be string")
    elif not _ELSEWHERE.match(text):
        try:
            unknown = Expression(text).ids - {name for name in ids if name}
        except ExpressionError as error:
            yield Finding(f"{path}/expression", str(error), warning=True)
            return
        if unknown:
            yield Finding(f"{path}/expression", f"No metric has the id {min(unknown)}")


def _rendering(path: str, given: Mapping[str, Any]) -> Iterator[Finding]:
    period = given.get("period", 60)
    if not isinstance(period, int) or period < 1 or (period >= 60 and period % 60):
        yield Finding(f"{path}/period", "Should be a multiple of 60")
    if "stat" in given and not is_statistic(str(given["stat"])):
        yield Finding(f"{path}/stat", "Should be a statistic", warning=True)
    if "color" in given and not _COLOUR.fullmatch(str(given["color"])):
        yield Finding(f"{path}/color", "Should match pattern of a hex color code")
    if isinstance(given.get("yAxis"), str) and given["yAxis"] not in ("left", "right"):
        yield Finding(f"{path}/yAxis", "Should be equal to one of the allowed values")
    if "id" in given and not re.fullmatch(r"[a-z]\w*", str(given["id"])):
        yield Finding(f"{path}/id", "Should begin with a lowercase letter")


def _flat(lines: Sequence[Any]) -> list[Mapping[str, Any]]:
    """Annotations, those of a band one by one."""
    return [line for given in lines for line in (given if isinstance(given, list) else [given])]


def _required(path: str, given: Mapping[str, Any], *names: str) -> Iterator[Finding]:
    for name in names:
        if name not in given:
            yield Finding(path, f"Should have required property '{name}'")
        elif not isinstance(given[name], str):
            yield Finding(f"{path}/{name}", "Should be string")


def _one_of(path: str, given: Mapping[str, Any], name: str, allowed: Sequence[str]) -> Iterator[Finding]:
    if name in given and given[name] not in allowed:
        yield Finding(f"{path}/{name}", "Should be equal to one of the allowed values")


def _whole(path: str, value: Any, least: int, most: int | None) -> Iterator[Finding]:
    if not isinstance(value, int) or isinstance(value, bool):
        yield Finding(path, "Should be integer")
    elif value < least:
        yield Finding(path, f"Should be >= {least}")
    elif most is not None and value > most:
        yield Finding(path, f"Should be <= {most}")


def _unknown(path: str, given: Mapping[str, Any], known: set[str]) -> Iterator[Finding]:
    for name in given:
        if name not in known:
            yield Finding(f"{path}/{name}", "Should NOT have additional properties", warning=True)


_CHECKS: dict[str, Callable[[str, Mapping[str, Any]], Iterator[Finding]]] = {
    "metric": _metric,
    "text": _text,
    "log": _log,
    "alarm": _alarm,
}
