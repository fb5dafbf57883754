"""One connection of the proxy to its database: what it says is passed to the client that has borrowed it."""

from __future__ import annotations

import asyncio
import ssl
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from ..postgres import wire
from .conversation import COMPLETES, Conversation

IDLE = b"I"  # of the three statuses of ReadyForQuery: not in a transaction

_TERMINATE = wire.message(b"X")
_length = struct.Struct("!i").unpack_from
_ERROR, _COPY_IN, _READY = b"EGZ"
_NOTICED = frozenset((_ERROR, _COPY_IN, _READY)) | COMPLETES


@dataclass(frozen=True)
class TargetHealth:
    """As DescribeDBProxyTargets tells it."""

    state: str
    reason: str | None = None
    description: str | None = None


@dataclass(frozen=True)
class Target:
    """The server behind a proxy: its name, where it listens, and how far its certificate is checked.

    `sslmode` is libpq's. Without a `ca_file` the authorities of this system count. An address that begins with a slash
    is the folder of a Unix socket, which has no TLS.
    """

    host_name: str
    port: int
    ca_file: Path | None
    max_connections: int
    address: str = "127.0.0.1"
    sslmode: str = "verify-full"

    def tls(self) -> ssl.SSLContext | None:
        """Return how to speak TLS to the server; None where it is not to be asked for that."""
        if self.sslmode == "disable" or self.address.startswith("/"):
            return None
        context = ssl.create_default_context(cafile=None if self.ca_file is None else str(self.ca_file))
        # Of Python 3.13's own strictness libpq knows nothing: many a home-made authority would not do.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.check_hostname = self.sslmode == "verify-full"
        if not self.sslmode.startswith("verify"):
            context.verify_mode = ssl.CERT_NONE
        return context

    async def open(self, loop: asyncio.AbstractEventLoop, tls: ssl.SSLContext | None) -> wire.Connection:
        """Connect, and begin TLS; who logs in is up to the caller."""
        if self.address.startswith("/"):
            path = f"{self.address}/.s.PGSQL.{self.port}"
            _, connection = await loop.create_unix_connection(wire.Connection, path)
            return connection
        _, connection = await loop.create_connection(wire.Connection, self.address, self.port)
        try:
            if tls is not None:
                await connection.request_tls(tls, self.host_name, required=self.sslmode not in ("allow", "prefer"))
        except BaseException:
            connection.abort()
            raise
        return connection


@dataclass(eq=False)
class Place:
    """A target as one pool sees it: how its TLS begins, how it is, and how many connections lead there."""

    target: Target
    tls: ssl.SSLContext | None
    health: TargetHealth
    connections: int = 0  # open and being opened


class Key(NamedTuple):
    """What a client asked for when it connected; only clients of one key share connections."""

    user: str
    database: str
    parameters: tuple[tuple[str, str], ...]


class Borrower(Protocol):
    """What a server connection needs of the client's session that it is lent to."""

    @property
    def client(self) -> wire.Connection:
        """The client's end, which gets what the server sends."""

    @property
    def conversation(self) -> Conversation:
        """What the client has asked, and what the server still has to say to it."""

    def answered(self) -> None:
        """Note that the server is ready for what comes next."""

    def settle(self) -> None:
        """Give the connection back if nothing of this client's is left on it."""

    def server_lost(self, *, told: bool) -> None:
        """Meet the end of the connection; `told` when the server has said why."""


class ServerConnection:
    """One connection to the database, lent to a client or idle."""

    def __init__(self, number: int, key: Key, place: Place, connection: wire.Connection, statuses: bytes) -> None:
        self.number = number
        self.place = place
        self.key = key
        self.connection = connection
        self.statuses = statuses  # the ParameterStatus messages of its start
        self.borrower: Borrower | None = None
        self.status = IDLE
        self.idle_since = 0.0
        self.said_goodbye = False
        self._rest = 0  # bytes of a message whose begin has passed
        self._held = b""  # begin of a message, too short to be understood

    def received(self, data: bytes) -> None:
        """Pass on what the server sends; look only at the headers of its messages."""
        if self._held:
            data, self._held = self._held + data, b""
        size = len(data)
        position = self._rest
        ready = False
        while position + 5 <= size:
            kind = data[position]
            if kind in _NOTICED:
                if kind == _READY:
                    if position + 6 > size:
                        break
                    ready = True
                if not self._notice(kind, data, position):
                    data = data[:position] + data[position + 5 :]
                    size -= 5
                    continue
            position += 1 + _length(data, position + 1)[0]
        if position < size:
            data, self._held = data[:position], data[position:]
        self._rest = max(0, position - size)
        borrower = self.borrower
        if borrower is not None:
            borrower.client.write(data)
            if ready:
                borrower.settle()

    def _notice(self, kind: int, data: bytes, position: int) -> bool:
        """Take note of a message; tell whether it is for the client."""
        borrower = self.borrower
        if kind == _READY:
            self.status = data[position + 5 : position + 6]
            if borrower is not None:
                borrower.answered()
        elif kind == _ERROR:
            # Its first field is the severity.
            self.said_goodbye |= data.startswith((b"SFATAL", b"SPANIC"), position + 5)
            if borrower is not None:
                borrower.conversation.failed()
        elif kind == _COPY_IN and borrower is not None:
            borrower.conversation.copying()
        elif kind in COMPLETES and borrower is not None:
            return borrower.conversation.completed(kind)
        return True

    def lend(self, borrower: Borrower) -> None:
        self.borrower = borrower
        self.connection.pair(borrower.client)

    def take_back(self) -> None:
        self.borrower = None
        self.connection.part()

    def end(self) -> None:
        self.connection.write(_TERMINATE)
        self.connection.close()
