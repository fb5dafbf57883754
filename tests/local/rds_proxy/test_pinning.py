"""The guide's list of what pins on PostgreSQL, and what only looks like it."""

import pytest

from local.rds_proxy.pinning import pin_reason


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("SET statement_timeout = 1000", "SET"),
        ("  /* why */ -- really\n set timezone to 'UTC'", "SET"),
        ("SET LOCAL work_mem = '8MB'", "SET"),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SET"),
        ("RESET ALL", "SET"),
        ("BEGIN; SET search_path = app; COMMIT", "SET"),
        ("SELECT set_config('work_mem', '8MB', false)", "set_config"),
        ("SELECT pg_catalog.SET_CONFIG ('work_mem', '8MB', true)", "set_config"),
        ("PREPARE one AS SELECT 1", "PREPARE"),
        ("EXECUTE one", "EXECUTE"),
        ("DEALLOCATE ALL", "DEALLOCATE"),
        ("DISCARD ALL", "DISCARD"),
        ("ABORT; DISCARD ALL", "DISCARD"),
        ("CREATE TEMP TABLE t ()", "temporary"),
        ("create or replace temporary view v as select 1", "temporary"),
        ("CREATE LOCAL TEMPORARY SEQUENCE s", "temporary"),
        ("SELECT 1 INTO TEMP t", "temporary"),
        ('DECLARE "named" CURSOR FOR SELECT 1', "cursor"),
        ("LISTEN channel", "LISTEN"),
        ("LOAD 'auto_explain'", "LOAD"),
        ("SELECT nextval('numbers')", "nextval"),
        ("SELECT setval('numbers', 1)", "setval"),
        ("SELECT pg_advisory_lock(1)", "advisory lock"),
        ("SELECT 'it''s', pg_try_advisory_lock_shared(1)", "advisory lock"),
        ("SELECT '" + "x" * 16384 + "'", "16 KB"),
    ],
)
def test_what_pins(statement: str, reason: str) -> None:
    assert reason in (pin_reason(statement) or "nothing")


@pytest.mark.parametrize(
    "statement",
    [
        "",
        "SELECT id, name, created_at FROM users ORDER BY id LIMIT 10",
        "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
        "SAVEPOINT one",
        "UPDATE settings SET value = 1",
        "ALTER ROLE app SET statement_timeout = 1000",
        "INSERT INTO t VALUES (1) ON CONFLICT (id) DO UPDATE SET id = 1",
        "SELECT 'a; SET b = 1'",
        "SELECT $$; SET b = 1; $$, $x$ LISTEN $x$",
        r"SELECT E'\'; SET b = 1'",
        "SELECT 1 -- ; SET b = 1",
        "SELECT 'nextval(', \"setval\" FROM t",
        "SELECT pg_advisory_xact_lock(1), pg_try_advisory_xact_lock_shared(2)",
        "DO $$ BEGIN PERFORM set_config('work_mem', '8MB', false); END $$",
        "CALL prepare_everything()",
        "SELECT temperature FROM sets",
        "COPY t FROM STDIN",
        "NOTIFY channel",
        "SHOW search_path",
        "CREATE TABLE temporary_things (id int GENERATED ALWAYS AS IDENTITY)",
    ],
)
def test_what_does_not_pin(statement: str) -> None:
    assert pin_reason(statement) is None
