"""Run Lambda functions: AWS's own runtime client in one process per execution environment, fed by a small Runtime API.

What follows Lambda: an environment serves one invocation at a time and stays warm; the one used last is lent first; a
concurrent invocation starts another; a timeout or a crash ends the environment; no cleanup code runs at its end.
What does not: memory is not limited, a failed init is not run a second time, /opt and /var/task are folders elsewhere.
When this process is killed, idle environments end at once and busy ones with their invocation.
"""

from __future__ import annotations

import atexit
import base64
import hashlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

from local import processes

INIT_SECONDS = 10.0
LOG_TAIL_BYTES = 4096
RESPONSE_LIMIT_BYTES = 6_291_556


@dataclass(frozen=True)
class Archive:
    """A zip, known by its digest."""

    sha256: str
    content: bytes = field(repr=False, compare=False)

    @classmethod
    def of(cls, content: bytes) -> Archive:
        return cls(hashlib.sha256(content).hexdigest(), content)


@dataclass(frozen=True)
class FunctionVersion:
    """What one version of a function is made of; environments are shared only between equal ones."""

    name: str
    version: str
    arn: str
    handler: str
    runtime: str
    timeout_seconds: int
    memory_mb: int
    role_arn: str
    log_group: str
    package: Archive
    layers: tuple[Archive, ...] = ()
    variables: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    security_group_ids: tuple[str, ...] = ()

    @property
    def region(self) -> str:
        return self.arn.split(":")[3]


@dataclass(frozen=True)
class RoleCredentials:
    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True)
class Invocation:
    """The outcome of one invocation. `function_error` is None or what X-Amz-Function-Error says."""

    request_id: str
    payload: bytes
    function_error: str | None
    log: str

    @property
    def log_tail(self) -> str:
        """The last 4 KB of the log, as X-Amz-Log-Result has them."""
        return base64.b64encode(self.log.encode()[-LOG_TAIL_BYTES:]).decode()


class TooManyRequestsError(Exception):
    """The function has no concurrency left."""

    def __init__(self, reason: str) -> None:
        super().__init__("Rate Exceeded.")
        self.reason = reason


_PROCESS_FILE = "process"


class RuntimeStoppedError(Exception):
    """The runtime is stopped, or was while the function ran."""


class LambdaRuntime:
    """Invoke functions in processes of `python`, an interpreter that has awslambdaric and boto3.

    `credentials` gives those of the function's role, `prepare` has the last word on an environment's variables, and
    `log` receives every line: function, log stream, lines.
    """

    def __init__(
        self,
        *,
        python: Path,
        folder: Path,
        credentials: Callable[[FunctionVersion], RoleCredentials],
        endpoint_url: str | None = None,
        prepare: Callable[[FunctionVersion, dict[str, str]], dict[str, str]] = lambda _, variables: variables,
        log: Callable[[FunctionVersion, str, list[str]], None] = lambda *_: None,
        account_concurrency: int = 1000,
    ) -> None:
        self._python = python
        self._folder = folder
        self._credentials = credentials
        self._endpoint_url = endpoint_url
        self._prepare = prepare
        self._log = log
        self._account_concurrency = account_concurrency
        self._lock = threading.Lock()
        self._unpacking = threading.Lock()
        self._log_file = threading.Lock()
        self._running: Counter[str] = Counter()
        self._warm: dict[str, list[_Environment]] = defaultdict(list)
        self._environments: set[_Environment] = set()
        self._stopped = False
        atexit.register(self.stop)

    def invoke(
        self,
        function: FunctionVersion,
        payload: bytes,
        *,
        reserved_concurrency: int | None = None,
        invoked_arn: str | None = None,
    ) -> Invocation:
        """Run the function once, in a warm environment or in a new one."""
        with self._concurrency(function.name, reserved_concurrency):
            environment = self._borrow(function)
            try:
                outcome = environment.invoke(payload, invoked_arn or function.arn)
            finally:
                self._give_back(environment)
        self._write_log(environment, outcome.log)
        return outcome

    def retire(self, name: str) -> None:
        """End the idle environments of a function that was deleted."""
        with self._lock:
            arns = [arn for arn, warm in self._warm.items() if warm and warm[0].function.name == name]
            retired = [environment for arn in arns for environment in self._warm.pop(arn)]
        for environment in retired:
            environment.kill()

    def log_path(self, name: str) -> Path:
        """The file that collects what a function writes."""
        return self._folder / "logs" / f"{name}.log"

    def environments(self, name: str) -> int:
        """How many environments of a function live."""
        with self._lock:
            return sum(environment.function.name == name for environment in self._environments)

    def stop(self) -> None:
        """Kill every environment and wait until it is gone; running invocations raise."""
        with self._lock:
            self._stopped = True
            environments = list(self._environments)
            self._warm.clear()
        for environment in environments:
            environment.kill()
        for environment in environments:
            environment.join()
        atexit.unregister(self.stop)

    @contextmanager
    def _concurrency(self, name: str, reserved: int | None) -> Iterator[None]:
        with self._lock:
            if reserved is not None and self._running[name] >= reserved:
                raise TooManyRequestsError("ReservedFunctionConcurrentInvocationLimitExceeded")
            if self._running.total() >= self._account_concurrency:
                raise TooManyRequestsError("ConcurrentInvocationLimitExceeded")
            self._running[name] += 1
        try:
            yield
        finally:
            with self._lock:
                self._running[name] -= 1

    def _borrow(self, function: FunctionVersion) -> _Environment:
        """Lend the environment used last, for its connection is the freshest; environments of older code end here."""
        outdated = []
        try:
            with self._lock:
                warm = self._warm[function.arn]
                while warm:
                    environment = warm.pop()
                    if environment.usable_for(function):
                        return environment
                    outdated.append(environment)
        finally:
            for environment in outdated:
                environment.kill()
        return self._start(function)

    def _start(self, function: FunctionVersion) -> _Environment:
        task_root = self._unpack((function.package,))
        layers = self._unpack(function.layers)
        credentials = self._credentials(function)
        environment = _Environment(function, self._folder, credentials.expires_at, ended=self._forget)
        try:
            variables = self._prepare(function, self._variables(environment, credentials, task_root, layers))
            with self._lock:  # held while starting, so that stop() never misses a process
                self._refuse_when_stopped()
                environment.start([str(self._python), "-m", "awslambdaric", function.handler], variables, task_root)
                self._environments.add(environment)
        except BaseException:
            environment.abandon()
            raise
        return environment

    def _refuse_when_stopped(self) -> None:
        if self._stopped:
            raise RuntimeStoppedError

    def _give_back(self, environment: _Environment) -> None:
        with self._lock:
            if environment.alive and not self._stopped:
                self._warm[environment.function.arn].append(environment)

    def _forget(self, environment: _Environment) -> None:
        with self._lock:
            self._environments.discard(environment)
            if environment in (warm := self._warm[environment.function.arn]):
                warm.remove(environment)

    def _unpack(self, archives: tuple[Archive, ...]) -> Path:
        """Unpack zips over each other in one folder, once."""
        digest = hashlib.sha256("".join(archive.sha256 for archive in archives).encode()).hexdigest()[:32]
        folder = self._folder / "code" / digest
        with self._unpacking:
            if not folder.exists():
                folder.parent.mkdir(parents=True, exist_ok=True)
                unfinished = Path(tempfile.mkdtemp(dir=folder.parent))
                for archive in archives:
                    with zipfile.ZipFile(BytesIO(archive.content)) as content:
                        content.extractall(unfinished)
                unfinished.rename(folder)
        return folder

    def _variables(
        self, environment: _Environment, credentials: RoleCredentials, task_root: Path, layers: Path
    ) -> dict[str, str]:
        """The variables that Lambda sets; nothing of this process's own environment is passed on."""
        function = environment.function
        variables = {
            **dict(function.variables),
            "_HANDLER": function.handler,
            "_X_AMZN_TRACE_ID": "",
            "AWS_ACCESS_KEY_ID": credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
            "AWS_SESSION_TOKEN": credentials.session_token,
            "AWS_DEFAULT_REGION": function.region,
            "AWS_REGION": function.region,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.runtime}",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "AWS_LAMBDA_FUNCTION_VERSION": function.version,
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": function.log_group,
            "AWS_LAMBDA_LOG_STREAM_NAME": environment.log_stream,
            "AWS_LAMBDA_RUNTIME_API": environment.address,
            "LAMBDA_TASK_ROOT": str(task_root),
            "LANG": "C.UTF-8",
            "LD_LIBRARY_PATH": f"{task_root}/lib:{layers}/lib",
            "PATH": f"{layers}/bin:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": f"{task_root}:{layers}/python",
            "PYTHONDONTWRITEBYTECODE": "1",  # Lambda's /var/task and /opt are read-only
            "TMPDIR": str(environment.folder),
            "TZ": ":UTC",
        }
        if self._endpoint_url:
            variables |= {"AWS_ENDPOINT_URL": self._endpoint_url, "AWS_EC2_METADATA_DISABLED": "true"}
        return variables

    def _write_log(self, environment: _Environment, log: str) -> None:
        path = self.log_path(environment.function.name)
        with self._log_file:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(log)
        self._log(environment.function, environment.log_stream, log.splitlines())


@dataclass(frozen=True)
class _Event:
    """What an environment is asked to do."""

    request_id: str
    payload: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True)
class _Ready:
    """The runtime client asked for its first event: init is done."""


@dataclass(frozen=True)
class _Answer:
    """What the runtime client posted."""

    body: bytes
    function_error: str | None = None


@dataclass(frozen=True)
class _Exit:
    """The process ended."""

    status: int

    def __str__(self) -> str:
        if self.status == 0:
            return "Runtime exited without providing a reason"
        if self.status < 0:
            name = (signal.strsignal(-self.status) or str(-self.status)).split(":")[0].lower()
            return f"Runtime exited with error: signal: {name}"
        return f"Runtime exited with error: exit status {self.status}"


class _Environment:
    """One process and the Runtime API that feeds it."""

    def __init__(
        self, function: FunctionVersion, folder: Path, expires_at: datetime, *, ended: Callable[[_Environment], None]
    ) -> None:
        self.function = function
        self.log_stream = f"{datetime.now(UTC):%Y/%m/%d}/[{function.version}]{uuid.uuid4().hex}"
        # The function writes to a file, not to a pipe: what it wrote before its answer is there when the answer is.
        self._output = folder / "logs" / function.name / f"{self.log_stream.replace('/', '-')}.log"
        self._output.parent.mkdir(parents=True, exist_ok=True)
        self._output_read = 0
        self.folder = Path(tempfile.mkdtemp(prefix="environment-", dir=folder))
        self._expires_at = expires_at
        self._ended = ended
        self._inbox: queue.SimpleQueue[_Event | None] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[_Ready | _Answer | _Exit] = queue.SimpleQueue()
        self._server = _RuntimeApi(self._inbox, self._outbox)
        self._process: subprocess.Popen[bytes] | None = None
        self._gone = threading.Event()
        self._killed = False
        self._invoked = False
        self._reaper = threading.Thread(target=self._reap, daemon=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def alive(self) -> bool:
        return not (self._killed or self._gone.is_set())

    def usable_for(self, function: FunctionVersion) -> bool:
        fresh = datetime.now(UTC) + timedelta(seconds=function.timeout_seconds) < self._expires_at
        return self.alive and fresh and self.function == function

    def start(self, command: list[str], variables: Mapping[str, str], task_root: Path) -> None:
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=task_root,
                env=dict(variables),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a group of its own: its children die with it, and Ctrl-C does not reach it
            )
        pid = self._process.pid
        (self.folder / _PROCESS_FILE).write_text(f"{pid} {processes.began(pid)}")
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()
        self._reaper.start()

    def invoke(self, payload: bytes, invoked_arn: str) -> Invocation:
        """Hand the event over; wait for its answer, the end of the process or the timeout, whichever comes first."""
        request_id = str(uuid.uuid4())
        timeout = self.function.timeout_seconds
        init_seconds = None
        outcome: _Ready | _Answer | _Exit | None = _Ready()
        if not self._invoked:
            self._invoked = True
            began = time.monotonic()
            # Lambda gives init 10 s and then runs it again within the function's timeout; here it simply gets both.
            outcome = self._receive(INIT_SECONDS + timeout)
            init_seconds = time.monotonic() - began
            if isinstance(outcome, _Answer):
                self.kill()
        began = time.monotonic()
        if isinstance(outcome, _Ready):
            deadline = int((time.time() + timeout) * 1000)
            headers = {
                "Lambda-Runtime-Aws-Request-Id": request_id,
                "Lambda-Runtime-Deadline-Ms": str(deadline),
                "Lambda-Runtime-Invoked-Function-Arn": invoked_arn,
                "Lambda-Runtime-Trace-Id": f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]};Sampled=0",
            }
            self._inbox.put(_Event(request_id, payload, headers))
            outcome = self._receive(timeout)
        seconds = time.monotonic() - began
        answer = self._judge(request_id, outcome)
        return Invocation(
            request_id, answer.body, answer.function_error, self._report(request_id, seconds, init_seconds, answer)
        )

    def kill(self) -> None:
        """End the process as Lambda does: at once, with no cleanup code run."""
        self._killed = True
        if self._process is not None and self._process.poll() is None:
            _kill_group(self._process.pid)

    def join(self) -> None:
        """Wait until the process is gone and everything of it is freed."""
        self._reaper.join()

    def abandon(self) -> None:
        """Free what an environment holds that could not be started."""
        self._server.server_close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _receive(self, seconds: float) -> _Ready | _Answer | _Exit | None:
        try:
            return self._outbox.get(timeout=seconds)
        except queue.Empty:
            return None

    def _judge(self, request_id: str, outcome: _Ready | _Answer | _Exit | None) -> _Answer:
        """The answer that the caller gets; a timeout ends the environment."""
        match outcome:
            case _Answer(body) if len(body) > RESPONSE_LIMIT_BYTES:
                limit = f"Response payload size exceeded maximum allowed payload size ({RESPONSE_LIMIT_BYTES} bytes)."
                return _error("Function.ResponseSizeTooLarge", limit)
            case _Answer():
                return outcome
            case _Exit() if self._killed:
                raise RuntimeStoppedError
            case _Exit():
                return _error("Runtime.ExitError", f"RequestId: {request_id} Error: {outcome}")
            case _:
                self.kill()
                self._gone.wait()
                seconds = f"Task timed out after {self.function.timeout_seconds:.2f} seconds"
                return _error("Sandbox.Timedout", f"RequestId: {request_id} Error: {seconds}")

    def _report(self, request_id: str, seconds: float, init_seconds: float | None, answer: _Answer) -> str:
        """The invocation's log: START, what the function wrote since the last one, END, REPORT."""
        with self._output.open("rb") as file:
            file.seek(self._output_read)
            written = file.read()
        self._output_read += len(written)
        lines = [f"START RequestId: {request_id} Version: {self.function.version}"]
        lines += written.decode(errors="replace").splitlines()
        if answer.function_error and not self.alive:
            lines.append(json.loads(answer.body)["errorMessage"])
        lines.append(f"END RequestId: {request_id}")
        report = f"REPORT RequestId: {request_id}\tDuration: {seconds * 1000:.2f} ms"
        report += f"\tMemory Size: {self.function.memory_mb} MB"
        report += f"\tInit Duration: {init_seconds * 1000:.2f} ms" if init_seconds is not None else ""
        return "\n".join([*lines, report, ""])

    def _reap(self) -> None:
        assert self._process is not None
        status = self._process.wait()
        _kill_group(self._process.pid)  # processes that the function started
        self._gone.set()
        self._outbox.put(_Exit(status))
        self._inbox.put(None)
        self._server.shutdown()
        self._server.server_close()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._ended(self)


class _RuntimeApi(ThreadingHTTPServer):
    """Lambda's Runtime API, version 2018-06-01, for one runtime client: a process of this user, and no web page."""

    daemon_threads = True

    def __init__(
        self, inbox: queue.SimpleQueue[_Event | None], outbox: queue.SimpleQueue[_Ready | _Answer | _Exit]
    ) -> None:
        super().__init__(("127.0.0.1", 0), _RuntimeApiHandler)
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


class _RuntimeApiHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _RuntimeApi

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
            self.server.outbox.put(_Ready())
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
                answer = _Answer(body)
            case ["invocation", self.server.request_id, "error"] | ["init", "error"]:
                answer = _Answer(body, "Unhandled")
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


def end_leftovers(folder: Path) -> None:
    """End the processes of a runtime that was killed while functions were at work."""
    for file in folder.glob(f"environment-*/{_PROCESS_FILE}"):
        pid, _, began = file.read_text().partition(" ")
        if processes.began(int(pid)) == began:
            _kill_group(int(pid))


def _error(kind: str, message: str) -> _Answer:
    return _Answer(json.dumps({"errorType": kind, "errorMessage": message}).encode(), "Unhandled")


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS says EPERM for a group of zombies
        os.killpg(pid, signal.SIGKILL)
