"""dev and prod applied unmodified on the local stack, side by side: one life each, and many promises asked of it."""

import base64
import json
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from local.stack import Stack
from tests import plans
from tests.local.deployment import Load
from tools import plan_summary
from tools.await_target import await_target

ROOT = Path(__file__).parents[2]
NO_CHANGES, CHANGES = 0, 2


@dataclass
class Life:
    """What one environment showed and left behind, from its first plan to its end."""

    name: str
    stack: Stack = field(repr=False)
    folder: Path
    root: Path
    relay: plans.Relay | None = field(default=None, repr=False)
    outputs: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, Any] = field(default_factory=dict)
    second_plan: int = -1
    shown: dict[str, Any] = field(default_factory=dict, repr=False)
    sabotage: dict[str, str] = field(default_factory=dict)
    switches: "dict[str, Switch]" = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    protected: str = ""
    destroyed: str = ""
    resources_left: list[str] = field(default_factory=list)

    def live(self) -> "Life":
        self._init()
        self._plan(f"-out={self.folder / 'create.tfplan'}")
        self._terraform("apply", str(self.folder / "create.tfplan"))
        self.outputs = {name: o["value"] for name, o in json.loads(self._terraform("output", "-json").stdout).items()}
        self._await_targets()
        self.answer = self.invoke()
        self.second_plan = self._plan(f"-out={self.folder / 'second.tfplan'}").returncode
        self.shown = {
            name: json.loads(self._terraform("show", "-json", str(self.folder / f"{name}.tfplan")).stdout)
            for name in ("create", "second")
        }
        self.secrets = {
            "master password": self._password(self.outputs["master_secret_arn"]),
            "application password": self._password(self.outputs["application"]["secret_arn"]),
        }
        if self.name == "dev":
            self.switches = {
                "to a proxy": self._switch(
                    _with_proxies(self.folder, "beside", led_to="database", proxy="app-dev", other="app-dev-b"),
                    _with_proxies(self.folder, "led", led_to="proxy", proxy="app-dev", other="app-dev-b"),
                ),
                "to another": self._switch(_with_proxies(self.folder, "led-on", led_to="other", other="app-dev-b")),
                "back": self._switch(self.root),
            }
        if self.name == "prod":
            self.sabotage = Sabotage(self).results()
            self.protected = self._make_destroy()
            self._terraform("apply", "-auto-approve", "-var=deletion_protection=false")
        self.destroyed = self._make_destroy()
        self.resources_left = [resource["type"] for resource in json.loads(self._state.read_text())["resources"]]
        return self

    def texts(self) -> Iterator[tuple[str, str]]:
        """Yield every text that this life left in a file, with the file's name."""
        for path in sorted(self.folder.rglob("*")):
            if ".terraform" in path.parts or not path.is_file():
                continue
            if zipfile.is_zipfile(path):  # a saved plan
                with zipfile.ZipFile(path) as plan:
                    for name in plan.namelist():
                        yield f"{path.name}:{name}", plan.read(name).decode(errors="replace")
            else:
                yield path.name, path.read_text(errors="replace")

    def client(self, service: str) -> Any:
        return self.stack.client(service)

    def invoke_cold(self) -> tuple[dict[str, Any], bool]:
        """Invoke in a new execution environment; tell whether the function failed."""
        self.stack.function_deleted(self.name_of_function)  # ends the warm ones
        answer = self.client("lambda").invoke(FunctionName=self.outputs["function_arn"], Payload=b"{}")
        return json.load(answer["Payload"]), "FunctionError" in answer

    def invoke(self) -> dict[str, Any]:
        answer = self.client("lambda").invoke(FunctionName=self.outputs["function_arn"], LogType="Tail", Payload=b"{}")
        payload = json.load(answer["Payload"])
        assert "FunctionError" not in answer, (payload, base64.b64decode(answer["LogResult"]).decode())
        return dict(payload)

    def reboot(self) -> None:
        """Restart the server of this life alone: another may go on beside it."""
        rds, database = self.client("rds"), self.outputs["database_identifier"]
        rds.reboot_db_instance(DBInstanceIdentifier=database)
        rds.get_waiter("db_instance_available").wait(DBInstanceIdentifier=database, WaiterConfig={"Delay": 1})

    def _switch(self, *roots: Path) -> "Switch":
        """Apply other roots to what stands, each until its targets are available, while the function is invoked."""

        def cold() -> None:
            answer, failed = self.invoke_cold()
            assert not failed, answer["errorMessage"]

        load = Load()
        load.add("as it comes", self.invoke)
        load.add("cold", cold)
        with load.going_on(pause_seconds=1.0):
            for root in roots:
                life = replace(self, root=root)
                life._terraform("get")  # the backend is that of the first init
                life._terraform("apply", "-auto-approve")
                life._await_targets()
        return Switch(load, life._host_of_live(), life._plan().returncode)

    def _await_targets(self) -> None:
        """Wait as make deploy does."""
        rds = self.client("rds")
        for proxy in rds.describe_db_proxies()["DBProxies"]:
            if proxy["DBProxyName"].startswith(f"app-{self.name}"):
                await_target(rds, proxy["DBProxyName"], timeout_seconds=120)

    def _host_of_live(self) -> str:
        """Return the host that the version in use connects to."""
        version = self.client("lambda").get_function_configuration(FunctionName=self.outputs["function_arn"])
        return str(version["Environment"]["Variables"]["PGHOST"])

    @property
    def name_of_function(self) -> str:
        return str(self.outputs["function_arn"].split(":")[6])

    @property
    def _state(self) -> Path:
        return self.folder / "terraform.tfstate"

    def _init(self) -> None:
        """Hold the provider against the lock file; later commands find one that runs."""
        self._terraform("init", "-reconfigure", "-lockfile=readonly", f"-backend-config=path={self._state}")
        self.relay = plans.relay(self.stack.environment(), self.root)

    def environment(self) -> dict[str, str]:
        return self.stack.environment() | (self.relay.variables if self.relay else {})

    def _plan(self, *options: str) -> subprocess.CompletedProcess[str]:
        return self._terraform("plan", "-detailed-exitcode", *options, expect=(NO_CHANGES, CHANGES))

    def _make_destroy(self) -> str:
        command = ["make", "destroy", f"ENV={self.name}", "AUTO_APPROVE=1"]
        return self._run(command, self.environment()).stdout

    def _password(self, secret_arn: str) -> str:
        try:
            value = self.client("secretsmanager").get_secret_value(SecretId=secret_arn)["SecretString"]
        except self.client("secretsmanager").exceptions.ResourceNotFoundException:
            return ""  # nobody logs in with it
        return str(json.loads(value)["password"])

    def _terraform(
        self, command: str, *options: str, expect: tuple[int, ...] = (0,)
    ) -> subprocess.CompletedProcess[str]:
        environment = self.environment() | {"TF_DATA_DIR": str(self.folder / ".terraform")}
        done = self._run(["terraform", f"-chdir={self.root}", command, "-no-color", *options], environment)
        assert done.returncode in expect, done.stdout[-5000:]
        return done

    def _run(self, command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        with (self.folder / "commands.log").open("a") as log:
            log.write(f"$ {' '.join(command)}\n{done.stdout}")
        return done


@dataclass(frozen=True)
class Switch:
    """What was seen while an apply led the function elsewhere, and after it."""

    load: Load
    host: str
    second_plan: int


def _with_proxies(folder: Path, name: str, *, led_to: str, **proxies: str) -> Path:
    """Write dev with proxies, module calls by name, and its function led to one of them or the database, in a tree."""
    tree = folder / name
    root = Path(shutil.copytree(ROOT / "terraform" / "dev", tree / "terraform" / "dev", symlinks=True))
    for linked in ("modules", "build"):
        (tree / linked).symlink_to(ROOT / linked)
    changed = {
        "network": {
            "paths": [
                ["function", "proxy", "database"],
                ["bootstrap", "database"],
                *([["function", "database"]] if led_to == "database" else []),
            ]
        },
        "function": {"connection": f"${{module.{led_to}.connection}}"},
    }
    calls = {
        call: {
            "source": "../../modules/proxy",
            "name": proxy,
            "network": "${module.network}",
            "database": "${module.database}",
            "applications": ["${module.bootstrap.application}"],
        }
        for call, proxy in proxies.items()
    }
    (root / "override.tf.json").write_text(json.dumps({"module": changed}))
    (root / "proxy.tf.json").write_text(json.dumps({"module": calls}))
    return root


class Sabotage:
    """Break one thing at a time in a deployed prod, and invoke in a new execution environment."""

    def __init__(self, life: Life) -> None:
        self._life = life

    def results(self) -> dict[str, str]:
        """What the function's error says under each."""
        return {
            "policy": self._under(*self._policy_on_another_proxy()),
            "secret": self._under(*self._secret_wrong()),
            "pair": self._under(self._remove_pair, lambda: None),  # the next apply mends it
        }

    def _under(self, sabotage: Callable[[], object], mend: Callable[[], object]) -> str:
        sabotage()
        try:
            answer, failed = self._life.invoke_cold()
        finally:
            mend()
        return str(answer.get("errorMessage")) if failed else "it answered"

    def _policy_on_another_proxy(self) -> tuple[Callable[[], object], Callable[[], object]]:
        iam = self._life.client("iam")
        function = self._life.client("lambda").get_function_configuration(FunctionName=self._life.name_of_function)
        role = function["Role"].rsplit("/", 1)[1]
        [name] = [name for name in iam.list_role_policies(RoleName=role)["PolicyNames"] if name.startswith("log-in-")]
        policy = {"RoleName": role, "PolicyName": name}
        document = json.dumps(iam.get_role_policy(**policy)["PolicyDocument"])
        wrong = re.sub(r":dbuser:prx-\w+/", ":dbuser:prx-another/", document)
        assert wrong != document
        return (
            lambda: iam.put_role_policy(**policy, PolicyDocument=wrong),
            lambda: iam.put_role_policy(**policy, PolicyDocument=document),
        )

    def _remove_pair(self) -> None:
        ec2 = self._life.client("ec2")
        found = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["app-prod-function"]}])
        group = found["SecurityGroups"][0]
        ec2.revoke_security_group_egress(GroupId=group["GroupId"], IpPermissions=group["IpPermissionsEgress"])

    def _secret_wrong(self) -> tuple[Callable[[], object], Callable[[], object]]:
        secrets = self._life.client("secretsmanager")
        secret = self._life.outputs["application"]["secret_arn"]
        right = secrets.get_secret_value(SecretId=secret)["SecretString"]
        wrong = json.dumps(json.loads(right) | {"password": "not-the-password"})

        def sabotage() -> None:
            secrets.put_secret_value(SecretId=secret, SecretString=wrong)
            self._life.reboot()  # until then the pool holds connections that are logged in

        return sabotage, lambda: secrets.put_secret_value(SecretId=secret, SecretString=right)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if shutil.which("terraform") is None:
        pytest.fail("Terraform is missing: install 1.11 or newer.")
    with Stack(tmp_path_factory.mktemp("stack"), target_delay_seconds=5) as stack:
        yield stack


@pytest.fixture(scope="module")
def lives(stack: Stack) -> dict[str, Life]:
    with ThreadPoolExecutor() as threads:
        lives = [Life(name, stack, stack.folder_of(name), ROOT / "terraform" / name) for name in ("dev", "prod")]
        return {life.name: life for life in threads.map(Life.live, lives)}


@pytest.fixture(params=["dev", "prod"])
def life(request: pytest.FixtureRequest, lives: dict[str, Life]) -> Life:
    return lives[request.param]


def test_the_function_answers_with_the_rows(life: Life) -> None:
    assert life.answer["statusCode"] == 200
    rows = json.loads(life.answer["body"])
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
    assert rows
    assert rows[0].keys() == {"id", "name", "created_at"}


def test_dev_connects_to_the_instance_and_prod_to_the_proxy(lives: dict[str, Life]) -> None:
    prefix = {name: life.outputs["connection"]["rds_db_arn_prefix"].rsplit(":", 1)[1] for name, life in lives.items()}
    assert prefix["dev"].startswith("db-")
    assert prefix["prod"].startswith("prx-")


def test_a_second_plan_is_empty(life: Life) -> None:
    assert life.second_plan == NO_CHANGES


@pytest.mark.parametrize(
    ("switch", "host"),
    [("to a proxy", "app-dev.db-proxy-"), ("to another", "app-dev-b.db-proxy-"), ("back", "app-dev.aaaaaaaaaa.")],
)
def test_a_proxy_made_beside_and_then_led_to_or_one_apply_back_fail_no_invocation(
    lives: dict[str, Life], switch: str, host: str
) -> None:
    """Most of them in new environments, before, during and after; what the old way needed is gone in the end.

    In one apply some would fail: the alias moves while the new proxy's target is not available yet.
    """
    seen = lives["dev"].switches[switch]
    assert seen.host.startswith(host)
    assert seen.load.failures == []
    assert min(seen.load.done.values()) >= 5
    assert seen.second_plan == NO_CHANGES


def test_make_asks_about_the_first_plan_and_not_about_the_second(life: Life) -> None:
    """make deploy asks where tools.plan_summary finds something to apply."""
    assert {name: plan_summary.is_changed(document) for name, document in life.shown.items()} == {
        "create": True,
        "second": False,
    }
    summary = plan_summary.summarise(life.shown["create"])
    assert (len(summary.add) > 60, summary.change, summary.destroy) == (True, (), ())
    assert summary.consequences == {}


def test_a_protected_environment_is_not_destroyed(lives: dict[str, Life]) -> None:
    assert "prod is protected from deletion" in lives["prod"].protected


def test_destroy_ends_by_saying_how_to_restore(lives: dict[str, Life]) -> None:
    snapshot = lives["prod"].outputs["final_snapshot"]
    said = lives["prod"].destroyed.partition("Apply complete!")[2]
    assert f"The final snapshot {snapshot}" in said
    assert "which nobody can delete" in said
    assert f"TF_VAR_restore_from_snapshot={snapshot} make deploy ENV=prod" in said
    assert "restore" not in lives["dev"].destroyed.partition("Apply complete!")[2]


def test_destroy_leaves_nothing(life: Life) -> None:
    assert "This may take 45 minutes" in life.destroyed
    assert "Apply complete!" in life.destroyed
    assert life.resources_left == []


def test_destroy_leaves_nothing_in_the_account_either(stack: Stack, lives: dict[str, Life]) -> None:
    client = lives["prod"].client
    assert client("rds").describe_db_instances()["DBInstances"] == []
    assert client("rds").describe_db_proxies()["DBProxies"] == []
    assert client("lambda").list_functions()["Functions"] == []
    assert client("logs").describe_log_groups()["logGroups"] == []
    assert [vpc for vpc in client("ec2").describe_vpcs()["Vpcs"] if not vpc["IsDefault"]] == []
    of_lambda = [{"Name": "description", "Values": ["AWS Lambda VPC ENI"]}]
    assert client("ec2").describe_network_interfaces(Filters=of_lambda)["NetworkInterfaces"] == []
    assert stack.running() == []


def test_no_password_and_no_token_is_written_anywhere(life: Life, stack: Stack, lives: dict[str, Life]) -> None:
    assert life.secrets["master password"]
    assert lives["prod"].secrets["application password"]
    forbidden = {what: secret for what, secret in life.secrets.items() if secret} | {"token": "X-Amz-Signature="}
    texts = [*life.texts(), *((path.name, path.read_text(errors="replace")) for path in stack.logs())]
    assert any("REPORT RequestId" in text for _, text in texts), "no log of a function was looked at"
    assert [(name, what) for name, text in texts for what, secret in forbidden.items() if secret in text] == []


def test_a_grant_on_another_proxy_is_refused_at_login(lives: dict[str, Life]) -> None:
    assert "IAM authentication failed" in lives["prod"].sabotage["policy"]


def test_a_missing_pair_is_no_way_to_the_proxy(lives: dict[str, Life]) -> None:
    """Who says so first is the library, or on a machine that stands still for its last second Lambda."""
    assert re.search("no answer in time|Task timed out", lives["prod"].sabotage["pair"])


def test_a_wrong_secret_is_no_way_to_the_database(lives: dict[str, Life]) -> None:
    assert "password" in lives["prod"].sabotage["secret"]
