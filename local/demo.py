"""The demonstration: a stack, prod deployed and invoked, a second plan, a storm, the doctor, and where to look."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

from local import service
from local.storm import storm

INTERRUPT_TIMEOUT_SECONDS = 60


def run(directory: Path, *, port: int = 0) -> int:
    """Run the demonstration and leave the stack up; interrupted or failed, leave no process behind."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _say("The local stack")
        if not service.start(directory, port=port):
            print("  is up already")
        print(textwrap.indent(service.log_file(directory).read_text().partition("\n20")[0], "  "))
        _deploy(directory)
        _say("A second plan")
        print("  " + _no_changes(directory))
        _say("A storm: each execution environment holds its connection")
        storm.run().draw_time(directory / "storm.svg")
        _say("make doctor ENV=prod")
        print(_doctor(directory))
        _say("Look around")
        print(_hints(directory))
    except KeyboardInterrupt:
        _say("Interrupted")
        service.stop(directory)
        return 130
    except (RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        service.stop(directory)
        return 1
    return 0


def _say(what: str) -> None:
    print(f"\n== {what}", flush=True)


def _deploy(directory: Path) -> None:
    """Deploy and invoke as a user would; show a line for each resource that was made, then the function's answer."""
    _say("make deploy ENV=prod")
    log = directory / "deploy.log"
    began = time.monotonic()
    total, made = "?", 0
    answer: list[str] | None = None
    with log.open("w") as file:
        for line in _lines(["make", "deploy", "ENV=prod", "AUTO_APPROVE=1", _here(directory)], log):
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


def _no_changes(directory: Path) -> str:
    log = directory / "second-plan.log"
    lines = list(_lines(["make", "plan", "ENV=prod", _here(directory)], log))
    log.write_text("".join(lines))
    for line in lines:
        if line.startswith("No changes."):
            return line.strip()
    raise RuntimeError(
        "".join(["The second plan has changes:\n", *(line for line in lines if line.startswith("  # "))])
    )


def _doctor(directory: Path) -> str:
    """Examine what was deployed; RuntimeError where something is wrong."""
    lines = _lines(["make", "doctor", "ENV=prod", _here(directory)], directory / "doctor.log")
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


def _hints(directory: Path) -> str:
    return "\n".join(
        f"  {what:<28} {how}"
        for what, how in {
            f"{directory}/storm.svg": "the storm as a picture: clients and database connections, as on the dashboard",
            "make status ENV=prod": "versions, endpoints, connections, migration, rotation and alarms on one screen",
            "make logs ENV=prod FOLLOW=1": "what both functions log",
            "make invoke ENV=prod": "invoke the function again",
            "make psql ENV=prod": "a session as the application's user, through the proxy, with a fresh token",
            f"{directory}/logs/": "what the functions log, a file each",
            f"{directory}/stack.log": "what the stack does: tokens checked, connections pooled, sessions pinned",
            "make plan ENV=dev": "every target goes to the local stack while it is up",
            "make demo-down": "stop all of it",
        }.items()
    )
