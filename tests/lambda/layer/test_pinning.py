"""What pins a session of RDS Proxy, by the list of the RDS user guide."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from lambda_postgres import Keeper, guard
from lambda_postgres.pinning import explain_pinning
from lambda_postgres.session import Session, WatchedCursor

CASES = tomllib.loads((Path(__file__).parents[2] / "pinning_cases.toml").read_text())
PINS = [(sql, reason) for reason, statements in CASES["pins"].items() for sql in statements]


@pytest.mark.parametrize(("sql", "reason"), PINS)
def test_these_pin(sql, reason):
    assert re.search(rf"\b{reason}", explain_pinning(sql) or "nothing", re.IGNORECASE)
    assert explain_pinning(sql.encode()) == explain_pinning(sql)


@pytest.mark.parametrize("sql", CASES["does_not_pin"])
def test_these_do_not(sql):
    assert explain_pinning(sql) is None


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SET x = 1", "SET changes a session parameter; use ALTER ROLE … SET"),
        ("SELECT pg_try_advisory_lock(1)", "pg_try_advisory_lock locks for the session; use pg_advisory_xact_lock"),
        ("SELECT nextval('s')", "nextval reads a sequence; use an identity column and RETURNING"),
    ],
)
def test_the_reason_says_what_to_do_instead(sql, reason):
    assert explain_pinning(sql) == reason


def test_more_than_16_kb_pin():
    assert explain_pinning("SELECT '" + "x" * 16_375 + "'") is None
    assert explain_pinning("SELECT '" + "x" * 16_384 + "'") == "the statement has 16393 bytes, more than 16384"


@pytest.fixture
def guarded(settings, monkeypatch):
    monkeypatch.setenv("DB_PINNING_GUARD", "warn")
    monkeypatch.setenv("DB_LOG_LEVEL", "WARNING")
    monkeypatch.setattr(guard, "_warned", set())
    keeper = Keeper(settings)
    yield keeper
    keeper.close()


def warnings(capsys):
    return [json.loads(line)["statement"] for line in capsys.readouterr().out.splitlines()]


def test_the_guard_warns_once_for_each_shape_of_statement(guarded, capsys):
    with guarded.connection() as conn, conn.cursor() as cursor:
        for number in range(3):
            cursor.execute("SELECT pg_advisory_lock(%s)", [number])
        cursor.execute("SELECT 1")
        cursor.executemany("SELECT nextval(%s::regclass)", [])
        cursor.execute("LISTEN jobs")
    assert warnings(capsys) == ["SELECT pg_advisory_lock(?)", "SELECT nextval(%s::regclass)", "LISTEN jobs"]


def test_a_warning_of_the_guard_is_a_metric(guarded, monkeypatch, capsys):
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "app")
    with guarded.connection() as conn, conn.cursor() as cursor:
        cursor.execute("LISTEN jobs")
    (line,) = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert (line["FunctionName"], line["PinningStatements"]) == ("app", 1)
    assert line["_aws"]["CloudWatchMetrics"][0]["Metrics"] == [{"Name": "PinningStatements", "Unit": "Count"}]


def test_the_guard_knows_what_psycopg2_sends_by_itself(guarded, capsys):
    with guarded.connection() as conn:
        conn.set_client_encoding("LATIN1")
        conn.set_session(readonly=True)
        conn.reset()
    with guarded.transaction() as conn, conn.cursor("named") as cursor:
        cursor.execute("SELECT 1")
    assert warnings(capsys) == ["SET client_encoding", "SET default_transaction_…", "DISCARD ALL", "DECLARE …"]


def test_the_guards_statements_hold_no_values(guarded, capsys):
    with guarded.connection() as conn, conn.cursor() as cursor:
        cursor.execute("SELECT set_config('app.key', %s, false)", ["canary"])
    assert warnings(capsys) == ["SELECT set_config('', '', false)"]


def test_switched_off_the_guard_is_not_there(keeper):
    with keeper.connection() as conn:
        assert type(conn) is Session
        assert type(conn.cursor()) is WatchedCursor
