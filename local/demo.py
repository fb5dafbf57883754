"""The demonstrations: a stack, an environment deployed and invoked, what it bears, the doctor, and where to look.

prod gets a storm; aurora, which is examples/aurora, a failover under load.
"""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from local import failover, service
from local.record import Record
from local.storm import storm

INTERRUPT_TIMEOUT_SECONDS = 60


def run(directory: Path, environment: str = "prod", *, port: int = 0) -> int:
    """Run a demonstration and leave the stack up; interrupted or failed, leave no process behind."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _say("The local stack")
        if not service.start(directory, port=port):
            print("  is up already")
        print(textwrap.indent(service.log_file(directory).read_text().partition("\n20")[0], "  "))
        _deploy(directory, environment)
        if environment == "aurora":
            _fail_over(directory, environment)
            _say("A second plan, after the failover")
            print("  " + _no_changes(directory, environment))
        else:
            _say("A second plan")
            print("  " + _no_changes(directory, environment))
            _say("A storm: each execution environment holds its connection")
            storm.run().draw_time(directory / "storm.svg")
        _say(f"make doctor ENV={environment}")
        print(_doctor(directory, environment))
        _say("Look around")
        print(_hints(directory, environment))
    except KeyboardInterrupt:
        _say("Interrupted")
        service.stop(directory)
        return 130
    except (RuntimeError, OSError, failover.InvocationError) as error:
        print(error, file=sys.stderr)
        service.stop(directory)
        return 1
    return 0


def _say(what: str) -> None:
    print(f"\n== {what}", flush=True)


def _deploy(directory: Path, environment: str) -> None:
    """Deploy and invoke as a user would; show a line for each resource that was made, then the function's answer."""
    _say(f"make deploy ENV={environment}")
    log = directory / "deploy.log"
    began = time.monotonic()
    total, made = "?", 0
    answer: list[str] | None = None
    with log.open("w") as file:
        for line in _lines(["make", "deploy", f"ENV={environment}", "AUTO_APPROVE=1", _here(directory)], log):
            file.write(line)
            file.flush()
            if found := re.match(r"Plan: (\d+) to add", line):
                total = found[1]
            elif found := re.match(r"(\S+): Creation complete", line):
                made += 1
                print(f"  {time.monotonic() - began:4.0f} s  {made:>3}/{total}  {found[1]}", flush=True)
            elif re.search(r"waiting for the proxy|the proxy \S+ is available", line):
                print(f"  {line.strip()}", flush=True)
            elif line.startswith("{"):
                _say("The function answers")
                answer = []
            if answer is not None:
                answer.append(line)
                print(f"  {line}", end="", flush=True)
    if answer is None:
        raise RuntimeError(f"The function did not answer: see {log}.")


def _here(directory: Path) -> str:
    """Lead make to this stack, and to no other place even if the stack is gone."""
    return f"LOCAL_STACK={directory.resolve()}"


def _fail_over(directory: Path, environment: str) -> None:
    """Write, read, and fail over while callers go on; say what became of each payment."""
    variables = Record(directory).read()
    function = _output(environment, "function_arn", directory)
    cluster = _output(environment, "database_identifier", directory)
    rds = _client("rds", variables)
    invoke = failover.invoker(_client("lambda", variables), function)
    _say("It writes on the writer, and reads from a reader")
    for event in ({"key": "first"}, {"key": "first"}, {}):
        print(f"  {json.dumps(event):<18} {json.dumps(invoke(event))}", flush=True)
    before = failover.writer(rds, cluster)
    _say(f"A failover of {cluster}, while {failover.CALLERS} callers pay and {failover.READING} read")
    outcome = failover.under_load(invoke, lambda: failover.fail_over(rds, cluster), f"{time.time():.0f}-")
    print(f"  writer               {before} → {failover.writer(rds, cluster)}")
    print("\n".join(f"  {line}" for line in outcome.lines()), flush=True)
    if outcome.lost or outcome.doubled:
        raise RuntimeError("A payment was lost or made twice.")


def _output(environment: str, name: str, directory: Path) -> str:
    """Return an output of what was deployed, from its state."""
    state = json.loads((directory / environment / "terraform.tfstate").read_text())
    return str(state["outputs"][name]["value"])


def _client(service: str, variables: Mapping[str, str]) -> Any:
    """Return a client of the stack, which sends nothing a second time."""
    return boto3.client(
        service,
        variables["AWS_REGION"],
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        config=Config(read_timeout=120, retries={"max_attempts": 0}, max_pool_connections=20),
    )


def _no_changes(directory: Path, environment: str) -> str:
    log = directory / "second-plan.log"
    lines = list(_lines(["make", "plan", f"ENV={environment}", _here(directory)], log))
    log.write_text("".join(lines))
    for line in lines:
        if line.startswith("No changes."):
            return line.strip()
    raise RuntimeError(
        "".join(["The second plan has changes:\n", *(line for line in lines if line.startswith("  # "))])
    )


def _doctor(directory: Path, environment: str) -> str:
    """Examine what was deployed; RuntimeError where something is wrong."""
    lines = _lines(["make", "doctor", f"ENV={environment}", _here(directory)], directory / "doctor.log")
    return "".join(f"  {line}" for line in lines if not line.startswith("On the local stack")).rstrip()


def _lines(command: list[str], log: Path) -> Iterator[str]:
    """Yield what a command prints; it has a session of its own, so that an interrupt reaches Terraform just once."""
    environment = {**os.environ, "TF_CLI_ARGS": "-no-color"}
    with subprocess.Popen(
        command, env=environment, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        last: list[str] = []
        try:
            for line in process.stdout:
                last = [*last[-30:], line]
                yield line
        except BaseException:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(INTERRUPT_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        raise RuntimeError(f"`{' '.join(command)}` failed ({log}):\n{''.join(last)}")


def _hints(directory: Path, environment: str) -> str:
    own = {
        "prod": (
            f"{directory}/storm.svg",
            "the storm as a picture: clients and database connections, as on the dashboard",
        ),
        "aurora": (
            'make invoke … EVENT=\'{"key": "x"}\'',
            "a payment of your own; the same key again is the same payment",
        ),
    }
    hints = dict([own[environment]]) | {
        f"make status ENV={environment}": "versions, endpoints, connections, migration, rotation, alarms on one screen",
        f"make logs ENV={environment} FOLLOW=1": "what both functions log",
        f"make invoke ENV={environment}": "invoke the function again",
        f"make psql ENV={environment}": "a session as the application's user, through the proxy, with a fresh token",
        f"{directory}/logs/": "what the functions log, a file each",
        f"{directory}/stack.log": "what the stack does: tokens checked, connections pooled, sessions pinned",
        "make plan ENV=dev": "every target goes to the local stack while it is up",
        "make demo-down": "stop all of it",
    }
    width = max(28, *map(len, hints))
    return "\n".join(f"  {what:<{width}} {how}" for what, how in hints.items())
