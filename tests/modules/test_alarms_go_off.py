"""Faults made on purpose raise exactly the alarms that they should, which go back to OK when the fault is over.

The alarms are those of modules/observability, applied; the local stack publishes the metrics that they watch, and
evaluates them. A minute of CloudWatch's takes MINUTE_SECONDS here.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3
import psycopg2
import pytest

from local.stack import REGION, Stack
from tests import plans
from tests.local.deployment import OUTPUT, USER, Deployment
from tests.waiting import await_that

MINUTE_SECONDS = 2.0
BORROW_SECONDS = 3  # less than on AWS, as a minute is: an invocation that waits must not last for several
POOL = 20  # of the proxy that Deployment makes: 20 % of 100
PATIENCE_SECONDS = 90

# What else is in ALARM whenever a function fails on its way to the database.
BROKEN = {"function-errors", "path-broken"}


class Way:
    """A database, its proxy and a function that is invoked all the time, with the alarms of all three."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.deployment = Deployment(stack, folder, "app")
        self.deployment.apply()
        self._folder = folder
        self._variables = self.deployment.make_proxy()
        rds: Any = self.deployment.client("rds")
        rds.modify_db_proxy_target_group(  # half of a pool that was full stays: less than the alarm's 70 %
            DBProxyName="app",
            TargetGroupName="default",
            ConnectionPoolConfig={"MaxIdleConnectionsPercent": 10, "ConnectionBorrowTimeout": BORROW_SECONDS},
        )
        pool = stack.proxies.listener("app").pool
        pool.settings = replace(pool.settings, idle_seconds=2)  # RDS Proxy's 5 minutes
        self.function = self.deployment.make_function("app", self._variables)
        self.cloudwatch: Any = self.deployment.client("cloudwatch")
        role = self.deployment.environment()
        self._signer: Any = boto3.client(
            "rds",
            REGION,
            aws_access_key_id=role["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=role["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=role["AWS_SESSION_TOKEN"],
        )

    def apply(self, folder: Path) -> None:
        source = os.path.relpath((plans.ROOT / "modules" / "observability").resolve(), folder)
        function = {"name": self.function, "timeout_seconds": 60, "reserved_concurrency": None}
        root = {
            "provider": {"aws": {"region": REGION}},
            "module": {
                "observability": {
                    "source": source,
                    "name": "app",
                    "network": {"location": {"partition": "aws", "region": REGION, "account": "123456789012"}},
                    "functions": [{**function, "dead_letter_queue": "none"}],
                    "proxy": {"name": "app", "pool_size": POOL, "borrow_timeout_seconds": BORROW_SECONDS},
                    "database": {"identifier": "app", "max_clients": 97, "memory_gib": 1, "storage_gib": 20},
                    "bootstrap": {"name": "app-bootstrap"},
                    "thresholds": {"borrow_latency_ms": 250},  # this machine may be busy: alone it would be 60
                }
            },
        }
        (folder / "main.tf.json").write_text(json.dumps(root))
        plans.terraform(folder, "get")
        plans.plan_folder(folder)
        plans.terraform(folder, "apply", "plan", input=False)

    def alarms(self) -> list[dict[str, Any]]:
        answer = self.cloudwatch.describe_alarms(AlarmTypes=["MetricAlarm", "CompositeAlarm"])
        found: list[dict[str, Any]] = answer["MetricAlarms"] + answer["CompositeAlarms"]
        return found

    def states(self) -> dict[str, str]:
        return {alarm["AlarmName"].removeprefix("app-"): alarm["StateValue"] for alarm in self.alarms()}

    def quiet(self) -> bool:
        return set(self.states().values()) == {"OK"}

    def history(self, kind: str) -> list[dict[str, Any]]:
        pages = self.cloudwatch.get_paginator("describe_alarm_history").paginate(
            AlarmTypes=["MetricAlarm", "CompositeAlarm"], HistoryItemType=kind
        )
        return [item for page in pages for item in page["AlarmHistoryItems"]]

    def raised_since(self, moment: float) -> set[str]:
        """Return the alarms that went to ALARM, for however short a time."""
        return {
            item["AlarmName"].removeprefix("app-")
            for item in self.history("StateUpdate")
            if item["Timestamp"].timestamp() >= moment and item["HistorySummary"].endswith("to ALARM")
        }

    def client(self, password: str | None = None) -> Any:
        """Connect through the proxy as the function's role does."""
        host = self._variables["PGHOST"]
        endpoint = json.loads((self._folder / "endpoints.json").read_text())[host]
        connection = psycopg2.connect(
            host=host,
            hostaddr="127.0.0.1",
            port=endpoint["port"],
            dbname="app",
            user=USER,
            password=password or self._signer.generate_db_auth_token(host, endpoint["port"], USER),
            sslmode="verify-full",
            sslrootcert=endpoint["ca_file"],
            connect_timeout=10,
        )
        connection.autocommit = True
        return connection


@pytest.fixture(scope="module")
def way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    if not (OUTPUT / "bootstrap.zip").exists():
        pytest.fail("Run make package first.")
    folder, root = tmp_path_factory.mktemp("stack"), tmp_path_factory.mktemp("root")
    with Stack(folder, metric_minute_seconds=MINUTE_SECONDS) as stack, patch.dict(os.environ, stack.variables()):
        way = Way(stack, folder)
        way.apply(root)
        with repeated(lambda: way.deployment.invoke(way.function), threads=3):
            await_that(way.quiet, seconds=PATIENCE_SECONDS)
            yield way


def execute(connection: Any, *statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@contextmanager
def repeated(work: Callable[[], object], *, threads: int = 1, pause_seconds: float = 0.4) -> Iterator[None]:
    """Work over and over meanwhile, whatever comes of it."""
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            with suppress(RuntimeError, psycopg2.Error):
                work()
            over.wait(pause_seconds)

    running = [threading.Thread(target=run) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in running:
            thread.join(30)


@contextmanager
def pins(way: Way) -> Iterator[None]:
    """A session changes a parameter, and keeps its connection for that."""
    with closing(way.client()) as client:
        execute(client, "SET work_mem = '8MB'")
        yield


@contextmanager
def storm(way: Way) -> Iterator[None]:
    """Three times as many clients as the pool has connections, each in a transaction of a third of a second."""
    with ExitStack() as clients, ExitStack() as works:
        for _ in range(3 * POOL):
            client = way.client()
            clients.callback(client.close)
            work = partial(execute, client, "BEGIN", "SELECT pg_sleep(0.33)", "COMMIT")
            works.enter_context(repeated(work, pause_seconds=0.01))
        yield


@contextmanager
def wrong_password(way: Way) -> Iterator[None]:
    """Somebody tries to log in to the proxy."""

    def log_in() -> None:
        way.client(password="a guess").close()  # noqa: S106

    with repeated(log_in):
        yield


@contextmanager
def wrong_secret(way: Way) -> Iterator[None]:
    """The proxy's secret has another password than the database, whose connections have just been cut."""
    secrets: Any = way.deployment.client("secretsmanager")
    arn = way.deployment.secret
    right = secrets.get_secret_value(SecretId=arn)["SecretString"]
    secrets.put_secret_value(SecretId=arn, SecretString=json.dumps(json.loads(right) | {"password": "wrong"}))
    way.deployment.query(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{USER}'")
    try:
        yield
    finally:
        secrets.put_secret_value(SecretId=arn, SecretString=right)


@contextmanager
def stopped_database(way: Way) -> Iterator[None]:
    rds: Any = way.deployment.client("rds")
    rds.stop_db_instance(DBInstanceIdentifier="app")
    try:
        yield
    finally:
        rds.start_db_instance(DBInstanceIdentifier="app")


@contextmanager
def full_pool(way: Way) -> Iterator[None]:
    """As many clients as the pool has connections keep a transaction open."""
    with ExitStack() as clients:
        for _ in range(POOL):
            client = way.client()
            clients.callback(client.close)
            execute(client, "BEGIN", "SELECT 1")
        yield


FAULTS: dict[Any, set[str]] = {
    pins: {"proxy-pinned"},
    storm: {"proxy-pool", "proxy-borrow-latency"},
    wrong_password: {"proxy-failed-logins"},
    wrong_secret: {"proxy-failed-connections", *BROKEN},
    full_pool: {"proxy-pool", "function-pool-exhausted", *BROKEN},
    stopped_database: {
        *("database-silent", "proxy-failed-connections", "function-pool-exhausted"),
        *BROKEN,
    },
}


def test_each_alarm_that_the_module_makes_is_quiet_while_nothing_is_wrong(way: Way) -> None:
    await_that(way.quiet, seconds=PATIENCE_SECONDS)
    assert {"path-broken", "function-errors", "proxy-pinned", "database-silent"} <= set(way.states())


def test_the_dashboard_has_no_findings(way: Way) -> None:
    body = way.cloudwatch.get_dashboard(DashboardName="app")["DashboardBody"]
    answer = way.cloudwatch.put_dashboard(DashboardName="app", DashboardBody=body)
    assert answer["DashboardValidationMessages"] == []


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.__name__ for fault in FAULTS])
def test_a_fault_raises_exactly_its_alarms_and_they_end_with_it(way: Way, fault: Any) -> None:
    await_that(way.quiet, seconds=PATIENCE_SECONDS)
    begun, expected = time.time(), FAULTS[fault]
    with fault(way):
        with suppress(AssertionError):
            await_that(lambda: way.raised_since(begun) >= expected, seconds=PATIENCE_SECONDS)
        time.sleep(3 * MINUTE_SECONDS)
        in_alarm = {name for name, state in way.states().items() if state == "ALARM"}
        assert in_alarm == expected, way.raised_since(begun)
    await_that(way.quiet, seconds=PATIENCE_SECONDS)
    assert way.raised_since(begun) == expected


def test_the_module_s_topic_and_its_key_let_every_alarm_through(way: Way) -> None:
    told = way.history("Action")
    assert len(told) >= len(way.states())  # each went to OK at least
    assert {item["HistorySummary"].partition(" arn:")[0] for item in told} == {"Successfully executed action"}
