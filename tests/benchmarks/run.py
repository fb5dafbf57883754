"""Measure the library beside its peers, interleaved in one run: a table, and JSON in build/output/benchmarks.json.

    make bench

The database trusts the address that the functions come from, so that the same server serves every peer and only what
the functions themselves do is timed; each still makes its token and its TLS handshake.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import cold_start
import psycopg2
import psycopg2.extensions
from distance import Distance
from lambda_postgres import Keeper, Settings
from lambda_postgres.credentials import Credentials
from lambda_postgres.signature import database_token

from local.certificates import Certificates
from local.postgres.server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg2.extensions import connection as Connection  # noqa: N812

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
OUTPUT = ROOT / "build" / "output"
HOST = "app.abcdefghijkl.us-east-1.rds.amazonaws.com"
KEY = {
    "AWS_ACCESS_KEY_ID": "ASIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "AWS_SESSION_TOKEN": "IQoJb3JpZ2luX2VjEXAMPLE" * 40,  # as long as real ones are
}
EXAMPLES = ROOT / "examples" / "frameworks"
QUERY = "SELECT id, name, created_at FROM users ORDER BY id LIMIT 10"


class Bench:
    """What one run found: rows of figures, and goals met or missed."""

    def __init__(self) -> None:
        self.figures: dict[str, dict[str, float | int | str]] = {}
        self.goals: list[tuple[str, float, float]] = []

    def add(self, name: str, values: list[float], unit: str) -> float:
        ordered = sorted(values)
        median = statistics.median(ordered)
        self.figures[name] = {
            "median": round(median, 3),
            "p10": round(ordered[len(ordered) // 10], 3),
            "p90": round(ordered[-1 - len(ordered) // 10], 3),
            "unit": unit,
            "runs": len(values),
        }
        return median

    def goal(self, name: str, reached: float, wanted: float) -> None:
        self.goals.append((name, round(reached, 3), wanted))

    def print(self) -> None:
        print(f"\n{'':52}{'median':>10}{'p10':>10}{'p90':>10}  unit  runs")
        for name, row in self.figures.items():
            print(f"{name:52}{row['median']:>10}{row['p10']:>10}{row['p90']:>10}  {row['unit']:5} {row['runs']}")
        print()
        for name, reached, wanted in self.goals:
            print(f"{name:52}{reached:>10}  {'reached' if reached <= wanted else 'MISSED'} (goal: at most {wanted})")


def main() -> None:
    """Measure everything, or what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15, help="of each cold start")
    parser.add_argument("--frameworks", action="store_true", help="only their cold starts")
    arguments = parser.parse_args()
    runs = arguments.runs
    bench = Bench()
    with tempfile.TemporaryDirectory() as folder:
        certificates = Certificates(Path(folder) / "certificates")
        server = start_server(certificates)
        os.environ |= {"PGHOSTADDR": "127.0.0.1", "AWS_REGION": "us-east-1", **KEY}
        settings = Settings(
            host=HOST,
            port=server.port,
            database="app",
            user="app",
            ca_file=str(certificates.ca_file("rds")),
            auth="iam",
            region="us-east-1",
        )
        try:
            if arguments.frameworks:
                measure_frameworks(bench, Path(folder), settings, runs)
                bench.print()
                return
            measure_cold_starts(bench, Path(folder), settings, runs)
            measure_frameworks(bench, Path(folder), settings, runs)
            measure_hidden_connect(bench, Path(folder), settings, runs)
            measure_imports(bench, Path(folder), runs)
            measure_warm(bench, settings)
            measure_tokens(bench)
        finally:
            server.stop()
    bench.print()
    write_json(bench, server.version)


def start_server(certificates: Certificates) -> PostgresServer:
    server = PostgresServer.start(
        name="bench",
        host_name=HOST,
        certificates=certificates,
        max_connections=50,
        master_user="master",
        master_password="unused",  # noqa: S106
        database="app",
    )
    rules = server.socket_folder / "pg_hba.conf"
    rules.write_text("hostssl all app 127.0.0.1/32 trust\n" + rules.read_text())
    with server.administrator("app") as cursor:
        cursor.execute("SELECT pg_reload_conf()")
        cursor.execute("CREATE ROLE app LOGIN")
        cursor.execute("CREATE TABLE users (id int PRIMARY KEY, name text, created_at timestamptz DEFAULT now())")
        cursor.execute("INSERT INTO users SELECT n, 'user ' || n FROM generate_series(1, 100) AS n")
        cursor.execute("GRANT SELECT ON users TO app")
    return server


def environment_of(settings: Settings) -> dict[str, str]:
    return {
        "PGHOST": settings.host,
        "PGHOSTADDR": "127.0.0.1",
        "PGPORT": str(settings.port),
        "PGDATABASE": settings.database,
        "PGUSER": settings.user,
        "PGSSLROOTCERT": settings.ca_file,
        "DB_AUTH": "iam",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        **KEY,
    }


def measure_cold_starts(bench: Bench, folder: Path, settings: Settings, runs: int) -> None:
    # uv leaves packages uncompiled, Lambda does not: the tutorial's boto3 would be compiled at every start.
    subprocess.run([cold_start.RUNTIME, "-m", "compileall", "-q", cold_start.RUNTIME.parents[1] / "lib"], check=False)
    layer = cold_start.unpack(OUTPUT / "layer-x86_64.zip", folder / "layer")
    tasks = {}
    for name, source in {
        "lambda_postgres": ROOT / "lambda" / "function" / "handler.py",
        "tutorial": HERE / "tutorial.py",
        "no-op": HERE / "no_op.py",
    }.items():
        tasks[name] = folder / "tasks" / name
        tasks[name].mkdir(parents=True)
        shutil.copy(source, tasks[name] / "handler.py")
    environment = environment_of(settings)
    for label, percent, wanted in (("full CPU", None, 0.20), ("256 MB", 14.5, 0.22)):
        with cold_start.cpu_share(percent) as prefix:
            if prefix is None:
                print(f"Cold starts at {label} are left out: no control group can be made here.")
                continue
            medians, memory = {}, {}
            taken: dict[str, list[tuple[float, float]]] = {name: [] for name in tasks}
            for number in range((runs if percent is None else max(3, runs // 2)) + 1):
                for name, task in tasks.items():
                    taken[name].append(cold_start.start("handler.handler", task, layer, environment, prefix))
                _progress(f"cold start, {label}", number)
        for name, pairs in taken.items():
            medians[name] = bench.add(f"cold start, {label}: {name}", [ms for ms, _ in pairs[1:]], "ms")
            memory[name] = statistics.median(mib for _, mib in pairs)
        if percent is None:
            for name, mib in memory.items():
                bench.add(f"peak memory: {name}", [mib], "MiB")
        bench.goal(f"cold start, {label}: of the tutorial's", medians["lambda_postgres"] / medians["tutorial"], wanted)
        if percent is None:
            net = (medians["lambda_postgres"] - medians["no-op"]) / (medians["tutorial"] - medians["no-op"])
            bench.goal("cold start, full CPU: of the tutorial's, net of no-op", net, 0.08)


def measure_frameworks(bench: Bench, folder: Path, settings: Settings, runs: int) -> None:
    """Start the examples beside the plain sample function, with the optional modules merged into its layer."""
    merged = cold_start.unpack(OUTPUT / "layer-x86_64.zip", folder / "merged")
    cold_start.unpack(OUTPUT / "frameworks.zip", merged)
    names = sorted(source.parent.name for source in EXAMPLES.glob("*/handler.py"))
    zips = {name: OUTPUT / f"function-examples-frameworks-{name}.zip" for name in names}
    zips = {"lambda_postgres": OUTPUT / "function.zip", **zips}
    tasks = {name: cold_start.unpack(package, folder / "frameworks" / name) for name, package in zips.items()}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in tasks}
    environment = environment_of(settings) | {"POWERTOOLS_METRICS_NAMESPACE": "bench"}
    for number in range(runs + 1):
        for name, task in tasks.items():
            taken[name].append(cold_start.start("handler.handler", task, merged, environment, []))
        _progress("cold start, frameworks", number)
    for name, pairs in taken.items():
        bench.add(f"cold start, example: {name}", [ms for ms, _ in pairs[1:]], "ms")
        bench.add(f"peak memory, example: {name}", [statistics.median(mib for _, mib in pairs)], "MiB")
    for name in names:
        ratios = [ms / plain for (ms, _), (plain, _) in zip(taken[name], taken["lambda_postgres"], strict=True)]
        bench.add(f"cold start, example: {name}, of the plain one's", ratios[1:], "times")


def measure_hidden_connect(bench: Bench, folder: Path, settings: Settings, runs: int, milliseconds: float = 20) -> None:
    """Compare a function that connects over a distance while it imports boto3 with one that does not connect."""
    task = folder / "tasks" / "busy"
    task.mkdir()
    shutil.copy(HERE / "busy.py", task / "handler.py")
    distance = Distance(settings.port, milliseconds)
    environment = environment_of(settings._replace(port=distance.port))
    taken: dict[str, list[float]] = {"not connecting": [], "connecting": []}
    for number in range(runs + 1):
        for flag, name in enumerate(taken):
            variables = {**environment, "BENCH_CONNECT": str(flag)}
            taken[name].append(cold_start.start("handler.handler", task, folder / "layer", variables, [])[0])
        _progress("cold start, connecting over a distance", number)
    distance.close()
    medians = [
        bench.add(f"cold start, boto3, round trip {milliseconds} ms: {name}", values[1:], "ms")
        for name, values in taken.items()
    ]
    bench.goal("cold start, boto3: longer when connecting, ms", medians[1] - medians[0], 5)


def measure_imports(bench: Bench, folder: Path, runs: int) -> None:
    compiled = folder / "layer" / "python"
    bare = folder / "bare"
    shutil.copytree(compiled, bare, ignore=shutil.ignore_patterns("__pycache__"))
    code = "import time; t = time.perf_counter(); import lambda_postgres; print((time.perf_counter() - t) * 1000)"
    taken: dict[str, list[float]] = {"with .pyc": [], "without .pyc": []}
    for _ in range(runs):
        for name, path in (("with .pyc", compiled), ("without .pyc", bare)):
            environment = {"PATH": os.defpath, "PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"}
            answer = subprocess.run(
                [cold_start.RUNTIME, "-c", code], env=environment, capture_output=True, text=True, check=True
            )
            taken[name].append(float(answer.stdout))
    for name, values in taken.items():
        bench.add(f"import lambda_postgres {name}", values, "ms")


def measure_warm(bench: Bench, settings: Settings, rounds: int = 4000) -> None:
    keeper = Keeper(settings)
    with keeper.connection() as kept:
        pass

    def query(conn: Connection) -> list[tuple[Any, ...]]:
        with conn.cursor() as cursor:
            cursor.execute(QUERY)
            return cursor.fetchall()

    def query_bare() -> list[tuple[Any, ...]]:
        """Use psycopg2's own cursor, on the same connection: the server's processes differ more than the clients."""
        with psycopg2.extensions.connection.cursor(kept, cursor_factory=psycopg2.extensions.cursor) as cursor:
            cursor.execute(QUERY)
            return cursor.fetchall()

    def answer(rows: list[tuple[Any, ...]]) -> str:
        """Do what the sample function does with its rows."""
        users = [{"id": key, "name": name, "created_at": created.isoformat()} for key, name, created in rows]
        return json.dumps({"statusCode": 200, "body": json.dumps(users)})

    def query_lent() -> None:
        with keeper.connection() as conn:
            query(conn)

    def invoke_lent() -> None:
        with keeper.connection() as conn:
            rows = query(conn)
        answer(rows)

    works: dict[str, Callable[[], object]] = {
        "warm query: lambda_postgres": query_lent,
        "warm query: bare psycopg2 cursor": query_bare,
        "warm invocation: lambda_postgres": invoke_lent,
        "warm invocation: bare psycopg2 cursor": lambda: answer(query_bare()),
    }
    taken: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds):
        for name in works if number % 2 else reversed(works):
            taken[name].append(_microseconds(works[name]))
    medians = {name: bench.add(name, values, "µs") for name, values in taken.items()}
    ratio = medians["warm invocation: lambda_postgres"] / medians["warm invocation: bare psycopg2 cursor"]
    bench.goal("warm invocation: of a bare cursor's", ratio, 1.05)
    keeper.close()


def measure_tokens(bench: Bench, pairs: int = 1000) -> None:
    key = Credentials(*KEY.values())
    client = boto3.client("rds", region_name="us-east-1")

    def ours() -> None:
        database_token(HOST, 5432, "app", region="us-east-1", credentials=key, now=time.time())

    def botocores() -> None:
        client.generate_db_auth_token(HOST, 5432, "app")

    taken: dict[str, list[float]] = {"lambda_postgres": [], "botocore": []}
    for _ in range(pairs):
        for name, work in zip(taken, (ours, botocores), strict=True):
            taken[name].append(_microseconds(work))
    for name, values in taken.items():
        median = bench.add(f"token: {name}", values, "µs")
        bench.figures[f"token: {name}"]["per_second"] = round(1_000_000 / median)


def _microseconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1_000_000


def _progress(what: str, number: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{what}: {number}", end="", file=sys.stderr)


def write_json(bench: Bench, postgresql: int) -> None:
    report = {
        "figures": bench.figures,
        "goals": [
            {"name": name, "reached": reached, "wanted": wanted, "ok": reached <= wanted}
            for name, reached, wanted in bench.goals
        ],
        "versions": {
            "python": platform.python_version(),
            "psycopg2": psycopg2.__version__,
            "libpq": psycopg2.__libpq_version__,
            "boto3": boto3.__version__,
            "awslambdaric": version("awslambdaric"),
            "postgresql": postgresql,
        },
        "machine": {"cores": os.cpu_count(), "system": f"{platform.system()} {platform.machine()}"},
    }
    path = OUTPUT / "benchmarks.json"
    path.write_text(json.dumps(report, indent=2) + "\n")
    print(f"\n{path.relative_to(ROOT)}: {json.dumps(report['versions'])}")


if __name__ == "__main__":
    main()
