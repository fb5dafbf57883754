"""Both roots on Aurora, applied beside each other on one stack, invoked, failed over and destroyed."""

import io
import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest

from local.stack import Stack
from tests import plans
from tests.local.deployment import OUTPUT
from tools.await_target import await_target
from tools.doctor.layers import Layer, examine
from tools.doctor.site import Site
from tools.status import PARTS, told

NAMES = ("aurora", "aurora-dev")

SERVER = "SELECT concat_ws(' ', current_setting('cluster_name'), pg_is_in_recovery())"  # the stack names servers so
ASKING = """
from lambda_postgres import connection

def main(event, context):
    with connection(context, read_only=event["read_only"]) as conn, conn.cursor() as cursor:
        cursor.execute(event["question"])
        return cursor.fetchone()[0]
"""


@dataclass
class Root:
    """One of the roots, in a copy of the tree, and what it showed."""

    name: str
    stack: Stack = field(repr=False)
    folder: Path
    relay: plans.Relay = field(repr=False)
    outputs: dict[str, Any] = field(default_factory=dict)
    answer: Any = None
    paid: list[Any] = field(default_factory=list)
    told: Any = None
    variables: dict[str, str] = field(default_factory=dict)
    second_plan: str = ""
    left: list[str] = field(default_factory=list)

    def live(self) -> None:
        self.terraform("get")
        self.terraform("apply", "-auto-approve")
        self.outputs = {name: o["value"] for name, o in json.loads(self.terraform("output", "-json")).items()}
        if "proxy" in self.outputs:
            await_target(self.stack.client("rds"), self.outputs["proxy"], timeout_seconds=60)
        self.answer = self.invoke()
        self.paid = [self.invoke(key="once"), self.invoke(key="once")]
        self.told = self.invoke(prefix="on", fresh=True)
        configuration = self.stack.client("lambda").get_function_configuration(
            FunctionName=self.outputs["function_arn"]
        )
        self.variables = configuration["Environment"]["Variables"]
        self.second_plan = self.terraform("plan")

    def destroy(self) -> None:
        unprotected = ["-var=deletion_protection=false"] if self.name == "aurora" else []
        if unprotected:
            self.terraform("apply", "-auto-approve", "-refresh=false", *unprotected)
        self.terraform("destroy", "-auto-approve", "-refresh=false", *unprotected)
        state = json.loads((self.folder / "terraform.tfstate").read_text())
        self.left = [resource["type"] for resource in state["resources"]]

    def invoke(self, **event: Any) -> Any:
        answer = self.stack.client("lambda").invoke(
            FunctionName=self.outputs["function_arn"], Payload=json.dumps(event).encode()
        )
        payload = json.load(answer["Payload"])
        assert "FunctionError" not in answer, payload
        return payload

    def terraform(self, command: str, *options: str) -> str:
        done = subprocess.run(
            ["terraform", command, *options, *([] if "-json" in options else ["-no-color"])],
            cwd=self.folder, env=self.stack.environment() | self.relay.variables, text=True,
            stdin=subprocess.DEVNULL, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{self.name}: {command}\n{done.stdout[-3000:]}{done.stderr}"
        return done.stdout


@dataclass
class Seen:
    """What the roots showed, by name, and what the account said between."""

    roots: dict[str, Root]
    targets: list[dict[str, Any]] = field(default_factory=list)
    writers: list[str] = field(default_factory=list)
    after_failover: Any = None
    answered: list[str] = field(default_factory=list)
    kept: str = ""
    refused: str = ""
    layers: list[Layer] = field(default_factory=list)
    status: dict[str, str] = field(default_factory=dict)
    snapshots: list[str] = field(default_factory=list)
    left_in_account: list[Any] = field(default_factory=list)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    assert (OUTPUT / "function-examples-aurora.zip").exists(), "Run make package ENV=aurora first."
    tree = tmp_path_factory.mktemp("tree")
    for name in NAMES:
        ignored = shutil.ignore_patterns(".terraform", "*.tfstate*", "backend.tf")
        shutil.copytree(plans.ROOT / "examples" / name, tree / "examples" / name, ignore=ignored)
    for name in ("modules", "build"):
        (tree / name).symlink_to(plans.ROOT / name)
    with Stack(tmp_path_factory.mktemp("stack")) as stack, ThreadPoolExecutor() as threads:
        roots = {
            name: Root(name, stack, folder, plans.relay(stack.environment(), folder))
            for name, folder in ((name, tree / "examples" / name) for name in NAMES)
        }
        list(threads.map(Root.live, roots.values()))
        yield _story(stack, threads, Seen(roots))


def _story(stack: Stack, threads: ThreadPoolExecutor, seen: Seen) -> Seen:
    rds, prod = stack.client("rds"), seen.roots["aurora"]
    seen.layers, seen.status = _looked_at(prod)
    seen.targets = rds.describe_db_proxy_targets(DBProxyName=prod.outputs["proxy"])["Targets"]
    seen.writers.append(_writer(rds))
    ask = _asking(prod)
    seen.answered += [ask(SERVER), ask(SERVER, read_only=True)]
    ask("INSERT INTO payments (key, cents) VALUES ('before', 1) RETURNING 1")
    rds.failover_db_cluster(DBClusterIdentifier="app-aurora")
    seen.writers.append(_writer(rds))
    seen.kept = ask("DELETE FROM payments WHERE key = 'before' RETURNING key")
    seen.answered += [ask(SERVER), ask(SERVER, read_only=True)]
    stack.client("lambda").delete_function(FunctionName="asks")
    seen.after_failover = prod.invoke(key="after"), prod.invoke(prefix="", fresh=True)
    try:
        rds.delete_db_cluster(DBClusterIdentifier="app-aurora", SkipFinalSnapshot=True)
    except rds.exceptions.ClientError as error:
        seen.refused = str(error)
    list(threads.map(Root.destroy, seen.roots.values()))
    seen.snapshots = [
        snapshot["DBClusterSnapshotIdentifier"]
        for snapshot in rds.describe_db_cluster_snapshots(SnapshotType="manual")["DBClusterSnapshots"]
    ]
    seen.left_in_account = [
        *stack.client("lambda").list_functions()["Functions"],
        *rds.describe_db_proxies()["DBProxies"],
        *rds.describe_db_clusters()["DBClusters"],
        *rds.describe_db_instances()["DBInstances"],
        *stack.running(),
    ]
    return seen


def _asking(root: Root) -> Callable[..., str]:
    """Make a function with all that the root's own has, except its code: it asks the database what it is told to."""
    functions = root.stack.client("lambda")
    own = functions.get_function_configuration(FunctionName=root.outputs["function_arn"])
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("app.py", ASKING)
    functions.create_function(
        FunctionName="asks",
        Code={"ZipFile": code.getvalue()},
        Layers=[layer["Arn"] for layer in own["Layers"]],
        VpcConfig={name: own["VpcConfig"][name] for name in ("SubnetIds", "SecurityGroupIds")},
        **{name: own[name] for name in ("Runtime", "Handler", "Role", "Timeout", "Environment")},
    )

    def ask(question: str, *, read_only: bool = False) -> str:
        event = json.dumps({"question": question, "read_only": read_only})
        answer = functions.invoke(FunctionName="asks", Payload=event)
        payload = json.load(answer["Payload"])
        assert "FunctionError" not in answer, payload
        return str(payload)

    return ask


def _looked_at(root: Root) -> tuple[list[Layer], dict[str, str]]:
    """What make doctor and make status say of a root, in a process that is led to the stack."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in root.stack.variables().items():
            patch.setenv(name, value)
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        site = Site(root.folder, ["sh", "-c", f"cat {root.folder}/terraform.tfstate"])
        layers = examine(site)
        return layers, {name: told(site, part) for name, part in PARTS.items()}


def _writer(rds: Any) -> str:
    [cluster] = rds.describe_db_clusters(DBClusterIdentifier="app-aurora")["DBClusters"]
    [writer] = [m["DBInstanceIdentifier"] for m in cluster["DBClusterMembers"] if m["IsClusterWriter"]]
    return str(writer)


@pytest.mark.parametrize(("name", "who"), [("aurora", "reader"), ("aurora-dev", "writer")])
def test_the_same_code_reads_from_a_reader_where_there_is_one(seen: Seen, name: str, who: str) -> None:
    assert seen.roots[name].answer == {"payments": 0, "cents": 0, "answered_by": who}


@pytest.mark.parametrize("name", NAMES)
def test_the_same_key_twice_is_one_payment_which_the_writer_knows_at_once(seen: Seen, name: str) -> None:
    first = {"key": "once", "made": True, "answered_by": "writer"}
    assert seen.roots[name].paid == [first, first | {"made": False}]
    assert seen.roots[name].told == {"payments": 1, "cents": 100, "answered_by": "writer", "keys": {"once": 1}}


@pytest.mark.parametrize("name", NAMES)
def test_a_second_plan_is_empty(seen: Seen, name: str) -> None:
    assert "No changes." in seen.roots[name].second_plan


def test_the_function_is_told_where_the_readers_are(seen: Seen) -> None:
    variables = seen.roots["aurora"].variables
    assert variables["PGHOST"] == seen.roots["aurora"].outputs["connection"]["host"]
    assert variables["PGHOST_READER"] == seen.roots["aurora"].outputs["reader_connection"]["host"]
    assert variables["PGHOST_READER"] != variables["PGHOST"]
    assert "PGHOST_READER" not in seen.roots["aurora-dev"].variables


def test_the_doctor_finds_nothing_wrong_and_knows_the_reader(seen: Seen) -> None:
    said = {layer.name: layer.finding for layer in seen.layers}
    assert {name for name, finding in said.items() if finding.verdict != "ok"} <= {"sessions", "alarms"}, said
    assert {finding.verdict for finding in said.values()} <= {"ok", "unknown"}, said
    reader = seen.writers[1]  # until the failover
    assert said["readers"].text.startswith(f"{reader}; in us-east-1")
    assert said["target"].text == "app-aurora is available, its proxy's target is AVAILABLE"


def test_status_names_writer_and_reader(seen: Seen) -> None:
    assert seen.status["database"].startswith("app-aurora is available: Aurora PostgreSQL 17")
    writer, reader = seen.writers
    assert f"db.r7g.large, writer {writer} in us-east-1" in seen.status["database"]
    assert f", reader {reader} in us-east-1" in seen.status["database"]
    assert seen.status["connects to"].endswith(f"reads at {seen.roots['aurora'].variables['PGHOST_READER']}")
    assert not any("unknown" in text for text in seen.status.values()), seen.status


def test_proxy_tracks_the_cluster_and_lists_its_instances(seen: Seen) -> None:
    assert sorted((target["Type"], target.get("Role", "")) for target in seen.targets) == [
        ("RDS_INSTANCE", "READ_ONLY"),
        ("RDS_INSTANCE", "READ_WRITE"),
        ("TRACKED_CLUSTER", ""),
    ]


def test_after_a_failover_another_instance_is_the_writer_and_the_function_goes_on(seen: Seen) -> None:
    assert sorted(seen.writers) == ["app-aurora-1", "app-aurora-2"]
    paid, told = seen.after_failover
    assert paid == {"key": "after", "made": True, "answered_by": "writer"}
    assert told["keys"] == {"once": 1, "after": 1}


def test_reads_are_answered_by_a_standby_and_a_failover_makes_it_the_writer(seen: Seen) -> None:
    before, after = seen.writers
    assert seen.answered == [f"{before} f", f"{after} t", f"{after} f", f"{before} t"]


def test_a_row_written_before_the_failover_is_there_after_it(seen: Seen) -> None:
    assert seen.kept == "before"


def test_a_protected_cluster_is_not_deleted(seen: Seen) -> None:
    assert "deletion protection" in seen.refused


def test_production_leaves_a_snapshot_and_nothing_else(seen: Seen) -> None:
    assert [root.left for root in seen.roots.values()] == [[], []]
    assert seen.left_in_account == []
    assert [name.startswith("app-aurora-final-") for name in seen.snapshots] == [True]
