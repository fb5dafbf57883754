"""What services publish: one value under every set of dimensions on which a metric exists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from moto.cloudwatch.models import cloudwatch_backends

from local.aws.cloudwatch.alarms import clock, store_of
from local.aws.cloudwatch.embedded import embedded_metrics
from local.aws.cloudwatch.series import Distribution, Metric, Store

Dimensions = Mapping[str, str]


@dataclass(frozen=True)
class Publisher:
    """One namespace of one account and region."""

    account: str
    region: str
    namespace: str

    @property
    def store(self) -> Store:
        return store_of(cloudwatch_backends[self.account][self.region])

    def put(
        self, name: str, value: float | Distribution, unit: str, *sets: Dimensions, at: float | None = None
    ) -> None:
        """Publish a value, or a distribution of values, of now or of another time."""
        if isinstance(value, Distribution):
            distribution = value
        else:
            distribution = Distribution()
            distribution.add(float(value))
        for dimensions in sets:
            metric = Metric.of(self.namespace, name, dimensions)
            self.store.add_all(metric, distribution, at=clock() if at is None else at, unit=unit)


def publish_embedded(account: str, region: str, lines: Iterable[str]) -> None:
    """Publish the metrics that are embedded in lines of a log."""
    store = store_of(cloudwatch_backends[account][region])
    for found in embedded_metrics(lines):
        for value in found.values:
            store.add(found.metric, value, at=found.at, unit=found.unit)
