"""A database and its proxy: destroyed, restored from the final snapshot, and replaced under the same identifier."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from local.stack import ROOT, Stack
from tests import plans
from tests.local.account import log_key
from tools.await_target import await_target

NAME = "app"
PASSWORD = "known-to-both"  # noqa: S105


@dataclass
class Story:
    """What each step showed, from the first apply to the last plan."""

    stack: Stack = field(repr=False)
    root: Path
    leftovers: list[str] = field(default_factory=list)
    adopted: str = ""
    restored: list[str] = field(default_factory=list)
    second_plan: str = ""
    refused: str = ""
    replaced: list[str] = field(default_factory=list)
    target: str = ""
    third_plan: str = ""
    storage_key: dict[str, Any] = field(default_factory=dict)
    other_key: dict[str, Any] = field(default_factory=dict)

    def run(self) -> "Story":
        self._write()
        self._terraform("init", f"-plugin-dir={plans._plugins()}")
        self._terraform("apply", "-auto-approve")
        self._execute("CREATE TABLE kept AS SELECT 'before' AS what")
        self._execute(f"CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'")
        outputs = json.loads(self._terraform("output", "-json"))
        self._terraform("destroy", "-auto-approve")

        [snapshot] = self.client("rds").describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
        assert snapshot["DBSnapshotIdentifier"] == outputs["final_snapshot"]["value"]
        self.storage_key = self._key(snapshot["KmsKeyId"])
        self.other_key = self._key(outputs["key_arn"]["value"])
        self.leftovers = self.stack.write_late_lines()

        self._write(restore_from_snapshot=snapshot["DBSnapshotIdentifier"])
        self.adopted = self._plan_with_leftovers()
        self._terraform("apply", "plan")
        self.restored = self._kept()
        self.second_plan = self._terraform("plan")

        self._execute("UPDATE kept SET what = 'after'")
        self._write(restore_from_snapshot="another")
        self.refused = self._terraform("plan", fails=True)
        self._write(restore_from_snapshot=snapshot["DBSnapshotIdentifier"])
        self._terraform("apply", "-auto-approve", "-replace=module.database.terraform_data.life")
        self.replaced = self._kept()
        said: list[str] = []
        await_target(self.client("rds"), NAME, timeout_seconds=60, say=said.append)
        self.target = said[-1]
        self.third_plan = self._terraform("plan")
        return self

    def client(self, service: str) -> Any:
        return self.stack.client(service)

    def _write(self, **database: Any) -> None:
        """Call the two modules, in the account's default network."""
        if not (self.root / "network.json").exists():
            self._make_network()
        network = json.loads((self.root / "network.json").read_text())
        modules = os.path.relpath(ROOT / "modules", self.root)
        database = {"source": f"{modules}/database", "name": NAME, "instance_class": "db.t4g.micro", **database}
        database |= {"network": network["network"], "deletion_protection": False, "multi_az": False}
        proxy = {"source": f"{modules}/proxy", "name": NAME, "database": "${module.database}"}
        proxy |= {"network": network["network"], "application": network["application"]}
        outputs = {name: {"value": f"${{module.database.{name}}}"} for name in ("final_snapshot", "key_arn")}
        root = {"module": {"database": database, "proxy": proxy}, "output": outputs}
        (self.root / "main.tf.json").write_text(json.dumps(root))

    def _make_network(self) -> None:
        ec2, key = self.client("ec2"), log_key(self.client("kms"))
        group = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["default"]}])
        group_id = group["SecurityGroups"][0]["GroupId"]
        hop = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "UserIdGroupPairs": [{"GroupId": group_id}]}
        ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[hop])
        subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"][:2]]
        value = json.dumps({"username": "app", "password": PASSWORD})
        secret = self.client("secretsmanager").create_secret(Name="app", SecretString=value, KmsKeyId=key)["ARN"]
        network = {
            "subnet_ids": subnets,
            "security_group_ids": dict.fromkeys(("database", "proxy"), group_id),
            "log_key_arn": key,
            "location": {"partition": "aws", "region": "us-east-1", "account": "123456789012"},
        }
        application = {"secret_arn": secret, "key_arn": key}
        (self.root / "network.json").write_text(json.dumps({"network": network, "application": application}))

    def _plan_with_leftovers(self) -> str:
        """What make plan does."""
        self._terraform("plan", "-out=plan")
        subprocess.run(
            [sys.executable, "-m", "tools.leftovers", self.root / "leftovers.tf.json"],
            cwd=ROOT,
            env=self.stack.environment(),
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
            command, cwd=self.root, env=self.stack.environment(), text=True, capture_output=True, check=False
        )
        assert (done.returncode != 0) == fails, f"{command}\n{done.stdout[-3000:]}{done.stderr}"
        return done.stderr if fails else done.stdout

    def _execute(self, statement: str) -> None:
        with self.stack._servers[NAME].administrator("app") as cursor:
            cursor.execute(statement)

    def _kept(self) -> list[str]:
        with self.stack._servers[NAME].administrator("app") as cursor:
            cursor.execute("SELECT what FROM kept")
            return [what for (what,) in cursor.fetchall()]

    def _key(self, arn: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client("kms").describe_key(KeyId=arn)["KeyMetadata"]
        return found


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("restore")
    (folder / "root").mkdir()
    shutil.copy(plans.ROOT / "versions.tf", folder / "root")
    with Stack(folder / "stack", target_delay_seconds=1) as stack:
        yield Story(stack, folder / "root").run()


def test_a_destroyed_database_is_restored_from_its_final_snapshot(story: Story) -> None:
    assert story.restored == ["before"]


def test_destroy_leaves_the_key_of_the_snapshot_and_no_other(story: Story) -> None:
    assert story.storage_key["KeyState"] == "Enabled"
    assert story.storage_key["KeyManager"] == "AWS"
    assert story.other_key["KeyState"] == "PendingDeletion"


def test_a_plan_after_the_restore_is_empty(story: Story) -> None:
    assert "No changes." in story.second_plan


def test_log_groups_that_rds_made_again_are_adopted(story: Story) -> None:
    assert story.leftovers == [
        "/aws/rds/instance/app/iam-db-auth-error",
        "/aws/rds/instance/app/postgresql",
        "/aws/rds/instance/app/upgrade",
        "/aws/rds/proxy/app",
    ]
    assert "4 to import" in story.adopted


def test_another_snapshot_is_refused_while_the_database_stands(story: Story) -> None:
    assert "which exists. Destroy it first" in " ".join(story.refused.replace("│", "").split())


def test_a_database_replaced_under_its_name_is_the_proxy_s_target_again(story: Story) -> None:
    assert story.replaced == ["before"]
    assert "the proxy app is available" in story.target
    assert "No changes." in story.third_plan
