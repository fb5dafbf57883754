"""A storm of connections: more execution environments than max_connections, each holding its own connection.

Once directly, as terraform/dev connects, and once through the proxy's stand-in, as terraform/prod does. Environments
are threads of a few processes (clients.py), each with a connection of lambda_postgres. All of it is on
loopback, bounded in count and time, and stopped at the end.
"""

import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg2 import sql

from local.certificates import Certificates
from local.credentials import Credentials
from local.loop import LoopThread
from local.postgres.instance_listener import InstanceListener
from local.postgres.server import PostgresServer
from local.rds_proxy.listener import ProxyListener, ProxySettings
from local.rds_proxy.pool import PoolSettings, Secret
from local.rds_proxy.server_connection import Target
from local.storm.picture import Limit, Line, draw

ENVIRONMENTS = 200
PROCESSES = 4
SECONDS = 10
RAMP_SECONDS = 3  # before them: environments start one after another, as Lambda's do
INTERVAL_SECONDS = 0.2  # each asks five times a second
MAX_CONNECTIONS = 90  # modules/database reckons this for a db.t4g.micro
POOL_PERCENT = 25
REGION = "us-east-1"
SAMPLE_SECONDS = 0.2
USER = "app"
INSTANCE_HOST = f"storm.abcdefghijkl.{REGION}.rds.amazonaws.com"
PROXY_HOST = f"storm.proxy-abcdefghijkl.{REGION}.rds.amazonaws.com"
RESOURCES = f"arn:aws:rds-db:{REGION}:123456789012:dbuser"

_CREDENTIALS = Credentials("STORM", secrets.token_urlsafe(), None, None, "arn:aws:iam::123456789012:role/storm")


class _Directory:
    """The storm's one key, allowed everything: what a policy refuses is tested elsewhere."""

    def credentials_of(self, access_key_id: str) -> Credentials | None:
        return _CREDENTIALS if access_key_id == _CREDENTIALS.access_key_id else None

    def allows(self, credentials: Credentials, action: str, resource: str) -> bool:  # noqa: ARG002
        return True


@dataclass(frozen=True)
class Outcome:
    """What one storm did; latencies are of warm queries."""

    way: str
    connected: int
    refused: int
    refusal: str
    queries_per_second: float
    p50_milliseconds: float
    p99_milliseconds: float
    samples: list["Sample"]

    @property
    def server_connections(self) -> int:
        """The most that the user has had on the server."""
        return max(sample.server_connections for sample in self.samples)


@dataclass(frozen=True)
class Sample:
    """Connections at one moment of a storm, `seconds` after its begin; those of clients as the proxy reports them."""

    seconds: float
    server_connections: int
    client_connections: int


def run(picture: Path | None = None) -> str:
    """Send both storms; return a table of what came of them, and draw them into a file."""
    with ExitStack() as resources:
        certificates = Certificates(Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="storm-"))))
        loop = LoopThread()
        resources.callback(loop.stop)
        password = secrets.token_urlsafe()
        server = PostgresServer.start(
            name="storm",
            host_name=INSTANCE_HOST,
            certificates=certificates,
            max_connections=MAX_CONNECTIONS,
            master_user="master",
            master_password=secrets.token_urlsafe(),
            database="app",
        )
        resources.callback(server.stop)
        instance = _instance(loop, server, certificates)
        resources.callback(instance.stop)
        proxy = _proxy(loop, server, certificates, password)
        resources.callback(proxy.stop)

        _fill(server, password)
        ca_file = certificates.ca_file("rds")
        direct = _send("directly", server, (INSTANCE_HOST, instance.port), ca_file, clients=lambda: 0)
        with server.administrator() as cursor:  # a member logs in with a token, and the proxy with a password
            cursor.execute(sql.SQL("REVOKE rds_iam FROM {}").format(sql.Identifier(USER)))
        pooled = _send(
            "through the proxy",
            server,
            (PROXY_HOST, proxy.port),
            certificates.ca_file("proxy"),
            clients=lambda: proxy.metrics().client_connections,
        )
    if picture is not None:
        picture.parent.mkdir(exist_ok=True)
        picture.write_text(_picture(direct, pooled), encoding="utf-8")
    return _table([direct, pooled])


def _instance(loop: LoopThread, server: PostgresServer, certificates: Certificates) -> InstanceListener:
    instance = InstanceListener(
        loop.loop,
        host_name=INSTANCE_HOST,
        certificate=certificates.host("rds", INSTANCE_HOST),
        socket_path=server.socket_path,
        directory=_Directory(),
        resource_prefix=f"{RESOURCES}:db-STORM",
    )
    instance.start()
    return instance


def _proxy(loop: LoopThread, server: PostgresServer, certificates: Certificates, password: str) -> ProxyListener:
    pool = PoolSettings(lambda user: Secret(user, password), POOL_PERCENT, POOL_PERCENT, borrow_timeout_seconds=5)
    proxy = ProxyListener(
        loop.loop,
        name="storm",
        host_name=PROXY_HOST,
        certificate=certificates.host("proxy", PROXY_HOST),
        directory=_Directory(),
        resource_prefix=f"{RESOURCES}:prx-storm",
        settings=ProxySettings(pool),
    )
    proxy.start()
    proxy.register(Target(INSTANCE_HOST, server.port, certificates.ca_file("rds"), MAX_CONNECTIONS))
    return proxy


def _fill(server: PostgresServer, password: str) -> None:
    """Make the application's user and what the sample function reads."""
    with server.administrator("app") as cursor:
        cursor.execute(
            sql.SQL("CREATE ROLE {} LOGIN IN ROLE rds_iam PASSWORD %s").format(sql.Identifier(USER)), [password]
        )
        cursor.execute(
            "CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL,"
            " created_at timestamptz NOT NULL DEFAULT now());"
            " INSERT INTO users (name) SELECT 'user ' || n FROM generate_series(1, 20) n"
        )
        cursor.execute(sql.SQL("GRANT SELECT ON users TO {}").format(sql.Identifier(USER)))


def _send(
    way: str,
    server: PostgresServer,
    endpoint: tuple[str, int],
    ca_file: Path,
    *,
    clients: Callable[[], int],
) -> Outcome:
    settings = {
        "host": endpoint[0],
        "port": endpoint[1],
        "database": "app",
        "user": USER,
        "ca_file": str(ca_file),
        "auth": "iam",
        "region": REGION,
        "retry_seconds": 0,  # what the server says at once is what is counted
    }
    orders = {
        "settings": settings,
        "environments": ENVIRONMENTS // PROCESSES,
        "ramp_seconds": RAMP_SECONDS,
        "seconds": SECONDS,
        "interval_seconds": INTERVAL_SECONDS,
    }
    root = Path(__file__).resolve().parents[2]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(root / "lambda" / "layer"),
        "PGHOSTADDR": "127.0.0.1",
        "AWS_ACCESS_KEY_ID": _CREDENTIALS.access_key_id,
        "AWS_SECRET_ACCESS_KEY": _CREDENTIALS.secret_access_key,
    }
    with ExitStack() as resources:
        watch = resources.enter_context(_Watch(server, clients))
        command = [sys.executable, str(Path(__file__).with_name("clients.py"))]
        processes = [
            resources.enter_context(
                subprocess.Popen(
                    command,
                    env=environment,
                    text=True,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    start_new_session=True,  # a Ctrl-C is for this process to handle
                )
            )
            for _ in range(PROCESSES)
        ]
        try:
            for process in processes:
                assert process.stdin is not None
                json.dump(orders, process.stdin)
                process.stdin.close()
            measured = [json.load(process.stdout) for process in processes if process.stdout is not None]
        except BaseException:
            for process in processes:
                process.kill()
            raise
    return _outcome(way, measured, watch.samples)


class _Watch(threading.Thread):
    """Notes the connections that the user has on the server, and those of clients, every so often."""

    def __init__(self, server: PostgresServer, clients: Callable[[], int]) -> None:
        super().__init__(daemon=True)
        self.samples: list[Sample] = []
        self._server = server
        self._clients = clients
        self._over = threading.Event()

    def __enter__(self) -> "_Watch":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        begin = time.monotonic()
        with self._server.administrator() as cursor:
            while not self._over.wait(SAMPLE_SECONDS):
                cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", [USER])
                [connections] = cursor.fetchone() or [0]
                self.samples.append(Sample(time.monotonic() - begin, connections, self._clients()))


def _outcome(way: str, measured: list[dict[str, Any]], samples: list[Sample]) -> Outcome:
    seconds = [second for process in measured for second in process["query_seconds"]]
    refusals = sum((Counter(process["refusals"]) for process in measured), Counter())
    percentiles = statistics.quantiles(seconds, n=100)
    return Outcome(
        way=way,
        connected=sum(process["connected"] for process in measured),
        refused=sum(process["refused"] for process in measured),
        refusal=refusals.most_common(1)[0][0] if refusals else "",
        queries_per_second=len(seconds) / SECONDS,
        p50_milliseconds=percentiles[49] * 1000,
        p99_milliseconds=percentiles[98] * 1000,
        samples=samples,
    )


def _picture(direct: Outcome, pooled: Outcome) -> str:
    pool, end = MAX_CONNECTIONS * POOL_PERCENT // 100, RAMP_SECONDS + SECONDS  # then environments begin to leave
    clients = [(sample.seconds, sample.client_connections) for sample in pooled.samples if sample.seconds <= end]
    server = [(sample.seconds, sample.server_connections) for sample in pooled.samples if sample.seconds <= end]
    without = [(sample.seconds, sample.server_connections) for sample in direct.samples if sample.seconds <= end]
    return draw(
        f"A storm of {ENVIRONMENTS} execution environments",
        f"{pooled.refused} refused through the proxy, {direct.refused} directly. "
        "Measured on the local stack with a stand-in for RDS Proxy.",
        [
            Line("clients of the proxy", "#0969da", clients),
            Line("the database, directly", "#cf222e", without),
            Line("the database, by the proxy", "#1a7f37", server),
        ],
        [Limit(f"max_connections = {MAX_CONNECTIONS}", MAX_CONNECTIONS), Limit(f"the proxy's pool = {pool}", pool)],
    )


def _table(outcomes: list[Outcome]) -> str:
    lines = [
        f"  {ENVIRONMENTS} environments, {ENVIRONMENTS / INTERVAL_SECONDS:.0f} queries/s offered for {SECONDS} s, "
        f"max_connections = {MAX_CONNECTIONS}, a pool of {MAX_CONNECTIONS * POOL_PERCENT // 100}",
        "",
        f"  {'':18}{'accepted':>9}{'refused':>9}{'queries/s':>11}{'p50 ms':>8}{'p99 ms':>8}{'server connections':>20}",
    ]
    for o in outcomes:
        lines.append(
            f"  {o.way:18}{o.connected:>9}{o.refused:>9}{o.queries_per_second:>11.0f}"
            f"{o.p50_milliseconds:>8.1f}{o.p99_milliseconds:>8.1f}{o.server_connections:>20}"
        )
    lines += [f"\n  refused {o.way}: {o.refusal}" for o in outcomes if o.refusal]
    return "\n".join(lines)
