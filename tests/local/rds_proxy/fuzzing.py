"""Random conversations, held directly with PostgreSQL and through the stand-in for RDS Proxy, and compared.

A conversation is a list of steps. Each sends messages, in pieces of any size, and awaits so many ReadyForQuery. It
touches only its own table, whose rows carry its own mark, so that its answers do not depend on who else is there.
"""

# ruff: noqa: S311  conversations are chosen by a seed, to be had again

from __future__ import annotations

import contextlib
import datetime
import logging
import random
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from local.certificates import Certificates
from local.loop import LoopThread
from local.postgres import wire
from local.postgres.server import PostgresServer
from local.rds_proxy.listener import ProxyListener, ProxySettings
from local.rds_proxy.pool import PoolSettings, Secret
from local.rds_proxy.server_connection import Target
from tests.local import data_plane

USER, PASSWORD = "fuzz", "fuzz"
DIRECT, THROUGH = "direct", "through"  # two databases that begin alike
INSTANCE = "app-prod.abcdefghijkl.us-east-1.rds.amazonaws.com"
PROXY = "app-prod.proxy-abcdefghijkl.us-east-1.rds.amazonaws.com"
SHARED_CONNECTIONS = 8
MOST_PINNED = 3

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_ANSWER_SECONDS = 10


def query(statement: str) -> bytes:
    return wire.message(b"Q", statement.encode() + b"\0")


def parse(statement: str, name: str = "") -> bytes:
    return wire.message(b"P", f"{name}\0{statement}\0".encode() + b"\0\0")


def bind(*values: str, statement: str = "", portal: str = "") -> bytes:
    parameters = b"".join(struct.pack("!i", len(value)) + value.encode() for value in values)
    return wire.message(
        b"B", f"{portal}\0{statement}\0".encode() + struct.pack("!hh", 0, len(values)) + parameters + b"\0\0"
    )


def execute(rows: int = 0, portal: str = "") -> bytes:
    return wire.message(b"E", portal.encode() + b"\0" + struct.pack("!i", rows))


SYNC, FLUSH = wire.message(b"S"), wire.message(b"H")
DESCRIBE_STATEMENT, DESCRIBE_PORTAL = wire.message(b"D", b"S\0"), wire.message(b"D", b"P\0")
CLOSE_STATEMENT, CLOSE_PORTAL = wire.message(b"C", b"S\0"), wire.message(b"C", b"P\0")
COPY_DONE = wire.message(b"c")


def copy_data(data: str) -> bytes:
    return wire.message(b"d", data.encode())


@dataclass(frozen=True)
class Step:
    """Messages, the number of ReadyForQuery that answer them, and what follows where a COPY begins instead."""

    messages: tuple[bytes, ...]
    ready: int
    copied: tuple[bytes, ...] = ()  # sent when the server says that it copies, before any ReadyForQuery
    pins: bool = False
    slow: bool = False  # with a pause after each message, so that answers come in between


@dataclass
class Conversation:
    """What one client says, and the sizes of the pieces in which it says it."""

    mark: str
    steps: list[Step]
    seed: int

    @property
    def pins(self) -> bool:
        return any(step.pins for step in self.steps)

    @property
    def messages(self) -> int:
        return sum(len(step.messages) + len(step.copied) for step in self.steps)

    @property
    def table(self) -> str:
        return f"CREATE TABLE {self.mark} (id int PRIMARY KEY, mark text DEFAULT '{self.mark}')"


def converse(chance: random.Random, *, steps: int, pinning: bool = False, malformed: bool = False) -> Conversation:
    """Make up a conversation; a pinning one has, from some point on, statements that pin."""
    mark = "".join(chance.choices("bcdfghjklmnpqrstvwxz", k=12))
    statements = _Statements(mark, chance)
    made: list[Step] = []
    begins_to_pin = chance.randrange(steps) if pinning else steps
    for number in range(steps):
        if number >= begins_to_pin and (number == begins_to_pin or chance.random() < 0.3):
            made.append(statements.pinning())
        else:
            step = statements.any()
            spoilt = malformed and chance.random() < 0.3
            made.append(statements.malformed(step) if spoilt else step)
            copies = execute() in step.messages and any(b"FROM STDIN" in message for message in step.messages)
            if spoilt or copies:
                # Else a later Bind would copy. A Query that the server cannot read does not drop the unnamed statement;
                # the stand-in says it does.
                made.append(Step((CLOSE_STATEMENT, SYNC), 1))
    return Conversation(mark, made, chance.randrange(1 << 30))


_TRANSACTION = (
    *("BEGIN", "BEGIN", "BEGIN READ ONLY", "COMMIT", "COMMIT", "COMMIT AND CHAIN", "ROLLBACK"),
    *("SAVEPOINT one", "ROLLBACK TO one", "RELEASE one"),
)


class _Statements:
    """Makes the steps of one conversation."""

    def __init__(self, mark: str, chance: random.Random) -> None:
        self._mark, self._chance = mark, chance
        self._made: list[Callable[[], Step]] = [
            *[self._simple] * 6,
            *[self._extended] * 8,
            self._slow_batches,
            self._several_batches,
            self._copy_in,
            self._copy_in_a_batch,
            self._copy_as_libpq,
            self._copy_out,
            self._odd,
        ]

    def any(self) -> Step:
        return self._chance.choice(self._made)()

    def pinning(self) -> Step:
        mark, number = self._mark, self._number()
        statement = self._chance.choice(
            (
                f"SET work_mem = '{64 + number}kB'",
                f"SET application_name = '{mark}'",
                f"SELECT set_config('search_path', '{mark}, public', false)",
                f"PREPARE p{number} AS SELECT mark FROM {mark}",
                f"CREATE TEMP TABLE temp_{number} AS SELECT '{mark}' AS mark",
                f"SELECT pg_advisory_lock(hashtext('{mark}'))",
                f"LISTEN {mark}",
                f"SELECT '{mark}' -- {'x' * 17_000}",
            )
        )
        if self._chance.random() < 0.3:
            name = f"named_{number}"
            batch = (parse(f"SELECT mark FROM {mark}", name), bind(statement=name), execute(), SYNC)
            return Step(batch, 1, pins=True)
        if self._chance.random() < 0.5:
            return Step((parse(statement), bind(), execute(), SYNC), 1, pins=True)
        return Step((query(statement),), 1, pins=True)

    def malformed(self, step: Step) -> Step:
        """Change bytes within one message, whose length and kind stay as they are."""
        messages = list(step.messages)
        place = self._chance.randrange(len(messages))
        message = bytearray(messages[place])
        if len(message) <= 5 or message[0] not in b"QBDECF":  # a changed Parse may get a name, or pin
            return step
        for _ in range(self._chance.randint(1, 3)):
            message[self._chance.randrange(5, len(message))] = self._chance.choice((0, 1, 0x27, 0x7F, 0xFF))
        messages[place] = bytes(message)
        return replace(step, messages=tuple(messages))

    def _number(self) -> int:
        return self._chance.randrange(1000)

    def _statement(self) -> str:
        mark, number = self._mark, self._number()
        return self._chance.choice(
            (
                f"SELECT '{mark}', {number}",
                f"SELECT '{mark}', {number}",
                f"SELECT * FROM {mark} ORDER BY id",
                f"SELECT mark, count(*) FROM {mark} GROUP BY mark",
                f"INSERT INTO {mark} VALUES ({number}) ON CONFLICT DO NOTHING RETURNING id, mark",
                f"INSERT INTO {mark} VALUES ({number})",
                f"INSERT INTO {mark} SELECT generate_series({number}, {number + 3}) ON CONFLICT DO NOTHING",
                f"UPDATE {mark} SET mark = '{mark}{number}' WHERE id % 7 = {number % 7} RETURNING id",
                f"DELETE FROM {mark} WHERE id % 3 = {number % 3}",
                f"SELECT repeat('{mark}', {number})",
                f"SELECT '{mark}' || g FROM generate_series(1, {number % 300}) g",
                f"SELECT 1 / {number % 4}, '{mark}'",
                f"SELECT mark FROM nowhere_{mark}",
                "SELEKT",
                "SHOW work_mem",
                "SHOW search_path",
                "SHOW application_name",
                "",
            )
        )

    def _transaction(self) -> str:
        return self._chance.choice(_TRANSACTION)

    def _sql(self) -> str:
        return self._transaction() if self._chance.random() < 0.3 else self._statement()

    def _simple(self) -> Step:
        texts = ["; ".join(self._sql() for _ in range(self._chance.choice((1, 1, 1, 2, 3))))]
        while self._chance.random() < 0.2:  # sent before the answer to the one before has come
            texts.append(self._sql())
        return Step(tuple(map(query, texts)), len(texts))

    def _batch(self) -> list[bytes]:
        """Messages of the extended protocol, not always those that make sense.

        Portals are used only as long as their statement is there: some of PostgreSQL 15's own processes end in a
        segmentation fault otherwise.
        """
        messages: list[bytes] = []
        for _ in range(self._chance.choice((1, 1, 2, 4))):
            bound = False
            if self._chance.random() < 0.75:
                messages.append(parse(self._sql()))
            if self._chance.random() < 0.2:
                messages.append(DESCRIBE_STATEMENT)
            if self._chance.random() < 0.85:
                messages.append(bind() if self._chance.random() < 0.9 else bind("1"))
                bound = True
            if bound and self._chance.random() < 0.5:
                messages.append(DESCRIBE_PORTAL)
            if bound and self._chance.random() < 0.9:
                messages.append(execute(self._chance.choice((0, 0, 0, 1, 5))))
            if self._chance.random() < 0.1:
                messages.append(self._chance.choice((CLOSE_STATEMENT, CLOSE_PORTAL, FLUSH)))
        return messages

    def _extended(self) -> Step:
        return Step((*self._batch(), SYNC), 1)

    def _several_batches(self) -> Step:
        messages: list[bytes] = []
        ready = 0
        for _ in range(self._chance.randint(2, 4)):
            if self._chance.random() < 0.3:
                messages.append(query(self._sql()))
            else:
                messages += [*self._batch(), SYNC]
            ready += 1
        return Step(tuple(messages), ready)

    def _slow_batches(self) -> Step:
        messages: list[bytes] = []
        for message in (*self._batch(), SYNC, *self._batch(), SYNC):
            messages += (message, FLUSH)
        return Step(tuple(messages), 2, slow=True)

    def _rows(self) -> list[bytes]:
        number = self._number()
        rows = [f"{n}\t{self._mark}\n" for n in range(number, number + self._chance.randint(0, 20))]
        if self._chance.random() < 0.2:
            rows.insert(self._chance.randint(0, len(rows)), "no number\n")
        return [copy_data(row) for row in rows]

    def _copy_end(self) -> bytes:
        return COPY_DONE if self._chance.random() < 0.8 else wire.message(b"f", b"given up\0")

    @property
    def _copy(self) -> str:
        return f"COPY {self._mark} FROM STDIN"

    def _copy_in(self) -> Step:
        return Step((query(self._copy), *self._rows(), self._copy_end()), 1)

    def _copy_in_a_batch(self) -> Step:
        return Step((parse(self._copy), bind(), execute(), *self._rows(), self._copy_end(), SYNC), 1)

    def _copy_as_libpq(self) -> Step:
        """Send Sync at once, which the server ignores if it copies; the data when it says so."""
        return Step((parse(self._copy), bind(), execute(), SYNC), 1, (*self._rows(), self._copy_end(), SYNC))

    def _copy_out(self) -> Step:
        return Step((query(f"COPY (SELECT * FROM {self._mark} ORDER BY id) TO STDOUT"),), 1)

    def _odd(self) -> Step:
        return self._chance.choice(
            (
                Step((SYNC,), 1),
                Step((SYNC, SYNC, FLUSH), 2),
                Step((COPY_DONE, copy_data("late")), 0),
                Step((bind(), execute(), SYNC), 1),
                Step((DESCRIBE_STATEMENT, SYNC), 1),
                Step((parse("SELECT 1"), SYNC, query("SELECT 2"), bind(), execute(), SYNC), 3),
                Step((CLOSE_STATEMENT, SYNC, bind(), execute(), SYNC), 2),
                Step((parse("SELEKT"), SYNC, bind(), execute(), SYNC), 2),
                Step((wire.message(b"F", struct.pack("!ihhh", 1, 0, 0, 0)),), 1),
            )
        )


@dataclass
class Answer:
    """What the server said to one step, as far as it must be alike."""

    messages: list[tuple[str, bytes]] = field(default_factory=list)

    def add(self, kind: bytes, payload: bytes) -> None:
        if kind in b"EN":
            payload = wire.error_fields(payload).get("C", "").encode()
        elif kind == b"T":
            payload = _without_tables(payload)
        elif kind == b"A":
            payload = payload[4:]  # without the process that notified
        self.messages.append((kind.decode("latin-1"), payload))


def _without_tables(payload: bytes) -> bytes:
    """Leave out of a RowDescription the number of each table, which differs between databases."""
    kept, position = bytearray(payload[:2]), 2
    while position < len(payload):
        end = payload.index(0, position) + 1
        kept += payload[position:end] + payload[end + 4 : end + 18]
        position = end + 18
    return bytes(kept)


class Ended(Exception):  # noqa: N818 (what a server may do)
    """The server has closed the connection."""


class Client:
    """Speaks the protocol as it is told, in pieces."""

    def __init__(self, port: int, host: str, ca_file: Path, database: str) -> None:
        self._buffer = bytearray()
        raw = socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_SECONDS)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.sendall(_SSL_REQUEST)
        assert raw.recv(1) == b"S"
        self.socket = _context(ca_file).wrap_socket(raw, server_hostname=host)
        self._log_in(database)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def _log_in(self, database: str) -> None:
        import scramp  # noqa: PLC0415

        scram = scramp.ScramClient(["SCRAM-SHA-256"], USER, PASSWORD)
        self.send(wire.startup_message({"user": USER, "database": database}))
        while True:
            kind, payload = self.message()
            if kind == b"E":
                raise Ended(wire.error_fields(payload)["M"])
            if kind == b"Z":
                return
            if kind != b"R":
                continue
            method = wire.authentication_kind(payload)
            if method == wire.AUTHENTICATION_SASL:
                first = scram.get_client_first().encode()
                self.send(wire.message(b"p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first))
            elif method == wire.AUTHENTICATION_SASL_CONTINUE:
                scram.set_server_first(payload[4:].decode())
                self.send(wire.message(b"p", scram.get_client_final().encode()))

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def message(self) -> tuple[bytes, bytes]:
        buffer = self._buffer
        while len(buffer) < 5 or len(buffer) < (size := 1 + struct.unpack_from("!i", buffer, 1)[0]):
            data = self.socket.recv(65536)
            if not data:
                raise Ended
            buffer += data
        kind, payload = bytes(buffer[:1]), bytes(buffer[5:size])
        del buffer[:size]
        return kind, payload

    def hold(self, conversation: Conversation, *, pieces: bool) -> list[Answer]:
        """Go through a conversation; return the answers, one for each step that awaits any."""
        chance = random.Random(conversation.seed)
        answers: list[Answer] = []
        answer = Answer()
        for step in conversation.steps:
            self._send(step, step.messages, chance if pieces else None)
            ready, copied = step.ready, step.copied
            while ready:
                try:
                    kind, payload = self.message()
                except (Ended, OSError) as problem:
                    answer.messages.append(("!", type(problem).__name__.encode()))
                    return [*answers, answer]
                answer.add(kind, payload)
                if kind == b"Z":
                    ready -= 1
                elif kind == b"G" and copied:
                    self._send(step, copied, chance if pieces else None)
                    copied = ()
            if step.ready:
                answers.append(answer)
                answer = Answer()
        self.send(wire.message(b"X"))
        return answers

    def _send(self, step: Step, messages: tuple[bytes, ...], chance: random.Random | None) -> None:
        if step.slow and chance is not None:
            for message in messages:
                self.send(message)
                time.sleep(0.001)
            return
        data = b"".join(messages)
        if chance is None or chance.random() < 0.5:
            self.send(data)
            return
        while data:
            size = chance.choice((1, 2, 4, 5, 6, 30, 100, 5000, 20_000))
            self.send(data[:size])
            data = data[size:]
            if chance.random() < 0.02:
                time.sleep(0.001)


_contexts: dict[Path, ssl.SSLContext] = {}


def _context(ca_file: Path) -> ssl.SSLContext:
    return _contexts.setdefault(ca_file, ssl.create_default_context(cafile=str(ca_file)))


class _Complaints(logging.Handler):
    """Keeps what the stand-in or asyncio logs as an error: neither may happen, whatever a client does."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(self.format(record))


@dataclass
class Ground:
    """A server, and the stand-in before it."""

    server: PostgresServer
    proxy: ProxyListener
    certificates: Certificates
    complaints: list[str]
    slots: threading.Semaphore  # for those who pin, so that they never exhaust the pool

    def client(self, database: str) -> Client:
        if database == DIRECT:
            return Client(self.server.port, INSTANCE, self.certificates.ca_file("rds"), DIRECT)
        return Client(self.proxy.port, PROXY, self.certificates.ca_file("proxy"), THROUGH)

    def create(self, conversations: list[Conversation]) -> None:
        for database in (DIRECT, THROUGH):
            with self.server.administrator(database) as cursor:
                cursor.execute(f"SET ROLE {USER};" + ";".join(conversation.table for conversation in conversations))

    def drop(self, conversations: list[Conversation]) -> None:
        for database in (DIRECT, THROUGH):
            with self.server.administrator(database) as cursor:
                cursor.execute("; ".join(f"DROP TABLE {conversation.mark}" for conversation in conversations))

    def await_idle(self, seconds: float = 30) -> None:
        """Wait until no client and no borrowed connection is left."""
        deadline = time.monotonic() + seconds
        while True:
            metrics = self.proxy.metrics()
            left = (metrics.client_connections, metrics.borrowed, metrics.pinned, metrics.waiting)
            if not any(left):
                assert metrics.server_connections <= metrics.max_server_connections
                return
            assert time.monotonic() < deadline, f"clients, borrowed, pinned, waiting: {left}"
            time.sleep(0.01)


@contextlib.contextmanager
def prepare(folder: Path) -> Iterator[Ground]:
    """Start a server with two equal databases, and the stand-in before it."""
    certificates = Certificates(folder)
    server = data_plane.start_server(certificates, host_name=INSTANCE, max_connections=60)
    loop = LoopThread()
    complaints = _Complaints()
    try:
        with server.administrator() as cursor:
            cursor.execute(f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'")
            for database in (DIRECT, THROUGH):
                server.create_database(database, USER)
        percent = 100 * SHARED_CONNECTIONS // server.max_connections + 1
        secret = Secret(USER, PASSWORD)
        proxy = ProxyListener(
            loop.loop,
            name="app-prod",
            host_name=PROXY,
            certificate=certificates.host("proxy", PROXY),
            directory=data_plane.SmallDirectory(set()),
            resource_prefix="arn:aws:rds-db:us-east-1:123456789012:dbuser:prx-0123456789abcdef0",
            settings=ProxySettings(
                PoolSettings(lambda _: secret, percent, borrow_timeout_seconds=120), iam_required=False
            ),
            clock=lambda: datetime.datetime.now(datetime.UTC),
        )
        proxy.register(Target(INSTANCE, server.port, certificates.ca_file("rds"), server.max_connections))
        for name in ("local", "asyncio"):
            logging.getLogger(name).addHandler(complaints)
        proxy.start()
        yield Ground(server, proxy, certificates, complaints.seen, threading.Semaphore(MOST_PINNED))
        proxy.stop()
    finally:
        for name in ("local", "asyncio"):
            logging.getLogger(name).removeHandler(complaints)
        loop.stop()
        server.stop()


@dataclass
class Outcome:
    """What became of the conversations."""

    messages: int = 0  # sent through the proxy
    conversations: int = 0
    pinned: int = 0
    disturbers: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)


def compare(ground: Ground, chance: random.Random, outcome: Outcome, *, conversations: int, steps: int = 40) -> None:
    """Hold so many conversations at once, directly and through the proxy; note what differs."""
    held = [
        converse(chance, steps=steps, pinning=number % 8 == 0, malformed=number % 2 == 1)
        for number in range(conversations)
    ]
    pins = ground.proxy.metrics().pins
    _hold(ground, held, outcome)
    ground.await_idle()
    if (seen := ground.proxy.metrics().pins - pins) != (due := sum(conversation.pins for conversation in held)):
        outcome.differences.append(f"{seen} pinned, not {due}")
    outcome.differences += ground.complaints
    ground.complaints.clear()


def _hold(ground: Ground, held: list[Conversation], outcome: Outcome) -> None:
    ground.create(held)

    def hold(conversation: Conversation) -> str | None:
        with ground.client(DIRECT) as client:
            direct = client.hold(conversation, pieces=False)
        with ground.slots if conversation.pins else contextlib.nullcontext(), ground.client(THROUGH) as client:
            through = client.hold(conversation, pieces=True)
        outcome.answers.update(kind for answer in through for kind, _ in answer.messages)
        return difference(conversation, direct, through)

    with ThreadPoolExecutor(2 * SHARED_CONNECTIONS) as threads:
        outcome.differences += filter(None, threads.map(hold, held))
    ground.drop(held)
    outcome.conversations += len(held)
    outcome.messages += sum(conversation.messages for conversation in held)
    outcome.pinned += sum(conversation.pins for conversation in held)


def disturb(ground: Ground, chance: random.Random, outcome: Outcome, *, clients: int) -> None:
    """Let so many clients misbehave while others hold conversations: nothing may leak, or be logged as an error."""
    seeds = [chance.randrange(1 << 30) for _ in range(clients)]
    with ThreadPoolExecutor(SHARED_CONNECTIONS) as threads:
        disturbers = [threads.submit(_misbehave, ground, random.Random(seed)) for seed in seeds]
        compare_meanwhile = Outcome()
        _hold(ground, [converse(chance, steps=10) for _ in range(SHARED_CONNECTIONS)], compare_meanwhile)
        for disturber in disturbers:
            disturber.result()
    ground.await_idle()
    outcome.disturbers += clients
    outcome.messages += compare_meanwhile.messages
    outcome.differences += [*compare_meanwhile.differences, *ground.complaints]
    ground.complaints.clear()


def _misbehave(ground: Ground, chance: random.Random) -> None:
    with contextlib.suppress(OSError, Ended):
        if chance.random() < 0.4:
            _misbehave_before_login(ground, chance)
            return
        with ground.client(THROUGH) as client:
            steps = converse(chance, steps=3, malformed=True).steps
            data = b"".join(message for step in steps for message in step.messages)
            kind = chance.randrange(6)
            if kind == 0:  # noise
                data = data[: chance.randrange(len(data))] + chance.randbytes(chance.choice((1, 10, 1000, 100_000)))
            elif kind == 1:  # changed anywhere, lengths too
                changed = bytearray(data)
                for _ in range(chance.randint(1, 5)):
                    changed[chance.randrange(len(changed))] = chance.randrange(256)
                data = bytes(changed)
            elif kind == 2:  # a message that never comes whole
                begun = chance.choice((b"Q", b"P", b"B", b"d"))
                data += begun + b"\x3f\0\0\0" + b"x" * chance.choice((0, 9, 50_000))
            elif kind == 3:  # stops in the middle of a message, a batch, a COPY or a transaction
                data = data[: chance.randrange(len(data))]
            elif kind == 4:  # byte by byte
                for place in range(min(len(data), 300)):
                    client.send(data[place : place + 1])
                data = b""
            else:  # asks for much and reads none of it
                data = query("BEGIN; SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
            client.send(data)
            if chance.random() < 0.5:
                time.sleep(0.01)
            if chance.random() < 0.3:  # half closed: the kernel's side of it
                socket.socket.shutdown(client.socket, socket.SHUT_WR)
                time.sleep(0.01)


def _misbehave_before_login(ground: Ground, chance: random.Random) -> None:
    with socket.create_connection(("127.0.0.1", ground.proxy.port), timeout=_ANSWER_SECONDS) as raw:
        kind = chance.randrange(6)
        if kind == 0:
            raw.sendall(chance.randbytes(chance.randrange(200)))
        elif kind == 1:
            raw.sendall(_SSL_REQUEST[: chance.randrange(9)])
        elif kind == 2:
            raw.sendall(_SSL_REQUEST)
            raw.recv(1)
            raw.sendall(chance.randbytes(100))
        else:
            raw.sendall(_SSL_REQUEST)
            raw.recv(1)
            with _context(ground.certificates.ca_file("proxy")).wrap_socket(raw, server_hostname=PROXY) as client:
                if kind == 3:
                    client.sendall(struct.pack("!ihh", chance.choice((8, 9, 30, 9999)), 3, 0) + chance.randbytes(40))
                elif kind == 4:
                    client.sendall(
                        wire.startup_message({"user": chance.choice((USER, "", "\u00e9")), "database": "\x01"})
                    )
                    client.recv(1000)
                    client.sendall(wire.message(b"p", chance.randbytes(30)))
                else:
                    client.sendall(wire.startup_message({"user": USER, "database": THROUGH}))
                    client.recv(1000)
                    first = chance.choice((b"n,,n=,r=x", b"n,,n=,r=", b"p=tls,,", b"", b"n,,r=\xff", b"y,,x=1"))
                    client.sendall(wire.message(b"p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first))
                    client.recv(1000)
                    client.sendall(wire.message(b"p", chance.choice((b"", b"c=biws,r=x,p=x", chance.randbytes(20)))))
                client.recv(1000)


def difference(conversation: Conversation, direct: list[Answer], through: list[Answer]) -> str | None:
    """Tell where the answers part, and what was said until then."""
    if direct == through:
        return None
    asked = [step for step in conversation.steps if step.ready]
    place = next(
        (n for n, (one, other) in enumerate(zip(direct, through, strict=False)) if one != other),
        min(len(direct), len(through)),
    )
    until = conversation.steps.index(asked[min(place, len(asked) - 1)])
    lines = [f"  {step.messages!r:.600}" for step in conversation.steps[max(0, until - 4) : until + 1]]
    for name, answers in ((DIRECT, direct), (THROUGH, through)):
        lines.append(f"  {name}: {answers[place].messages if place < len(answers) else 'nothing'!r:.600}")
    return "\n".join([f"{conversation.mark}, step {until}:", *lines])
