"""What pins a session of RDS Proxy, by the list of the RDS user guide."""

from __future__ import annotations

import json

import pytest
from lambda_postgres import Keeper, guard
from lambda_postgres.pinning import explain_pinning
from lambda_postgres.session import Session, WatchedCursor


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SET statement_timeout = 1", "SET changes"),
        ("set search_path to app", "SET changes"),
        ("SET LOCAL statement_timeout = 1", "SET changes"),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SET changes"),
        ("/* a */ -- b\n  SET x = 1", "SET changes"),
        ("/* a /* nested */ b */ SET x = 1", "SET changes"),
        ("SELECT 1; RESET ALL", "RESET changes"),
        ("SELECT set_config('a.b', 'c', true)", "set_config changes"),
        ("SELECT pg_catalog.\"set_config\"('a', 'b', false)", "set_config changes"),
        ("PREPARE p AS SELECT 1", "PREPARE makes"),
        ("EXECUTE p", "EXECUTE runs"),
        ("DEALLOCATE ALL", "DEALLOCATE drops"),
        ("DISCARD ALL", "DISCARD discards"),
        ("DECLARE c CURSOR FOR SELECT 1", "DECLARE opens"),
        ("LISTEN jobs", "LISTEN waits"),
        ("LOAD 'auto_explain'", "LOAD loads"),
        ("CREATE TEMP TABLE t (id int)", "temporary"),
        ("CREATE TEMPORARY SEQUENCE s", "temporary"),
        ("CREATE LOCAL TEMP TABLE t (id int)", "temporary"),
        ("CREATE OR REPLACE TEMP VIEW v AS SELECT 1", "temporary"),
        ("CREATE TABLE pg_temp.t (id int)", "temporary"),
        ("SELECT * INTO TEMP t FROM users", "temporary"),
        ("SELECT nextval('s')", "nextval reads"),
        ("INSERT INTO t VALUES (NEXTVAL ('s'))", "nextval reads"),
        ("SELECT setval('s', 1)", "setval changes"),
        ("SELECT pg_advisory_lock(1)", "pg_advisory_lock locks"),
        ("SELECT pg_try_advisory_lock(1)", "pg_try_advisory_lock locks"),
        ("SELECT pg_advisory_lock_shared(1)", "pg_advisory_lock_shared locks"),
        ("SELECT '" + "x" * 16_384 + "'", "16393 bytes"),
        (b"LISTEN jobs", "LISTEN waits"),
    ],
)
def test_these_pin(sql, reason):
    found = explain_pinning(sql)
    assert found is not None
    assert reason in found


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id, name, created_at FROM users ORDER BY id LIMIT 10",
        "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
        "COMMIT",
        "SAVEPOINT a",
        "UPDATE users SET name = 'SET x'",
        "INSERT INTO t VALUES ('a; SET x = 1')",
        "SELECT E'it\\'s; SET x = 1'",
        "SELECT 'it''s; LISTEN x'",
        "SELECT $$; SET x = 1$$, $a$; LISTEN b $$ $a$",
        "DO $$BEGIN PERFORM nextval('s'); END$$",
        "-- SET x = 1\nSELECT 1",
        "/* SET x = 1; LISTEN y */ SELECT 1",
        "SELECT 1 /* ; /* nested */ SET x = 1 */",
        'SELECT "nextval" FROM t',
        "SELECT pg_advisory_xact_lock(1), pg_try_advisory_xact_lock_shared(1)",
        "CREATE TABLE template (id int GENERATED ALWAYS AS IDENTITY)",
        "CALL procedure_that_does_it_all()",
        "NOTIFY jobs",
        "ALTER ROLE app SET statement_timeout = 1",
        "COPY users FROM STDIN",
        "SHOW search_path",
        "SELECT * INTO temperatures FROM t",
        "SELECT currval('s')",
        "SELECT 1 /* never ended; SET x = 1",
        "",
        "SELECT '" + "x" * 16_375 + "'",
    ],
)
def test_these_do_not(sql):
    assert explain_pinning(sql) is None


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
