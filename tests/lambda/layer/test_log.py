"""One JSON line for each new connection, which is a CloudWatch metric as well."""

from __future__ import annotations

import ast
import json
import threading
import tomllib
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from lambda_postgres import CannotConnect, CannotLend, LoginRefused, PoolExhausted
from lambda_postgres.keeper import Keeper
from lambda_postgres.log import Log

from tests.docs.pages import ROOT, rows

from .support import set_password

TABLE = tomllib.loads((ROOT / "tests" / "modules" / "cloudwatch_metrics.toml").read_text())
FULL = "DO $$BEGIN RAISE EXCEPTION 'Timed-out waiting to acquire database connection' USING ERRCODE = '08000'; END$$"


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def counted(line):
    """What CloudWatch reads out of a line: the values by metric and dimensions, of which the table must know each."""
    found = {}
    for directive in line["_aws"]["CloudWatchMetrics"]:
        for dimensions in directive["Dimensions"]:
            for metric in directive["Metrics"]:
                known = TABLE["metrics"][directive["Namespace"]][metric["Name"]]
                assert metric["Unit"] == known["unit"]
                assert sorted(dimensions) in [TABLE["dimension_sets"][name] for name in known["sets"]]
                values = tuple(line[name] for name in dimensions)
                assert all(isinstance(value, str) and value for value in values)
                found[(metric["Name"], *values)] = line[metric["Name"]]
    return found


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


def test_a_reconnect_is_counted_by_its_reason_too(settings, clock, capsys):
    keeper = Keeper(settings, log=Log(function="app"), clock=clock)
    with keeper.connection():
        pass
    clock.offset += settings.max_idle_seconds + 1
    with keeper.connection():
        pass
    keeper.close()
    first, second = (counted(line) for line in lines(capsys))
    assert ("Reconnects", "app", "first use") not in first
    assert second["Reconnects", "app"] == second["Reconnects", "app", "idle too long"] == 1


def test_a_refused_login_is_counted_by_its_error(settings, server, capsys):
    set_password(server, "another")
    keeper = Keeper(settings, log=Log(function="app"))
    with pytest.raises(LoginRefused), keeper.connection():
        pass
    (line,) = lines(capsys)
    assert counted(line) == {
        ("ConnectFailures", "app"): 1,
        ("Refusals", "app"): 1,
        ("Refusals", "app", "LoginRefused"): 1,
    }


def test_a_failure_that_is_no_refusal_is_not_counted_as_one(settings, relay, capsys):
    relay.stop_listening()
    keeper = Keeper(settings._replace(port=relay.port, retry_seconds=0), log=Log(function="app"))
    with pytest.raises(CannotConnect), keeper.connection():
        pass
    assert [counted(line) for line in lines(capsys)] == [{("ConnectFailures", "app"): 1}]


def test_a_full_pool_during_work_is_counted(settings, capsys):
    keeper = Keeper(settings, log=Log(function="app"))
    with pytest.raises(PoolExhausted), keeper.transaction() as conn:
        conn.cursor().execute(FULL)
    keeper.close()
    _, line = lines(capsys)
    assert (line["level"], line["event"], line["error"]) == ("WARNING", "refused", "PoolExhausted")
    assert "Timed-out waiting" in line["cause"]
    assert counted(line) == {("Refusals", "app"): 1, ("Refusals", "app", "PoolExhausted"): 1}


@contextmanager
def held(keeper, seconds):
    """Have the connection in another thread, until the block ends or for some seconds."""
    taken, done = threading.Event(), threading.Event()

    def hold():
        with keeper.connection():
            taken.set()
            done.wait(seconds)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    yield
    done.set()
    thread.join()


def test_a_wait_that_is_felt_is_a_line_and_a_metric(settings, capsys):
    keeper = Keeper(settings, log=Log(function="app"))
    with held(keeper, 0.3), keeper.connection():
        pass
    keeper.close()
    _, line = lines(capsys)
    assert (line["event"], line["milliseconds"]) == ("waited", line["WaitMilliseconds"])
    assert 100 <= counted(line)["WaitMilliseconds", "app"] < 5000


def test_a_loan_that_is_refused_is_counted(settings, capsys):
    keeper = Keeper(settings, log=Log(function="app"))
    invocation = SimpleNamespace(get_remaining_time_in_millis=lambda: 800)
    with held(keeper, 30), pytest.raises(CannotLend), keeper.connection(invocation):
        pass
    keeper.close()
    _, line = lines(capsys)
    assert line["event"] == "refused"
    assert counted(line) == {("Refusals", "app"): 1, ("Refusals", "app", "CannotLend"): 1}


def test_a_loan_to_which_nothing_happens_writes_nothing(settings, capsys):
    keeper = Keeper(settings, log=Log(function="app"))
    with keeper.connection():
        pass
    lines(capsys)
    for _ in range(3):
        with keeper.connection(), keeper.transaction():
            pass
    assert lines(capsys) == []
    keeper.close()


def test_metrics_are_documented_as_the_table_has_them():
    documented = {
        row[0].strip("`"): (row[1], [cell.strip("` ") for cell in row[2].split(";")])
        for row in rows((ROOT / "docs" / "library.md").read_text(), "### Metrics")
    }
    assert documented == {
        name: (known["unit"], [", ".join(TABLE["dimension_sets"][part]) for part in known["sets"]])
        for name, known in TABLE["metrics"]["LambdaPostgres"].items()
    }


def test_the_table_has_what_the_library_publishes():
    published = {
        key.value
        for source in (ROOT / "lambda" / "layer" / "lambda_postgres").glob("*.py")
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and isinstance(value, ast.Tuple)
        if isinstance(value.elts[0], ast.Constant) and value.elts[0].value in ("Count", "Milliseconds")
    }
    assert published == set(TABLE["metrics"]["LambdaPostgres"])
