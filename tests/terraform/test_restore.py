"""A database and its proxy: destroyed, restored from the final snapshot, replaced, and moved to a cluster."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from local.stack import ROOT, Stack
from tests import plans
from tests.local.account import log_key
from tools.await_target import await_target

PASSWORD = "known-to-both"  # noqa: S105


@dataclass
class Story:
    """A database and its proxy, and what each step showed."""

    name: str
    stack: Stack = field(repr=False)
    root: Path
    given: dict[str, Any]
    relay: plans.Relay = field(repr=False)
    leftovers: list[str] = field(default_factory=list)
    adopted: str = ""
    kept: list[str] = field(default_factory=list)
    refused: str = ""
    target: str = ""
    last_plan: str = ""
    warned: str = ""
    version: str = ""
    storage_key: dict[str, Any] = field(default_factory=dict)
    other_key: dict[str, Any] = field(default_factory=dict)

    def restored(self) -> None:
        """Destroy, restore from the final snapshot, and ask for another snapshot."""
        self._begin()
        outputs = json.loads(self._terraform("output", "-json"))
        self._terraform("destroy", "-auto-approve")

        [snapshot] = self.client("rds").describe_db_snapshots(DBInstanceIdentifier=self.name)["DBSnapshots"]
        assert snapshot["DBSnapshotIdentifier"] == outputs["final_snapshot"]["value"]
        self.storage_key = self._key(snapshot["KmsKeyId"])
        self.other_key = self._key(outputs["key_arn"]["value"])
        self.leftovers = [group for group in self.stack.write_late_lines() if self.name in group.split("/")]

        self._write(restore_from_snapshot=snapshot["DBSnapshotIdentifier"])
        self.adopted = self._plan_with_leftovers()
        self._terraform("apply", "plan")
        self.kept = self._rows()
        self.last_plan = self._terraform("plan")
        self._write(restore_from_snapshot="another")
        self.refused = self._terraform("plan", fails=True)

    def replaced(self) -> None:
        """Replace the database, which stands, by the content of a snapshot, under the same identifier."""
        self._begin()
        rds = self.client("rds")
        rds.create_db_snapshot(DBInstanceIdentifier=self.name, DBSnapshotIdentifier="earlier")
        self._execute("UPDATE kept SET what = 'after'")
        self._write(restore_from_snapshot="earlier")
        self._terraform("apply", "-auto-approve", "-replace=module.database.terraform_data.life")
        self.kept = self._rows()
        said: list[str] = []
        await_target(rds, self.name, timeout_seconds=60, say=said.append)
        self.target = said[-1]
        self.last_plan = self._terraform("plan")

    def moved(self) -> None:
        """Restore a snapshot of the instance as a cluster beside it, and let the proxy go there: docs/scale.md."""
        self._begin(postgres_version=16)
        rds = self.client("rds")
        snapshot = rds.create_db_snapshot(DBInstanceIdentifier=self.name, DBSnapshotIdentifier="to-cluster")
        cluster = {
            "name": f"{self.name}-cluster",
            "instance_class": "db.r7g.large",
            "postgres_version": 16,
            "readers": {"count": 1, "max_count": 3},
            "restore_from_snapshot": snapshot["DBSnapshot"]["DBSnapshotArn"],
        }
        old = {"postgres_version": 16}
        self._write(cluster=cluster, **old)
        self._terraform("get")
        self.warned = self._terraform("apply", "-auto-approve")
        self._terraform("apply", "-auto-approve")
        self._write(cluster=cluster | {"postgres_version": 17}, proxied="cluster", **old)
        self._terraform("apply", "-auto-approve")
        self.kept = self._rows(f"{self.name}-cluster")
        self.target = rds.describe_db_proxy_targets(DBProxyName=self.name)["Targets"][0]["RdsResourceId"]
        [moved] = rds.describe_db_clusters(DBClusterIdentifier=f"{self.name}-cluster")["DBClusters"]
        self.version = moved["EngineVersion"]
        # A reader that AWS adds is no business of Terraform's.
        added = {"DBInstanceIdentifier": "application-autoscaling-1", "DBInstanceClass": "db.r7g.large"}
        rds.create_db_instance(Engine="aurora-postgresql", DBClusterIdentifier=f"{self.name}-cluster", **added)
        self.last_plan = self._terraform("plan")

    def _begin(self, **database: Any) -> None:
        self._write(**database)
        self._terraform("get")
        self._terraform("apply", "-auto-approve")
        self._execute("CREATE TABLE kept AS SELECT 'before' AS what")
        self._execute(f"CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'")

    def client(self, service: str) -> Any:
        return self.stack.client(service)

    @property
    def _environment(self) -> dict[str, str]:
        return self.stack.environment() | self.relay.variables

    def _write(self, *, proxied: str = "database", cluster: dict[str, Any] | None = None, **database: Any) -> None:
        """Call the modules, in the account's default network."""
        modules = os.path.relpath(ROOT / "modules", self.root)
        database = {"source": f"{modules}/database", "name": self.name, "instance_class": "db.t4g.micro", **database}
        database |= {"network": self.given["network"], "deletion_protection": False, "multi_az": False}
        proxy = {"source": f"{modules}/proxy", "name": self.name, "database": f"${{module.{proxied}}}", **self.given}
        outputs = {name: {"value": f"${{module.database.{name}}}"} for name in ("final_snapshot", "key_arn")}
        calls = {"database": database, "proxy": proxy}
        if cluster is not None:
            network = {"network": self.given["network"], "deletion_protection": False}
            calls["cluster"] = {"source": f"{modules}/cluster", **network, **cluster}
        root = {"module": calls, "output": outputs}
        (self.root / "main.tf.json").write_text(json.dumps(root))

    def _plan_with_leftovers(self) -> str:
        """What make plan does."""
        self._terraform("plan", "-out=plan")
        subprocess.run(
            [sys.executable, "-m", "tools.leftovers", self.root / "leftovers.tf.json"],
            cwd=ROOT,
            env=self._environment,
            input=self._terraform("show", "-json", "plan"),
            text=True,
            check=True,
        )
        try:
            return self._terraform("plan", "-out=plan")
        finally:
            (self.root / "leftovers.tf.json").unlink()

    def _terraform(self, *arguments: str, fails: bool = False) -> str:
        command = ["terraform", arguments[0], *([] if arguments[0] == "show" else ["-no-color"]), *arguments[1:]]
        done = subprocess.run(
            command, cwd=self.root, env=self._environment, text=True, capture_output=True, check=False
        )
        assert (done.returncode != 0) == fails, f"{command}\n{done.stdout[-3000:]}{done.stderr}"
        return done.stderr if fails else done.stdout

    def _execute(self, statement: str) -> None:
        with self.stack.databases.servers[self.name].administrator("app") as cursor:
            cursor.execute(statement)

    def _rows(self, database: str | None = None) -> list[str]:
        with self.stack.databases.servers[database or self.name].administrator("app") as cursor:
            cursor.execute("SELECT what FROM kept")
            return [what for (what,) in cursor.fetchall()]

    def _key(self, arn: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client("kms").describe_key(KeyId=arn)["KeyMetadata"]
        return found


def network_and_application(stack: Stack) -> dict[str, Any]:
    """What the modules network and bootstrap would give them."""
    ec2, key = stack.client("ec2"), log_key(stack.client("kms"))
    group = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["default"]}])
    group_id = group["SecurityGroups"][0]["GroupId"]
    pair = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "UserIdGroupPairs": [{"GroupId": group_id}]}
    ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[pair])
    value = json.dumps({"username": "app", "password": PASSWORD})
    secret = stack.client("secretsmanager").create_secret(Name="app", SecretString=value, KmsKeyId=key)["ARN"]
    return {
        "network": {
            "subnet_ids": [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"][:2]],
            "security_group_ids": dict.fromkeys(("database", "proxy"), group_id),
            "log_key_arn": key,
            "location": {"partition": "aws", "region": "us-east-1", "account": "123456789012"},
        },
        "applications": [{"user": "app", "secret_arn": secret, "key_arn": key}],
    }


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Story]]:
    """All at once, since most of their time is the provider's waiting."""
    with Stack(tmp_path_factory.mktemp("stack"), target_delay_seconds=1) as stack, ThreadPoolExecutor() as threads:
        given = network_and_application(stack)
        stories = {}
        for name in ("restored", "replaced", "moved"):
            root = tmp_path_factory.mktemp(name)
            shutil.copy(plans.ROOT / "versions.tf", root)
            stories[name] = Story(name, stack, root, given, plans.relay(stack.environment(), root))
        for told in [threads.submit(getattr(story, name)) for name, story in stories.items()]:
            told.result()
        yield stories


@pytest.fixture
def restored(stories: dict[str, Story]) -> Story:
    return stories["restored"]


@pytest.fixture
def replaced(stories: dict[str, Story]) -> Story:
    return stories["replaced"]


@pytest.fixture
def moved(stories: dict[str, Story]) -> Story:
    return stories["moved"]


def test_a_destroyed_database_is_restored_from_its_final_snapshot(restored: Story) -> None:
    assert restored.kept == ["before"]


def test_destroy_leaves_the_key_of_the_snapshot_and_no_other(restored: Story) -> None:
    assert restored.storage_key["KeyState"] == "Enabled"
    assert restored.storage_key["KeyManager"] == "AWS"
    assert restored.other_key["KeyState"] == "PendingDeletion"


def test_log_groups_that_rds_made_again_are_adopted(restored: Story) -> None:
    assert restored.leftovers == [
        "/aws/rds/instance/restored/iam-db-auth-error",
        "/aws/rds/instance/restored/postgresql",
        "/aws/rds/instance/restored/upgrade",
        "/aws/rds/proxy/restored",
    ]
    assert "4 to import" in restored.adopted


def test_another_snapshot_is_refused_while_the_database_stands(restored: Story) -> None:
    assert "which exists. Destroy it first" in " ".join(restored.refused.replace("│", "").split())


def test_a_database_replaced_under_its_name_is_the_proxy_s_target_again(replaced: Story) -> None:
    assert replaced.kept == ["before"]
    assert "the proxy replaced is available" in replaced.target


def test_a_snapshot_of_the_instance_becomes_a_cluster_that_the_proxy_goes_to(moved: Story) -> None:
    assert moved.kept == ["before"]
    assert moved.target == "moved-cluster"
    assert "has no IAM authentication" in moved.warned


def test_a_major_version_of_a_cluster_is_an_edit_and_an_apply(moved: Story) -> None:
    assert moved.version.startswith("17.")


@pytest.mark.parametrize("name", ["restored", "replaced", "moved"])
def test_a_plan_afterwards_is_empty(stories: dict[str, Story], name: str) -> None:
    assert "No changes." in stories[name].last_plan
