"""examples/frameworks, applied to a local stack, invoked, planned again and destroyed: one life, told by the tests."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from local.stack import Stack
from tests import plans
from tools.await_target import await_target

EXAMPLE = plans.ROOT / "examples" / "frameworks"
FRAMEWORKS = sorted(path.parent.name for path in EXAMPLE.glob("*/handler.py"))
UNPROTECTED = {"module": {"database": {"deletion_protection": False, "final_snapshot": False}}}
REQUEST = {
    "version": "2.0",
    "rawPath": "/users",
    "headers": {},
    "requestContext": {"requestId": "r-1", "stage": "$default", "http": {"method": "GET", "path": "/users"}},
}


@dataclass
class Seen:
    answers: dict[str, list[Any]] = field(default_factory=dict)
    renamed: dict[str, Any] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    pins: int = -1
    clients: int = 0
    second_plan: str = ""
    left: list[str] = field(default_factory=list)


class Root:
    """A copy of the example beside the tree's modules and zips."""

    def __init__(self, tree: Path, stack: Stack) -> None:
        self.folder = tree / "examples" / "frameworks"
        ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*")
        shutil.copytree(EXAMPLE, self.folder, ignore=ignored)
        for name in ("modules", "build"):
            (tree / name).symlink_to(plans.ROOT / name)
        (self.folder / "override.tf.json").write_text(json.dumps(UNPROTECTED))
        self._environment = stack.environment() | plans.relay(stack.environment(), self.folder).variables

    def terraform(self, *arguments: str) -> str:
        done = subprocess.run(
            ["terraform", *arguments], cwd=self.folder, env=self._environment,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    subprocess.run(["make", "examples"], cwd=plans.ROOT, check=True)
    seen = Seen()
    with Stack(tmp_path_factory.mktemp("stack")) as stack:
        root = Root(tmp_path_factory.mktemp("tree"), stack)
        root.terraform("get")
        root.terraform("apply", "-auto-approve")
        await_target(stack.client("rds"), "app-frameworks", timeout_seconds=60)
        functions = json.loads(root.terraform("output", "-json", "functions"))
        for name in functions:
            seen.answers[name] = [_invoke(stack, functions[name], REQUEST) for _ in range(2)]
        rename = REQUEST | {"rawPath": "/users/2", "body": '{"name": "G. Hopper"}'}
        rename["requestContext"] = {**REQUEST["requestContext"], "http": {"method": "PATCH", "path": "/users/2"}}
        seen.renamed = _invoke(stack, functions["powertools"], rename)
        for name in functions:
            seen.logs[name] = _log(stack, f"/aws/lambda/app-frameworks-{name}")
        proxy = stack.proxies.listener(*stack.proxies.names())
        seen.pins, seen.clients = proxy.metrics().pins, proxy.metrics().client_connections
        seen.second_plan = root.terraform("plan", "-no-color")
        root.terraform("destroy", "-auto-approve")
        state = json.loads((root.folder / "terraform.tfstate").read_text())
        seen.left = [resource["type"] for resource in state["resources"]]
        seen.left += [one["FunctionName"] for one in stack.client("lambda").list_functions()["Functions"]]
    return seen


def _invoke(stack: Stack, arn: str, event: object) -> Any:
    answer = stack.client("lambda").invoke(FunctionName=arn, Payload=json.dumps(event).encode())
    return json.load(answer["Payload"])


def _log(stack: Stack, group: str) -> str:
    events = stack.client("logs").filter_log_events(logGroupName=group)["events"]
    return "\n".join(event["message"].rstrip("\n") for event in events)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_framework_answers_through_the_proxy(seen: Seen, name: str) -> None:
    for answer in seen.answers[name]:
        assert answer.get("statusCode") == 200, answer
        names = [user["name"] for user in json.loads(answer["body"])]
        assert names == ["Ada Lovelace", "Grace Hopper", "Edgar F. Codd"]


def test_no_session_is_pinned_and_each_environment_has_one_connection(seen: Seen) -> None:
    assert seen.pins == 0
    assert seen.clients == len(FRAMEWORKS)


def test_powertools_log_and_ours_stand_side_by_side(seen: Seen) -> None:
    assert json.loads(seen.renamed["body"]) == {"renamed": 1}
    lines = [json.loads(line) for line in seen.logs["powertools"].splitlines() if line.startswith("{")]
    [connected] = [line for line in lines if line.get("event") == "connected"]
    assert connected["reason"] == "init"
    listed = [line for line in lines if line.get("message") == "users listed"]
    assert [line["correlation_id"] for line in listed] == ["r-1", "r-1"]
    assert {line["service"] for line in listed} == {"app-frameworks"}
    namespaces = {line["_aws"]["CloudWatchMetrics"][0]["Namespace"] for line in lines if "_aws" in line}
    assert namespaces == {"LambdaPostgres", "app-frameworks"}


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_no_token_is_logged(seen: Seen, name: str) -> None:
    assert '"connected"' in seen.logs[name]
    assert "X-Amz-" not in seen.logs[name]


def test_its_second_plan_is_empty_and_it_leaves_nothing(seen: Seen) -> None:
    assert "No changes." in seen.second_plan
    assert seen.left == []
