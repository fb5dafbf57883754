"""local/aws/cloudwatch/evaluation.py: what an alarm makes of its datapoints; the tables are the User Guide's."""

import json

import pytest

from local.aws.cloudwatch.evaluation import (
    ALARM,
    COMPARISONS,
    INSUFFICIENT_DATA,
    OK,
    Condition,
    Datapoint,
    judge,
    verdict,
)

RETAIN = "RETAIN"
VALUES = {"0": 0.0, "X": 100.0, "-": None}


def points(text: str) -> list[Datapoint]:
    """0 does not breach, X breaches, - is missing; the oldest first."""
    return [Datapoint(60.0 * minute, VALUES[sign]) for minute, sign in enumerate(text.split())]


def condition(m: int, n: int, treatment: str = "missing", comparison: str = "GreaterThanThreshold") -> Condition:
    return Condition(comparison, 50.0, n, m, treatment)


# "Configuring how CloudWatch alarms treat missing data": data, then missing, ignore, breaching, notBreaching.
THREE_OF_THREE = [
    ("0 - X - X", OK, OK, OK, OK),
    ("0 - - - -", OK, OK, OK, OK),
    ("- - - - -", INSUFFICIENT_DATA, RETAIN, ALARM, OK),
    ("0 X X - X", ALARM, ALARM, ALARM, ALARM),
    ("- - X - -", ALARM, RETAIN, ALARM, OK),
]
TWO_OF_THREE = [
    ("0 - X - X", ALARM, ALARM, ALARM, ALARM),
    ("0 0 X 0 X", ALARM, ALARM, ALARM, ALARM),
    ("0 - X - -", OK, OK, ALARM, OK),
    ("- - - - 0", OK, OK, ALARM, OK),
    ("- - - X -", ALARM, RETAIN, ALARM, OK),
]
CASES = [
    (m, row[0], treatment, expected)
    for m, table in ((3, THREE_OF_THREE), (2, TWO_OF_THREE))
    for row in table
    for treatment, expected in zip(("missing", "ignore", "breaching", "notBreaching"), row[1:], strict=True)
]


@pytest.mark.parametrize(("m", "data", "treatment", "expected"), CASES)
@pytest.mark.parametrize("state", [OK, ALARM, INSUFFICIENT_DATA])
def test_the_guide_s_tables_of_missing_data(m: int, data: str, treatment: str, expected: str, state: str) -> None:
    assert judge(points(data), condition(m, 3, treatment), state) == (state if expected == RETAIN else expected)


@pytest.mark.parametrize("data", ["- - - - X", "- - - X -"])
def test_alarm_is_not_premature(data: str) -> None:
    """The guide: "Because the next data point may be non-breaching, the alarm does not go immediately into ALARM"."""
    assert judge(points(data), condition(3, 3), OK) == OK


def test_the_evaluation_range_of_the_guide() -> None:
    assert condition(3, 3).range == 5


@pytest.mark.parametrize(
    ("data", "expected"), [("X X 0 0 0 X X", ALARM), ("X X 0 0 0 0 X", OK), ("0 0 X X X X 0", ALARM)]
)
def test_m_of_n_counts_the_last_n_only(data: str, expected: str) -> None:
    assert judge(points(data), condition(2, 5), OK) == expected


@pytest.mark.parametrize(
    ("comparison", "at_threshold", "above", "below"),
    [
        ("GreaterThanThreshold", OK, ALARM, OK),
        ("GreaterThanOrEqualToThreshold", ALARM, ALARM, OK),
        ("LessThanThreshold", OK, OK, ALARM),
        ("LessThanOrEqualToThreshold", ALARM, OK, ALARM),
    ],
)
def test_comparisons(comparison: str, at_threshold: str, above: str, below: str) -> None:
    assert comparison in COMPARISONS
    for value, expected in ((50.0, at_threshold), (50.1, above), (49.9, below)):
        assert judge([Datapoint(0, value)], condition(1, 1, comparison=comparison), OK) == expected


def test_a_sparse_metric_alarms_until_its_point_has_left_the_evaluation_range() -> None:
    """The guide's note: alarms might re-evaluate the last datapoints for a while after the metric has stopped."""
    one = condition(1, 1, "notBreaching")
    assert one.range == 3
    assert [judge(points(data), one, OK) for data in ("- - X", "- X -", "X - -", "- - -")] == [ALARM] * 3 + [OK]


@pytest.mark.parametrize(
    ("data", "given", "state", "expected"),
    [
        (
            "X",
            condition(1, 1),
            OK,
            "Threshold Crossed: 1 out of the last 1 datapoints [100.0 (01/01/70 00:00:00)] was greater than the "
            "threshold (50.0) (minimum 1 datapoint for OK -> ALARM transition).",
        ),
        (
            "0 0",
            condition(2, 2),
            ALARM,
            "Threshold Crossed: 2 out of the last 2 datapoints [0.0 (01/01/70 00:00:00), 0.0 (01/01/70 00:01:00)] were "
            "not greater than the threshold (50.0) (minimum 1 datapoint for ALARM -> OK transition).",
        ),
        (
            "- - -",
            condition(1, 1, "notBreaching"),
            ALARM,
            "Threshold Crossed: no datapoints were received for 1 period and 1 missing datapoint was treated as "
            "[NonBreaching].",
        ),
        (
            "- - - -",
            condition(2, 2, "breaching"),
            OK,
            "Threshold Crossed: no datapoints were received for 2 periods and 2 missing datapoints were treated as "
            "[Breaching].",
        ),
        ("- - -", condition(1, 1), OK, "Insufficient Data: 1 datapoint was unknown."),
    ],
)
def test_reasons_are_in_cloudwatch_s_words(data: str, given: Condition, state: str, expected: str) -> None:
    assert verdict(points(data), given, state, now=600.0, statistic="Sum", period=60).reason == expected


def test_the_data_of_a_reason() -> None:
    found = verdict(points("0 X"), condition(1, 2), OK, now=600.0, statistic="Sum", period=60)
    assert json.loads(found.data) == {
        "version": "1.0",
        "queryDate": "1970-01-01T00:10:00.000+0000",
        "startDate": "1970-01-01T00:00:00.000+0000",
        "statistic": "Sum",
        "period": 60,
        "recentDatapoints": [0.0, 100.0],
        "threshold": 50.0,
        "evaluatedDatapoints": [
            {"timestamp": "1970-01-01T00:01:00.000+0000", "value": 100.0},
            {"timestamp": "1970-01-01T00:00:00.000+0000", "value": 0.0},
        ],
    }
