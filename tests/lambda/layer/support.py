"""What the library is tested with: a server, a relay in front of it that can fail, and a Secrets Manager."""

# ruff: noqa: S105, S106  passwords of test servers

from __future__ import annotations

import contextlib
import ctypes
import http.server
import json
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Any

import botocore.auth
import botocore.awsrequest
import botocore.credentials
from psycopg2 import sql

from local.credentials import Credentials
from local.postgres.server import PostgresServer

if TYPE_CHECKING:
    import pytest

    from local.certificates import Certificates
    from local.postgres.cluster import Cluster

HOST = "app.abcdefghijkl.eu-central-1.rds.amazonaws.com"
READER = "app.cluster-ro-abcdefghijkl.eu-central-1.rds.amazonaws.com"
SECRET_ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:app-AbCdEf"
FUNCTION_KEY = ("AKIDEXAMPLE", "canary-secret-access-key", "canary-session-token")
FUNCTION = Credentials(*FUNCTION_KEY, expires_at=None, principal_arn="arn:aws:sts::1:assumed-role/app/x")


def start_server(name: str, certificates: Certificates, max_connections: int = 20) -> PostgresServer:
    server = PostgresServer.start(
        name=name,
        host_name=HOST,
        certificates=certificates,
        max_connections=max_connections,
        master_user="master",
        master_password="master-password",
        database="app",
    )
    prepare(server)
    return server


def prepare(server: PostgresServer | Cluster) -> None:
    """Make what tests read and write, and their user."""
    with server.administrator("app") as cursor:
        cursor.execute("CREATE ROLE app LOGIN")
        cursor.execute("CREATE TABLE ledger (id uuid NOT NULL, writer int NOT NULL)")
        cursor.execute("CREATE TABLE users (id int PRIMARY KEY, name text, created_at timestamptz DEFAULT now())")
        cursor.execute("INSERT INTO users SELECT n, 'user ' || n FROM generate_series(1, 12) AS n")
        cursor.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO app")


def set_password(server: PostgresServer | Cluster, password: str) -> None:
    with server.administrator() as cursor:
        cursor.execute(sql.SQL("ALTER ROLE app PASSWORD %s"), [password])


def terminate_backends(server: PostgresServer | Cluster) -> int:
    """End every session of the application and wait until they are gone."""
    with server.administrator() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'app'")
        return cursor.rowcount


class SecretsManager:
    """Answers GetSecretValue as AWS does, to requests that botocore would have signed the same way."""

    def __init__(self) -> None:
        self.password = "canary-password"
        self.pending: str | None = None
        self.previous: str | None = None
        self.requests: list[str] = []
        self.answer: tuple[int, dict[str, Any] | bytes] | None = None
        manager = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, answer = manager.handle(self, body)
                content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def handle(self, request: http.server.BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, Any] | bytes]:
        wanted = json.loads(body)
        self.requests.append(wanted["VersionStage"])
        if request.headers["Authorization"] != _authorization_of_botocore(request, body):
            return 400, {"__type": "InvalidSignatureException", "message": "wrong signature"}
        if self.answer is not None:
            return self.answer
        assert wanted["SecretId"] == SECRET_ARN
        passwords = {"AWSCURRENT": self.password, "AWSPENDING": self.pending, "AWSPREVIOUS": self.previous}
        password = passwords[wanted["VersionStage"]]
        if password is None:
            return 400, {"__type": "ResourceNotFoundException", "Message": "no such stage"}
        return 200, {"SecretString": json.dumps({"username": "app", "password": password})}

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()


def _authorization_of_botocore(request: http.server.BaseHTTPRequestHandler, body: bytes) -> str:
    """Sign what arrived once more, with botocore and at the time that the request gives."""
    names = [name.lower() for name in request.headers if name.lower() in ("content-type", "x-amz-target")]
    headers = {name: request.headers[name] for name in names}
    url = f"http://{request.headers['Host']}/"
    copy = botocore.awsrequest.AWSRequest(method="POST", url=url, data=body, headers=headers)
    signer = botocore.auth.SigV4Auth(botocore.credentials.Credentials(*FUNCTION_KEY), "secretsmanager", "eu-central-1")
    copy.context["timestamp"] = request.headers["X-Amz-Date"]
    signer._modify_request_before_signing(copy)
    copy.headers.replace_header("X-Amz-Date", request.headers["X-Amz-Date"])
    signature = signer.signature(signer.string_to_sign(copy, signer.canonical_request(copy)), copy)
    signer._inject_signature_to_request(copy, signature)
    return str(copy.headers["Authorization"])


class Relay:
    """Bytes to and from a server, over a path that can break in the ways that networks do."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._deaf: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.port = 0
        self.listen()

    def listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop_listening(self) -> None:
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None

    def cut(self) -> None:
        """Close every connection."""
        pairs, self._pairs = self._pairs, []
        for end in (end for pair in pairs for end in pair):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def drop_packets(self) -> None:
        """Let nothing more of the clients arrive, and nothing reach them: no data, no acknowledgement, no end."""
        for client, _ in self._pairs:
            self._deaf.add(client)
            _deafen(client)

    def close(self) -> None:
        self.stop_listening()
        self.cut()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return  # no longer listening
            self.adopt(client)

    def adopt(self, client: socket.socket) -> None:
        """Lead this client to the server."""
        try:
            server = socket.create_connection(("127.0.0.1", self.target_port))
        except OSError:
            client.close()
            return
        self._pairs.append((client, server))
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if sink in self._deaf:
                    return
                sink.sendall(data)
        if sink in self._deaf:
            return
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def packets_can_be_dropped() -> bool:
    """Tell whether this kernel lets this user filter a socket: Linux does, some sandboxes do not."""
    with socket.socket() as tried:
        try:
            _deafen(tried)
        except OSError:
            return False
    return True


def _deafen(end: socket.socket) -> None:
    nothing = struct.pack("HBBI", 0x06, 0, 0, 0)  # a socket filter: return 0
    code = ctypes.create_string_buffer(nothing)
    program = struct.pack("HxxxxxxP", 1, ctypes.addressof(code))
    end.setsockopt(socket.SOL_SOCKET, 26, program)  # SO_ATTACH_FILTER, Linux only


class Clock:
    """Wall time that a test moves."""

    def __init__(self) -> None:
        self.offset = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset


def insert(conn: Any) -> None:
    with conn.cursor() as cursor:
        cursor.execute("INSERT INTO ledger VALUES (gen_random_uuid(), 1)")


def events(capsys: pytest.CaptureFixture[str], name: str) -> list[dict[str, Any]]:
    """Return the lines of the log that tell of one kind of event."""
    lines = map(json.loads, capsys.readouterr().out.splitlines())
    return [line for line in lines if line["event"] == name]
