"""The roots of a platform team and of two service teams, applied, used and destroyed alone, on one stack."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from local.stack import Stack
from tests import plans
from tests.local.deployment import OUTPUT, Load
from tools.await_target import await_target

NAMES = ("platform", "orders", "users")
UNPROTECTED = {"module": {"database": {"deletion_protection": False, "final_snapshot": False}}}


class Root:
    """One of the roots, in a copy of the tree, with its own state."""

    def __init__(self, name: str, stack: Stack, tree: Path) -> None:
        self._stack = stack
        self._folder = tree / "examples" / name
        self._relay = plans.relay(stack.environment(), self._folder)
        self.terraform("get")

    def apply(self) -> None:
        self.terraform("apply", "-auto-approve")
        self.outputs = {name: o["value"] for name, o in json.loads(self.terraform("output", "-json")).items()}

    def destroy(self) -> list[str]:
        """Destroy it alone; return what its state still holds."""
        self.terraform("destroy", "-auto-approve")
        state = json.loads((self._folder / "terraform.tfstate").read_text())
        return [resource["type"] for resource in state["resources"]]

    def is_settled(self) -> bool:
        return "No changes." in self.terraform("plan")

    def write(self, name: str, document: object) -> None:
        (self._folder / name).write_text(json.dumps(document))

    def invoke(self) -> tuple[list[str], str]:
        """Return the names that the function lists, and its error."""
        client = self._stack.client("lambda")
        answer = json.load(client.invoke(FunctionName=self.outputs["function_arn"], Payload=b"{}")["Payload"])
        return [user["name"] for user in json.loads(answer.get("body", "[]"))], answer.get("errorMessage", "")

    def terraform(self, command: str, *options: str) -> str:
        done = subprocess.run(
            ["terraform", command, *options, *([] if "-json" in options else ["-no-color"])],
            cwd=self._folder, env=self._stack.environment() | self._relay.variables, text=True,
            stdin=subprocess.DEVNULL, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{self._folder.name}: {command}\n{done.stdout[-3000:]}{done.stderr}"
        return done.stdout


@dataclass
class Seen:
    """What each step showed."""

    before_listed: str = ""
    answers: dict[str, list[str]] = field(default_factory=dict)
    settled: dict[str, bool] = field(default_factory=dict)
    read_by_proxy: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    load: Load = field(default_factory=Load)
    left: dict[str, list[str]] = field(default_factory=dict)
    left_in_account: list[Any] = field(default_factory=list)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    for name in NAMES:
        migrations = f"examples/{name}/migrations"
        command = [plans.ROOT / ".venv" / "tools" / "bin" / "python", "-m", "build.package", "bootstrap"]
        subprocess.run([*command, "--migrations", migrations], cwd=plans.ROOT, check=True)
    assert (OUTPUT / "function.zip").exists(), "Run make package first."
    tree = tmp_path_factory.mktemp("tree")
    ignored = shutil.ignore_patterns(".terraform", "*.tfstate*")
    for name in NAMES:
        shutil.copytree(plans.ROOT / "examples" / name, tree / "examples" / name, ignore=ignored)
    for name in ("modules", "build"):
        (tree / name).symlink_to(plans.ROOT / name)
    with Stack(tmp_path_factory.mktemp("stack"), target_delay_seconds=1) as stack, ThreadPoolExecutor() as threads:
        roots = [Root(name, stack, tree) for name in NAMES]
        roots[0].write("override.tf.json", UNPROTECTED)
        yield _story(stack, threads, *roots)


def _story(stack: Stack, threads: ThreadPoolExecutor, platform: Root, orders: Root, users: Root) -> Seen:
    """What README.md tells: platform, services, platform; and back."""
    seen = Seen()
    platform.apply()
    list(threads.map(Root.apply, (orders, users)))
    await_target(stack.client("rds"), "shop", timeout_seconds=60)
    seen.before_listed = orders.invoke()[1]

    listed = {"orders": orders.outputs["application"], "users": users.outputs["application"]}
    platform.write("services.auto.tfvars.json", {"services": listed})
    platform.apply()
    seen.answers = {"orders": orders.invoke()[0], "users": users.invoke()[0]}
    seen.secrets = sorted(application["secret_arn"] for application in listed.values())
    seen.read_by_proxy = _read_by_proxy(stack)
    settled = threads.map(Root.is_settled, (platform, orders, users))
    seen.settled = dict(zip(NAMES, settled, strict=True))

    def answers() -> None:
        names, error = orders.invoke()
        assert names, error

    seen.load.add("orders", answers)
    with seen.load.going_on(pause_seconds=0.5):
        platform.write("services.auto.tfvars.json", {"services": {"orders": listed["orders"]}})
        platform.apply()
        seen.left["users"] = users.destroy()
    seen.settled["platform without users"] = platform.is_settled()
    seen.left["orders"] = orders.destroy()
    seen.left["platform"] = platform.destroy()
    seen.left_in_account = [
        *stack.client("lambda").list_functions()["Functions"],
        *stack.client("rds").describe_db_proxies()["DBProxies"],
        *stack.client("rds").describe_db_instances()["DBInstances"],
    ]
    return seen


def _read_by_proxy(stack: Stack) -> list[str]:
    """The secrets that the proxy's role may read."""
    [proxy] = stack.client("rds").describe_db_proxies()["DBProxies"]
    iam, role = stack.client("iam"), proxy["RoleArn"].rsplit("/", 1)[1]
    [name] = iam.list_role_policies(RoleName=role)["PolicyNames"]
    document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    [read] = [s["Resource"] for s in document["Statement"] if s["Action"] == "secretsmanager:GetSecretValue"]
    return sorted(read)


def test_a_service_that_the_platform_does_not_list_yet_is_told_so(seen: Seen) -> None:
    assert "no credentials for the role orders" in seen.before_listed


def test_both_services_answer_through_the_one_proxy_with_rows_of_their_own(seen: Seen) -> None:
    assert seen.answers == {"orders": ["A customer"], "users": ["Ada", "Grace"]}


def test_the_proxy_reads_the_secrets_of_the_services_and_of_the_platform_and_no_others(seen: Seen) -> None:
    assert set(seen.secrets) < set(seen.read_by_proxy)
    [own] = set(seen.read_by_proxy) - set(seen.secrets)
    assert ":secret:shop-platform-" in own


def test_a_second_plan_of_each_root_is_empty(seen: Seen) -> None:
    assert seen.settled == dict.fromkeys((*NAMES, "platform without users"), True)


def test_one_service_answers_all_the_time_while_the_other_is_taken_out_and_destroyed(seen: Seen) -> None:
    assert seen.load.failures == []
    assert seen.load.done["orders"] >= 10


def test_each_root_is_destroyed_alone_and_leaves_nothing(seen: Seen) -> None:
    assert seen.left == {"users": [], "orders": [], "platform": []}
    assert seen.left_in_account == []
