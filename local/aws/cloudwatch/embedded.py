"""Metrics in log lines: the embedded metric format, which CloudWatch Logs turns into metrics as lines arrive.

CloudWatch User Guide, "Specification: Embedded metric format". A line that breaks the format is a line of the log only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from local.aws.cloudwatch.series import Metric

MOST_DIMENSIONS = 30
MOST_METRICS = 100
MOST_VALUES = 100


@dataclass(frozen=True)
class Embedded:
    """Values of one metric that a line holds; `at` is in seconds."""

    metric: Metric
    unit: str
    at: float
    values: tuple[float, ...]


def embedded_metrics(lines: Iterable[str]) -> Iterator[Embedded]:
    """Yield the metrics of log lines."""
    for line in lines:
        if '"_aws"' in line and line.lstrip().startswith("{"):
            try:
                document = json.loads(line)
            except ValueError:
                continue
            if isinstance(document, dict):
                yield from _of(document)


def _of(document: Mapping[str, Any]) -> Iterator[Embedded]:
    metadata = document.get("_aws")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("Timestamp"), int):
        return
    for directive in metadata.get("CloudWatchMetrics") or []:
        metrics = directive.get("Metrics") or []
        if not directive.get("Namespace") or len(metrics) > MOST_METRICS:
            continue
        for names in directive.get("Dimensions") or [[]]:
            if len(names) > MOST_DIMENSIONS or not all(isinstance(document.get(name), str) for name in names):
                continue
            dimensions = {name: document[name] for name in names}
            for definition in metrics:
                name = definition.get("Name")
                if values := _values(document.get(name)):
                    metric = Metric.of(directive["Namespace"], name, dimensions)
                    yield Embedded(metric, definition.get("Unit") or "None", metadata["Timestamp"] / 1000, values)


def _values(value: Any) -> tuple[float, ...]:
    values = value if isinstance(value, list) else [value]
    if len(values) > MOST_VALUES or any(isinstance(one, bool) or not isinstance(one, int | float) for one in values):
        return ()
    return tuple(map(float, values))
