"""local/aws/cloudwatch/expressions.py: metric math, with the tables of the CloudWatch User Guide."""

import pytest

from local.aws.cloudwatch.expressions import Expression, ExpressionError


def series(values: list[float | None]) -> dict[int, float]:
    return {time: float(value) for time, value in enumerate(values) if value is not None}


def listed(found: dict[int, float], length: int) -> list[float | None]:
    return [found.get(time) for time in range(length)]


M1 = [30, 20, 0, 0]
M2 = [20, None, 20, None]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # "Comparison and logical operators"
        ("(metric1 < metric2)", [0, 0, 1, 0]),
        ("(metric1 >= 30)", [1, 0, 0, 0]),
        ("(metric1 > 15 AND metric2 > 15)", [1, 0, 0, 0]),
        ("metric1 > 15 && metric2 > 15 || metric1 == 20", [1, 1, 0, 0]),
        ("metric1 != 0", [1, 1, 0, 0]),
        # "Basic arithmetic functions": a missing value is 0, a division by 0 drops the point
        ("metric1 + metric2", [50, 20, 20, 0]),
        ("metric1 / metric2", [1.5, None, 0, None]),
        ("100 * metric2 / metric1", [100 * 20 / 30, 0, None, None]),
        ("metric1 - 2 * 3", [24, 14, -6, -6]),
        ("(metric1 - 2) * 3 ^ 2", [252, 162, -18, -18]),
        ("-metric2", [-20, None, -20, None]),
        # functions
        ("FILL(metric2, 7)", [20, 7, 20, 7]),
        ("FILL(metric2, metric1)", [20, 20, 20, 0]),
        ("FILL(metric2, REPEAT)", [20, 20, 20, 20]),
        ("FILL(nothing, 0)", [0, 0, 0, 0]),
        ("MAX([metric1, metric2])", [30, 20, 20, 0]),
        ("MIN([metric1, metric2])", [20, 20, 0, 0]),
        ("SUM([metric1, metric2])", [50, 20, 20, 0]),
        ("AVG([metric1, metric2])", [25, 10, 10, 0]),
        ("MAX(metric1) / metric1", [1, 1.5, None, None]),
        ("metric1 - AVG(metric1)", [17.5, 7.5, -12.5, -12.5]),
        ("SUM(100 / [metric1, metric2])", [100 / 30 + 5, 5, 5, None]),
        ("ABS(metric1 - 25)", [5, 5, 25, 25]),
        ("IF(metric1 < 25, metric1)", [None, 20, 0, 0]),
        ("IF(metric1 > 10, 1, 0)", [1, 1, 0, 0]),
        ("IF(0, metric1, metric2)", M2),
        ("IF(1, metric1, metric2)", M1),
        ("IF(0, metric1)", [None] * 4),
        ("nothing", [None] * 4),
    ],
)
def test_metric_math(text: str, expected: list[float | None]) -> None:
    values = {"metric1": series(M1), "metric2": series(M2), "nothing": {}}
    assert listed(Expression(text).evaluate(values, range(4)), 4) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        # "Using IF expressions", its three tables
        (
            "IF(metric1, metric2, metric3)",
            {"metric1": [1, 1, 0, 0, None], "metric2": [30, None, 0, 0, 30], "metric3": [0, 0, 20, None, 20]},
            [30, 0, 20, 0, None],
        ),
        (
            "IF(metric1, 5, metric3)",
            {"metric1": [1, 1, 0, 0, None], "metric3": [0, 0, 20, None, 20]},
            [5, 5, 20, None, None],
        ),
        (
            "IF(metric1, metric2, 5)",
            {"metric1": [1, 1, 0, 0, None], "metric2": [30, None, 0, 0, 30]},
            [30, 0, 5, 5, None],
        ),
    ],
)
def test_if(text: str, values: dict[str, list[float | None]], expected: list[float | None]) -> None:
    found = Expression(text).evaluate({name: series(value) for name, value in values.items()}, range(5))
    assert listed(found, 5) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("RATE(m1)", r"does not know RATE\(\) of metric math, only IF, FILL"),
        ("ANOMALY_DETECTION_BAND(m1, 2)", "does not know ANOMALY_DETECTION_BAND"),
        ("m1 +", "ends too early"),
        ("m1 m2", "Unexpected 'm2'"),
        ("(m1", r"\) was expected"),
        ("M1", "an id begins with a lowercase letter"),
        ("m1 ; m2", "cannot read '; m2'"),
        ("IF(m1)", "has 1 arguments"),
    ],
)
def test_what_is_not_known_is_refused_by_name(text: str, words: str) -> None:
    with pytest.raises(ExpressionError, match=words):
        Expression(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("MAX(m1)", "not a number"),
        ("[m1, m1]", "not several time series"),
        ("m1 + m2", "No element of the request has the id m2"),
        ("1/0", "divided by 0"),
    ],
)
def test_a_result_is_one_series(text: str, words: str) -> None:
    with pytest.raises(ExpressionError, match=words):
        Expression(text).evaluate({"m1": {0: 1.0}}, range(1))


def test_ids() -> None:
    assert Expression("FILL(m1, REPEAT) / total_m + IF(e2A > 1, 2)").ids == {"m1", "total_m", "e2A"}
