"""The roots of a platform team and of three service teams, applied, used and destroyed alone, on one stack."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from build.function import Function, make
from local.stack import Stack
from tests import plans
from tests.examples.fronts import MESSAGES, Client, access_log, count, send
from tests.local.deployment import OUTPUT, Load
from tests.waiting import await_that
from tools.await_target import await_target

NAMES = ("platform", "orders", "users", "users-api")
MINUTE_SECONDS = 2  # a message that failed comes again after 3 s instead of 90
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
class Front:
    """What clients of the users API saw."""

    unsigned: int = 0
    created: list[int] = field(default_factory=list)
    wrong: list[int] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    failed_messages: int = 0
    waiting_messages: int = 0
    log: list[dict[str, str]] = field(default_factory=list)


@dataclass
class Seen:
    """What each step showed."""

    before_listed: str = ""
    answers: dict[str, list[str]] = field(default_factory=dict)
    settled: dict[str, bool] = field(default_factory=dict)
    read_by_proxy: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    load: Load = field(default_factory=Load)
    front: Front = field(default_factory=Front)
    left: dict[str, list[str]] = field(default_factory=dict)
    left_in_account: list[Any] = field(default_factory=list)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    for name in NAMES:
        migrations = f"examples/{name}/migrations"
        command = [plans.ROOT / ".venv" / "tools" / "bin" / "python", "-m", "build.package", "bootstrap"]
        subprocess.run([*command, "--migrations", migrations], cwd=plans.ROOT, check=True)
    assert (OUTPUT / "function.zip").exists(), "Run make package first."
    make(Function(plans.ROOT / "examples" / "users-api", "app.main"), OUTPUT)
    tree = tmp_path_factory.mktemp("tree")
    ignored = shutil.ignore_patterns(".terraform", "*.tfstate*")
    for name in NAMES:
        shutil.copytree(plans.ROOT / "examples" / name, tree / "examples" / name, ignore=ignored)
    for name in ("modules", "build"):
        (tree / name).symlink_to(plans.ROOT / name)
    folder = tmp_path_factory.mktemp("stack")
    stack = Stack(folder, target_delay_seconds=1, metric_minute_seconds=MINUTE_SECONDS)
    with stack, ThreadPoolExecutor() as threads:
        roots = [Root(name, stack, tree) for name in NAMES]
        roots[0].write("override.tf.json", UNPROTECTED)
        yield _story(stack, threads, *roots)


def _story(stack: Stack, threads: ThreadPoolExecutor, *roots: Root) -> Seen:
    """What README.md tells: platform, services, platform; and back."""
    seen = Seen()
    platform, orders, users, users_api = roots
    platform.apply()
    list(threads.map(Root.apply, (orders, users, users_api)))
    await_target(stack.client("rds"), "shop", timeout_seconds=60)
    seen.before_listed = orders.invoke()[1]

    names = ("orders", "users", "users-api")
    listed = {name: root.outputs["application"] for name, root in zip(names, roots[1:], strict=True)}
    platform.write("services.auto.tfvars.json", {"services": listed})
    platform.apply()
    seen.answers = {"orders": orders.invoke()[0], "users": users.invoke()[0]}
    seen.secrets = sorted(application["secret_arn"] for application in listed.values())
    seen.read_by_proxy = _read_by_proxy(stack)
    client = Client(stack, users_api.outputs["endpoint"])
    send(stack, users_api.outputs["queue_url"])
    seen.front = _call(client)
    settled = threads.map(Root.is_settled, roots)
    seen.settled = dict(zip(NAMES, settled, strict=True))

    def answers() -> None:
        names, error = orders.invoke()
        assert names, error

    seen.load.add("orders", answers)
    with seen.load.going_on(pause_seconds=0.5):
        remaining = {name: application for name, application in listed.items() if name != "users"}
        platform.write("services.auto.tfvars.json", {"services": remaining})
        platform.apply()
        seen.left["users"] = users.destroy()
    seen.settled["platform without users"] = platform.is_settled()
    _look(stack, client, users_api, seen.front)
    seen.left["users-api"] = users_api.destroy()
    seen.left["orders"] = orders.destroy()
    seen.left["platform"] = platform.destroy()
    seen.left_in_account = [
        *stack.client("lambda").list_functions()["Functions"],
        *stack.client("rds").describe_db_proxies()["DBProxies"],
        *stack.client("rds").describe_db_instances()["DBInstances"],
        *stack.client("apigatewayv2").get_apis()["Items"],
        *stack.client("sqs").list_queues().get("QueueUrls", []),
    ]
    return seen


def _call(client: Client) -> Front:
    ada = {"name": "Ada"}
    return Front(
        unsigned=client.ask("GET", "/users", sign=False)[0],
        created=[client.ask("POST", "/users", ada, idempotency_key="ada")[0] for _ in range(2)],
        wrong=[
            client.ask("POST", "/users", {"name": ""}, idempotency_key="empty")[0],
            client.ask("DELETE", "/users")[0],
            client.ask("GET", "/elsewhere")[0],
        ],
    )


def _look(stack: Stack, client: Client, root: Root, front: Front) -> None:
    """See what became of the messages; the one that is wrong is tried five times first."""
    failed = root.outputs["failed_messages"]
    await_that(lambda: count(stack, failed) == 1, seconds=60)
    front.failed_messages = count(stack, failed)
    front.waiting_messages = count(stack, "shop-new-users")
    front.names = client.names()
    front.log = access_log(stack, "/aws/vendedlogs/apigateway/shop-users-api")
    took = client.latencies_ms(50)
    print(f"over HTTP: p50 {took[25]:.1f} ms, p90 {took[45]:.1f} ms")


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


def test_requests_to_the_users_api_are_signed_written_once_and_answered(seen: Seen) -> None:
    assert seen.front.unsigned == 403
    assert seen.front.created == [201, 200]
    assert seen.front.wrong == [400, 405, 404]


def test_messages_make_users_and_one_that_is_wrong_is_kept_aside(seen: Seen) -> None:
    assert seen.front.names == {"Ada", *filter(None, MESSAGES)}
    assert (seen.front.failed_messages, seen.front.waiting_messages) == (1, 0)


def test_the_access_log_has_each_request_and_who_sent_it(seen: Seen) -> None:
    lines = seen.front.log
    assert [line["status"] for line in lines[:3]] == ["403", "201", "200"]
    assert lines[0]["authorizerError"].startswith("The request is not signed")
    assert lines[1]["caller"].startswith("arn:aws:iam::")
    assert "Ada" not in json.dumps(lines)


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
    assert seen.left == {"users": [], "users-api": [], "orders": [], "platform": []}
    assert seen.left_in_account == []
