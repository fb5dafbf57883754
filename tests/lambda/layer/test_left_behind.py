"""What a borrower sets ends with its loan: the next one finds the connection as it was promised, or another one."""

from __future__ import annotations

import json

import psycopg2
import pytest
from lambda_postgres import Keeper, session
from lambda_postgres.pinning import explain_lasting
from psycopg2 import extensions, extras
from psycopg2.extensions import TRANSACTION_STATUS_IDLE


def look(conn):
    """Return all that a borrower relies on."""
    with extensions.cursor(conn) as cursor:
        cursor.execute(
            """
            SELECT current_setting('transaction_read_only'), current_setting('transaction_isolation'),
                   current_setting('search_path'), current_setting('client_encoding'), current_user,
                   (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_listening_channels()),
                   (SELECT count(*) FROM pg_cursors), (SELECT count(*) FROM pg_class WHERE relpersistence = 't'),
                   (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())
            """
        )
        server_side = cursor.fetchone()
    return (
        server_side,
        conn.autocommit,
        conn.readonly,
        conn.isolation_level,
        conn.deferrable,
        conn.encoding,
        conn.cursor_factory,
        list(conn.notices),
        list(conn.notifies),
        dict(conn.string_types),
        conn.get_transaction_status() == TRANSACTION_STATUS_IDLE,
    )


def execute(sql):
    def spoil(conn):
        conn.cursor().execute(sql)

    spoil.__name__ = sql
    return spoil


def set_readonly(conn):
    conn.readonly = True


def set_readonly_and_write_on(conn):
    conn.autocommit = False
    conn.readonly = True


def set_isolation(conn):
    conn.set_isolation_level(extensions.ISOLATION_LEVEL_SERIALIZABLE)


def set_session(conn):
    conn.set_session(deferrable=True)


def set_deferrable_without_autocommit(conn):
    conn.set_session(deferrable=True, autocommit=False)


def set_autocommit(conn):
    conn.autocommit = False


def set_encoding(conn):
    conn.set_client_encoding("LATIN1")


def set_cursor_factory(conn):
    conn.cursor_factory = extras.RealDictCursor


def register_type(conn):
    extensions.register_type(extensions.UNICODEARRAY, conn)


def replace_notices(conn):
    conn.notices = ["mine"]


def listen_and_be_told(conn):
    conn.cursor().execute("LISTEN jobs; NOTIFY jobs")


def use_a_cursor_of_another_class(conn):
    conn.cursor(cursor_factory=extras.RealDictCursor).execute("SET search_path = pg_catalog")


def use_extras(conn):
    extras.execute_values(conn.cursor(), "PREPARE p AS VALUES %s", [(1,), (2,)])


def call_a_function(conn):
    conn.cursor().callproc("pg_advisory_lock", [7])


def execute_many(conn):
    conn.cursor().executemany("SELECT set_config('search_path', %s, false)", [["a"], ["b"]])


def hold_a_cursor(conn):
    conn.autocommit = False
    conn.cursor("held", withhold=True).execute("SELECT 1")
    conn.commit()
    conn.autocommit = True


def reset(conn):
    conn.reset()


def fail_after_setting(conn):
    conn.cursor().execute("SET search_path = pg_catalog; SELECT 1 / 0")


def set_inside_a_transaction(conn):
    with conn, conn.cursor() as cursor:
        cursor.execute("BEGIN; SET search_path = pg_catalog; COMMIT")


SPOILERS = [
    set_readonly,
    set_readonly_and_write_on,
    set_isolation,
    set_session,
    set_deferrable_without_autocommit,
    set_autocommit,
    set_encoding,
    set_cursor_factory,
    register_type,
    replace_notices,
    listen_and_be_told,
    use_a_cursor_of_another_class,
    use_extras,
    call_a_function,
    execute_many,
    hold_a_cursor,
    reset,
    fail_after_setting,
    set_inside_a_transaction,
    execute("DO $$BEGIN RAISE NOTICE 'x'; END$$"),
    execute("SET search_path = pg_catalog"),
    execute("/* why */ set search_path = pg_catalog"),
    execute("SELECT 1; SET search_path = pg_catalog"),
    execute("SELECT set_config('search_path', 'pg_catalog', false)"),
    execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"),
    execute("SET client_encoding = 'LATIN1'"),
    execute("PREPARE p AS SELECT 1"),
    execute("LISTEN jobs"),
    execute("CREATE TEMP TABLE t (id int)"),
    execute("SELECT 1 AS id INTO TEMPORARY t"),
    execute("CREATE TABLE pg_temp.t (id int)"),
    execute("SELECT pg_advisory_lock(1)"),
    execute("WITH a AS (SELECT pg_try_advisory_lock_shared(1)) SELECT * FROM a"),
    execute("BEGIN"),
    execute("BEGIN; SELECT 1 / 0"),
]


@pytest.mark.parametrize("spoil", SPOILERS, ids=lambda spoil: spoil.__name__)
def test_the_next_borrower_finds_the_connection_as_promised(keeper, server, spoil):
    with server.administrator("app") as cursor:
        cursor.execute("GRANT TEMPORARY ON DATABASE app TO app")
    with keeper.connection() as conn:
        promised = look(conn)
    try:
        with keeper.connection() as conn:
            spoil(conn)
    except psycopg2.errors.DivisionByZero:
        pass
    with keeper.connection() as conn:
        assert look(conn) == promised


def set_search_path_and_reset(conn):
    conn.cursor().execute("SET search_path = pg_catalog")
    conn.reset()


@pytest.mark.parametrize(
    ("change", "parameter", "value"),
    [
        (set_readonly, "default_transaction_read_only", "on"),
        (set_isolation, "transaction_isolation", "serializable"),
        (set_session, "default_transaction_deferrable", "on"),
        (set_encoding, "client_encoding", "LATIN1"),
        (set_search_path_and_reset, "search_path", '"$user", public'),
    ],
)
def test_what_a_borrower_sets_holds_in_its_own_loan(keeper, change, parameter, value):
    with keeper.connection() as conn, conn.cursor() as cursor:
        change(conn)
        cursor.execute("SELECT current_setting(%s)", [parameter])
        assert cursor.fetchone() == (value,)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "UPDATE users SET name = 'SET x; LISTEN temp' WHERE id = 1",
        "BEGIN; SET LOCAL search_path = pg_catalog; COMMIT",
        "BEGIN; SET TRANSACTION READ ONLY; COMMIT",
        "SELECT set_config('app.tenant', '1', true)",
        "SELECT pg_advisory_xact_lock(1)",
        "INSERT INTO ledger SELECT gen_random_uuid(), 1",
        "CREATE TABLE IF NOT EXISTS contemporary (id int); DROP TABLE IF EXISTS contemporary",
        "DO $$BEGIN RAISE NOTICE 'x'; END$$",
        "NOTIFY jobs",
        "DISCARD TEMP",
    ],
)
def test_what_leaves_nothing_keeps_the_connection(keeper, server, sql):
    with server.administrator("app") as cursor:
        cursor.execute("GRANT CREATE ON SCHEMA public TO app")
    with keeper.connection() as conn:
        conn.cursor().execute(sql)
    with keeper.connection() as again:
        assert again is conn


def test_the_log_says_why_the_connection_was_replaced(keeper, capsys):
    with keeper.connection() as conn:
        conn.cursor().execute("SET statement_timeout = 1000")
    with keeper.connection():
        pass
    reasons = [json.loads(line)["reason"] for line in capsys.readouterr().out.splitlines()]
    assert reasons == ["first use", "left with a SET"]


def test_what_a_borrower_set_around_a_transaction_is_found_again_inside_its_own_loan(keeper):
    with keeper.connection() as conn:
        conn.readonly = True
        with keeper.transaction() as inner:
            assert inner.readonly
        assert conn.readonly
        assert conn.autocommit
    with keeper.connection() as another:
        assert another is not conn


@pytest.mark.parametrize(
    "write",
    [
        lambda cursor: cursor.execute("TRUNCATE users"),
        lambda cursor: cursor.executemany("DELETE FROM users WHERE id = %s", [[1]]),
        lambda cursor: cursor.callproc("nextval", ["numbers"]),
    ],
    ids=["execute", "executemany", "callproc"],
)
def test_a_read_only_server_is_recognised_even_when_the_work_swallows_the_error(keeper, server, write):
    with server.administrator("app") as cursor:
        cursor.execute("CREATE SEQUENCE IF NOT EXISTS numbers; GRANT USAGE ON SEQUENCE numbers TO app")
        cursor.execute("ALTER ROLE app SET default_transaction_read_only = on")
    try:
        with (
            keeper.connection() as conn,
            conn.cursor() as cursor,
            pytest.raises(psycopg2.errors.ReadOnlySqlTransaction),
        ):
            write(cursor)
        with keeper.connection() as another:
            assert another is not conn
    finally:
        with server.administrator() as cursor:
            cursor.execute("ALTER ROLE app RESET ALL")


def test_a_read_only_server_is_recognised_after_a_borrower_that_set_readonly(keeper, server):
    with keeper.connection() as conn:
        conn.readonly = True
    with server.administrator() as cursor:
        cursor.execute("ALTER ROLE app SET default_transaction_read_only = on")
    try:
        with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction), keeper.transaction() as conn:
            conn.cursor().execute("DELETE FROM users")
        with keeper.connection() as another:
            assert another is not conn
    finally:
        with server.administrator() as cursor:
            cursor.execute("ALTER ROLE app RESET ALL")


def test_a_cursor_factory_is_for_one_loan(keeper):
    with keeper.connection(cursor_factory=extras.RealDictCursor) as conn:
        with conn.cursor() as cursor:
            cursor.execute("SELECT 1 AS one")
            assert cursor.fetchone() == {"one": 1}
            assert isinstance(cursor, extras.RealDictCursor)
        with keeper.connection(cursor_factory=extras.NamedTupleCursor) as inner, inner.cursor() as cursor:
            cursor.execute("SELECT 1 AS one")
            assert cursor.fetchone().one == 1
        assert isinstance(conn.cursor(), extras.RealDictCursor)
    with keeper.transaction(cursor_factory=extras.DictCursor) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT 1 AS one")
        assert cursor.fetchone()["one"] == 1
    assert keeper.run_transaction(fetch_one, cursor_factory=extras.RealDictCursor) == {"one": 1}
    assert keeper.run_transaction(fetch_one) == (1,)


def fetch_one(conn):
    with conn.cursor() as cursor:
        cursor.execute("SELECT 1 AS one")
        return cursor.fetchone()


def test_cursors_are_made_in_every_way_that_psycopg2_knows(keeper):
    def make(connection, name=None):
        return extensions.cursor(connection, name)

    with keeper.transaction() as conn:
        assert fetch_one(conn) == (1,)
        with conn.cursor("named", extras.DictCursor, False, False) as cursor:
            cursor.execute("SELECT 1 AS one")
            assert cursor.fetchone()["one"] == 1
        with conn.cursor(cursor_factory=make) as cursor:
            cursor.execute("SELECT 1")
        with conn.cursor(name="scrolled", scrollable=True, withhold=False) as cursor:
            cursor.execute("SELECT 1")


@pytest.mark.parametrize(
    ("sql", "lasting", "ends"),
    [
        ("COMMIT", None, True),
        ("end", None, True),
        ("COMMIT AND CHAIN", None, True),
        ("ROLLBACK", None, True),
        ("ABORT WORK", None, True),
        ("ROLLBACK TO SAVEPOINT a", None, False),
        ("ROLLBACK WORK TO a", None, False),
        ("PREPARE TRANSACTION 'x'", None, True),
        ("SELECT 1; COMMIT; BEGIN", None, True),
        ("SELECT 'COMMIT; x'", None, False),
        ("SELECT $$; COMMIT;$$", None, False),
        ("SET CONSTRAINTS ALL DEFERRED", None, False),
        ("SET LOCAL x.y = 1", None, False),
        ("SET x.y = 1", "left with a SET", False),
        ("select set_config('a', 'b', TRUE)", None, False),
        ("select set_config('a', 'b', false)", "left with a setting or lock of the session", False),
        ("select set_config('a', 'true', false)", "left with a setting or lock of the session", False),
        ("DECLARE c CURSOR FOR SELECT 1", None, False),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "left with a cursor", False),
        ("LOAD 'auto_explain'", "left with a library", False),
        ("CREATE TEMP VIEW v AS SELECT 1", "left with something temporary", False),
    ],
)
def test_what_a_statement_leaves_is_read_from_its_text(sql, lasting, ends):
    assert explain_lasting(sql)[:2] == (lasting, ends)


def test_no_number_of_different_statements_fills_the_memory(keeper, monkeypatch):
    monkeypatch.setattr(session, "_KNOWN_AT_MOST", 3)
    monkeypatch.setattr(session, "_known", set())
    with keeper.connection() as conn, conn.cursor() as cursor:
        for number in range(10):
            cursor.execute(f"SELECT {number}")
            assert f"SELECT {number}" in session._known
            assert len(session._known) <= 3


def test_the_guard_leaves_as_little_behind(settings):
    keeper = Keeper(settings, guard=True)
    with keeper.connection() as conn:
        conn.cursor_factory = extras.DictCursor
        conn.cursor().execute("SELECT 1")
    with keeper.connection() as again:
        assert again is conn
        assert type(again.cursor()).__name__ == "GuardedCursor"
        again.cursor().execute("LISTEN jobs")
    with keeper.connection() as another:
        assert another is not conn
    keeper.close()
