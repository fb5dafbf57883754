"""Functions run in AWS's own runtime client, with Lambda's rules about environments."""

import http.client
import io
import json
import os
import subprocess
import time
import zipfile
from base64 import b64decode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local.lambda_runtime.function import (
    Archive,
    FunctionVersion,
    Invocation,
    RoleCredentials,
    RuntimeStoppedError,
    TooManyRequestsError,
)
from local.lambda_runtime.runtime import LambdaRuntime

PYTHON = Path(__file__).parents[3] / ".venv/runtime/bin/python"

Invoke = Callable[..., Invocation]


def archive(**files: str) -> Archive:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, text in files.items():
            # With a time of its own, or the same code a tick later would be another function.
            file.writestr(zipfile.ZipInfo(name.replace("__", "/") + ".py"), text)
    return Archive.of(content.getvalue())


def function(code: str, *, timeout_seconds: int = 5, **changes: object) -> FunctionVersion:
    base = FunctionVersion(
        name="sample",
        version="1",
        arn="arn:aws:lambda:us-east-1:123456789012:function:sample:1",
        handler="handler.handler",
        runtime="python3.13",
        timeout_seconds=timeout_seconds,
        memory_mb=128,
        role_arn="arn:aws:iam::123456789012:role/sample",
        log_group="/aws/lambda/sample",
        package=archive(handler=code),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[LambdaRuntime]:
    runtime = LambdaRuntime(python=PYTHON, folder=tmp_path, credentials=credentials)
    yield runtime
    runtime.stop()


def credentials(_: FunctionVersion) -> RoleCredentials:
    return RoleCredentials("ASIAEXAMPLE", "secret", "session", datetime.now(UTC) + timedelta(hours=1))


def gone(pid: int) -> bool:
    for _ in range(40):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


PID = "import os\ndef handler(event, context): return os.getpid()"
SLEEPING = "import os, time\ndef handler(event, context):\n    time.sleep(event)\n    return os.getpid()"


def test_function_runs_with_its_variables_layers_and_credentials(runtime):
    layer = archive(python__shared="NAME = 'layer'")
    code = """
import os, shared
def handler(event, context):
    names = ["GREETING", "AWS_ACCESS_KEY_ID", "AWS_REGION", "AWS_LAMBDA_FUNCTION_VERSION"]
    return {
        "event": event, "layer": shared.NAME, "cwd": os.getcwd() == os.environ["LAMBDA_TASK_ROOT"],
        "home": "HOME" in os.environ, "arn": context.invoked_function_arn, **{name: os.environ[name] for name in names},
    }
"""
    answer = runtime.invoke(
        function(code, layers=(layer,), variables=(("GREETING", "hello"),)),
        b'{"a": [1]}',
        invoked_arn="arn:aws:lambda:us-east-1:123456789012:function:sample:live",
    )
    assert json.loads(answer.payload) == {
        "event": {"a": [1]},
        "layer": "layer",
        "cwd": True,
        "home": False,
        "arn": "arn:aws:lambda:us-east-1:123456789012:function:sample:live",
        "GREETING": "hello",
        "AWS_ACCESS_KEY_ID": "ASIAEXAMPLE",
        "AWS_REGION": "us-east-1",
        "AWS_LAMBDA_FUNCTION_VERSION": "1",
    }


def test_environment_stays_warm(runtime):
    first, second = (runtime.invoke(function(PID), b"{}").payload for _ in range(2))
    assert first == second


def test_concurrent_invocations_get_environments_of_their_own(runtime):
    sleeping = function(SLEEPING)
    with ThreadPoolExecutor(3) as pool:
        pids = {answer.payload for answer in pool.map(lambda _: runtime.invoke(sleeping, b"0.7"), range(3))}
    assert len(pids) == 3
    assert runtime.environments("sample") == 3


def test_environment_used_last_is_lent_first(runtime):
    sleeping = function(SLEEPING)
    with ThreadPoolExecutor(2) as pool:
        slow, quick = pool.submit(runtime.invoke, sleeping, b"1"), pool.submit(runtime.invoke, sleeping, b"0.2")
    assert slow.result().payload != quick.result().payload
    assert runtime.invoke(sleeping, b"0").payload == slow.result().payload


def test_reserved_concurrency_throttles(runtime):
    sleeping = function(SLEEPING)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(runtime.invoke, sleeping, b"0.5", reserved_concurrency=1)
        time.sleep(0.2)
        with pytest.raises(TooManyRequestsError) as refusal:
            runtime.invoke(sleeping, b"0", reserved_concurrency=1)
    assert refusal.value.reason == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert running.result().function_error is None
    assert runtime.invoke(sleeping, b"0", reserved_concurrency=1).function_error is None


def test_timeout_ends_the_environment_and_the_next_invocation_gets_another(runtime):
    sleeping = function(SLEEPING, timeout_seconds=1)
    first = json.loads(runtime.invoke(sleeping, b"0").payload)
    answer = runtime.invoke(sleeping, b"30")
    assert answer.function_error == "Unhandled"
    assert json.loads(answer.payload) == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {answer.request_id} Error: Task timed out after 1.00 seconds",
    }
    assert gone(first)
    assert json.loads(runtime.invoke(sleeping, b"0").payload) != first


@pytest.mark.parametrize(
    ("crash", "reason"),
    [
        ("os._exit(3)", "Runtime exited with error: exit status 3"),
        ("os._exit(0)", "Runtime exited without providing a reason"),
        ("os.kill(os.getpid(), 9)", "Runtime exited with error: signal: killed"),
    ],
)
def test_crash_is_an_exit_error_and_the_next_invocation_gets_another_environment(runtime, crash, reason):
    crashing = function(
        f"import os\ndef handler(event, context):\n    return os.getpid() if event == 'pid' else {crash}"
    )
    first = runtime.invoke(crashing, b'"pid"').payload
    answer = runtime.invoke(crashing, b"{}")
    assert answer.function_error == "Unhandled"
    assert json.loads(answer.payload) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {answer.request_id} Error: {reason}",
    }
    assert reason in answer.log
    assert runtime.invoke(crashing, b'"pid"').payload != first


def test_exception_is_an_error_and_keeps_the_environment(runtime):
    code = "import os\ndef handler(event, context):\n    if event: raise ValueError(event)\n    return os.getpid()"
    first = runtime.invoke(function(code), b"0").payload
    answer = runtime.invoke(function(code), b'"no"')
    assert answer.function_error == "Unhandled"
    assert json.loads(answer.payload)["errorType"] == "ValueError"
    assert json.loads(answer.payload)["errorMessage"] == "no"
    assert runtime.invoke(function(code), b"0").payload == first


def test_failing_init_is_reported_as_the_function_raised_it(runtime):
    answer = runtime.invoke(function("raise LookupError('PGHOST')"), b"{}")
    assert answer.function_error == "Unhandled"
    assert json.loads(answer.payload)["errorType"] == "LookupError"
    assert "PGHOST" in answer.log


def test_hanging_init_is_a_timeout(runtime, monkeypatch):
    monkeypatch.setattr("local.lambda_runtime.environment.INIT_SECONDS", 0.2)
    answer = runtime.invoke(function("import time\ntime.sleep(30)", timeout_seconds=1), b"{}")
    assert json.loads(answer.payload)["errorType"] == "Sandbox.Timedout"


def test_log_has_the_function_s_lines_between_start_and_report(runtime):
    code = "import sys\ndef handler(event, context):\n    print('out', event)\n    print('err', file=sys.stderr)"
    runtime.invoke(function(code), b"1")
    answer = runtime.invoke(function(code), b"2")
    start, out, err, end, report = answer.log.splitlines()
    assert start == f"START RequestId: {answer.request_id} Version: 1"
    assert (out, err) == ("out 2", "err")
    assert end == f"END RequestId: {answer.request_id}"
    assert report.startswith(f"REPORT RequestId: {answer.request_id}\tDuration: ")
    assert "Init Duration" not in report
    assert b64decode(answer.log_tail).decode() == answer.log
    assert "out 1" in runtime.log_path("sample").read_text()


def test_new_code_replaces_the_old_environments(runtime):
    first = json.loads(runtime.invoke(function(PID), b"{}").payload)
    second = json.loads(runtime.invoke(function(PID + "\n"), b"{}").payload)
    assert first != second
    assert gone(first)


def test_deleted_function_leaves_no_environment(runtime):
    pid = json.loads(runtime.invoke(function(PID), b"{}").payload)
    runtime.retire("sample")
    assert gone(pid)


def test_stop_leaves_no_process_even_when_functions_hang_and_ignore_signals(runtime, tmp_path):
    code = """
import os, signal, subprocess, time
def handler(event, context):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(["sleep", "60"])
    with open(event, "w") as file:
        file.write(f"{os.getpid()} {child.pid}")
    time.sleep(60)
"""
    note = tmp_path / "pids"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(runtime.invoke, function(code, timeout_seconds=60), json.dumps(str(note)).encode())
        while not (note.exists() and len(note.read_text().split()) == 2):
            with suppress(TimeoutError):
                running.result(timeout=0.05)
        runtime.stop()
        with pytest.raises(RuntimeStoppedError):
            running.result(timeout=5)
    assert all(gone(int(pid)) for pid in note.read_text().split())
    assert not list(tmp_path.glob("environment-*"))
    with pytest.raises(RuntimeStoppedError):
        runtime.invoke(function(PID), b"{}")


ADDRESS = "import os\ndef handler(event, context): return os.environ['AWS_LAMBDA_RUNTIME_API']"
NEXT = "/2018-06-01/runtime/invocation/next"


def call(address: str, method: str, path: str, **headers: str) -> int:
    connection = http.client.HTTPConnection(address, timeout=5)
    connection.request(method, path, "{}" if method == "POST" else None, headers)
    return connection.getresponse().status


def test_no_web_page_speaks_to_the_runtime_api(runtime):
    version = function(ADDRESS)  # another call would make a zip of another time stamp
    address = json.loads(runtime.invoke(version, b"{}").payload)
    port = address.rsplit(":", 1)[1]
    for headers in (
        {"Origin": "https://evil.example"},
        {"Host": f"evil.example:{port}"},
        {"Host": f"localhost:{port}"},
    ):
        assert call(address, "GET", NEXT, **headers) == 403
        assert call(address, "POST", "/2018-06-01/runtime/init/error", **headers) == 403
    assert json.loads(runtime.invoke(version, b"{}").payload) == address


def test_only_the_event_that_was_handed_out_is_answered(runtime):
    version = function(ADDRESS)  # another call would make a zip of another time stamp
    address = json.loads(runtime.invoke(version, b"{}").payload)
    for request_id in ("", "1", "00000000-0000-0000-0000-000000000000"):
        assert call(address, "POST", f"/2018-06-01/runtime/invocation/{request_id}/response") == 404
    assert json.loads(runtime.invoke(version, b"{}").payload) == address


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux tells whose a connection is")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_no_other_user_speaks_to_the_runtime_api(runtime):
    version = function(ADDRESS)  # another call would make a zip of another time stamp
    address = json.loads(runtime.invoke(version, b"{}").payload)
    request = f"GET {NEXT} HTTP/1.1\\r\\nHost: {address}\\r\\n\\r\\n"
    script = f"exec 3<>/dev/tcp/{address.replace(':', '/')}; printf '{request}' >&3; cat <&3"

    def told(user: int) -> str:
        command = ["timeout", "2", "bash", "-c", script]
        tried = subprocess.run(
            command, user=user, group=user, extra_groups=[], cwd="/", capture_output=True, text=True, check=False
        )
        return tried.stdout + str(tried.returncode)

    assert told(65534) in {"0", "1"}  # closed, with no answer
    assert told(0) == "124"  # waits for an event, as the runtime client does
