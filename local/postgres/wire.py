"""PostgreSQL's protocol 3.0: its messages, a connection they arrive on, and the listener that accepts connections."""

import asyncio
import contextlib
import hashlib
import logging
import ssl
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import scramp

from ..certificates import HostCertificate
from ..loop import run_in

log = logging.getLogger(__name__)

AUTHENTICATION_TIMEOUT_SECONDS = 60.0

_SSL_REQUEST = 80877103
_GSS_ENCRYPTION_REQUEST = 80877104
_CANCEL_REQUEST = 80877102
_LONGEST_STARTUP = 10_000  # PostgreSQL's own limit
_LONGEST_MESSAGE = 1 << 20  # while a connection is made; later ones are relayed in pieces
_HANDSHAKE_TIMEOUT_SECONDS = 20.0
_LENGTH = struct.Struct("!i")

AUTHENTICATION_OK = 0
AUTHENTICATION_CLEARTEXT = 3
AUTHENTICATION_MD5 = 5
AUTHENTICATION_SASL = 10
AUTHENTICATION_SASL_CONTINUE = 11
AUTHENTICATION_SASL_FINAL = 12
_SCRAM_METHODS = frozenset((AUTHENTICATION_SASL, AUTHENTICATION_SASL_CONTINUE, AUTHENTICATION_SASL_FINAL))
_PASSWORD_METHODS = frozenset((AUTHENTICATION_CLEARTEXT, AUTHENTICATION_MD5, AUTHENTICATION_SASL))


class ProtocolError(Exception):
    """The other side does not speak the protocol."""


class PasswordNeeded(ProtocolError):  # noqa: N818 (what is missing)
    """The server asks for a password, and there is none."""


class ServerError(Exception):
    """An ErrorResponse of a server."""

    def __init__(self, payload: bytes) -> None:
        fields = error_fields(payload)
        self.sqlstate = fields.get("C", "XX000")
        self.message = fields.get("M", "")
        super().__init__(f"{self.message} ({self.sqlstate})")


@dataclass(frozen=True)
class Startup:
    """What a client asks for first."""

    version: tuple[int, int]
    parameters: Mapping[str, str]
    encrypted: bool
    raw: bytes


@dataclass(frozen=True)
class CancelRequest:
    """Asks, on a connection of its own, to cancel what another connection does."""

    raw: bytes


def message(kind: bytes, payload: bytes = b"") -> bytes:
    return kind + _LENGTH.pack(len(payload) + 4) + payload


def startup_message(parameters: Mapping[str, str]) -> bytes:
    payload = struct.pack("!hh", 3, 0) + _strings(*(word for pair in parameters.items() for word in pair)) + b"\0"
    return _LENGTH.pack(len(payload) + 4) + payload


def error(severity: str, sqlstate: str, text: str) -> bytes:
    return message(b"E", _strings(f"S{severity}", f"V{severity}", f"C{sqlstate}", f"M{text}") + b"\0")


def authentication(kind: int, data: bytes = b"") -> bytes:
    return message(b"R", _LENGTH.pack(kind) + data)


def ready_for_query(status: bytes) -> bytes:
    return message(b"Z", status)


def error_fields(payload: bytes) -> dict[str, str]:
    """Return the fields of an ErrorResponse by their letter: C is the SQLSTATE, M the message."""
    return {field[:1].decode(): field[1:].decode(errors="replace") for field in payload.split(b"\0") if field}


def authentication_kind(payload: bytes) -> int:
    if len(payload) < 4:
        raise ProtocolError("a request for authentication is too short")
    return int(_LENGTH.unpack_from(payload)[0])


class Connection(asyncio.Protocol):
    """One end of a TCP or Unix connection.

    While it is set up, messages are awaited; from `relay` on, whatever arrives goes to a function as it comes. `peer`
    is the end that everything comes from: while this one's buffer is full, that one is not read.
    """

    def __init__(
        self,
        opened: "Callable[[Connection], None]" = lambda _: None,
        ended: "Callable[[Connection], None]" = lambda _: None,
    ) -> None:
        self.transport: asyncio.Transport
        self.peer: Connection | None = None
        self.closed = False
        self._full = False
        self._opened, self._ended = opened, ended
        self._buffer = bytearray()
        self._arrival: asyncio.Future[None] | None = None
        self._receive: Callable[[bytes], None] | None = None
        self._lost: Callable[[], None] = lambda: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop's are like asyncio.Transport, and are none
        self._opened(self)

    def data_received(self, data: bytes) -> None:
        if self._receive is not None:
            self._receive(data)
            return
        self._buffer += data
        if len(self._buffer) > _LONGEST_MESSAGE:
            self.transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.closed = True
        self._wake()
        self._lost()
        self._ended(self)

    def pause_writing(self) -> None:
        self._full = True
        if self.peer is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        self._full = False
        if self.peer is not None:
            self.peer.transport.resume_reading()

    def pair(self, peer: "Connection") -> None:
        """Make each the other's peer."""
        for one, other in ((self, peer), (peer, self)):
            one.peer = other
            if one._full:
                other.transport.pause_reading()

    def part(self) -> None:
        """End that; whichever was not read for the other's sake is read again."""
        peer, self.peer = self.peer, None
        if peer is not None:
            peer.peer = None
            for connection in (self, peer):
                if not connection.closed:
                    connection.transport.resume_reading()

    async def start_tls(self, context: ssl.SSLContext, *, server_name: str | None = None) -> None:
        """Continue in TLS: as the server, or as the client of `server_name`."""
        if self._buffer:
            # Sent in clear before TLS began: an attacker's words, not the client's.
            raise ConnectionAbortedError("received unencrypted data after an SSL request")  # the client expects TLS now
        transport = await asyncio.get_running_loop().start_tls(
            self.transport,
            self,
            context,
            server_side=server_name is None,
            server_hostname=server_name,
            ssl_handshake_timeout=_HANDSHAKE_TIMEOUT_SECONDS,
        )
        if transport is None:
            raise ConnectionResetError("closed during the TLS handshake")
        self.transport = transport

    async def request_tls(self, context: ssl.SSLContext, server_name: str, *, required: bool = True) -> None:
        """Ask the server for TLS, and go on without only where it is not required."""
        self.write(struct.pack("!ii", 8, _SSL_REQUEST))
        if await self.read(1) == b"S":
            await self.start_tls(context, server_name=server_name)
        elif required:
            raise ConnectionRefusedError("the server does not offer TLS")

    async def read(self, size: int) -> bytes:
        while len(self._buffer) < size:
            if self.closed:
                raise ConnectionResetError("closed by the other side")
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        self.transport.resume_reading()
        return data

    async def read_message(self) -> tuple[bytes, bytes]:
        """Return the kind and the payload of the next message."""
        header = await self.read(5)
        length = _LENGTH.unpack_from(header, 1)[0]
        if not 4 <= length <= _LONGEST_MESSAGE:
            raise ProtocolError(f"invalid message length {length}")
        return header[:1], await self.read(length - 4)

    def relay(self, receive: Callable[[bytes], None], lost: Callable[[], None]) -> None:
        """Pass on what arrives, beginning with what has arrived already; call `lost` once at the end."""
        self._receive, self._lost = receive, lost
        if self._buffer:
            data, self._buffer = bytes(self._buffer), bytearray()
            receive(data)
        self.transport.resume_reading()
        if self.closed:
            lost()

    def write(self, data: bytes) -> None:
        if not self.closed:
            self.transport.write(data)

    def refuse(self, sqlstate: str, text: str) -> None:
        """Send a fatal error and close."""
        self.write(error("FATAL", sqlstate, text))
        self.close()

    def close(self) -> None:
        """Close once everything written has been sent."""
        if not self.closed and not self.transport.is_closing():  # TLS forgets its protocol when it is closed twice
            self.transport.close()

    def abort(self) -> None:
        if not self.closed:
            with contextlib.suppress(AttributeError):  # in Python 3.11 TLS has no protocol any more once it ended
                self.transport.abort()

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)


class Listener:
    """Accept connections in the given loop, which runs in a thread of its own.

    A subclass handles a connection in `_serve`; when that returns the connection goes on by itself or is closed.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, certificate: HostCertificate, *, address: str = "127.0.0.1"
    ) -> None:
        self.port = 0
        self._address = address
        self._loop = loop
        self._tls = _server_context(certificate)
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, port: int = 0) -> None:
        run_in(self._loop, self._listen(port))

    def stop(self) -> None:
        """Close the port and every connection. Does nothing the second time."""
        run_in(self._loop, self._close())

    async def _serve(self, connection: Connection) -> None:
        raise NotImplementedError

    async def _startup(self, connection: Connection) -> Startup | CancelRequest:
        """Read what a client sends first, after TLS if it asks for that."""
        encrypted = False
        while True:
            header = await connection.read(8)
            length, code = struct.unpack("!ii", header)
            if not 8 <= length <= _LONGEST_STARTUP:
                raise ConnectionAbortedError(f"invalid length {length} of a startup packet")  # PostgreSQL says nothing
            body = await connection.read(length - 8)
            if code == _SSL_REQUEST and not encrypted:
                connection.write(b"S")
                await connection.start_tls(self._tls)
                encrypted = True
            elif code == _GSS_ENCRYPTION_REQUEST and not encrypted:
                connection.write(b"N")
            elif code == _CANCEL_REQUEST:
                return CancelRequest(header + body)
            else:
                words = body.rstrip(b"\0").decode(errors="replace").split("\0")
                parameters = dict(zip(words[::2], words[1::2], strict=False))
                return Startup((code >> 16, code & 0xFFFF), parameters, encrypted, header + body)

    async def _listen(self, port: int) -> None:
        self._server = await self._loop.create_server(
            lambda: Connection(self._accept, self._connections.discard), self._address, port, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        for connection in list(self._connections):
            connection.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, connection: Connection) -> None:
        self._connections.add(connection)
        task = self._loop.create_task(self._handle(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _handle(self, connection: Connection) -> None:
        try:
            await self._serve(connection)
        except ProtocolError as problem:
            connection.refuse("08P01", str(problem))
        except OSError:  # so are a timeout and a failure of TLS
            connection.abort()
        except Exception:
            log.exception("a connection was given up")
            connection.refuse("XX000", "Unknown error.")
        except asyncio.CancelledError:
            connection.abort()
            raise


async def log_in(connection: Connection, parameters: Mapping[str, str], password: str) -> bytes:
    """Log in, by password if asked; return the server's ParameterStatus messages once it is ready."""
    connection.write(startup_message(parameters))
    scram = scramp.ScramClient(["SCRAM-SHA-256"], parameters["user"], password)
    statuses = bytearray()
    while True:
        kind, payload = await connection.read_message()
        if kind == b"E":
            raise ServerError(payload)
        if kind == b"S":
            statuses += message(kind, payload)
        elif kind == b"Z":
            return bytes(statuses)
        elif kind == b"R":
            method, data = authentication_kind(payload), payload[4:]
            if method in _PASSWORD_METHODS and not password:
                raise PasswordNeeded("the server asks for a password, and none is given")
            if method == AUTHENTICATION_MD5:
                connection.write(message(b"p", _strings(md5_password(parameters["user"], password, data))))
            elif method == AUTHENTICATION_CLEARTEXT:
                connection.write(message(b"p", _strings(password)))
            elif method in _SCRAM_METHODS:
                answer = _answer_scram(scram, method, data)
                if answer:
                    connection.write(message(b"p", answer))
            elif method != AUTHENTICATION_OK:
                raise ProtocolError(f"the server asks for authentication method {method}, not for a password")


def _answer_scram(scram: scramp.ScramClient, method: int, data: bytes) -> bytes:
    """Return the answer to a message of SCRAM; none to the last, the proof of the server."""
    try:
        if method == AUTHENTICATION_SASL:
            first: bytes = scram.get_client_first().encode()
            return b"SCRAM-SHA-256\0" + _LENGTH.pack(len(first)) + first
        if method == AUTHENTICATION_SASL_CONTINUE:
            scram.set_server_first(data.decode())
            return bytes(scram.get_client_final().encode())
        scram.set_server_final(data.decode())
    except (scramp.ScramException, ValueError, KeyError) as error:
        raise ProtocolError("the server does not speak SCRAM") from error
    return b""


async def run(connection: Connection, statement: str) -> list[bytes]:
    """Run statements; return the DataRow messages that they gave."""
    connection.write(message(b"Q", _strings(statement)))
    failure: ServerError | None = None
    rows: list[bytes] = []
    while True:
        kind, payload = await connection.read_message()
        if kind == b"E":
            failure = ServerError(payload)
        elif kind == b"D":
            rows.append(payload)
        elif kind == b"Z":
            if failure is not None:
                raise failure
            return rows


def only_value(rows: list[bytes]) -> str:
    """Return the first column of the first DataRow."""
    if not rows or len(rows[0]) < 6:
        raise ProtocolError("a query gave no row")
    length = _LENGTH.unpack_from(rows[0], 2)[0]
    return rows[0][6 : 6 + length].decode()


def md5_password(user: str, password: str, salt: bytes) -> str:
    """Return what a client answers to AuthenticationMD5Password."""
    stored = hashlib.md5((password + user).encode(), usedforsecurity=False).hexdigest()
    return "md5" + hashlib.md5(stored.encode() + salt, usedforsecurity=False).hexdigest()


async def read_password(connection: Connection) -> str:
    """Return the client's answer to a request for a clear-text password."""
    kind, payload = await connection.read_message()
    if kind != b"p" or not payload.endswith(b"\0"):
        raise ProtocolError("expected a password")
    return payload[:-1].decode(errors="replace")


def _server_context(certificate: HostCertificate) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.certificate, certificate.key)
    context.set_alpn_protocols(["postgresql"])
    context.num_tickets = 0  # libpq resumes no session
    return context


def _strings(*words: str) -> bytes:
    return b"".join(word.encode() + b"\0" for word in words)
