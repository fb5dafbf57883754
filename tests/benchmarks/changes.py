"""Change a deployed environment in every way that users do, under constant invocations.

terraform/dev, or with --cluster examples/aurora, stands on a local stack and is changed step by step through an
override file. For each step: what the plan said, how many invocations were made and failed meanwhile, whether the next
plan is empty, and the seconds it took. On a cluster every invocation writes a row.
"""

from __future__ import annotations

import argparse
import copy
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.failover import fail_over
from local.stack import ROOT, Stack
from tests.local.deployment import Load
from tools.await_target import await_target

OUTPUT = ROOT / "build" / "output"
NO_CHANGES, CHANGES = 0, 2
PAUSE_SECONDS = 0.2
TARGET_DELAY_SECONDS = 5
FAILOVER_SECONDS = 5
ZONES = ["use1-az1", "use1-az2", "use1-az4"]

Modules = dict[str, dict[str, Any]]


@dataclass
class Row:
    """What one step showed."""

    step: str
    plan: str
    warnings: int = 0
    invocations: int = 0
    failed: int = 0
    empty: str = "-"
    seconds: float = 0
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        cells = (self.step, self.plan, self.warnings, self.invocations, self.failed, self.empty, f"{self.seconds:.0f}")
        return "| " + " | ".join(str(cell) for cell in cells) + " |"


class Environment:
    """A root in a tree of its own, whose module calls the steps change."""

    def __init__(self, stack: Stack, folder: Path, root: Path = Path("terraform", "dev")) -> None:
        self.stack = stack
        self.folder = folder
        self.tree = folder / "tree"
        self.root = self.tree / root
        self.function = f"app-{root.name}"
        self.packages = self.tree / "build" / "output"
        shutil.copytree(ROOT / root, self.root, ignore=shutil.ignore_patterns(".terraform"))
        self.packages.mkdir(parents=True)
        for place in (Path(), Path("build"), root.parent):
            for path in (ROOT / place).iterdir():
                if not (self.tree / place / path.name).exists() and path.name != ".local":
                    (self.tree / place / path.name).symlink_to(path)
        for archive in OUTPUT.glob("*.zip"):
            shutil.copy(archive, self.packages)
        self.modules: Modules = {}
        self.proxies: Modules = {}
        self.state = stack.folder_of(root.name) / "terraform.tfstate"

    def write(self) -> None:
        """Write what the steps have changed so far."""
        for file, calls in (("override.tf.json", self.modules), ("proxies.tf.json", self.proxies)):
            (self.root / file).write_text(json.dumps({"module": calls} if calls else {}))

    def terraform(self, *arguments: str, expect: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
        environment = self.stack.environment() | {"TF_DATA_DIR": str(self.state.parent / ".terraform")}
        command = ["terraform", f"-chdir={self.root}", arguments[0], "-no-color", *arguments[1:]]
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        with (self.folder / "commands.log").open("a") as log:
            log.write(f"$ {' '.join(command)}\n{done.stdout}")
        if done.returncode not in expect:
            raise RuntimeError(done.stdout[-3000:])
        return done

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["make", *arguments, "ENV=dev", "AUTO_APPROVE=1"],
            cwd=self.tree, env=self.stack.environment(), stdin=subprocess.DEVNULL, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        with (self.folder / "commands.log").open("a") as log:
            log.write(f"$ make {' '.join(arguments)}\n{done.stdout}")
        return done

    def invoke(self) -> None:
        """Invoke the function as its callers do."""
        event = {"key": str(uuid.uuid4())}  # for who writes; the sample function does not look at it
        answer = self._lambda().invoke(FunctionName=f"{self.function}:live", Payload=json.dumps(event).encode())
        payload = json.load(answer["Payload"])
        if "FunctionError" in answer or payload.get("statusCode", 200) != 200:
            raise RuntimeError(str(payload)[:300])

    def invoke_cold(self) -> None:
        """Invoke in a new execution environment."""
        self.stack.function_deleted(self.function)  # ends the warm ones
        self.invoke()

    def _lambda(self) -> Any:
        return self.stack.client("lambda")


def measure(environment: Environment, step: str, change: Callable[[], object], after: Callable[[], object]) -> Row:
    """Make one change and apply it while the function is invoked, warm and cold; then plan again."""
    change()
    environment.write()
    began = time.monotonic()
    plan_file = environment.folder / "plan"
    environment.terraform("init", "-input=false")
    try:
        plan = environment.terraform(
            "plan", "-detailed-exitcode", f"-out={plan_file}", expect=(NO_CHANGES, CHANGES)
        ).stdout
    except RuntimeError as error:
        return Row(step, f"refused: {' '.join(str(error).split())[-200:]}", seconds=time.monotonic() - began)
    row = Row(step, _summary(plan), warnings=plan.count("Warning:"))
    load = Load()
    if environment.state.exists():
        load.add("warm", environment.invoke)
        load.add("cold", environment.invoke_cold)
    try:
        with load.going_on(pause_seconds=PAUSE_SECONDS):
            if row.plan != "No changes":
                environment.terraform("apply", str(plan_file))
            after()
    except RuntimeError as error:
        row.plan += f"; apply failed: {' '.join(str(error).split())[-300:]}"
    row.seconds = time.monotonic() - began
    row.invocations, row.failures = sum(load.done.values()) + len(load.failures), load.failures
    row.failed = len(load.failures)
    code = environment.terraform("plan", "-detailed-exitcode", expect=(NO_CHANGES, 1, CHANGES)).returncode
    row.empty = "yes" if code == NO_CHANGES else "NO"
    return row


def _summary(plan: str) -> str:
    found = re.search(r"Plan: (\d+) to add, (\d+) to change, (\d+) to destroy", plan)
    return f"+{found[1]} ~{found[2]} -{found[3]}" if found else "No changes"


def _nothing() -> None:
    pass


def steps(environment: Environment) -> Iterator[tuple[str, Callable[[], object], Callable[[], object]]]:
    """The steps: name, what changes, what is done after the apply."""
    modules = environment.modules

    def set_(module: str, **arguments: Any) -> Callable[[], object]:
        return lambda: modules.setdefault(module, {}).update(copy.deepcopy(arguments))

    def add_to(package: str, path: str, text: str) -> Callable[[], object]:
        def change() -> None:
            with zipfile.ZipFile(environment.packages / f"{package}.zip", "a") as archive:
                archive.writestr(path, text)

        return change

    proxied = ["function", "proxy", "database"]
    migrated = ["bootstrap", "database"]

    def beside(call: str, name: str) -> Callable[[], object]:
        """Make a proxy, to which nothing leads yet."""

        def change() -> None:
            set_("network", paths=[["function", "database"], proxied, migrated])()
            environment.proxies[call] = {
                "source": "../../modules/proxy",
                "name": name,
                "network": "${module.network}",
                "database": "${module.database}",
                "applications": ["${module.bootstrap.application}"],
            }

        return change

    def led(call: str) -> Callable[[], object]:
        """Lead the function to a proxy that stands, and take the others away."""

        def change() -> None:
            set_("network", paths=[proxied, migrated])()
            set_("function", connection=f"${{module.{call}.connection}}")()
            for other in set(environment.proxies) - {call}:
                del environment.proxies[other]

        return change

    def direct() -> None:
        environment.proxies.clear()
        del modules["network"]["paths"], modules["function"]["connection"]

    def ready() -> None:
        """Wait as make deploy does."""
        names = [proxy["name"] for proxy in environment.proxies.values()]
        for name in names:
            await_target(environment.stack.client("rds"), name, timeout_seconds=60, say=lambda _: None)

    yield "first apply", _nothing, _nothing
    yield "no change", _nothing, _nothing
    yield "class", set_("database", instance_class="db.t4g.small", max_connections=90), _nothing
    yield "storage", set_("database", storage={"allocated_gib": 30, "max_gib": 100}), _nothing
    yield "17 → 18", set_("database", postgres_version=18), _nothing
    yield "max_connections", set_("database", max_connections=120), _nothing
    yield "make reboot", _nothing, lambda: _succeeded(environment.make("reboot"))
    yield "code", add_to("function", "note.txt", "another version"), _nothing
    yield (
        "migration",
        add_to("bootstrap", "bootstrap/migrations/0002_notes.sql", "CREATE TABLE notes (id bigint);\n"),
        _nothing,
    )
    yield "proxy made beside", beside("proxy", "app-dev"), ready
    yield "led to the proxy", led("proxy"), _nothing
    yield (
        "pool",
        lambda: environment.proxies["proxy"].update(pool={"max_percent": 100, "max_idle_percent": 20}),
        _nothing,
    )
    yield "another proxy beside", beside("other", "app-dev-b"), ready
    yield "led to the other one", led("other"), _nothing
    yield "zone appended under the same proxy", set_("network", zone_ids=ZONES), _nothing
    yield "zone not appended", set_("network", zone_ids=ZONES[:2]), _nothing
    yield "proxy off", direct, _nothing
    yield "zone appended", set_("network", zone_ids=ZONES), _nothing
    yield "protection on", set_("database", deletion_protection=True), _nothing
    yield "destroy while protected", _nothing, lambda: _refused(environment.make("destroy"))
    yield "protection off", set_("database", deletion_protection=False), _nothing


def steps_of_cluster(environment: Environment) -> Iterator[tuple[str, Callable[[], object], Callable[[], object]]]:
    """The steps of examples/aurora."""
    rds, name = environment.stack.client("rds"), environment.function

    def cluster(**arguments: Any) -> Callable[[], object]:
        return lambda: environment.modules.setdefault("cluster", {}).update(copy.deepcopy(arguments))

    def another_writer() -> None:
        fail_over(rds, name)
        time.sleep(FAILOVER_SECONDS)

    yield (
        "first apply",
        cluster(deletion_protection=False, final_snapshot=False),
        lambda: await_target(rds, name, timeout_seconds=60, say=lambda _: None),
    )
    yield "failover", _nothing, another_writer
    yield "a reader more", cluster(readers={"count": 2}), _nothing
    yield "that reader removed", cluster(readers={"count": 1}), _nothing
    yield "class of writer and reader", cluster(instance_class="db.r7g.xlarge"), _nothing
    yield "failover after all that", _nothing, another_writer


def _succeeded(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode:
        raise RuntimeError(done.stdout[-1000:])


def _refused(done: subprocess.CompletedProcess[str]) -> None:
    if not done.returncode:
        raise RuntimeError("it was not refused")


def main() -> int:
    """Run all steps, or those from the one that is named, then destroy and deploy again; print the table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("first", nargs="?", default="", help="the step to begin with")
    parser.add_argument("--cluster", action="store_true", help="change examples/aurora")
    given = parser.parse_args()
    first = given.first
    with (
        tempfile.TemporaryDirectory() as folder,
        Stack(
            Path(folder) / "stack", target_delay_seconds=TARGET_DELAY_SECONDS, failover_seconds=FAILOVER_SECONDS
        ) as stack,
    ):
        root = Path("examples", "aurora") if given.cluster else Path("terraform", "dev")
        environment = Environment(stack, Path(folder), root)
        environment.write()
        environment.terraform("init", "-reconfigure", "-lockfile=readonly", f"-backend-config=path={environment.state}")
        print("| step | plan | warnings | invocations | failed | next plan empty | seconds |")
        print("|---|---|---|---|---|---|---|")
        rows = []
        skipping = bool(first)
        for name, change, after in (steps_of_cluster if given.cluster else steps)(environment):
            skipping = skipping and name != first
            if skipping and name != "first apply":
                continue
            row = measure(environment, name, change, after)
            rows.append(row)
            print(row, flush=True)
        for name, arguments in (
            ("destroy", ("apply", "-destroy", "-auto-approve")),
            ("deploy again", ("apply", "-auto-approve")),
        ):
            began = time.monotonic()
            done = environment.terraform(*arguments, expect=(0, 1))
            said = re.search(r"(Apply|Destroy) complete! .*", done.stdout)
            print(Row(name, said[0] if said else done.stdout[-300:], seconds=time.monotonic() - began), flush=True)
        environment.invoke()
        for row in rows:
            for failure in row.failures[:3]:
                print(f"{row.step}: {failure}")
        if log := (Path(folder) / "commands.log"):
            shutil.copy(log, OUTPUT / "changes.log")
        environment.terraform("apply", "-destroy", "-auto-approve", expect=(0, 1))
    return int(any(row.failed or row.empty == "NO" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
