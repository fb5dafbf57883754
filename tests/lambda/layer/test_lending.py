"""One connection, kept and lent."""

from __future__ import annotations

import json
import threading

import lambda_postgres
import psycopg2
import pytest
from lambda_postgres import ConnectionLost, Keeper


def pid(conn):
    with conn.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


def lend_pid(keeper):
    with keeper.connection() as conn:
        return pid(conn)


def reasons(capsys):
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line["reason"] for line in lines if line["event"] == "connected"]


def test_warm_invocations_get_the_same_connection(keeper):
    assert lend_pid(keeper) == lend_pid(keeper)


def test_the_connection_is_encrypted_and_in_autocommit(keeper):
    with keeper.connection() as conn, conn.cursor() as cursor:
        cursor.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert cursor.fetchone() == (True,)
        assert conn.autocommit
        assert conn.info.transaction_status == psycopg2.extensions.TRANSACTION_STATUS_IDLE
        assert conn.info.dsn_parameters["sslmode"] == "verify-full"


def test_nothing_but_the_work_is_sent(keeper, server):
    before = server.log_file.stat().st_size  # of other tests on the same server
    with server.administrator() as cursor:
        cursor.execute("ALTER ROLE app SET log_statement = 'all'")
    try:
        with keeper.connection() as conn, conn.cursor() as cursor:
            cursor.execute("SELECT 'only this'")
        with keeper.transaction() as conn, conn.cursor() as cursor:
            cursor.execute("SELECT 'and this'")
        with keeper.transaction():
            pass
    finally:
        with server.administrator() as cursor:
            cursor.execute("ALTER ROLE app RESET log_statement")
    sent = [
        line.split("statement: ")[1]
        for line in server.log_file.read_bytes()[before:].decode().splitlines()
        if " app@app " in line and "statement:" in line
    ]
    assert sent == ["SELECT 'only this'", "BEGIN", "SELECT 'and this'", "COMMIT"]


def test_a_connection_idle_too_long_is_replaced(keeper, clock, capsys):
    first = lend_pid(keeper)
    clock.offset += 299
    assert lend_pid(keeper) == first
    clock.offset += 301
    assert lend_pid(keeper) != first
    assert reasons(capsys) == ["first use", "idle too long"]


def test_a_connection_too_old_is_replaced(keeper, clock, capsys):
    first = lend_pid(keeper)
    for _ in range(23 * 3600 // 250 + 1):
        clock.offset += 250
        with keeper.connection():
            pass
    assert lend_pid(keeper) != first
    assert reasons(capsys) == ["first use", "too old"]


def test_a_clock_that_goes_back_replaces_the_connection(keeper, clock):
    first = lend_pid(keeper)
    clock.offset -= 3600
    assert lend_pid(keeper) != first


def test_a_dead_connection_is_noticed_before_it_is_lent(keeper, terminate, capsys):
    first = lend_pid(keeper)
    assert terminate() == 1
    assert lend_pid(keeper) != first
    assert reasons(capsys) == ["first use", "lost while idle"]


def test_a_notice_on_an_idle_connection_is_no_death(keeper, server):
    first = lend_pid(keeper)
    with server.administrator() as cursor:
        cursor.execute("ALTER SYSTEM SET application_name = 'x'")  # a reload makes the server send ParameterStatus
        cursor.execute("ALTER SYSTEM SET \"TimeZone\" = 'Europe/Vienna'")
        cursor.execute("SELECT pg_reload_conf(), pg_sleep(0.3)")
    try:
        assert lend_pid(keeper) == first
    finally:
        with server.administrator() as cursor:
            cursor.execute("ALTER SYSTEM RESET ALL")
            cursor.execute("SELECT pg_reload_conf()")


def test_a_connection_that_does_not_stop_talking_is_replaced(keeper, monkeypatch, capsys):
    with keeper.connection() as first:
        pass
    looks = []
    monkeypatch.setattr(keeper, "_readable", lambda _: looks.append(1) or [(0, 1)])
    with keeper.connection() as another:
        assert another is not first
    assert first.closed
    assert len(looks) == 4, "one at lending, three while reading what came"
    assert reasons(capsys) == ["first use", "lost while idle"]


def test_a_connection_closed_by_the_borrower_is_replaced(keeper):
    with keeper.connection() as conn:
        conn.close()
    assert lend_pid(keeper)


def test_a_keeper_closed_inside_a_loan_opens_another_for_the_next(keeper):
    with keeper.connection() as conn:
        keeper.close()
        assert conn.closed
        with pytest.raises(ConnectionLost), keeper.connection() as inner:
            inner.cursor()
    assert lend_pid(keeper)


def test_an_inner_loan_is_the_same_connection(keeper):
    with keeper.connection() as outer, keeper.connection() as inner:
        assert inner is outer
    assert not outer.closed


def test_a_session_left_in_a_transaction_is_not_lent_again(keeper, capsys):
    with keeper.connection() as conn, conn.cursor() as cursor:
        cursor.execute("BEGIN")
        first = pid(conn)
    assert lend_pid(keeper) != first
    assert reasons(capsys)[-1] == "left in a transaction"


def test_autocommit_is_back_on_for_the_next_borrower(keeper):
    with keeper.connection() as conn:
        conn.autocommit = False
    with keeper.connection() as conn:
        assert conn.autocommit


@pytest.mark.parametrize(
    ("statement", "value", "kind"),
    [
        ("SELECT 1 FROM nowhere", None, psycopg2.errors.UndefinedTable),
        ("SELECT %(value)s", object(), psycopg2.ProgrammingError),  # psycopg2's own: the server never saw it
    ],
)
@pytest.mark.parametrize("lend", [Keeper.connection, Keeper.transaction])
def test_an_error_of_the_users_sql_stays_psycopg2s(keeper, lend, statement, value, kind):
    first = lend_pid(keeper)
    with pytest.raises(kind) as caught, lend(keeper) as conn:
        conn.cursor().execute(statement, {"value": value})
    assert type(caught.value) is kind
    assert lend_pid(keeper) == first


def test_threads_take_turns(keeper):
    active = []
    most = []

    def work():
        with keeper.connection() as conn, conn.cursor() as cursor:
            active.append(1)
            most.append(len(active))
            cursor.execute("SELECT pg_sleep(0.01)")
            active.pop()

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 5


def test_environments_in_one_process_are_independent(settings):
    keepers = [Keeper(settings) for _ in range(3)]
    assert len({lend_pid(keeper) for keeper in keepers}) == 3
    for keeper in keepers:
        keeper.close()


@pytest.mark.usefixtures("public")
def test_the_public_face_uses_one_connection_of_the_environment():
    lambda_postgres.warm()
    with lambda_postgres.connection() as conn:
        first = pid(conn)
    with lambda_postgres.transaction(read_only=True) as conn:
        assert pid(conn) == first
    assert lambda_postgres.run_transaction(pid) == first


@pytest.mark.usefixtures("public")
def test_a_wrong_setting_is_met_by_the_first_invocation_not_by_init(monkeypatch):
    monkeypatch.delenv("PGHOST")
    lambda_postgres.warm()
    with pytest.raises(lambda_postgres.NotConfigured, match="PGHOST"), lambda_postgres.connection():
        pass
