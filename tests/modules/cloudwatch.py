"""What CloudWatch would make of an alarm or a dashboard: which metrics it reads, and whether they exist.

The table of metrics is tests/modules/cloudwatch_metrics.toml.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

TABLE = tomllib.loads((Path(__file__).parent / "cloudwatch_metrics.toml").read_text())

# The body of a dashboard, as the CloudWatch API reference has it: properties of a widget, and which it must have.
_PROPERTIES = {
    "text": ({"markdown"}, {"background"}),
    "alarm": ({"alarms"}, {"sortBy", "states", "title"}),
    "metric": (
        {"metrics", "region"},
        {"accountId", "annotations", "liveData", "legend", "period", "setPeriodToTimeRange", "sparkline", "stacked"}
        | {"stat", "table", "timezone", "title", "trend", "view", "yAxis"},
    ),
}
_OPTIONS = {"accountId", "color", "expression", "id", "label", "period", "region", "stat", "visible", "yAxis"}
_COLUMNS = 24
_ALARMS = 100
_IDENTIFIER = re.compile(r"[a-z]\w*")
_SEARCH = re.compile(r"""SEARCH\('\{([^}]*)\} (.*)', '(\w+)', (\d+)\)""")


class Metric(NamedTuple):
    """A metric that is read."""

    namespace: str
    name: str
    dimensions: tuple[str, ...]
    statistic: str
    period: int

    @property
    def known(self) -> dict[str, Any]:
        """What the table says of it; KeyError when there is no such metric."""
        known: dict[str, Any] = TABLE["metrics"][self.namespace][self.name]
        return known


def unknown(metric: Metric) -> str | None:
    """Tell what is wrong with a metric that is read; None when it exists and the statistic means something."""
    if metric.name not in TABLE["metrics"].get(metric.namespace, {}):
        return f"there is no metric {metric.namespace} {metric.name}"
    sets = [tuple(TABLE["dimension_sets"][name]) for name in metric.known["sets"]]
    if tuple(sorted(metric.dimensions)) not in sets:
        return f"{metric.name} does not exist with {metric.dimensions}, only with {sets}"
    kind = re.sub(r"^p\d+(\.\d+)?$", "pNN", metric.statistic)
    if kind not in metric.known["statistics"]:
        return f"{metric.statistic} of {metric.name} means nothing: {metric.known['statistics']}"
    if metric.known["series"] == "gauge" and kind == "Sum" and metric.period != 60:
        return f"the Sum of {metric.name} over {metric.period} s adds up minutes"
    return None


def read_by_alarm(alarm: Mapping[str, Any]) -> list[Metric]:
    """The metrics that an alarm of a plan reads."""
    if not alarm["metric_query"]:
        stat = alarm["statistic"] or alarm["extended_statistic"]
        return [Metric(alarm["namespace"], alarm["metric_name"], tuple(alarm["dimensions"]), stat, alarm["period"])]
    return [
        Metric(read["namespace"], read["metric_name"], tuple(read["dimensions"]), read["stat"], read["period"])
        for query in alarm["metric_query"]
        for read in query["metric"]
    ]


def read_by_dashboard(body: Mapping[str, Any]) -> Iterator[Metric]:
    """The metrics that the graphs of a dashboard read, with those that a SEARCH would find."""
    for widget in body["widgets"]:
        properties = widget["properties"]
        for *words, options in properties.get("metrics", []):
            if words:
                statistic = options.get("stat", properties["stat"])
                yield Metric(words[0], words[1], tuple(words[2::2]), statistic, properties["period"])
            elif found := _SEARCH.fullmatch(options["expression"]):
                namespace, *dimensions = found[1].split(",")
                given = dict(re.findall(r'(\w+)="([^"]*)"', found[2]))
                assert given.keys() - {"MetricName"} <= set(dimensions)
                yield Metric(namespace, given["MetricName"], tuple(dimensions), found[3], int(found[4]))


def problems(body: Mapping[str, Any]) -> list[str]:
    """Tell where the body of a dashboard is not of the structure that CloudWatch takes, or leaves holes."""
    found = []
    taken: dict[tuple[int, int], int] = {}
    for number, widget in enumerate(body["widgets"]):
        if widget.keys() != {"type", "x", "y", "width", "height", "properties"}:
            found.append(f"widget {number} has {sorted(widget)}")
            continue
        numbers = [widget[side] for side in ("x", "y", "width", "height")]
        if not all(isinstance(side, int) for side in numbers) or min(numbers) < 0 or min(numbers[2:]) < 1:
            found.append(f"widget {number} is at {numbers}")
            continue
        x, y, width, height = numbers
        if x + width > _COLUMNS:
            found.append(f"widget {number} ends in column {x + width}")
        for cell in [(column, line) for column in range(x, x + width) for line in range(y, y + height)]:
            if cell in taken:
                found.append(f"widgets {taken[cell]} and {number} overlap")
                break
            taken[cell] = number
        must, may = _PROPERTIES.get(widget["type"], (set(), set()))
        if not must <= widget["properties"].keys() <= must | may:
            found.append(f"widget {number} of type {widget['type']} has {sorted(widget['properties'])}")
        elif len(widget["properties"].get("alarms", [])) > _ALARMS:
            found.append(f"widget {number} has {len(widget['properties']['alarms'])} alarms")
        elif widget["type"] == "metric":
            found += [f"widget {number}: {problem}" for problem in _of_graph(widget["properties"])]
    lines = {line for _, line in taken}
    found += [f"there is a hole at {(x, y)}" for y in sorted(lines) for x in range(_COLUMNS) if (x, y) not in taken]
    return found


def _of_graph(properties: Mapping[str, Any]) -> Iterator[str]:
    if not properties["metrics"]:
        yield "nothing to draw"
    seen: set[str] = set()
    names = [options["id"] for *_, options in properties["metrics"] if "id" in options]
    if len(names) != len(set(names)):
        yield f"an id is taken twice in {names}"
    for *words, options in properties["metrics"]:
        if not options.keys() <= _OPTIONS:
            yield f"unknown options in {sorted(options)}"
        if bool(words) == ("expression" in options) or len(words) % 2 or not all(isinstance(w, str) for w in words):
            yield f"{words} is neither a metric nor an expression"
        if "id" in options and not _IDENTIFIER.fullmatch(options["id"]):
            yield f"{options['id']} must begin with a lower-case letter"
        if not words and not options["expression"].startswith("SEARCH("):
            used = set(_IDENTIFIER.findall(options["expression"]))
            yield from (f"{name} in an expression is no id" for name in sorted(used - set(names)))
            seen |= used
    hidden = {options["id"] for *_, options in properties["metrics"] if options.get("visible") is False}
    yield from (f"{name} is neither drawn nor used" for name in sorted(hidden - seen))
    for line in properties.get("annotations", {}).get("horizontal", []):
        if not isinstance(line.get("value"), int | float):
            yield f"the line {line} has no value"
