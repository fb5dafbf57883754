"""A function of one's own, deployed by make to the local stack from a copy of the tree: examples/users-api.

One life, read by the promises below: deployed, deployed again by a make that names no function, led back to the sample.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from local.stack import Stack
from tests import plans
from tools.declaration import OVERRIDE

COPIED = (
    "build",
    "examples",
    "lambda",
    "local",
    "modules",
    "policies",
    "terraform",
    "tools",
    "Makefile",
    "versions.tf",
)
NAMED = ("FUNCTION=examples/users-api", "HANDLER=app.main")


@dataclass
class Seen:
    deployed: str = ""
    created: dict[str, Any] = field(default_factory=dict)
    repeated: dict[str, Any] = field(default_factory=dict)
    doctor: dict[str, Any] = field(default_factory=dict)
    logged: str = ""
    second_plan: str = ""
    without_declaration: str = ""
    refused: str = ""
    left_back: str = ""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as someone would have cloned it, with the example's migration."""
    tree = tmp_path_factory.mktemp("clone")
    ignored = shutil.ignore_patterns(".terraform", "*.tfstate*", "*.tfplan*", "__pycache__", OVERRIDE)
    for name in COPIED:
        source = plans.ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(
            source, tree / name, **({"ignore": ignored} if source.is_dir() else {})
        )
    (tree / ".venv").symlink_to(plans.ROOT / ".venv")
    migrations = tree / "examples" / "users-api" / "migrations"
    shutil.copy(migrations / "0002_user_requests.sql", tree / "lambda" / "bootstrap" / "migrations")
    return tree


@pytest.fixture(scope="module")
def seen(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    seen = Seen()
    with Stack(tmp_path_factory.mktemp("stack")) as stack:
        root, folder = tree / "terraform" / "dev", stack.folder_of("dev")
        first = stack.environment() | {"TF_DATA_DIR": str(folder / ".terraform")}
        backend = f"-backend-config=path={folder / 'terraform.tfstate'}"
        _run(["terraform", f"-chdir={root}", "init", "-reconfigure", "-lockfile=readonly", backend], tree, first)
        environment = stack.environment() | plans.relay(stack.environment(), root).variables

        def make(*arguments: str, status: int = 0) -> str:
            return _run(["make", *arguments, "ENV=dev"], tree, environment, status)

        def request(**more: Any) -> dict[str, Any]:
            http = {"requestId": "r-1", "http": {"method": "POST"}}
            event = {"rawPath": "/users", "requestContext": http, "headers": {"idempotency-key": "a"}, **more}
            answered = make("invoke", f"EVENT={json.dumps(event)}")
            return dict(json.loads(answered[answered.index("{\n") :]))

        seen.refused = make("deploy", "AUTO_APPROVE=1", NAMED[0], "HANDLER=app.other", status=2)
        seen.deployed = make("deploy", "AUTO_APPROVE=1", *NAMED)
        seen.created = request(body='{"name": "Barbara Liskov"}')
        seen.repeated = request(body='{"name": "Barbara Liskov"}')
        told = make("doctor", "JSON=1", status=0)
        seen.doctor = json.loads(told)
        seen.logged = make("logs", "OF=function")
        seen.second_plan = make("plan")
        declared = (root / OVERRIDE).rename(tree / OVERRIDE)
        seen.without_declaration = make("plan")
        declared.rename(root / OVERRIDE)
        seen.left_back = make("deploy", "AUTO_APPROVE=1", "FUNCTION=lambda/function")
        make("destroy", "AUTO_APPROVE=1")
        yield seen


def _run(command: list[str], tree: Path, environment: dict[str, str], status: int = 0) -> str:
    done = subprocess.run(
        command, cwd=tree, env=environment, stdin=subprocess.DEVNULL, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == status, done.stdout[-5000:]
    return done.stdout


def test_a_wrong_handler_stops_before_anything_is_planned(seen: Seen) -> None:
    assert "app.other does not import with Python 3.13: app has no function other." in seen.refused
    assert "Plan:" not in seen.refused


def test_it_is_deployed_and_declared(seen: Seen) -> None:
    assert "build/output/function-examples-users-api.zip" in seen.deployed
    assert "function_override.tf.json names this function from now on: commit it." in seen.deployed
    assert '"statusCode": 404' in seen.deployed  # make deploy invokes it with {}


def test_it_writes_once(seen: Seen) -> None:
    assert (seen.created["statusCode"], seen.repeated["statusCode"]) == (201, 200)
    assert seen.created["body"] == seen.repeated["body"]


def test_it_is_never_sent_the_doctor_s_event(seen: Seen) -> None:
    found = json.dumps(seen.doctor)
    assert "has no diagnosis.py, so it is not asked" in found
    assert seen.doctor["wrong"] == 0
    assert '"status": 201' in seen.logged
    assert seen.logged.count('"event": "request"') == 3  # make deploy's and two requests


def test_a_make_that_names_no_function_keeps_it(seen: Seen) -> None:
    assert "Nothing to change in dev." in seen.second_plan


def test_a_plan_without_the_declaration_says_what_it_would_replace(seen: Seen) -> None:
    assert "Puts another function in the place of the one that runs:" in seen.without_declaration
    assert "app.main of function-examples-users-api.zip → handler.handler of function.zip" in seen.without_declaration


def test_the_sample_leads_back(seen: Seen) -> None:
    assert "has the sample function again" in seen.left_back
    assert '"name": "Ada Lovelace"' in seen.left_back
