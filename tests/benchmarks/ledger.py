"""Write a ledger while everything around the writers fails: no acknowledged row may be lost, none doubled.

    make ledger    or, with its PYTHONPATH,    python tests/benchmarks/ledger.py --writes 10000 --faults 150 --seed 1
    make ledger CLUSTER=1    adds a hot standby, readers on it, and failovers among the faults

What the outcomes mean is told in tests/lambda/layer/writers.py. On Aurora both servers have one storage, so that no
committed row can be missing after a failover; here the old writer ends only when the standby has all of it.
"""

# ruff: noqa: S311  faults are chosen by a seed, to be had again

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
from lambda_postgres import Error, Keeper, Settings
from support import (
    FUNCTION_KEY,
    HOST,
    READER,
    SECRET_ARN,
    Relay,
    SecretsManager,
    packets_can_be_dropped,
    prepare,
    set_password,
    terminate_backends,
)
from writers import Invocation, Ledger, rows_kept, write

from local.certificates import Certificates
from local.postgres.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg2.extensions import connection as Connection  # noqa: N812

    from local.postgres.server import PostgresServer

WRITERS = 8
READERS = 2


class Faults:
    """What happens to the servers and on the way to them: the first relay leads to the writer, others to readers."""

    def __init__(self, cluster: Cluster, relays: list[Relay], secrets: SecretsManager, chance: random.Random) -> None:
        self.counts: Counter[str] = Counter()
        self._cluster, self._relays, self._secrets, self._chance = cluster, relays, secrets, chance
        self._relay = relays[0]
        self._kinds: dict[Callable[[], object], int] = {
            self.end_one: 12,
            self.end_all: 6,
            self.cut: 6,
            self.unreachable: 3,
            self.hang_one: 3,
            self.rotate: 3,
            self.kill_one: 1,
            self.restart: 1,
        }
        if cluster.readers:
            self._kinds[self.fail_over] = 2

    @property
    def _server(self) -> PostgresServer:
        return self._cluster.writer

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(self._chance.uniform(0.02, 0.2)):
            (fault,) = self._chance.choices(list(self._kinds), list(self._kinds.values()))
            fault()
            self.counts[fault.__name__] += 1

    def _one(self) -> int | None:
        with self._server.administrator() as cursor:
            cursor.execute("SELECT pid FROM pg_stat_activity WHERE usename = 'app'")
            pids = [pid for (pid,) in cursor.fetchall()]
        return self._chance.choice(pids) if pids else None

    def end_one(self) -> None:
        if pid := self._one():
            with self._server.administrator() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s)", [pid])

    def end_all(self) -> None:
        terminate_backends(self._server)

    def cut(self) -> None:
        self._relay.cut()

    def unreachable(self) -> None:
        self._relay.stop_listening()
        self._relay.cut()
        time.sleep(0.2)
        self._relay.listen()

    def hang_one(self) -> None:
        if pid := self._one():
            _signal(pid, signal.SIGSTOP)
            time.sleep(0.2)
            _signal(pid, signal.SIGCONT)

    def rotate(self) -> None:
        """Rotate as Secrets Manager does: the pending password is set in the database before it becomes current."""
        self._secrets.pending = f"rotated-{self._chance.random()}"
        set_password(self._server, self._secrets.pending)
        terminate_backends(self._server)
        self._secrets.password, self._secrets.pending = self._secrets.pending, None

    def kill_one(self) -> None:
        """End one without a word: PostgreSQL ends all others and recovers."""
        if pid := self._one():
            _signal(pid, signal.SIGKILL)
            self._wait_until_up()

    def restart(self) -> None:
        self._server.restart()

    def fail_over(self) -> None:
        """Promote the standby; for a while the address leads to the old writer, and one time in three nothing ends."""
        if packets_can_be_dropped() and self._chance.random() < 1 / 3:
            self._relay.drop_packets()
        self._cluster.fail_over()
        time.sleep(self._chance.uniform(0, 0.5))
        for relay, server in zip(self._relays, _servers(self._cluster), strict=True):
            relay.target_port = server.port
        self._relays[1].cut()  # else readers stay on what is the writer now

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            time.sleep(0.1)
            try:
                self._one()
            except psycopg2.OperationalError:
                continue
            return
        raise TimeoutError("the server did not recover")


def _servers(cluster: Cluster) -> list[PostgresServer]:
    return [cluster.writer, *cluster.readers]


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def read(settings: Settings, reads: Counter[str], stop: threading.Event) -> None:
    """Be one environment that reads, and count who answered."""
    keeper = Keeper(settings)

    def count(conn: Connection) -> str:
        with conn.cursor() as cursor:
            cursor.execute("SELECT pg_is_in_recovery() FROM (SELECT count(*) FROM ledger) AS counted")
            return "by the reader" if cursor.fetchone()[0] else "by the writer"

    while not stop.wait(0.02):
        try:
            reads[keeper.run_transaction(count, Invocation(), read_only=True)] += 1
        except (Error, psycopg2.Error) as error:
            reads[f"failed: {type(error).__name__}"] += 1
    keeper.close()


def main() -> None:
    """Run, count, print JSON; fail when a row was lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--writes", type=int, default=10_000, help="acknowledged rows to reach")
    parser.add_argument("--faults", type=int, default=150, help="faults to reach")
    parser.add_argument("--seconds", type=float, default=240, help="give up after")
    parser.add_argument("--cluster", action="store_true", help="a writer and a standby, and failovers")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = run(
            Path(folder),
            arguments.writes,
            arguments.faults,
            arguments.seconds,
            arguments.seed,
            cluster=arguments.cluster,
        )
    print(json.dumps(result, indent=2))
    wrong = ("lost", "doubled", "kept_though_refused", "short_by", "missing_on_the_reader")
    sys.exit(any(result.get(name) for name in wrong))


def run(folder: Path, writes: int, troubles: int, seconds: float, seed: int, *, cluster: bool) -> dict[str, object]:
    certificates, secrets = Certificates(folder), SecretsManager()
    servers = Cluster(
        name="ledger",
        host_names=[HOST, READER],
        certificates=certificates,
        max_connections=40,
        master_user="master",
        master_password="master-password",  # noqa: S106  of this run's own servers
        database="app",
    )
    servers.add("one", HOST)
    prepare(servers)
    set_password(servers, secrets.password)
    if cluster:
        servers.add("two", HOST)
    relays = [Relay(server.port) for server in _servers(servers)]
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    os.environ |= dict(zip(names, FUNCTION_KEY, strict=True))
    os.environ |= {"PGHOSTADDR": "127.0.0.1", "AWS_ENDPOINT_URL": secrets.url}
    settings = Settings(
        host=HOST,
        port=relays[0].port,
        database="app",
        user="app",
        ca_file=str(certificates.ca_file("rds")),
        auth="secret",
        region="eu-central-1",
        secret_arn=SECRET_ARN,
    )
    if cluster:
        settings = settings._replace(reader_host=READER, reader_port=relays[1].port)
    ledger, faults = Ledger(), Faults(servers, relays, secrets, random.Random(seed))
    reads: Counter[str] = Counter()
    stop_writers, stop_faults = threading.Event(), threading.Event()
    writers = [threading.Thread(target=write, args=(settings, ledger, stop_writers, n)) for n in range(WRITERS)]
    if cluster:
        writers += [threading.Thread(target=read, args=(settings, reads, stop_writers)) for _ in range(READERS)]
    trouble = threading.Thread(target=faults.run, args=(stop_faults,))
    began = time.monotonic()
    try:
        for thread in (*writers, trouble):
            thread.start()
        while (
            (ledger.acknowledged < writes or faults.counts.total() < troubles)
            and time.monotonic() - began < seconds
            and trouble.is_alive()
        ):
            time.sleep(0.1)
        stop_faults.set()
        trouble.join()
        stop_writers.set()
        for thread in writers:
            thread.join()
        took = time.monotonic() - began
        kept = rows_kept(servers.writer)
        missing = 0
        if cluster:
            servers.readers[0].catch_up(servers.writer)
            missing = len(kept.keys() - rows_kept(servers.readers[0]).keys())
    finally:
        stop_writers.set()
        stop_faults.set()
        for relay in relays:
            relay.close()
        secrets.stop()
        servers.stop()

    return {
        "seed": seed,
        "seconds": round(took, 1),
        **ledger.compare(kept),
        "short_by": max(0, writes - ledger.acknowledged) + max(0, troubles - faults.counts.total()),
        **({"reads": dict(reads), "missing_on_the_reader": missing} if cluster else {}),
        "faults": dict(faults.counts),
        "errors": dict(ledger.errors),
    }


if __name__ == "__main__":
    main()
