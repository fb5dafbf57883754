"""One execution environment: a process of AWS's own runtime client, and the Runtime API that feeds it."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from local.lambda_runtime import processes
from local.lambda_runtime.function import FunctionVersion, Invocation, RuntimeStoppedError
from local.lambda_runtime.runtime_api import Answer, Event, Exit, Ready, RuntimeApi

INIT_SECONDS = 10.0
RESPONSE_LIMIT_BYTES = 6_291_556

_PROCESS_FILE = "process"


class Environment:
    """One process and the Runtime API that feeds it."""

    def __init__(
        self, function: FunctionVersion, folder: Path, expires_at: datetime, *, ended: Callable[[Environment], None]
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
        self._inbox: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[Ready | Answer | Exit] = queue.SimpleQueue()
        self._server = RuntimeApi(self._inbox, self._outbox)
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
        outcome: Ready | Answer | Exit | None = Ready()
        if not self._invoked:
            self._invoked = True
            began = time.monotonic()
            # Lambda gives init 10 s and then runs it again within the function's timeout; here it simply gets both.
            outcome = self._receive(INIT_SECONDS + timeout)
            init_seconds = time.monotonic() - began
            if isinstance(outcome, Answer):
                self.kill()
        began = time.monotonic()
        if isinstance(outcome, Ready):
            deadline = int((time.time() + timeout) * 1000)
            headers = {
                "Lambda-Runtime-Aws-Request-Id": request_id,
                "Lambda-Runtime-Deadline-Ms": str(deadline),
                "Lambda-Runtime-Invoked-Function-Arn": invoked_arn,
                "Lambda-Runtime-Trace-Id": f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]};Sampled=0",
            }
            self._inbox.put(Event(request_id, payload, headers))
            outcome = self._receive(timeout)
        seconds = time.monotonic() - began
        answer = self._judge(request_id, outcome)
        report = self._report(request_id, seconds, init_seconds, answer)
        return Invocation(request_id, answer.body, answer.function_error, report, seconds * 1000)

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

    def _receive(self, seconds: float) -> Ready | Answer | Exit | None:
        try:
            return self._outbox.get(timeout=seconds)
        except queue.Empty:
            return None

    def _judge(self, request_id: str, outcome: Ready | Answer | Exit | None) -> Answer:
        """The answer that the caller gets; a timeout ends the environment."""
        match outcome:
            case Answer(body) if len(body) > RESPONSE_LIMIT_BYTES:
                limit = f"Response payload size exceeded maximum allowed payload size ({RESPONSE_LIMIT_BYTES} bytes)."
                return _error("Function.ResponseSizeTooLarge", limit)
            case Answer():
                return outcome
            case Exit() if self._killed:
                raise RuntimeStoppedError
            case Exit():
                return _error("Runtime.ExitError", f"RequestId: {request_id} Error: {outcome}")
            case _:
                self.kill()
                self._gone.wait()
                seconds = f"Task timed out after {self.function.timeout_seconds:.2f} seconds"
                return _error("Sandbox.Timedout", f"RequestId: {request_id} Error: {seconds}")

    def _report(self, request_id: str, seconds: float, init_seconds: float | None, answer: Answer) -> str:
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
        self._outbox.put(Exit(status))
        self._inbox.put(None)
        self._server.shutdown()
        self._server.server_close()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._ended(self)


def end_leftovers(folder: Path) -> None:
    """End the processes of a runtime that was killed while functions were at work."""
    for file in folder.glob(f"environment-*/{_PROCESS_FILE}"):
        pid, _, began = file.read_text().partition(" ")
        if processes.began(int(pid)) == began:
            _kill_group(int(pid))


def _error(kind: str, message: str) -> Answer:
    return Answer(json.dumps({"errorType": kind, "errorMessage": message}).encode(), "Unhandled")


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS says EPERM for a group of zombies
        os.killpg(pid, signal.SIGKILL)
