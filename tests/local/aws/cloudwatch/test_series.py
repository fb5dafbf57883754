"""local/aws/cloudwatch/series.py: minutes and statistics."""

import pytest

from local.aws.cloudwatch.series import KEPT_MINUTES, Distribution, Metric, Store, is_statistic

LATENCY = Metric.of("AWS/Lambda", "Duration", {"FunctionName": "app"})


def filled(values: list[float], minute_seconds: float = 60) -> Store:
    store = Store(minute_seconds)
    for value in values:
        store.add(LATENCY, value, at=0, unit="Milliseconds")
    return store


@pytest.mark.parametrize(
    ("statistic", "expected"),
    [
        ("SampleCount", 5), ("Sum", 150), ("Average", 30), ("Minimum", 10), ("Maximum", 50),
        ("p0", 10), ("p50", 30), ("p90", 46), ("p99.9", 49.96), ("p100", 50),
    ],
)  # fmt: skip
def test_statistics(statistic: str, expected: float) -> None:
    found = filled([50, 10, 40, 20, 30]).window(LATENCY, 0, 1)
    assert found is not None
    assert found.statistic(statistic) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["tm90", "IQM", "p101", "average", "PR(1:2)"])
def test_other_statistics_are_not_known(name: str) -> None:
    assert not is_statistic(name)
    with pytest.raises(ValueError, match=r"no statistic"):
        Distribution(1, 1, 1, 1).statistic(name)


def test_a_percentile_of_a_sum_is_not_known_unless_all_values_are_one() -> None:
    """CloudWatch API Reference, MetricDatum: percentiles of a statistic set with SampleCount 1, or Min equal to Max."""
    assert Distribution(3, 6, 1, 3, values=None).statistic("p90") is None
    assert Distribution(3, 6, 2, 2, values=None).statistic("p90") == 2


def test_another_dimension_is_another_metric() -> None:
    store = filled([1])
    for dimensions in ({}, {"FunctionName": "other"}, {"FunctionName": "app", "Resource": "app"}):
        assert store.window(Metric.of("AWS/Lambda", "Duration", dimensions), 0, 1) is None
    assert store.window(Metric.of("AWS/RDS", "Duration", {"FunctionName": "app"}), 0, 1) is None


def test_units_are_kept_apart() -> None:
    store = filled([1])
    store.add(LATENCY, 5, at=0, unit="Seconds")
    assert [store.window(LATENCY, 0, 1, unit).total for unit in ("Milliseconds", "Seconds", None)] == [1, 5, 6]  # type: ignore[union-attr]
    assert store.window(LATENCY, 0, 1, "Count") is None


def test_a_minute_without_values_is_missing_and_not_zero() -> None:
    store = Store()
    for at in (0, 59, 180):
        store.add(LATENCY, 1, at=at)
    assert {minute: found.total for minute, found in store.windows(LATENCY, 0, 5, 1).items()} == {0: 2, 3: 1}
    assert {minute: found.total for minute, found in store.windows(LATENCY, 0, 6, 2).items()} == {0: 2, 2: 1}


def test_a_minute_may_be_a_second() -> None:
    store = Store(minute_seconds=1)
    for at in (10.1, 10.9, 11.0):
        store.add(LATENCY, 1, at=at)
    assert {minute: found.total for minute, found in store.windows(LATENCY, 10, 12, 1).items()} == {10: 2, 11: 1}
    assert store.minutes(300) == 5
    assert store.begin(11) == 11


def test_old_minutes_are_forgotten() -> None:
    store = Store(minute_seconds=1)
    for minute in range(KEPT_MINUTES + 5):
        store.add(LATENCY, 1, at=minute)
    kept = store.windows(LATENCY, 0, KEPT_MINUTES + 5, 1)
    assert (len(kept), min(kept)) == (KEPT_MINUTES, 5)
