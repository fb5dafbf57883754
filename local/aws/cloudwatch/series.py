"""Metrics by the minute: a distribution of values for each minute in which something was published.

A minute in which nothing was published does not exist: it is missing, not 0 (CloudWatch User Guide, "Configuring how
CloudWatch alarms treat missing data").
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

KEPT_MINUTES = 2 * 24 * 60  # CloudWatch keeps minutes for 15 days
STATISTICS = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")

_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d{1,10})?|100)")


@dataclass(frozen=True)
class Metric:
    """A metric is its namespace, its name and all of its dimensions: with others it is another metric."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, namespace: str, name: str, dimensions: Mapping[str, str]) -> Metric:
        return cls(namespace, name, tuple(sorted(dimensions.items())))


@dataclass
class Distribution:
    """Values of one metric within some time. `values` is None where only their sum and extremes were published."""

    count: float = 0
    total: float = 0
    minimum: float = math.inf
    maximum: float = -math.inf
    values: list[float] | None = field(default_factory=list)

    def add(self, value: float, times: float = 1) -> None:
        """Add a value that was seen so many times."""
        self.count += times
        self.total += value * times
        self.minimum, self.maximum = min(self.minimum, value), max(self.maximum, value)
        if self.values is not None:
            self.values.extend([value] * int(times))

    def merge(self, other: Distribution) -> None:
        self.count += other.count
        self.total += other.total
        self.minimum, self.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        self.values = None if self.values is None or other.values is None else self.values + other.values

    def statistic(self, name: str) -> float | None:
        """Return a statistic; a percentile is None where the values are not known."""
        simple = (self.count, self.total / self.count, self.total, self.minimum, self.maximum)
        if name in STATISTICS:
            return simple[STATISTICS.index(name)]
        found = _PERCENTILE.fullmatch(name)
        if found is None:
            raise ValueError(f"{name} is no statistic that the local stack knows: {', '.join(STATISTICS)} and pNN.")
        if self.minimum == self.maximum:
            return self.minimum
        return None if self.values is None else _percentile(sorted(self.values), float(found[1]))


def is_statistic(name: str) -> bool:
    """Tell whether the local stack knows a statistic; it has no trimmed means and the like."""
    return name in STATISTICS or _PERCENTILE.fullmatch(name) is not None


class Store:
    """All metrics of one account and region. A minute lasts `minute_seconds` of the machine's time."""

    def __init__(self, minute_seconds: float = 60) -> None:
        self.minute_seconds = minute_seconds
        self._lock = threading.Lock()
        self._series: dict[Metric, dict[str, dict[int, Distribution]]] = {}

    def minute(self, at: float) -> int:
        """Return the number of the minute that holds a time."""
        return math.floor(at / self.minute_seconds)

    def begin(self, minute: int) -> float:
        """Return the time at which a minute begins."""
        return minute * self.minute_seconds

    def minutes(self, period_seconds: float) -> int:
        """Return how many minutes a period of CloudWatch has."""
        return max(1, round(period_seconds / 60))

    def add(self, metric: Metric, value: float, *, at: float, unit: str = "None", times: float = 1) -> None:
        """Publish a value."""
        with self._lock:
            self._distribution(metric, unit, at).add(value, times)

    def add_all(self, metric: Metric, values: Distribution, *, at: float, unit: str = "None") -> None:
        """Publish what was collected elsewhere."""
        with self._lock:
            self._distribution(metric, unit, at).merge(values)

    def metrics(self) -> list[Metric]:
        with self._lock:
            return list(self._series)

    def unit(self, metric: Metric) -> str:
        """Return the unit that a metric was published with first."""
        with self._lock:
            return next(iter(self._series.get(metric, {"None": {}})))

    def window(self, metric: Metric, first: int, last: int, unit: str | None = None) -> Distribution | None:
        """Return what was published from one minute to before another, in any unit or in one; None for nothing."""
        found = self.windows(metric, first, last, last - first, unit)
        return found.get(first)

    def windows(
        self, metric: Metric, first: int, last: int, length: int, unit: str | None = None
    ) -> dict[int, Distribution]:
        """Return what was published in windows of so many minutes, by the minute that a window begins with."""
        found: dict[int, Distribution] = {}
        with self._lock:
            for published_unit, minutes in self._series.get(metric, {}).items():
                if unit is not None and unit != published_unit:
                    continue
                for minute in _within(minutes, first, last):
                    begin = first + (minute - first) // length * length
                    found.setdefault(begin, Distribution()).merge(minutes[minute])
        return found

    def _distribution(self, metric: Metric, unit: str, at: float) -> Distribution:
        minutes = self._series.setdefault(metric, {}).setdefault(unit, {})
        minute = self.minute(at)
        if minute not in minutes:
            minutes[minute] = Distribution()
            if len(minutes) > KEPT_MINUTES:
                del minutes[min(minutes)]
        return minutes[minute]


def _within(minutes: Mapping[int, Distribution], first: int, last: int) -> Iterable[int]:
    if last - first < len(minutes):
        return [minute for minute in range(first, last) if minute in minutes]
    return [minute for minute in minutes if first <= minute < last]


def _percentile(values: list[float], percent: float) -> float:
    """Interpolate between the two nearest values. CloudWatch's own way is not documented."""
    place = (len(values) - 1) * percent / 100
    low = math.floor(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)
