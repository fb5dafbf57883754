"""A client of the proxy that has logged in: what it sends, and when a server connection is borrowed for it."""

from __future__ import annotations

import itertools
import logging
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ..postgres import wire
from .conversation import BEGINS, CLOSE, EXTENDED, KNOWN, PARSE, QUERY, SYNC, TERMINATE, Conversation
from .pinning import LONGEST_STATEMENT, NAMED, TOO_LONG, digest, pin_reason
from .pool import Pool, Waiter
from .server_connection import IDLE, Key, ServerConnection

log = logging.getLogger(__name__)

READY = wire.ready_for_query(IDLE)

_INSPECTED = LONGEST_STATEMENT + 1024  # of each message; the rest of a longer one passes unseen
_MOST_PENDING = 256 * 1024
_length = struct.Struct("!i").unpack_from


@dataclass(frozen=True)
class Pin:
    """A statement that pins: its text without data, who sent it, and whether the session was pinned before."""

    reason: str
    statement: str
    user: str
    database: str
    application_name: str
    client: str
    session: int
    first: bool
    time: float


@dataclass
class Clients:
    """What the sessions of one proxy share. `on_pin` hears of each statement that pins, in the proxy's loop."""

    name: str
    pool: Pool
    time: Callable[[], float]
    on_pin: Callable[[Pin], None] | None = None
    sessions: set[Session] = field(default_factory=set)
    pins: int = 0
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))


class Session:
    """A client that has logged in, and the server connection that it has at the moment."""

    def __init__(self, clients: Clients, client: wire.Connection, key: Key, *, encrypted: bool = True) -> None:
        self.client = client
        self.number = next(clients.numbers)
        self.key = key
        self.encrypted = encrypted
        self.pinned: str | None = None
        self.since = self.active_at = clients.time()
        self.conversation = Conversation()
        self._clients = clients
        self._pinned_by = ""  # the digest of the statement that did
        self._server: ServerConnection | None = None
        self._waiter: Waiter | None = None
        self._pending = bytearray()  # for the server connection that is waited for
        self._ended = False  # what else the client sends is not read
        self._held = b""  # begin of a message that is to be seen whole
        self._rest = 0  # bytes of a message whose begin has passed
        self._drop_rest = False
        self._asked_at: float | None = None  # when the query came that the client awaits, and nothing else
        self._sent_at = 0.0  # … and when the server got it
        clients.sessions.add(self)
        client.relay(self._received, self._client_lost)

    @property
    def idle(self) -> bool:
        return self.conversation.over

    # What the client sends.

    def _received(self, data: bytes) -> None:
        """Pass messages on as they come; see their headers, and the begin of each that may need a decision."""
        if self._ended:
            return
        self.active_at = self._clients.time()
        if self._held:
            data, self._held = self._held + data, b""
        size = len(data)
        position = self._rest
        start = min(position, size) if self._drop_rest else 0
        while position + 5 <= size:
            length = 1 + _length(data, position + 1)[0]
            kind = data[position]
            if length < 5 or kind not in KNOWN:
                self._refuse("invalid message length" if length < 5 else f"unexpected message {chr(kind)!r}")
                return
            if position + length > size and size - position < _INSPECTED:
                break
            if kind == TERMINATE:
                self._forward(data[start:position])
                self._ended = True
                self.client.close()
                return
            self._drop_rest = not self._passes(kind, data, position, length)
            if self._drop_rest:
                self._forward(data[start:position])
                start = min(position + length, size)
            elif kind in EXTENDED:
                inserted = self._extended(kind, data, position, length)
                if inserted:
                    self._forward(data[start:position] + inserted)
                    start = position
            position += length
        end = min(position, size)
        self._rest = position - end
        self._held = data[end:]
        self._forward(data[start:end])
        self.settle()

    def _refuse(self, text: str) -> None:
        """Cut a client that does not speak the protocol; it waits for no server connection any more."""
        self._ended = True
        self.client.refuse("08P01", text)
        if self._waiter is not None:
            self._clients.pool.give_up(self._waiter)
            self._waiter = None

    def _passes(self, kind: int, data: bytes, position: int, length: int) -> bool:
        """Take note of a message; tell whether it is for the server."""
        if self.conversation.skipping:
            if self.conversation.skip(kind):
                self.client.write(READY)
            return False
        if self._server is None and self.conversation.over and kind not in BEGINS:
            # What only ends or continues something needs no server connection: a server, too, ignores a late CopyData.
            if kind == SYNC:
                self.client.write(READY)
            return False
        if kind == QUERY:
            self._query(data, position, length)
        elif kind not in EXTENDED:
            self.conversation.sent(kind)
        return True

    def _count_query(self) -> None:
        """Count a simple query, and time it unless it is one of several under way; CloudWatch has no others."""
        counts = self._clients.pool.counter.now
        if self.encrypted:
            counts.query_requests_tls += 1
        else:
            counts.query_requests_no_tls += 1
        if self.conversation.over:
            self._asked_at = self._sent_at = self._clients.time()

    def _query(self, data: bytes, position: int, length: int) -> None:
        self._count_query()
        text, after = _string(data, position + 5, position + length)
        self.conversation.sent_change(QUERY, sure=after == position + length and text.isascii())
        self._judge(text, length)

    def _extended(self, kind: int, data: bytes, position: int, length: int) -> bytes:
        """Take note of a message of the extended protocol; return what the server must get before it."""
        if kind == PARSE:
            name, after = _string(data, position + 5, position + length)
            text, after = _string(data, after, position + length)
            self._judge(text, length, named=bool(name))
            if not name:
                return self._parse(text, data[position : position + length], after - position)
        elif kind == CLOSE and data[position + 5 : position + 7] == b"S\0":
            self.conversation.sent_change(CLOSE, sure=length == 7)
            return b""
        inserted = self.conversation.insert_statement()
        self.conversation.sent(kind)
        return inserted

    def _parse(self, text: bytes, message: bytes, types: int) -> bytes:
        count = message[types : types + 2]
        sure = text.isascii() and len(message) == types + 2 + 4 * int.from_bytes(count)
        inserted = b"" if sure else self.conversation.insert_statement()
        self.conversation.sent_change(PARSE, message, sure=sure)
        return inserted

    def _judge(self, text: bytes, length: int, *, named: bool = False) -> None:
        if self.pinned is not None and self._clients.on_pin is None:
            return
        statement = text[:LONGEST_STATEMENT].decode(errors="replace")
        reason = TOO_LONG if length > LONGEST_STATEMENT else pin_reason(statement)
        if reason is None and named:
            # RDS Proxy shares connections here since 2023; the stand-in does not carry named statements along.
            reason = NAMED
        if reason is not None:
            self._pin(reason, statement)

    def _forward(self, data: bytes) -> None:
        if not data:
            return
        if self._server is not None:
            self._server.connection.write(data)
            return
        self._pending += data
        if self._waiter is None:
            server = self._clients.pool.lend(self.key, self._wait)
            if server is not None:
                self._attach(server)
        elif len(self._pending) > _MOST_PENDING:
            self.client.transport.pause_reading()

    # What becomes of the server connection.

    def _wait(self) -> Waiter:
        self._waiter = Waiter(self.key, self._attach, self._refused, self._clients.time())
        return self._waiter

    def _attach(self, server: ServerConnection) -> None:
        self._server, self._waiter = server, None
        self._sent_at = self._clients.time()
        server.lend(self)
        self._log_pin()
        pending, self._pending = bytes(self._pending), bytearray()
        server.connection.write(pending)
        self.client.transport.resume_reading()

    def _refused(self, sqlstate: str, text: str) -> None:
        """Answer in the server's stead: an error, and that the client may go on."""
        failure = wire.error("ERROR", sqlstate, text)
        self._asked_at = None
        awaited, in_batch = self.conversation.break_off()
        self.client.write((failure + READY) * awaited)
        if in_batch:
            self.client.write(failure)
        self._waiter, self._drop_rest = None, True
        self._pending.clear()
        self.client.transport.resume_reading()

    def answered(self) -> None:
        self.conversation.answered()
        if self._asked_at is not None:
            now, counts = self._clients.time(), self._clients.pool.counter.now
            counts.query_response_latency.add(now - self._asked_at)
            counts.query_database_response_latency.add(now - self._sent_at)
            self._asked_at = None

    def settle(self) -> None:
        """Give the server connection back if nothing of this client's is left on it."""
        server = self._server
        if (
            server is None
            or not self.conversation.over
            or self._rest
            or self.pinned is not None
            or server.status != IDLE
        ):
            return
        self._server = None
        self.conversation.leave_server()
        self._clients.pool.release(server)

    def _pin(self, reason: str, statement: str) -> None:
        text = digest(statement)
        if self._clients.on_pin is not None:
            self._clients.on_pin(self._describe(reason, text))
        if self.pinned is None:
            self.pinned, self._pinned_by = reason, text
            self._clients.pins += 1
            if self._server is not None:
                self._log_pin()

    def _describe(self, reason: str, text: str) -> Pin:
        peer = self.client.transport.get_extra_info("peername") or ("?", 0)
        return Pin(
            reason=reason,
            statement=text,
            user=self.key.user,
            database=self.key.database,
            application_name=dict(self.key.parameters).get("application_name", ""),
            client=f"{peer[0]}:{peer[1]}",
            session=self.number,
            first=self.pinned is None,
            time=time.time(),
        )

    def _log_pin(self) -> None:
        if self.pinned is not None and self._server is not None:
            log.warning(
                "%s: The client session was pinned to the database connection [dbConnection=%d] for the remainder of "
                'the session. The proxy can\'t reuse this connection until the session ends. Reason: %s. Digest: "%s".',
                *(self._clients.name, self._server.number, self.pinned, self._pinned_by),
            )

    def _client_lost(self) -> None:
        self._clients.sessions.discard(self)
        self._clients.pool.counter.now.client_connections_closed += 1
        if self._waiter is not None:
            self._clients.pool.give_up(self._waiter)
        if self._server is not None:  # in a transaction, in the middle of an answer, or pinned
            server, self._server = self._server, None
            self._clients.pool.discard(server)

    def server_lost(self, *, told: bool) -> None:
        """Cut the client, as RDS Proxy does in a failover; `told` when the server has said why."""
        self._server = None
        if told:
            self.client.close()
        else:
            self.client.refuse("08006", "The connection to the database was lost.")


def _string(data: bytes, start: int, stop: int) -> tuple[bytes, int]:
    """Return a string of a message that ends at `stop`, and where it ends; a malformed one has the rest."""
    end = data.find(0, start, stop)
    return (data[start:end], end + 1) if end >= 0 else (data[start:stop], stop + 1)
