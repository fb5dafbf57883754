"""Write a ledger while everything around the writers fails: no acknowledged row may be lost, none doubled.

    make ledger    or, with its PYTHONPATH,    python tests/benchmarks/ledger.py --writes 10000 --faults 150 --seed 1

What the outcomes mean is told in tests/lambda/layer/writers.py.
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
from lambda_postgres import Settings
from support import (
    FUNCTION_KEY,
    HOST,
    SECRET_ARN,
    Relay,
    SecretsManager,
    set_password,
    start_server,
    terminate_backends,
)
from writers import Ledger, rows_kept, write

from local.certificates import Certificates

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.postgres.server import PostgresServer

WRITERS = 8


class Faults:
    """What happens to the server and on the way to it."""

    def __init__(self, server: PostgresServer, relay: Relay, secrets: SecretsManager, chance: random.Random) -> None:
        self.counts: Counter[str] = Counter()
        self._server, self._relay, self._secrets, self._chance = server, relay, secrets, chance
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


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def main() -> None:
    """Run, count, print JSON; fail when a row was lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--writes", type=int, default=10_000, help="acknowledged rows to reach")
    parser.add_argument("--faults", type=int, default=150, help="faults to reach")
    parser.add_argument("--seconds", type=float, default=120, help="give up after")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = run(Path(folder), arguments.writes, arguments.faults, arguments.seconds, arguments.seed)
    print(json.dumps(result, indent=2))
    sys.exit(bool(result["lost"] or result["doubled"] or result["kept_though_refused"] or result["short_by"]))


def run(folder: Path, writes: int, troubles: int, seconds: float, seed: int) -> dict[str, object]:
    certificates, secrets = Certificates(folder), SecretsManager()
    server = start_server("ledger", certificates, max_connections=40)
    set_password(server, secrets.password)
    relay = Relay(server.port)
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    os.environ |= dict(zip(names, FUNCTION_KEY, strict=True))
    os.environ |= {"PGHOSTADDR": "127.0.0.1", "AWS_ENDPOINT_URL": secrets.url}
    settings = Settings(
        host=HOST,
        port=relay.port,
        database="app",
        user="app",
        ca_file=str(certificates.ca_file("rds")),
        auth="secret",
        region="eu-central-1",
        secret_arn=SECRET_ARN,
    )
    ledger, faults = Ledger(), Faults(server, relay, secrets, random.Random(seed))
    stop_writers, stop_faults = threading.Event(), threading.Event()
    writers = [threading.Thread(target=write, args=(settings, ledger, stop_writers, n)) for n in range(WRITERS)]
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
        kept = rows_kept(server)
    finally:
        stop_writers.set()
        stop_faults.set()
        relay.close()
        secrets.stop()
        server.stop()

    return {
        "seed": seed,
        "seconds": round(took, 1),
        **ledger.compare(kept),
        "short_by": max(0, writes - ledger.acknowledged) + max(0, troubles - faults.counts.total()),
        "faults": dict(faults.counts),
        "errors": dict(ledger.errors),
    }


if __name__ == "__main__":
    main()
