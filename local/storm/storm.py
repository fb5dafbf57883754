"""A storm of connections: more execution environments than max_connections, each holding its own connection.

Each way to the database gets the same storm: directly, as terraform/dev connects; through the proxy's stand-in, as
terraform/prod does; through PgBouncer; and through the stand-in with what a pool cannot help. Environments are threads
of a few processes (clients.py), each with a connection of lambda_postgres; their number grows level by level. All of it
is on loopback, bounded in count and time, and stopped at the end.
"""

from __future__ import annotations

import datetime
import json
import logging
import multiprocessing
import os
import platform
import resource
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql

from local import failover
from local.certificates import Certificates
from local.credentials import Credentials
from local.loop import LoopThread
from local.postgres.cluster import Cluster
from local.postgres.installation import find_binaries
from local.postgres.instance_listener import InstanceListener
from local.postgres.server import PostgresServer
from local.rds_proxy.listener import ProxyListener, ProxySettings
from local.rds_proxy.pool import PoolSettings, Secret
from local.rds_proxy.server_connection import Target
from local.storm import pgbouncer
from local.storm.picture import Limit, Line, Panel, draw

MAX_CONNECTIONS = 90  # modules/database reckons this for a db.t4g.micro
POOL_PERCENT = 25
POOL = MAX_CONNECTIONS * POOL_PERCENT // 100
PROCESSES = 4
REGION = "us-east-1"
USER = "app"
INSTANCE_HOST = f"storm.abcdefghijkl.{REGION}.rds.amazonaws.com"
PROXY_HOST = f"storm.proxy-abcdefghijkl.{REGION}.rds.amazonaws.com"
RESOURCES = f"arn:aws:rds-db:{REGION}:123456789012:dbuser"
RATE_GOAL_PERCENT = 1.0

_CREDENTIALS = Credentials("STORM", secrets.token_urlsafe(), None, None, "arn:aws:iam::123456789012:role/storm")
WITHOUT_WRITER_SECONDS = 3.0  # of a failover, beside what the servers take
FAILOVER_AFTER_SECONDS = 5.0  # of each level's counting
_SAMPLE_SECONDS = 0.25
_BEGIN_AFTER_SECONDS = 2.0  # in which the processes start
_SPARE_FILES = 256


class StormError(Exception):
    """Why there can be no storm."""


@dataclass(frozen=True)
class Size:
    """How large a storm is: the number of environments at each level, and how long each lasts."""

    environments: tuple[int, ...] = (50, 200, 500, 1000, 2000)
    per_second: int = 1000
    starts_per_second: float = 175
    settle_seconds: float = 0.5
    count_seconds: float = 2.5

    def levels(self) -> list[dict[str, float]]:
        """Return each level's times in seconds since the begin: clients.Level."""
        levels, start, before = [], 0.0, 0
        for environments in self.environments:
            started = start + (environments - before) / self.starts_per_second
            count_from = started + self.settle_seconds
            end = count_from + self.count_seconds
            levels.append(
                {"environments": environments, "start": start, "started": started, "count_from": count_from, "end": end}
            )
            before, start = environments, end
        return levels


SHORT = Size((200,), starts_per_second=80, count_seconds=10)
WITH_FAILOVER = Size((200, 1000), per_second=500, count_seconds=20)


@dataclass(frozen=True)
class Way:
    """One way to the database, and what the clients do on it."""

    name: str
    pins: bool = False
    held_seconds: float = 0.0
    fails_over: bool = False  # a cluster, whose writer changes at each level; each request writes a row


DIRECTLY = Way("directly")
STAND_IN = Way("through the proxy")
PGBOUNCER = Way("through PgBouncer")
PINNING = Way("the proxy, pinned", pins=True)
HOLDING = Way("the proxy, held 100 ms", held_seconds=0.1)
FAILING_OVER = Way("the proxy, a failover", fails_over=True)
ALL = (DIRECTLY, STAND_IN, PGBOUNCER, PINNING, HOLDING)


@dataclass(frozen=True)
class Row:
    """What came of one level on one way, while it was counted."""

    way: str
    environments: int
    accepted: int  # answered at least once
    refused: int  # never answered, and told why
    waiting: int  # neither: still waiting for a connection
    refusals: int  # of all requests since the level before, the environments' starts among them
    refusal: str
    offered_per_second: int
    queries_per_second: float
    p50_milliseconds: float | None
    p99_milliseconds: float | None
    server_connections: int
    clients_mib: int | None
    stand_in_mib: int | None
    silent_seconds: float = 0.0  # the longest time without any answer
    written: int = 0  # rows that were acknowledged since the level before
    lost: int = 0
    doubled: int = 0


@dataclass(frozen=True)
class Sample:
    """Connections at one moment, `seconds` after the begin of a way; those of clients as the proxy reports them."""

    seconds: float
    server_connections: int
    client_connections: int


@dataclass(frozen=True)
class Storm:
    """What one run measured, and on what machine."""

    size: Size
    rows: list[Row]
    samples: dict[str, list[Sample]]
    machine: dict[str, Any]

    def missed(self) -> list[str]:
        """Say which of the stand-in's goals were missed."""
        return [miss for row in self.rows if row.way == STAND_IN.name for miss in _missed(row)]

    def write(self, path: Path) -> None:
        """Write all of it as JSON, from which the picture is drawn."""
        path.parent.mkdir(parents=True, exist_ok=True)
        settings = {"max_connections": MAX_CONNECTIONS, "pool": POOL, **asdict(self.size)}
        content = {
            "made_by": "make storm",
            "machine": self.machine,
            "settings": settings,
            "missed": self.missed(),
            "rows": [asdict(row) for row in self.rows],
        }
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def draw_time(self, path: Path) -> None:
        """Draw connections over time, directly and through the proxy, as the dashboard of the modules shows them."""
        end = self.size.levels()[-1]["end"]  # then environments begin to leave

        def points(way: Way, figure: str) -> list[tuple[float, float]]:
            return [(s.seconds, getattr(s, figure)) for s in self.samples[way.name] if 0 <= s.seconds <= end]

        most = max(self.size.environments)
        refused = {row.way: row.environments - row.accepted for row in self.rows if row.environments == most}
        panel = Panel(
            "connections",
            "seconds since the storm began",
            [
                Line("clients of the proxy", "blue", points(STAND_IN, "client_connections")),
                Line("the database, directly", "red", points(DIRECTLY, "server_connections")),
                Line("the database, by the proxy", "green", points(STAND_IN, "server_connections")),
            ],
            [Limit(f"max_connections = {MAX_CONNECTIONS}", MAX_CONNECTIONS), Limit(f"the proxy's pool = {POOL}", POOL)],
        )
        picture = draw(
            f"A storm of {most} execution environments",
            f"Without a connection: {refused[STAND_IN.name]} through the proxy, {refused[DIRECTLY.name]} directly. "
            "Measured on the local stack with a stand-in for RDS Proxy.",
            [panel],
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(picture, encoding="utf-8")


def run(size: Size = SHORT, ways: Sequence[Way] = (DIRECTLY, STAND_IN)) -> Storm:
    """Send the storm each way, each from a process of its own, and print a row of the table as each level ends."""
    _allow_files(max(size.environments))
    before = _Use.now()
    load_before = os.getloadavg()[0]
    _say(_head(size))
    rows: list[Row] = []
    samples: dict[str, list[Sample]] = {}
    for way in ways:
        if way == PGBOUNCER and pgbouncer.PROGRAM is None:
            _say(f"  {pgbouncer.ABSENT}")
            continue
        found, samples[way.name] = _send_apart(way, size)
        rows += found
    machine = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": round(load_before, 2),
        "others_percent": before.others_percent(_Use.now()),
        "python": platform.python_version(),
        "postgresql": find_binaries().version,
        "pgbouncer": pgbouncer.version() if PGBOUNCER in ways else None,
        "seconds": round(time.monotonic() - before.at),
    }
    storm = Storm(size, rows, samples, machine)
    _say(_foot(storm))
    return storm


@dataclass(frozen=True)
class _Use:
    """Seconds of processors that were used until a moment: by this process and those it has waited for, by all."""

    at: float
    own: float
    all: float | None  # None where the system does not tell

    @classmethod
    def now(cls) -> _Use:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        try:
            user, nice, system, _, _, irq, soft_irq, steal, *_ = map(int, Path("/proc/stat").read_text().split()[1:11])
            busy = (user + nice + system + irq + soft_irq + steal) / os.sysconf("SC_CLK_TCK")
        except OSError:
            busy = None
        return cls(time.monotonic(), sum(use.ru_utime + use.ru_stime for use in used), busy)

    def others_percent(self, later: _Use) -> int | None:
        """Return the share of this machine's processors that other programs took."""
        if self.all is None or later.all is None:
            return None
        others = (later.all - self.all) - (later.own - self.own)
        return max(0, round(100 * others / ((later.at - self.at) * (os.cpu_count() or 1))))


def _say(line: str) -> None:
    print(line, flush=True)


def _missed(row: Row) -> Iterator[str]:
    where = f"{row.environments} environments {row.way}"
    if row.accepted < row.environments or row.refusals:
        yield f"{where}: {row.accepted} accepted, {row.refusals} requests refused; the goal is all and none."
    if row.server_connections > POOL:
        yield f"{where}: {row.server_connections} server connections; the goal is at most {POOL}."
    if abs(row.queries_per_second / row.offered_per_second - 1) * 100 > RATE_GOAL_PERCENT:
        yield (
            f"{where}: {row.queries_per_second:.0f} queries/s of {row.offered_per_second:.0f} offered; "
            f"the goal is within {RATE_GOAL_PERCENT:g} %, which a machine misses that is busy with other programs."
        )


def _allow_files(environments: int) -> None:
    """Raise this process's limit of open files as far as the storm needs, or say that it cannot be."""
    needed = 2 * environments + _SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise StormError(
            f"A storm of {environments} environments needs {needed} open files, but at most {hard} are allowed here "
            f"(ulimit -Hn). Raise that limit, or send a smaller storm: python -m local.storm --environments 50,200"
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


class _Directory:
    """The storm's one key, allowed everything: what a policy refuses is tested elsewhere."""

    def credentials_of(self, access_key_id: str) -> Credentials | None:
        return _CREDENTIALS if access_key_id == _CREDENTIALS.access_key_id else None

    def allows(self, credentials: Credentials, action: str, resource: str) -> bool:  # noqa: ARG002
        return True


@dataclass(frozen=True)
class _Endpoint:
    host: str
    port: int
    ca_file: Path


class _Field:
    """The database, and what leads to it on one way."""

    server: PostgresServer | Cluster

    def __init__(self, loop: LoopThread, certificates: Certificates) -> None:
        self._loop = loop
        self._certificates = certificates
        self._password = secrets.token_urlsafe()
        self._listener: ProxyListener | None = None

    @property
    def _target(self) -> Target:
        port = (self.server.writer if isinstance(self.server, Cluster) else self.server).port
        return Target(INSTANCE_HOST, port, self._certificates.ca_file("rds"), MAX_CONNECTIONS)

    @classmethod
    @contextmanager
    def made(cls, way: Way) -> Iterator[_Field]:
        with ExitStack() as resources:
            folder = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="storm-")))
            certificates = Certificates(folder)
            loop = LoopThread()
            resources.callback(loop.stop)
            alike: dict[str, Any] = {
                "name": "storm",
                "certificates": certificates,
                "max_connections": MAX_CONNECTIONS,
                "master_user": "master",
                "master_password": secrets.token_urlsafe(),
                "database": "app",
            }
            field = cls(loop, certificates)
            if way.fails_over:
                field.server = cluster = Cluster(
                    **alike,
                    host_names=[INSTANCE_HOST],
                    failover_seconds=WITHOUT_WRITER_SECONDS,
                    changed=field._lead_proxy,
                )
                resources.callback(cluster.stop)
                for member in ("one", "two"):
                    cluster.add(member, INSTANCE_HOST)
            else:
                field.server = PostgresServer.start(**alike, host_name=INSTANCE_HOST)
                resources.callback(field.server.stop)
            yield field

    @contextmanager
    def opened(self, way: Way, clients: int) -> Iterator[tuple[_Endpoint, Callable[[], int] | None]]:
        """Lend the endpoint of a way, and what counts the stand-in's clients."""
        self._fill(by_token=way == DIRECTLY)
        if way == DIRECTLY:
            instance = self._instance()
            try:
                yield _Endpoint(INSTANCE_HOST, instance.port, self._certificates.ca_file("rds")), None
            finally:
                instance.stop()
            return
        pooler = self._pgbouncer(clients) if way == PGBOUNCER else self._proxy()
        counted = (lambda: pooler.metrics().client_connections) if isinstance(pooler, ProxyListener) else None
        try:
            yield _Endpoint(PROXY_HOST, pooler.port, self._certificates.ca_file("proxy")), counted
        finally:
            pooler.stop()

    def _fill(self, *, by_token: bool) -> None:
        """Make what the sample function reads, and its user; a member of rds_iam logs in with tokens only."""
        user = sql.Identifier(USER)
        with self.server.administrator("app") as cursor:
            cursor.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD %s").format(user), [self._password])
            if by_token:
                cursor.execute(sql.SQL("GRANT rds_iam TO {}").format(user))
            cursor.execute(
                "CREATE SEQUENCE numbers;"
                "CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL,"
                " created_at timestamptz NOT NULL DEFAULT now());"
                " INSERT INTO users (name) SELECT 'user ' || n FROM generate_series(1, 20) n;"
                "CREATE TABLE ledger (key text NOT NULL)"
            )
            grants = (
                "GRANT SELECT ON users TO {0}; GRANT USAGE ON SEQUENCE numbers TO {0}; GRANT INSERT ON ledger TO {0}"
            )
            cursor.execute(sql.SQL(grants).format(user))

    def _instance(self) -> InstanceListener:
        server = self.server
        assert isinstance(server, PostgresServer)
        instance = InstanceListener(
            self._loop.loop,
            host_name=INSTANCE_HOST,
            certificate=self._certificates.host("rds", INSTANCE_HOST),
            socket_path=lambda: server.socket_path,
            directory=_Directory(),
            resource_prefix=f"{RESOURCES}:db-STORM",
        )
        instance.start()
        return instance

    def _proxy(self) -> ProxyListener:
        pool = PoolSettings(
            lambda user: Secret(user, self._password), POOL_PERCENT, POOL_PERCENT, borrow_timeout_seconds=5
        )
        proxy = ProxyListener(
            self._loop.loop,
            name="storm",
            host_name=PROXY_HOST,
            certificate=self._certificates.host("proxy", PROXY_HOST),
            directory=_Directory(),
            resource_prefix=f"{RESOURCES}:prx-storm",
            settings=ProxySettings(pool),
        )
        proxy.start()
        self._listener = proxy
        self._lead_proxy()
        return proxy

    def _lead_proxy(self) -> None:
        if self._listener is not None:
            self._listener.register(self._target)

    def _pgbouncer(self, clients: int) -> pgbouncer.PgBouncer:
        """Start one that lets every client in: it knows no tokens."""
        assert self._target.ca_file is not None
        pooler = pgbouncer.PgBouncer(
            self._certificates.host("proxy", PROXY_HOST),
            self._target.ca_file,
            self._target.port,
            users={USER: self._password},
            settings={"auth_type": "trust", "default_pool_size": POOL, "max_client_conn": clients + 10},
        )
        pooler.start()
        return pooler


def _send_apart(way: Way, size: Size) -> tuple[list[Row], list[Sample]]:
    """Send the storm one way, from a process of its own: its memory is that of this way alone."""
    spawn = multiprocessing.get_context("spawn")
    receiver, sender = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_answer, args=(sender, way, size))
    process.start()
    sender.close()
    try:
        answer = receiver.recv()
    except EOFError:
        answer = StormError(f"The storm {way.name} ended without an answer.")
    except BaseException:
        os.kill(process.pid or 0, signal.SIGINT)
        raise
    finally:
        process.join()
    if isinstance(answer, Exception):
        raise answer
    found: tuple[list[Row], list[Sample]] = answer
    return found


def _answer(sender: Connection, way: Way, size: Size) -> None:
    os.setsid()  # an interrupt comes from the process above, once
    try:
        sender.send(_send(way, size))
    except KeyboardInterrupt:
        return
    except Exception as error:
        sender.send(error)


def _send(way: Way, size: Size) -> tuple[list[Row], list[Sample]]:
    logging.getLogger("local").setLevel(logging.ERROR)  # else a line for each client that pins or waits in vain
    with (
        _Field.made(way) as field,
        field.opened(way, max(size.environments)) as (endpoint, clients),
    ):
        return _send_to(endpoint, way, size, field.server, clients)


def _send_to(
    endpoint: _Endpoint, way: Way, size: Size, server: PostgresServer | Cluster, clients: Callable[[], int] | None
) -> tuple[list[Row], list[Sample]]:
    settings = {
        "host": endpoint.host,
        "port": endpoint.port,
        "database": "app",
        "user": USER,
        "ca_file": str(endpoint.ca_file),
        "auth": "iam",
        "region": REGION,
        # What the server says at once is what is counted; but who meets a failover waits, as docs/library.md advises.
        "retry_seconds": 40 if way.fails_over else 0,
    }
    levels, begin = size.levels(), time.monotonic() + _BEGIN_AFTER_SECONDS
    orders = {
        "settings": settings,
        "begin": begin,
        "levels": levels,
        "per_second": size.per_second,
        "pins": way.pins,
        "held_seconds": way.held_seconds,
        "writes": way.fails_over,
    }
    rows = []
    if isinstance(server, Cluster):
        moments = [begin + level["count_from"] + FAILOVER_AFTER_SECONDS for level in levels]
        threading.Thread(target=_fail_over, args=(server, moments), daemon=True).start()
    with _Watch(server, begin, clients or (lambda: 0)) as watch, _client_processes() as processes:
        for number, process in enumerate(processes):
            assert process.stdin is not None
            json.dump({**orders, "numbers": list(range(number, max(size.environments), PROCESSES))}, process.stdin)
            process.stdin.close()
        for level in levels:
            reports = [json.loads(process.stdout.readline()) for process in processes if process.stdout is not None]
            connections = watch.most(level["start"], level["end"])
            memory = (
                _resident_mib(*(process.pid for process in processes)),
                _resident_mib(os.getpid()) if clients else None,
            )
            row = _row(way, size, int(level["environments"]), reports, connections=connections, memory=memory)
            rows.append(replace(row, **_ledger(server, reports)) if way.fails_over else row)
            _say(_line(rows[-1]))
        for process in processes:
            process.wait(10)
    return rows, watch.samples


def _fail_over(cluster: Cluster, moments: list[float]) -> None:
    for moment in moments:
        time.sleep(max(0.0, moment - time.monotonic()))
        cluster.fail_over()


def _ledger(server: PostgresServer | Cluster, reports: list[dict[str, Any]]) -> dict[str, Any]:
    """Compare the rows that were acknowledged with those that are kept."""
    acknowledged = {key for report in reports for key in report["acknowledged"]}
    with server.administrator("app") as cursor:
        cursor.execute("SELECT key, count(*) FROM ledger GROUP BY key")
        kept = dict(cursor.fetchall())
    moments = [moment for report in reports for moment in report["answered_at"]]
    return {
        "silent_seconds": round(failover.longest_gap(moments), 1),
        "written": len(acknowledged),
        "lost": failover.lost(acknowledged, kept),
        "doubled": failover.doubled(kept),
    }


@contextmanager
def _client_processes() -> Iterator[list[subprocess.Popen[str]]]:
    root = Path(__file__).resolve().parents[2]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(root / "lambda" / "layer"),
        "PGHOSTADDR": "127.0.0.1",
        "AWS_ACCESS_KEY_ID": _CREDENTIALS.access_key_id,
        "AWS_SECRET_ACCESS_KEY": _CREDENTIALS.secret_access_key,
    }
    command = [sys.executable, str(Path(__file__).with_name("clients.py"))]
    with ExitStack() as resources:
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
            yield processes
        except BaseException:
            for process in processes:
                process.kill()
            raise


class _Watch(threading.Thread):
    """Notes the connections that the user has on the server, and those of clients, every so often."""

    def __init__(self, server: PostgresServer | Cluster, begin: float, clients: Callable[[], int]) -> None:
        super().__init__(daemon=True)
        self.samples: list[Sample] = []
        self._server = server
        self._begin = begin
        self._clients = clients
        self._over = threading.Event()

    def __enter__(self) -> _Watch:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.is_set():
            with suppress(psycopg2.OperationalError, psycopg2.InterfaceError):  # the server that fails over
                self._note()

    def _note(self) -> None:
        with self._server.administrator() as cursor:
            while not self._over.wait(_SAMPLE_SECONDS):
                cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", [USER])
                [connections] = cursor.fetchone() or [0]
                self.samples.append(Sample(time.monotonic() - self._begin, connections, self._clients()))

    def most(self, start: float, end: float) -> int:
        """Return the most connections that the server had between two moments."""
        return max((s.server_connections for s in self.samples if start <= s.seconds <= end), default=0)


def _row(
    way: Way,
    size: Size,
    environments: int,
    reports: list[dict[str, Any]],
    *,
    connections: int,
    memory: tuple[int | None, int | None],
) -> Row:
    seconds = [second for report in reports for second in report["answered"]]
    refusals = sum((Counter(report["refusals"]) for report in reports), Counter())
    percentiles = statistics.quantiles(seconds, n=100) if len(seconds) > 1 else None

    def total(name: str) -> int:
        return sum(int(report[name]) for report in reports)

    return Row(
        way=way.name,
        environments=environments,
        accepted=total("served"),
        refused=total("refused"),
        waiting=total("waiting"),
        refusals=refusals.total(),
        refusal=refusals.most_common(1)[0][0] if refusals else "",
        offered_per_second=size.per_second,
        queries_per_second=round(len(seconds) / size.count_seconds, 1),
        p50_milliseconds=round(percentiles[49] * 1000, 2) if percentiles else None,
        p99_milliseconds=round(percentiles[98] * 1000, 2) if percentiles else None,
        server_connections=connections,
        clients_mib=memory[0],
        stand_in_mib=memory[1],
    )


def _resident_mib(*pids: int) -> int | None:
    """Return the memory of processes at this moment; the stand-in runs in this one."""
    command = ["ps", "-o", "rss=", "-p", ",".join(map(str, pids))]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    return round(sum(map(int, told)) / 1024) if told else None


def _head(size: Size) -> str:
    return (
        f"  {size.per_second} queries/s offered, counted for {size.count_seconds:g} s; max_connections = "
        f"{MAX_CONNECTIONS}, a pool of {POOL}\n\n"
        f"  {'':23}{'environments':>12}{'accepted':>10}{'refused':>9}{'waiting':>9}{'queries/s':>11}{'p50 ms':>9}"
        f"{'p99 ms':>9}{'server connections':>20}"
    )


def _line(row: Row) -> str:
    def milliseconds(value: float | None) -> str:
        return "-" if value is None else f"{value:.1f}"

    return (
        f"  {row.way:23}{row.environments:>12}{row.accepted:>10}{row.refused:>9}{row.waiting:>9}"
        f"{row.queries_per_second:>11.0f}{milliseconds(row.p50_milliseconds):>9}"
        f"{milliseconds(row.p99_milliseconds):>9}{row.server_connections:>20}"
    )


def _foot(storm: Storm) -> str:
    reasons = {row.way: row.refusal for row in storm.rows if row.refusal}
    lines = [
        f"\n  {row.environments} environments over a failover: {row.silent_seconds:g} s without an answer, "
        f"{row.written:,} rows acknowledged, {row.lost} lost, {row.doubled} doubled, {row.refusals} requests failed"
        for row in storm.rows
        if row.written
    ]
    lines += [f"\n  refused {way}: {reason}" for way, reason in reasons.items()]
    largest = [row for row in storm.rows if row.stand_in_mib is not None]
    if largest:
        row = max(largest, key=lambda row: row.environments)
        lines.append(
            f"\n  memory at {row.environments} environments: the stand-in's process {row.stand_in_mib} MiB, "
            f"the clients' {row.clients_mib} MiB"
        )
    lines.append(
        f"\n  {storm.machine['seconds']} s on {storm.machine['cores']} cores, which clients, pooler and database "
        f"share; load before: {storm.machine['load_before']}"
    )
    if storm.machine["others_percent"] is not None:
        lines.append(f"; other programs took {storm.machine['others_percent']} % of the cores")
    return "".join(lines)
