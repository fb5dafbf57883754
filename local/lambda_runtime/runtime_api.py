"""Lambda's Runtime API for one process: what it is asked to do, and what it posts back."""

from __future__ import annotations

import queue
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from local.lambda_runtime import processes


@dataclass(frozen=True)
class Event:
    """What an environment is asked to do."""

    request_id: str
    payload: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Ready:
    """The runtime client asked for its first event: init is done."""


@dataclass(frozen=True)
class Answer:
    """What the runtime client posted."""

    body: bytes
    function_error: str | None = None


@dataclass(frozen=True)
class Exit:
    """The process ended."""

    status: int

    def __str__(self) -> str:
        if self.status == 0:
            return "Runtime exited without providing a reason"
        if self.status < 0:
            name = (signal.strsignal(-self.status) or str(-self.status)).split(":")[0].lower()
            return f"Runtime exited with error: signal: {name}"
        return f"Runtime exited with error: exit status {self.status}"


class RuntimeApi(ThreadingHTTPServer):
    """Lambda's Runtime API, version 2018-06-01, for one runtime client: a process of this user, and no web page."""

    daemon_threads = True

    def __init__(
        self, inbox: queue.SimpleQueue[Event | None], outbox: queue.SimpleQueue[Ready | Answer | Exit]
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.inbox = inbox
        self.outbox = outbox
        self.ready = False
        self.request_id = ""  # of the event that was handed out

    def verify_request(self, request: Any, client_address: Any) -> bool:
        return processes.is_own(client_address, request.getsockname())

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent about the connection that a killed process leaves."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: RuntimeApi

    def parse_request(self) -> bool:
        """Refuse what a web page sends, by its own name or by one that leads here."""
        if not super().parse_request():
            return False
        here = f"127.0.0.1:{self.server.server_port}"
        if self.headers.get_all("Host") == [here] and "Origin" not in self.headers:
            return True
        self.close_connection = True
        self._reply(403)
        return False

    def do_GET(self) -> None:
        if self.path != "/2018-06-01/runtime/invocation/next":
            self._reply(404)
            return
        if not self.server.ready:
            self.server.ready = True
            self.server.outbox.put(Ready())
        event = self.server.inbox.get()
        if event is None:
            self.close_connection = True
        else:
            self.server.request_id = event.request_id
            self._reply(200, event.payload, event.headers)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        match self.path.removeprefix("/2018-06-01/runtime/").split("/"):
            case ["invocation", self.server.request_id, "response"]:
                answer = Answer(body)
            case ["invocation", self.server.request_id, "error"] | ["init", "error"]:
                answer = Answer(body, "Unhandled")
            case _:
                self._reply(404)
                return
        self._reply(202, b'{"status": "OK"}')
        self.server.outbox.put(answer)

    def log_message(self, *_: Any) -> None:
        """Stay silent: the function's log is the log."""

    def _reply(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        with suppress(ConnectionError):
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
