"""The library as a client of RDS Proxy: it shares, it does not pin, and it tells a full pool from a lost connection."""

# ruff: noqa: PT012  a loan and what happens in it are one promise

from __future__ import annotations

import contextlib
import select
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from lambda_postgres import ConnectionLost, Keeper, LoginRefused, PoolExhausted
from lambda_postgres.pinning import explain_pinning

from local.rds_proxy.pinning import pin_reason


@pytest.fixture
def environments(proxied):
    keepers = [Keeper(proxied) for _ in range(12)]
    yield keepers
    for keeper in keepers:
        keeper.close()


def write(conn):
    with conn.cursor() as cursor:
        cursor.execute("INSERT INTO ledger VALUES (%s, 1)", [str(uuid.uuid4())])


def test_many_environments_share_a_few_server_connections_and_none_pins(environments, proxy, server):
    def invoke(keeper):
        with keeper.connection() as conn, conn.cursor() as cursor:
            cursor.execute("SELECT id FROM users ORDER BY id LIMIT 10")
        with keeper.transaction() as conn:
            write(conn)
        with keeper.transaction(read_only=True, isolation="REPEATABLE READ") as conn, conn.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM ledger")
        keeper.run_transaction(write)

    for keeper in environments:
        keeper.warm()
    with ThreadPoolExecutor(len(environments)) as pool:
        list(pool.map(invoke, environments))
    metrics = proxy.metrics()
    assert metrics.client_connections == len(environments)
    assert metrics.server_connections <= metrics.max_server_connections == server.max_connections // 10
    assert metrics.pins == metrics.borrowed == 0
    with server.administrator("app") as cursor:
        cursor.execute("SELECT count(*) FROM ledger")
        assert cursor.fetchone() == (2 * len(environments),)


def test_a_transaction_without_a_statement_borrows_nothing(environments, proxy):
    with environments[0].transaction():
        assert proxy.metrics().borrowed == 0


def test_a_full_pool_is_told_and_the_client_connection_lives_on(environments, proxy):
    *holders, late = environments[: proxy.metrics().max_server_connections + 1]
    late.warm()
    with contextlib.ExitStack() as held:
        for keeper in holders:
            write(held.enter_context(keeper.transaction()))
        with pytest.raises(PoolExhausted, match="Timed-out waiting to acquire") as caught, late.transaction() as conn:
            write(conn)
        assert caught.value.sqlstate == "08000"
    with late.transaction() as again:
        write(again)
    assert again is conn


def test_repeatable_work_waits_for_a_full_pool(proxied, proxy):
    size = proxy.metrics().max_server_connections
    *holders, late = (Keeper(proxied._replace(retry_seconds=5)) for _ in range(size + 1))
    with ThreadPoolExecutor() as pool:
        with contextlib.ExitStack() as held:
            for keeper in holders:
                write(held.enter_context(keeper.transaction()))
            waiting = pool.submit(late.run_transaction, write)
            time.sleep(1.3)  # longer than the borrow timeout
            assert not waiting.done()
        waiting.result(timeout=5)
    for keeper in (*holders, late):
        keeper.close()


def test_a_server_connection_lost_in_a_transaction_rolls_it_back(environments, terminate):
    keeper = environments[0]
    with pytest.raises(ConnectionLost) as caught, keeper.transaction() as conn:
        write(conn)
        terminate()
        write(conn)
    assert caught.value.committed is False
    with keeper.transaction() as conn:
        write(conn)


def test_a_failover_behind_the_proxy_is_not_seen_by_idle_environments(environments, terminate):
    keeper = environments[0]
    with keeper.connection() as conn:
        conn.cursor().execute("SELECT 1")
    terminate()
    with keeper.connection() as again:
        again.cursor().execute("SELECT 1")
    assert again is conn


def test_an_environment_idle_beyond_the_proxys_timeout_reconnects(environments, proxy):
    proxy.configure(replace(proxy._settings, idle_client_timeout_seconds=0.1))
    keeper = environments[0]
    with keeper.connection() as old:
        pass
    assert select.select([old], [], [], 10)[0], "the proxy closed it"
    with keeper.connection() as conn:
        conn.cursor().execute("SELECT 1")
    assert conn is not old


def test_a_token_for_the_instance_does_not_open_the_proxy(proxied, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(LoginRefused, match="IAM authentication failed") as caught, Keeper(proxied).connection():
        pass
    assert "rds-db:connect" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "SET x = 1",
        "SELECT set_config('a.b', 'c', true)",
        "CREATE TEMP TABLE t (id int)",
        "SELECT nextval('s')",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_advisory_xact_lock(1)",
        "DISCARD ALL",
        "DECLARE c CURSOR FOR SELECT 1",
        "LISTEN a",
        "NOTIFY a",
        "SELECT 'SET x = 1'",
        "/* SET */ SELECT 1",
        "PREPARE p AS SELECT 1",
        "SELECT '" + "x" * 20_000 + "'",
    ],
)
def test_the_guard_and_the_stand_in_which_were_written_apart_agree(sql):
    assert bool(explain_pinning(sql)) is bool(pin_reason(sql))
