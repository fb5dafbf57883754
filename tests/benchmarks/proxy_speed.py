"""The stand-in for RDS Proxy beside PgBouncer: queries a second over TLS, and the memory of thousands of clients.

Rounds of pgbench take turns, so that what else the machine does meets both; what counts is their ratio. PgBouncer and
pgbench are optional: what is not installed is said and left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from local.certificates import Certificates
from local.postgres import wire
from local.postgres.server import PostgresServer
from local.storm.pgbouncer import PROGRAM, PgBouncer

PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin"))
PASSWORD = "application"  # noqa: S105
MAX_CONNECTIONS, POOL = 90, 22
CLIENTS, ROUNDS, SECONDS = 40, 7, 4
PROTOCOLS = ("simple", "extended")
MANY = (2000, 5000)
WANTED_RATIO, MOST_MIB = 0.6, 600


def main() -> int:
    failed = []
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as (database, certificates):
        url = (
            f"postgresql://app:{PASSWORD}@127.0.0.1:{database.port}/app"
            f"?sslmode=verify-full&sslrootcert={certificates.ca_file('rds')}"
        )
        with stand_in(url) as (port, process):
            failed += speed(database, certificates, port, process)
            print(f"  {'at rest after that':34} {resident_mib(process):6.0f} MiB resident")
        for clients in MANY:
            with stand_in(url) as (port, process):
                failed += memory(clients, port, process)
    print("".join(f"missed: {what}\n" for what in failed), end="")
    return bool(failed)


def speed(database: PostgresServer, certificates: Certificates, port: int, process: subprocess.Popen[str]) -> list[str]:
    """Print the rates; return which goals were missed."""
    pgbench = shutil.which("pgbench", path=PATH)
    if pgbench is None:
        print("no pgbench on this machine: rates are not measured")
        return []
    # The tables of pgbench, directly, as their owner.
    run_pgbench(pgbench, database.port, "-i", "-q", "-s", "2")
    failed = []
    with pgbouncer(database, certificates) as other:
        poolers = {"the stand-in": Pooler(port, process.pid)} | ({"PgBouncer": other} if other else {})
        for protocol in PROTOCOLS:
            print(
                f"{protocol} protocol, {CLIENTS} clients over TLS, pool of {POOL}, "
                f"medians of {ROUNDS} rounds of {SECONDS} s"
            )
            print(f"  {'directly, one round':34} {rate(pgbench, database.port, protocol):8,.0f} queries/s")
            rounds = [{name: one.measure(pgbench, protocol) for name, one in poolers.items()} for _ in range(ROUNDS)]
            for name in poolers:
                queries, cpu = (statistics.median(each[name][which] for each in rounds) for which in (0, 1))
                print(f"  {name:34} {queries:8,.0f} queries/s {cpu:6.0f} µs of processor time each")
            if other is None:
                print("  no pgbouncer on this machine: nothing to compare with")
                continue
            ratios = [each["the stand-in"][0] / each["PgBouncer"][0] for each in rounds]
            ratio = statistics.median(ratios)
            span = f"({min(ratios):.2f} to {max(ratios):.2f})"
            print(f"  {'the stand-in over PgBouncer':34} {ratio:8.2f} {span}, wanted {WANTED_RATIO}")
            if ratio < WANTED_RATIO:
                failed.append(f"{protocol} protocol at {ratio:.2f} of PgBouncer")
    return failed


@dataclass(frozen=True)
class Pooler:
    """A pooler, its port and its process."""

    port: int
    pid: int

    def measure(self, pgbench: str, protocol: str) -> tuple[float, float]:
        """Return queries a second, and how many microseconds of processor time each took of the pooler."""
        before = self._processor_seconds()
        queries = rate(pgbench, self.port, protocol)
        return queries, (self._processor_seconds() - before) * 1e6 / (queries * SECONDS)

    def _processor_seconds(self) -> float:
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except FileNotFoundError:  # no Linux
            return float("nan")
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(clients: int, port: int, process: subprocess.Popen[str]) -> list[str]:
    before = resident_mib(process)
    began = time.monotonic()
    answered = asyncio.run(crowd(clients, port, lambda: print_memory(clients, before, began, process)))
    after = peak_mib(process)
    if answered != clients:
        return [f"{clients - answered} of {clients} clients were not served"]
    return [f"{clients} clients took {after:.0f} MiB"] if clients == MANY[0] and after >= MOST_MIB else []


def print_memory(clients: int, before: float, began: float, process: subprocess.Popen[str]) -> None:
    now = resident_mib(process)
    print(
        f"{clients} clients over TLS, all logged in: {now:.0f} MiB resident, "
        f"{(now - before) * 1024 / clients:.0f} KiB each; after {time.monotonic() - began:.0f} s"
        + (f"; wanted less than {MOST_MIB}" if clients == MANY[0] else "")
    )


async def crowd(clients: int, port: int, when_all_are_there) -> int:  # type: ignore[no-untyped-def]
    """Log in so many clients, hold them, let each ask once; return how many were answered."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    gate = asyncio.Semaphore(20)
    loop = asyncio.get_running_loop()

    async def one() -> wire.Connection:
        async with gate:
            _, connection = await loop.create_connection(wire.Connection, "127.0.0.1", port)
            await connection.request_tls(context, "localhost")
            await wire.log_in(connection, {"user": "app", "database": "app"}, PASSWORD)
            return connection

    async def ask(connection: wire.Connection) -> str:
        async with gate:
            return wire.only_value(await wire.run(connection, "SELECT 1"))

    async with asyncio.timeout(240):
        connections = await asyncio.gather(*(one() for _ in range(clients)))
        answers = await asyncio.gather(*map(ask, connections))
    when_all_are_there()
    for connection in connections:
        connection.abort()
    return answers.count("1")


def rate(pgbench: str, port: int, protocol: str) -> float:
    said = run_pgbench(pgbench, port, "-n", "-S", "-M", protocol, "-c", str(CLIENTS), "-j", "2", "-T", str(SECONDS))
    return next(float(line.split()[2]) for line in said.splitlines() if line.startswith("tps"))


def run_pgbench(pgbench: str, port: int, *arguments: str) -> str:
    settings = {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(port),
        "PGUSER": "app",
        "PGPASSWORD": PASSWORD,
        "PGDATABASE": "app",
        "PGSSLMODE": "require",
    }
    done = subprocess.run(
        [pgbench, *arguments], env=os.environ | settings, capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode:
        sys.exit(f"pgbench failed: {done.stderr}")
    return done.stdout


@contextlib.contextmanager
def server(folder: Path) -> Iterator[tuple[PostgresServer, Certificates]]:
    certificates = Certificates(folder)
    database = PostgresServer.start(
        name="speed",
        host_name="127.0.0.1",
        certificates=certificates,
        max_connections=MAX_CONNECTIONS,
        master_user="app",
        master_password=PASSWORD,
        database="app",
    )
    try:
        yield database, certificates
    finally:
        database.stop()


@contextlib.contextmanager
def stand_in(url: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    percent = -(-100 * POOL // MAX_CONNECTIONS)
    process = subprocess.Popen(
        [sys.executable, "-m", "local.rds_proxy", "--port", "0", "--max-connections-percent", str(percent)],
        env=os.environ | {"DATABASE_URL": url},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert f"at most {POOL} of" in first, first
        yield int(first.partition("localhost:")[2].partition(",")[0]), process
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def pgbouncer(database: PostgresServer, certificates: Certificates) -> Iterator[Pooler | None]:
    """Start PgBouncer with TLS and passwords on both sides, if it is installed."""
    if PROGRAM is None:
        yield None
        return
    settings = {"default_pool_size": POOL, "max_client_conn": 200, "server_tls_sslmode": "verify-full"}
    pooler = PgBouncer(
        certificates.host("proxy", "localhost"),
        certificates.ca_file("rds"),
        database.port,
        users={"app": PASSWORD},
        settings=settings,
    )
    try:
        pooler.start()
        yield Pooler(pooler.port, pooler.pid)
    finally:
        pooler.stop()


def resident_mib(process: subprocess.Popen[str]) -> float:
    return _status(process, "VmRSS")


def peak_mib(process: subprocess.Popen[str]) -> float:
    return _status(process, "VmHWM")


def _status(process: subprocess.Popen[str], name: str) -> float:
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    except FileNotFoundError:  # no Linux
        return float("nan")
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536, hard))
    sys.exit(main())
