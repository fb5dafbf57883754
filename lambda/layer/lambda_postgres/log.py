"""One JSON line on standard output for each connection opened, refused or lost, and for each long wait.

A line that counts something is at the same time a CloudWatch embedded metric, unless DB_METRICS is `off`. Outside
Lambda nothing is written, unless DB_LOG_LEVEL asks for it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_LEVELS = {"TRACE": 0, "DEBUG": 10, "INFO": 20, "WARN": 30, "WARNING": 30, "ERROR": 40, "FATAL": 50, "OFF": 60}
_NAMESPACE = "LambdaPostgres"


class Log:
    """Where a keeper writes."""

    def __init__(self, *, level: str = "INFO", metrics: bool = True, function: str = "") -> None:
        self._level = _LEVELS.get(level.upper(), _LEVELS["INFO"])
        self._metrics = metrics
        self._function = function

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Log:
        """Read DB_LOG_LEVEL (else Lambda's own AWS_LAMBDA_LOG_LEVEL) and DB_METRICS."""
        function = environ.get("AWS_LAMBDA_FUNCTION_NAME")
        return cls(
            level=environ.get("DB_LOG_LEVEL") or (environ.get("AWS_LAMBDA_LOG_LEVEL", "INFO") if function else "OFF"),
            metrics=bool(function) and environ.get("DB_METRICS") != "off",
            function=function or "",
        )

    def write(
        self,
        level: str,
        event: str,
        *,
        metrics: Mapping[str, tuple[str, float]] | None = None,
        by: Mapping[str, str] | None = None,
        **fields: object,
    ) -> None:
        """Write a line when its level is asked for, or when it carries metrics: name → (unit, value).

        `by` has the metrics that are counted for each value of a field of the line besides: name → field.
        """
        metrics = metrics if self._metrics and metrics else {}
        if not metrics and _LEVELS[level] < self._level:
            return
        line: dict[str, object] = {"level": level, "event": event, **fields}
        if metrics:
            definitions = {name: {"Name": name, "Unit": unit} for name, (unit, _) in metrics.items()}
            line["_aws"] = {
                "Timestamp": int(time.time() * 1000),
                "CloudWatchMetrics": [
                    _directive([], list(definitions.values())),
                    *(_directive([field], [definitions[name]]) for name, field in (by or {}).items()),
                ],
            }
            line["FunctionName"] = self._function
            line |= {name: value for name, (_, value) in metrics.items()}
        # One write for the whole line: print() makes two, which lines of other threads could come between.
        sys.stdout.write(json.dumps(line, default=str) + "\n")
        sys.stdout.flush()


def _directive(fields: list[str], definitions: list[dict[str, str]]) -> dict[str, object]:
    return {"Namespace": _NAMESPACE, "Dimensions": [["FunctionName", *fields]], "Metrics": definitions}
