"""Two services behind one proxy, of which one runs wild: what happens to the latency of the other.

    make neighbours    or, with its PYTHONPATH,    python tests/benchmarks/neighbours.py

orders asks a little all the time; reports sends statements without a pause. Each environment is a thread with a
connection of lambda_postgres, and the two services have a process each. All is on loopback, bounded in time and count.
"""

from __future__ import annotations

import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lambda_postgres import Error, Keeper, Settings
from psycopg2 import sql

from local.certificates import Certificates
from local.credentials import Credentials
from local.loop import LoopThread
from local.postgres.server import PostgresServer
from local.rds_proxy.listener import ProxyListener, ProxySettings
from local.rds_proxy.pool import PoolSettings, Secret
from local.rds_proxy.server_connection import Target

SECONDS = 5
RAMP_SECONDS = 1.5
MAX_CONNECTIONS = 90
POOL = 22
SHARE = 12  # of reports; its 30 % to spare and orders' 4 fit into the pool
WILD = 200
QUIET = 4
ASKS_EACH_SECONDS = 0.1

REGION = "us-east-1"
INSTANCE_HOST = f"neighbours.abcdefghijkl.{REGION}.rds.amazonaws.com"
CREDENTIALS = Credentials("NEIGHBOURS", secrets.token_urlsafe(), None, None, "arn:aws:iam::123456789012:role/app")

ASK = "SELECT id, name FROM users ORDER BY id LIMIT 10"
WAIT = "SELECT pg_sleep(0.1)"  # a statement that waits, for a lock or a disk
BURN = "SELECT count(*) FROM generate_series(1, 400000)"  # one that keeps a processor busy


@dataclass(frozen=True)
class World:
    """What every proxy stands on."""

    loop: LoopThread
    server: PostgresServer
    certificates: Certificates
    password: str


@dataclass(frozen=True)
class Case:
    """What reports does meanwhile: how many environments send which statement, and whether through its own proxy."""

    name: str
    environments: int
    statement: str = WAIT
    own_proxy: bool = False


CASES = (
    Case("orders alone", 0),
    Case("reports runs wild", WILD),
    Case(f"reports has a share of {SHARE}", SHARE),
    Case("reports has a proxy of its own", WILD, own_proxy=True),
    Case("a share, but it burns the processor", SHARE, BURN),
)


class Directory:
    """The one key, allowed everything."""

    def credentials_of(self, access_key_id: str) -> Credentials | None:
        return CREDENTIALS if access_key_id == CREDENTIALS.access_key_id else None

    def allows(self, credentials: Credentials, action: str, resource: str) -> bool:  # noqa: ARG002
        return True


def main() -> None:
    """Run every case and print what orders saw."""
    print(
        f"  max_connections = {MAX_CONNECTIONS}, a pool of {POOL}; orders: {QUIET} environments, each asking every"
        f" {ASKS_EACH_SECONDS} s for {SECONDS} s\n\n  {'':37}{'orders':>8}{'p50 ms':>9}{'p95 ms':>9}{'failed':>8}"
        f"{'reports/s':>11}"
    )
    with ExitStack() as resources:
        folder = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="neighbours-")))
        certificates = Certificates(folder)
        server = PostgresServer.start(
            name="neighbours",
            host_name=INSTANCE_HOST,
            certificates=certificates,
            max_connections=MAX_CONNECTIONS,
            master_user="master",
            master_password=secrets.token_urlsafe(),
            database="app",
        )
        resources.callback(server.stop)
        loop = LoopThread()
        resources.callback(loop.stop)
        world = World(loop, server, certificates, secrets.token_urlsafe())
        _fill(world)
        for case in CASES:
            with ExitStack() as proxies:
                quiet, wild = _measure(case, proxies, world)
            seconds = [second for second, failed in quiet if not failed]
            percentiles = [1000 * second for second in statistics.quantiles(seconds, n=100)]
            print(
                f"  {case.name:37}{len(seconds):>8}{percentiles[49]:>9.1f}{percentiles[94]:>9.1f}"
                f"{sum(failed for _, failed in quiet):>8}{sum(not failed for _, failed in wild) / SECONDS:>11.0f}",
                flush=True,
            )


def _measure(
    case: Case, resources: ExitStack, world: World
) -> tuple[list[tuple[float, bool]], list[tuple[float, bool]]]:
    """Return how long each request of orders took and of reports, and whether it failed."""
    shared = _proxy("shared", world, POOL // 2 if case.own_proxy else POOL)
    resources.callback(shared.stop)
    own = shared
    if case.own_proxy:
        own = _proxy("own", world, POOL // 2)
        resources.callback(own.stop)
    common = {"begin": time.time() + 1, "ca_file": str(world.certificates.ca_file("proxy"))}
    quiet = _service(resources, shared, user="orders", environments=QUIET, statement=ASK, **common)
    wild = _service(resources, own, user="reports", environments=case.environments, statement=case.statement, **common)
    assert quiet.stdout is not None
    assert wild.stdout is not None
    return json.load(quiet.stdout), json.load(wild.stdout)


def _proxy(name: str, world: World, size: int) -> ProxyListener:
    host = f"{name}.proxy-abcdefghijkl.{REGION}.rds.amazonaws.com"
    percent = -(-100 * size // MAX_CONNECTIONS)  # rounded up, since the pool rounds down
    pool = PoolSettings(lambda user: Secret(user, world.password), percent, percent, borrow_timeout_seconds=5)
    proxy = ProxyListener(
        world.loop.loop,
        name=name,
        host_name=host,
        certificate=world.certificates.host("proxy", host),
        directory=Directory(),
        resource_prefix=f"arn:aws:rds-db:{REGION}:123456789012:dbuser:prx-{name}",
        settings=ProxySettings(pool),
    )
    proxy.start()
    proxy.register(Target(INSTANCE_HOST, world.server.port, world.certificates.ca_file("rds"), MAX_CONNECTIONS))
    return proxy


def _fill(world: World) -> None:
    with world.server.administrator("app") as cursor:
        for user in ("orders", "reports"):
            cursor.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD %s").format(sql.Identifier(user)), [world.password])
        cursor.execute("CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL)")
        cursor.execute("INSERT INTO users SELECT n, 'user ' || n FROM generate_series(1, 20) n")
        cursor.execute("GRANT SELECT ON users TO orders")


def _service(
    resources: ExitStack, proxy: ProxyListener, *, ca_file: str, user: str, **orders: Any
) -> subprocess.Popen[str]:
    """Start a service's process, which asks with a pause and does the rest without one."""
    settings = {
        "host": f"{proxy.name}.proxy-abcdefghijkl.{REGION}.rds.amazonaws.com",
        "port": proxy.port,
        "database": "app",
        "user": user,
        "ca_file": ca_file,
        "auth": "iam",
        "region": REGION,
    }
    orders |= {"settings": settings, "pause": ASKS_EACH_SECONDS if orders["statement"] == ASK else 0}
    process = subprocess.Popen(
        [sys.executable, __file__, json.dumps(orders)],
        env={
            **os.environ,
            "PGHOSTADDR": "127.0.0.1",
            "AWS_ACCESS_KEY_ID": CREDENTIALS.access_key_id,
            "AWS_SECRET_ACCESS_KEY": CREDENTIALS.secret_access_key,
        },
        text=True,
        stdout=subprocess.PIPE,
    )
    resources.callback(process.wait)
    resources.callback(process.kill)
    return process


def serve(orders: dict[str, Any]) -> None:
    """Be a service: its environments begin one after another, and what they send after that is counted."""
    took: list[tuple[float, bool]] = []
    number = orders["environments"]
    threads = [
        threading.Thread(target=_environment, args=(orders, orders["begin"] + RAMP_SECONDS * n / number, took))
        for n in range(number)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    json.dump(took, sys.stdout)


def _environment(orders: dict[str, Any], first: float, took: list[tuple[float, bool]]) -> None:
    keeper = Keeper(Settings(**orders["settings"]))
    counted_from = orders["begin"] + RAMP_SECONDS
    end = counted_from + SECONDS
    time.sleep(max(0.0, first - time.time()))
    while (began := time.time()) < end:
        failed = False
        try:
            with keeper.connection() as connection, connection.cursor() as cursor:
                cursor.execute(orders["statement"])
                cursor.fetchall()
        except Error:
            failed = True
        if began >= counted_from:
            took.append((time.time() - began, failed))
        time.sleep(orders["pause"])
    keeper.close()


if __name__ == "__main__":
    serve(json.loads(sys.argv[1])) if len(sys.argv) > 1 else main()
