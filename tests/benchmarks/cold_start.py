"""Start functions in Lambda's own runtime client and time them until their first answer."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
# What an HTTP API sends; only the example with Powertools reads it.
EVENT = json.dumps(
    {
        "version": "2.0",
        "rawPath": "/users",
        "headers": {},
        "requestContext": {"requestId": "1", "stage": "$default", "http": {"method": "GET", "path": "/users"}},
    }
).encode()
RUNTIME = ROOT / ".venv" / "runtime" / "bin" / "python"


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing: every function is killed while it asks for its next invocation."""


class RuntimeApi:
    """Lambda's Runtime API for one invocation."""

    def __init__(self) -> None:
        self.answered = threading.Event()
        self.answer = b""
        self._asked = threading.Event()
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if api._asked.is_set():
                    threading.Event().wait(30)  # the second invocation never comes
                api._asked.set()
                self.send_response(200)
                self.send_header("Lambda-Runtime-Aws-Request-Id", "1")
                self.send_header("Lambda-Runtime-Deadline-Ms", str(int(time.time() * 1000) + 60_000))
                self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:1:function:bench")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(EVENT)))
                self.end_headers()
                self.wfile.write(EVENT)

            def do_POST(self) -> None:
                api.answer = (
                    self.path.rpartition("/")[2].encode() + b" " + self.rfile.read(int(self.headers["Content-Length"]))
                )
                api.answered.set()
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._http = _QuietServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True).start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.socket.close()


def start(
    handler: str, task: Path, layer: Path, environment: Mapping[str, str], prefix: list[str]
) -> tuple[float, float]:
    """Return the milliseconds from the process's start to its first answer, and its peak memory in MiB."""
    api = RuntimeApi()
    variables = {
        "PATH": os.defpath,
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "PYTHONPATH": f"{task}:{layer / 'python'}",
        "PYTHONDONTWRITEBYTECODE": "1",  # /opt and /var/task cannot be written
        "LAMBDA_TASK_ROOT": str(task),
        "AWS_LAMBDA_RUNTIME_API": api.address,
        "AWS_LAMBDA_FUNCTION_NAME": "bench",
        "AWS_LAMBDA_FUNCTION_VERSION": "1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "_HANDLER": handler,
        **environment,
    }
    began = time.perf_counter()
    process = subprocess.Popen(
        [*prefix, str(RUNTIME), "-m", "awslambdaric", handler], env=variables, cwd=task, stdout=subprocess.DEVNULL
    )
    try:
        if not api.answered.wait(60):
            raise TimeoutError(f"{handler} in {task} did not answer")
        took = (time.perf_counter() - began) * 1000
        memory = _peak_memory(process.pid)
    finally:
        process.kill()
        process.wait()
        api.stop()
    kind, _, answer = api.answer.partition(b" ")
    if kind != b"response" or json.loads(answer)["statusCode"] != 200:
        raise RuntimeError(f"{handler} in {task} failed: {answer.decode()}")
    return took, memory


def _peak_memory(pid: int) -> float:
    with contextlib.suppress(FileNotFoundError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def unpack(package: Path, target: Path) -> Path:
    """Unpack a zip as Lambda does."""
    with zipfile.ZipFile(package) as archive:
        archive.extractall(target)
    return target


@contextlib.contextmanager
def cpu_share(percent: float | None) -> Iterator[list[str] | None]:
    """Give what to put before a command so that it has this share of one CPU; None where cgroups do not allow it."""
    if percent is None:
        yield []
        return
    period = 20_000
    quota = int(period * percent / 100)
    v1, v2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
    group = (v1 if v1.is_dir() else v2) / f"benchmark-{os.getpid()}"
    try:
        group.mkdir()
        if v1.is_dir():
            (group / "cpu.cfs_period_us").write_text(str(period))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (group / "cpu.max").write_text(f"{quota} {period}")
    except OSError:
        with contextlib.suppress(OSError):
            group.rmdir()
        yield None
        return
    try:
        yield ["/bin/sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"]
    finally:
        for _ in range(50):
            try:
                group.rmdir()
            except OSError:
                time.sleep(0.02)
            else:
                break
