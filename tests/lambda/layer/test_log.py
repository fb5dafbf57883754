"""One JSON line for each new connection, which is a CloudWatch metric as well."""

from __future__ import annotations

import json

import pytest
from lambda_postgres import CannotConnect
from lambda_postgres.keeper import Keeper
from lambda_postgres.log import Log


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def connect(settings, log):
    keeper = Keeper(settings, log=log)
    with keeper.connection():
        pass
    keeper.close()


def test_a_new_connection_is_one_line_of_json(settings, capsys):
    connect(settings, Log(metrics=False))
    (line,) = lines(capsys)
    assert line.pop("milliseconds") > 0
    assert line == {
        "level": "INFO",
        "event": "connected",
        "reason": "first use",
        "auth": "secret",
        "host": settings.host,
        "user": "app",
        "attempt": 1,
    }


def test_the_line_is_an_embedded_metric(settings, capsys):
    connect(settings, Log(function="app-dev"))
    (line,) = lines(capsys)
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert isinstance(line["_aws"]["Timestamp"], int)
    assert directive["Namespace"] == "LambdaPostgres"
    assert directive["Dimensions"] == [["FunctionName"]]
    assert line["FunctionName"] == "app-dev"
    for metric in directive["Metrics"]:
        assert isinstance(line[metric["Name"]], int | float)
    assert [metric["Name"] for metric in directive["Metrics"]] == ["ConnectMilliseconds", "Reconnects"]


def test_a_failed_connect_is_a_line_that_tells_the_pause_before_the_next(settings, relay, capsys):
    relay.stop_listening()
    keeper = Keeper(settings._replace(port=relay.port, retry_seconds=0.3), log=Log(metrics=False))
    with pytest.raises(CannotConnect) as caught, keeper.connection():
        pass
    *earlier, last = lines(capsys)
    assert last == {
        "level": "WARNING",
        "event": "connect failed",
        "reason": "first use",
        "auth": "secret",
        "error": "CannotConnect",
        "sqlstate": "08001",
        "cause": str(caught.value),
        "attempt": len(earlier) + 1,
        "retry_milliseconds": None,
    }
    assert earlier
    assert all(50 <= line["retry_milliseconds"] <= 300 for line in earlier)


def test_only_a_connection_in_the_place_of_another_counts_as_a_reconnect(settings, clock, capsys):
    for warmed in (True, False):
        keeper = Keeper(settings, log=Log(), clock=clock)
        keeper.connect().close()
        if warmed:
            keeper.warm()
        for _ in range(2):
            with keeper.connection():
                pass
            clock.offset += settings.max_idle_seconds + 1
        keeper.close()
    counted = [(line["reason"], line["Reconnects"]) for line in lines(capsys)]
    assert counted[:3] == [("connect()", 0), ("init", 0), ("idle too long", 1)]
    assert counted[3:] == [("connect()", 0), ("first use", 0), ("idle too long", 1)]


def test_a_higher_level_leaves_only_the_metrics(settings, capsys):
    connect(settings, Log(level="ERROR", metrics=False))
    assert lines(capsys) == []
    connect(settings, Log(level="ERROR", metrics=True))
    assert len(lines(capsys)) == 1


@pytest.mark.parametrize(
    ("environ", "level", "metrics"),
    [
        ({}, False, False),
        ({"DB_LOG_LEVEL": "info"}, True, False),
        ({"AWS_LAMBDA_FUNCTION_NAME": "f"}, True, True),
        ({"AWS_LAMBDA_FUNCTION_NAME": "f", "DB_METRICS": "off"}, True, False),
        ({"AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_LAMBDA_LOG_LEVEL": "WARN"}, False, True),
        ({"AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_LAMBDA_LOG_LEVEL": "WARN", "DB_LOG_LEVEL": "DEBUG"}, True, True),
        ({"AWS_LAMBDA_FUNCTION_NAME": "f", "DB_LOG_LEVEL": "nonsense"}, True, True),
    ],
)
def test_variables_choose_what_is_written(environ, level, metrics, capsys):
    log = Log.from_environment(environ)
    log.write("INFO", "plain")
    assert bool(lines(capsys)) is level
    log.write("INFO", "measured", metrics={"X": ("Count", 1)})
    assert any("_aws" in line for line in lines(capsys)) is metrics
