"""The stack as a background service: one a folder."""

import errno
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from local.lambda_runtime.environment import end_leftovers
from local.record import Record

TARGET_DELAY_SECONDS = 10
FAILOVER_SECONDS = 5  # without a writer: on AWS usually less than 35
START_TIMEOUT_SECONDS = 60
STOP_TIMEOUT_SECONDS = 30


def serve(directory: Path, *, port: int = 0) -> int:
    """Serve the stack until SIGINT or SIGTERM; return an exit status."""
    from local.stack import Stack  # noqa: PLC0415  takes seconds, and who only stops a stack needs none of it

    told_to_stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: told_to_stop.set())
    stack = Stack(directory, port=port, target_delay_seconds=TARGET_DELAY_SECONDS, failover_seconds=FAILOVER_SECONDS)
    if not stack.record.take():
        print("A stack runs here already: `make demo-down` stops it.", file=sys.stderr)
        return 1
    end_leftovers(directory)
    stack.record.clean()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", stream=sys.stdout)
    try:
        with stack:
            print("\n".join(stack.components()), flush=True)
            told_to_stop.wait()
    except OSError as error:
        taken_port = error.errno == errno.EADDRINUSE
        reason = f"port {port} is in use: choose another with LOCAL_PORT=" if taken_port else str(error)
        print(f"The stack did not start: {reason}", file=sys.stderr)
        return 1
    return 0


def start(directory: Path, *, port: int = 0) -> bool:
    """Start the service in the background unless it runs; tell whether it had to be started.

    Raises RuntimeError with the end of its log when it does not come up.
    """
    record = Record(directory)
    if record.up():
        return False
    directory.mkdir(mode=0o700, exist_ok=True)
    record.makefile.unlink(missing_ok=True)
    with os.fdopen(os.open(log_file(directory), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "local", "up", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _await_start(record, log_file(directory), process)
    except BaseException:
        process.terminate()
        process.wait(STOP_TIMEOUT_SECONDS)
        raise
    return True


def stop(directory: Path) -> int:
    """Stop the service and all that it started; return an exit status."""
    record = Record(directory)
    if not record.up():
        if record.dead():
            end_leftovers(directory)
            record.clean()
            print("The stack had died: what it left behind is removed.")
        else:
            print("No stack is running.")
        return 0
    pid = record.pid
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
    while record.up():
        if time.monotonic() > deadline:
            print(f"The stack (process {pid}) did not stop: see {log_file(directory)}.", file=sys.stderr)
            return 1
        time.sleep(0.05)
    print("The stack is stopped.")
    return 0


def log_file(directory: Path) -> Path:
    """Return the file to which the service in the background writes."""
    return directory / "stack.log"


def _await_start(record: Record, log: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while not (record.makefile.exists() and log.stat().st_size):  # it has said what it consists of
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(log.read_text()[-2000:].strip())
        time.sleep(0.05)
