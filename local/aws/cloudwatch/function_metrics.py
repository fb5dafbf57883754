"""AWS/Lambda: what invocations publish.

Lambda Developer Guide, "Types of metrics for Lambda functions": a throttled request is neither an invocation nor an
error, and an error has the time at which its invocation began. That an invocation without an error publishes Errors and
Throttles of 0 is an assumption: CloudWatch's graphs show them so.
"""

from __future__ import annotations

from dataclasses import dataclass

from local.aws.cloudwatch.alarms import clock
from local.aws.cloudwatch.publishing import Dimensions, Publisher

_NAMESPACE = "AWS/Lambda"


def running(function_arn: str, executions: int, of_all: int) -> None:
    """Publish how many environments of a function work at this moment, and how many of all functions."""
    _, _, _, region, account, _, name = function_arn.split(":")[:7]
    publisher = Publisher(account, region, _NAMESPACE)
    resource = {"FunctionName": name, "Resource": name}
    publisher.put("ConcurrentExecutions", executions, "Count", {"FunctionName": name}, resource)
    publisher.put("ConcurrentExecutions", of_all, "Count", {})


@dataclass(frozen=True)
class FunctionMetrics:
    """Of one function, invoked by name or by an alias or version of it (`qualifier`)."""

    arn: str
    qualifier: str | None = None

    def invoked(self, *, began: float, duration_ms: float, failed: bool, version: str) -> None:
        """Publish an invocation that is over."""
        sets = self._sets
        if self.qualifier and self.qualifier != version:  # an alias: which version ran is a dimension, too
            sets = (*sets, {**sets[-1], "ExecutedVersion": version})
        publisher = self._publisher
        publisher.put("Invocations", 1, "Count", *sets, at=began)
        publisher.put("Errors", float(failed), "Count", *sets, at=began)
        publisher.put("Duration", duration_ms, "Milliseconds", *sets, at=began)
        publisher.put("Throttles", 0, "Count", *self._sets, at=began)

    def throttled(self) -> None:
        self._publisher.put("Throttles", 1, "Count", *self._sets)

    def event_received(self) -> None:
        self._publisher.put("AsyncEventsReceived", 1, "Count", *self._sets)

    def event_invoked(self, received_at: float) -> None:
        self._publisher.put("AsyncEventAge", (clock() - received_at) * 1000, "Milliseconds", *self._sets)

    def event_dropped(self) -> None:
        self._publisher.put("AsyncEventsDropped", 1, "Count", *self._sets)

    def dead_letter_failed(self) -> None:
        self._publisher.put("DeadLetterErrors", 1, "Count", *self._sets)

    @property
    def _publisher(self) -> Publisher:
        _, _, _, region, account, *_ = self.arn.split(":")
        return Publisher(account, region, _NAMESPACE)

    @property
    def _sets(self) -> tuple[Dimensions, ...]:
        name = self.arn.split(":")[6]
        resource = f"{name}:{self.qualifier}" if self.qualifier else name
        return {"FunctionName": name}, {"FunctionName": name, "Resource": resource}
