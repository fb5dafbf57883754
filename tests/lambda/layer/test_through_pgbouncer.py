"""The library as a client of a real PgBouncer in transaction pooling: the faults where a pooler matters.

The stand-in for RDS Proxy was written here, and so shares what we take to be true; PgBouncer was not.
"""

# ruff: noqa: PT012, S106  a loan and what happens in it are one promise; passwords of test servers

from __future__ import annotations

import contextlib
import re
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest
from lambda_postgres import ConnectionLost, Keeper, PoolExhausted

from local.storm.pgbouncer import PROGRAM, PgBouncer
from tests.waiting import await_that

from .support import HOST, terminate_backends
from .writers import Ledger, rows_kept, write

POOL_SIZE = 3
CLIENTS = 8

pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="no pgbouncer: apt-get install pgbouncer, dnf install pgbouncer or brew install pgbouncer"
)


def insert(conn):
    with conn.cursor() as cursor:
        cursor.execute("INSERT INTO ledger VALUES (%s, 1)", [str(uuid.uuid4())])


def connect(keeper):
    with keeper.connection():
        pass


def backend(conn):
    with conn.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


def test_many_environments_share_few_server_connections_and_a_transaction_stays_on_one(environments, server):
    def invoke(keeper):
        with keeper.connection() as conn:
            seen = {backend(conn)}
        for _ in range(3):
            with keeper.transaction() as conn:
                pids = set()
                for _ in range(3):
                    pids.add(backend(conn))
                    insert(conn)
            assert len(pids) == 1
            seen |= pids
        return seen

    for keeper in environments:
        connect(keeper)
    with ThreadPoolExecutor(CLIENTS) as pool:
        seen = set().union(*pool.map(invoke, environments))
    assert len(seen) <= POOL_SIZE
    assert sum(rows_kept(server).values()) == 9 * CLIENTS


def test_nothing_that_the_library_sends_changes_the_session(environments, statements):
    keeper, other = environments[:2]
    for each in (keeper, other):
        with each.connection() as conn, conn.cursor() as cursor:
            cursor.execute("SELECT 1")
        with each.transaction() as conn:
            insert(conn)
        with each.transaction(read_only=True, isolation="REPEATABLE READ") as conn, conn.cursor() as cursor:
            cursor.execute("SELECT 1")
        with pytest.raises(ZeroDivisionError), each.transaction() as conn, each.transaction():
            insert(conn)
            raise ZeroDivisionError
        each.run_transaction(insert)
        each.close()
    assert statements() == {
        "BEGIN",
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        "SELECT 1",
        "INSERT INTO ledger VALUES (…, 1)",
        "SAVEPOINT lambda_postgres_2",
        "ROLLBACK TO SAVEPOINT lambda_postgres_2",
        "COMMIT",
        "ROLLBACK",
    }


def test_a_pooler_restarted_while_idle_is_not_seen(environments, pgbouncer, server):
    keeper = environments[0]
    keeper.run_transaction(insert)
    pgbouncer.restart()
    with keeper.transaction() as conn:
        insert(conn)
    assert len(rows_kept(server)) == 2


def test_a_pooler_restarted_in_a_transaction_rolls_it_back(environments, pgbouncer, server):
    keeper = environments[0]
    with pytest.raises(ConnectionLost) as caught, keeper.transaction() as conn:
        insert(conn)
        pgbouncer.restart()
        insert(conn)
    assert caught.value.committed is False
    with keeper.transaction() as conn:
        insert(conn)
    assert len(rows_kept(server)) == 1


def test_a_pooler_that_is_away_is_waited_for(environments, pgbouncer, server):
    keeper = environments[0]
    connect(keeper)
    pgbouncer.kill()
    start = threading.Timer(0.4, pgbouncer.start)
    start.start()
    with keeper.transaction() as conn:
        insert(conn)
    start.join()
    assert len(rows_kept(server)) == 1


def test_a_paused_pooler_waits_for_open_transactions_and_holds_new_ones(environments, pgbouncer, server):
    first, second = environments[:2]
    connect(second)
    old = second._connection
    with ThreadPoolExecutor() as pool:
        with first.transaction() as conn:
            insert(conn)
            pause = pool.submit(pgbouncer.command, "PAUSE")
            time.sleep(0.2)
            assert not pause.done()
            insert(conn)
        pause.result(5)
        held = pool.submit(second.run_transaction, insert)
        time.sleep(0.2)
        assert not held.done()
        pgbouncer.command("RESUME")
        held.result(5)
    assert second._connection is old
    assert len(rows_kept(server)) == 3


def test_a_server_connection_lost_in_a_transaction_rolls_it_back(environments, server):
    keeper = environments[0]
    with pytest.raises(ConnectionLost) as caught, keeper.transaction() as conn:
        insert(conn)
        terminate_backends(server)
        insert(conn)
    assert caught.value.committed is False
    with keeper.transaction() as conn:
        insert(conn)
    assert len(rows_kept(server)) == 1


def test_a_server_restarted_behind_the_pooler_is_not_seen_by_idle_environments(environments, server):
    keeper = environments[0]
    with keeper.transaction() as conn:
        insert(conn)
    server.restart()
    with keeper.transaction() as again:
        insert(again)
    assert again is conn
    assert len(rows_kept(server)) == 2


def test_a_server_that_is_away_behind_the_pooler_is_waited_for(environments, server):
    """PgBouncer takes a client on, and keeps it waiting until it can log in itself."""
    server._end_process()
    start = threading.Timer(0.5, server._launch)
    start.start()
    try:
        environments[0].run_transaction(insert)
    finally:
        start.join()
    assert len(rows_kept(server)) == 1


def test_a_pooler_with_no_room_for_a_client_is_waited_for(environments, pgbouncer, pooled):
    for keeper in environments:
        connect(keeper)
    pgbouncer.command(f"SET max_client_conn = {CLIENTS}")
    late = Keeper(pooled._replace(retry_seconds=0))
    with pytest.raises(PoolExhausted, match="no more connections allowed"):
        late.run_transaction(insert)

    patient = Keeper(pooled)
    threading.Timer(0.3, environments[0].close).start()
    patient.run_transaction(insert)
    patient.close()


def test_a_pool_that_stays_full_costs_the_connection_and_nothing_is_kept(environments, pgbouncer, server):
    pgbouncer.command("SET query_wait_timeout = 1")
    *holders, late = environments[: POOL_SIZE + 1]
    connect(late)
    with contextlib.ExitStack() as held:
        for keeper in holders:
            insert(held.enter_context(keeper.transaction()))
        # Not PoolExhausted: PgBouncer closes the connection, and its reason may go under with it.
        with pytest.raises(ConnectionLost) as caught, late.transaction() as conn:
            insert(conn)
        assert caught.value.committed is False
    with late.transaction() as conn:
        insert(conn)
    assert len(rows_kept(server)) == POOL_SIZE + 1


def test_nothing_is_lost_or_doubled_whatever_becomes_of_the_pooler(pooled, pgbouncer, server):
    ledger, stop = Ledger(), threading.Event()

    def pause():
        pgbouncer.command("PAUSE")
        time.sleep(0.1)
        pgbouncer.command("RESUME")

    writers = [threading.Thread(target=write, args=(pooled, ledger, stop, number)) for number in range(2 * POOL_SIZE)]
    for writer in writers:
        writer.start()
    try:
        for fault in (pgbouncer.restart, pause, lambda: terminate_backends(server)) * 2:
            time.sleep(0.1)
            before = ledger.acknowledged
            fault()
            await_that(lambda before=before: ledger.acknowledged > before + len(writers))
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    counts = ledger.compare(rows_kept(server))
    print(counts, dict(ledger.errors))  # shown by pytest -s, and when it fails
    assert counts["lost"] == counts["doubled"] == counts["kept_though_refused"] == 0
    assert counts["refused"] + counts["in_doubt"] > 0, "no fault met a transaction"


class Pooler(PgBouncer):
    """A pooler between the library and the server, with TLS and passwords on both sides."""

    def __init__(self, server, certificates, password):
        self._root = certificates.ca_file("rds")
        super().__init__(
            certificates.host("rds", HOST),
            self._root,
            server.port,
            users={"app": password, "administrator": "administrator-password"},
            settings={"default_pool_size": POOL_SIZE, "admin_users": "administrator", "server_login_retry": 0.1},
        )

    def restart(self):
        self.kill()
        self.start()

    def command(self, text):
        connection = psycopg2.connect(
            host=HOST,
            hostaddr="127.0.0.1",
            port=self.port,
            dbname="pgbouncer",
            user="administrator",
            password="administrator-password",
            sslmode="verify-full",
            sslrootcert=self._root,
        )
        with contextlib.closing(connection):
            connection.autocommit = True
            connection.cursor().execute(text)


@pytest.fixture
def pgbouncer(server, certificates, secrets):
    pooler = Pooler(server, certificates, secrets.password)
    try:
        pooler.start()
        yield pooler
    finally:
        pooler.stop()


@pytest.fixture
def pooled(settings, pgbouncer):
    return settings._replace(port=pgbouncer.port)


@pytest.fixture
def statements(server):
    """Return the statements that the server got since the fixture was set up, without their values."""
    with server.administrator() as cursor:
        cursor.execute("ALTER ROLE app SET log_statement = 'all'")
    start = server.log_file.stat().st_size

    def read():
        text = server.log_file.read_bytes()[start:].decode()
        sent = re.findall(r"app@app LOG:  (?:statement|execute [^:]*): (.*)", text)
        # PgBouncer itself brings the name that came in the startup packet to each server connection.
        return {re.sub(r"'[^']*'", "…", line) for line in sent} - {"SET application_name=…;"}

    yield read
    with server.administrator() as cursor:
        cursor.execute("ALTER ROLE app RESET ALL")


@pytest.fixture
def environments(pooled):
    keepers = [Keeper(pooled) for _ in range(CLIENTS)]
    yield keepers
    for keeper in keepers:
        keeper.close()
