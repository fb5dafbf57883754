"""Compare the waits that `make size` tells with those that clients of the stand-in for RDS Proxy have.

    make waits

Transactions come at random to a pool of five connections and hold one for an exponential time, at three loads. Three
figures stand side by side: what the model says of ever; what a queue without any cost of its own gives for the very
arrivals and times of this run, which shows how much of an error is chance; and what clients measured. The time that a
transaction holds its connection beyond its own is measured first, since the model takes all of it. A table, and JSON in
build/output/waits.json.
"""

from __future__ import annotations

import heapq
import json
import os
import platform
import queue
import random
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from local.certificates import Certificates
from local.loop import LoopThread
from local.postgres.server import PostgresServer
from local.rds_proxy.listener import ProxyListener, ProxySettings
from local.rds_proxy.pool import PoolSettings, Secret
from local.rds_proxy.server_connection import Target
from tools.size.queueing import Queue

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "build" / "output" / "waits.json"
HOST = "waits.proxy-abcdefghijkl.us-east-1.rds.amazonaws.com"
PASSWORD = "storm-of-waits"  # noqa: S105  of a server that ends with this program

CONNECTIONS = 5
MEAN_SECONDS = 0.025
CLIENTS = 300  # more than ever wait
WARM_UP = 0.1  # of each run, from an empty queue: not counted
RUNS = ((0.5, 30), (0.8, 40), (0.95, 100))  # utilisation, seconds


@dataclass(frozen=True)
class Transaction:
    """When one comes, and how long it sleeps in the database."""

    at: float
    sleep: float


def main() -> None:
    """Measure every load and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        certificates = Certificates(Path(folder))
        loop = LoopThread()
        server = PostgresServer.start(
            name="waits",
            host_name=HOST,
            certificates=certificates,
            max_connections=CONNECTIONS * 4,
            master_user="master",
            master_password="unused",  # noqa: S106
            database="app",
        )
        proxy = ProxyListener(
            loop.loop,
            name="waits",
            host_name=HOST,
            certificate=certificates.host("proxy", HOST),
            directory=None,  # type: ignore[arg-type]  clients show the secret's password
            resource_prefix="",
            settings=ProxySettings(PoolSettings(lambda user: Secret(user, PASSWORD), 25, 25), iam_required=False),
        )
        proxy.start()
        try:
            with server.administrator("app") as cursor:
                cursor.execute("CREATE ROLE app LOGIN PASSWORD %s", [PASSWORD])
            proxy.register(Target(HOST, server.port, certificates.ca_file("rds"), server.max_connections))
            clients = Clients(proxy.port, certificates.ca_file("proxy"))
            report = measure(clients)
        finally:
            proxy.stop()
            loop.stop()
            server.stop()
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(report, indent=2) + "\n")
    print(f"\n{OUTPUT.relative_to(ROOT)}")


def measure(clients: Clients) -> dict[str, object]:
    """Run the loads one after another."""
    load_before = os.getloadavg()[0]
    beyond = clients.beyond_sleep()
    print(f"A transaction holds its connection {beyond * 1000:.2f} ms longer than it sleeps; load {load_before:.1f}\n")
    print(
        f"{'load':>6}{'transactions':>14}{'':4}{'p50 ms: model':>14}{'this run':>10}{'measured':>10}{'error':>8}"
        f"{'':4}{'p99 ms: model':>14}{'this run':>10}{'measured':>10}{'error':>8}"
    )
    rows = []
    for number, (utilisation, seconds) in enumerate(RUNS):
        model = Queue(CONNECTIONS, utilisation * CONNECTIONS / MEAN_SECONDS, MEAN_SECONDS)
        trace = list(arrivals(random.Random(number), model, seconds, beyond))  # noqa: S311  not for secrets
        counted = [transaction.at >= WARM_UP * seconds for transaction in trace]
        measured = [wait for wait, counts in zip(clients.run(trace, beyond), counted, strict=True) if counts]
        ideal = [wait for wait, counts in zip(simulated(trace, beyond), counted, strict=True) if counts]
        row: dict[str, float] = {"utilisation": utilisation, "transactions": len(measured)}
        for name, quantile in (("p50", 50), ("p99", 99)):
            row[f"{name}_model_ms"] = model.wait(quantile / 100) * 1000
            row[f"{name}_this_run_ms"] = percentile(ideal, quantile) * 1000
            row[f"{name}_measured_ms"] = percentile(measured, quantile) * 1000
        rows.append({key: round(value, 2) for key, value in row.items()})
        print(line(row), flush=True)
    return {
        "settings": {"connections": CONNECTIONS, "mean_ms": MEAN_SECONDS * 1000, "beyond_sleep_ms": beyond * 1000},
        "rows": rows,
        "machine": {
            "cores": os.cpu_count(),
            "system": f"{platform.system()} {platform.machine()}",
            "load_before": load_before,
            "load_after": os.getloadavg()[0],
            "python": platform.python_version(),
        },
    }


def line(row: dict[str, float]) -> str:
    cells = f"{row['utilisation']:>6}{row['transactions']:>14,}"
    for name in ("p50", "p99"):
        model, ideal, measured = (row[f"{name}_{which}_ms"] for which in ("model", "this_run", "measured"))
        error = f"{(model / measured - 1) * 100:+.0f} %" if model and measured else f"{model - measured:+.1f} ms"
        cells += f"{'':4}{model:>14.1f}{ideal:>10.1f}{measured:>10.1f}{error:>8}"
    return cells


def arrivals(chance: random.Random, model: Queue, seconds: float, beyond: float) -> list[Transaction]:
    """Return transactions as the model takes them: at random, of exponential times."""
    found, at = [], 0.0
    while (at := at + chance.expovariate(model.per_second)) < seconds:
        sleep = max(0.0, chance.expovariate(1 / model.seconds) - beyond)
        found.append(Transaction(at, round(sleep, 3)))  # PostgreSQL sleeps whole milliseconds
    return found


def simulated(trace: list[Transaction], beyond: float) -> list[float]:
    """Return each transaction's wait where connections are lent in the order of arrival and nothing else takes time."""
    free = [0.0] * CONNECTIONS
    waits = []
    for transaction in trace:
        start = max(transaction.at, heapq.heappop(free))
        waits.append(start - transaction.at)
        heapq.heappush(free, start + transaction.sleep + beyond)
    return waits


def percentile(values: list[float], quantile: int) -> float:
    return statistics.quantiles(values, n=100)[quantile - 1]


class Clients:
    """Connections through the proxy, each with its thread; whichever is free takes the next transaction."""

    def __init__(self, port: int, ca_file: Path) -> None:
        self._jobs: queue.SimpleQueue[tuple[int, float, float]] = queue.SimpleQueue()
        self._waits: list[float] = []
        self._left = threading.Semaphore(0)
        connected = threading.Semaphore(0)
        for _ in range(CLIENTS):
            threading.Thread(target=self._work, args=(port, ca_file, connected), daemon=True).start()
        for _ in range(CLIENTS):
            connected.acquire()

    def run(self, trace: list[Transaction], beyond: float) -> list[float]:
        """Send each transaction when it comes; return how long it waited: all but the time of its own."""
        self._waits = [0.0] * len(trace)
        begin = time.monotonic() + 0.2
        for number, transaction in enumerate(trace):
            time.sleep(max(0.0, begin + transaction.at - time.monotonic()))
            self._jobs.put((number, begin + transaction.at, transaction.sleep))
        for _ in trace:
            self._left.acquire()
        return [max(0.0, took - each.sleep - beyond) for took, each in zip(self._waits, trace, strict=True)]

    def beyond_sleep(self, rounds: int = 200) -> float:
        """Return how much longer a transaction takes than its sleep where nobody else is there."""
        trace = [Transaction(number * 2 * MEAN_SECONDS, MEAN_SECONDS) for number in range(rounds)]
        return statistics.median(wait for wait in self.run(trace, 0.0))

    def _work(self, port: int, ca_file: Path, connected: threading.Semaphore) -> None:
        connection = psycopg2.connect(
            host=HOST, hostaddr="127.0.0.1", port=port, dbname="app", user="app", password=PASSWORD,
            sslmode="verify-full", sslrootcert=str(ca_file),
        )  # fmt: skip
        connection.autocommit = True
        connected.release()
        with connection.cursor() as cursor:
            while True:
                number, due, sleep = self._jobs.get()
                cursor.execute(f"SELECT pg_sleep({sleep:.6f})")
                self._waits[number] = time.monotonic() - due
                self._left.release()


if __name__ == "__main__":
    main()
