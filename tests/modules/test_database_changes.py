"""The database module applied to the local stack, and changed: what RDS makes at once, later, or at a restart only.

One instance lives through all of it, since the provider waits more than a minute for each change of one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from local.stack import REGION, Stack
from tests import plans
from tests.local.account import log_key


class Database:
    """A root that calls the module alone."""

    def __init__(self, folder: Path, stack: Stack) -> None:
        self.stack = stack
        self._folder = folder
        self._arguments: dict[str, Any] = {
            "source": os.path.relpath((plans.ROOT / "modules" / "database").resolve(), folder),
            "name": "app",
            "network": self._network(),
            "instance_class": "db.t4g.micro",
            "multi_az": False,
            "deletion_protection": False,
            "final_snapshot": False,
        }

    def client(self, service: str) -> Any:
        return self.stack.client(service)

    def plan(self, **changes: Any) -> plans.Plan:
        """Plan with other arguments; those of a plan that Terraform makes stay."""
        arguments = self._arguments | changes
        root = {
            "provider": {"aws": {"region": REGION}},
            "module": {"database": arguments},
            "output": {"database": {"value": "${module.database}"}},
        }
        (self._folder / "main.tf.json").write_text(json.dumps(root))
        plans._terraform(self._folder, "init", input=False, plugin_dir=str(plans._plugins()))
        plan = plans._plan(self._folder)
        self._arguments = arguments
        return plan

    def apply(self, **changes: Any) -> None:
        self.plan(**changes)
        self.apply_plan()

    def apply_plan(self) -> None:
        plans._terraform(self._folder, "apply", "plan", input=False)

    def output(self) -> Any:
        return json.loads(plans._terraform(self._folder, "output", "database", json=plans.IsFlagged))

    def instance(self) -> dict[str, Any]:
        [found] = self.client("rds").describe_db_instances()["DBInstances"]
        return dict(found)

    def changed(self) -> list[str]:
        """Plan again; return what would change."""
        changes = self.plan().changes.values()
        return [change["address"] for change in changes if change["change"]["actions"] != ["no-op"]]

    def max_connections(self) -> int:
        with self.stack._servers["app"].administrator() as cursor:
            cursor.execute("SHOW max_connections")
            [value] = cursor.fetchone() or [0]
            return int(value)

    def _network(self) -> dict[str, Any]:
        ec2 = self.client("ec2")
        vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        group = ec2.create_security_group(GroupName="database", Description="database", VpcId=vpc)["GroupId"]
        return {
            "subnet_ids": [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"][:2]],
            "security_group_ids": {"database": group},
            "log_key_arn": log_key(self.client("kms")),
            "location": {"partition": "aws", "region": "us-east-1", "account": "123456789012"},
        }


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    folder = tmp_path_factory.mktemp("root")
    with Stack(tmp_path_factory.mktemp("stack")) as stack, patch.dict(os.environ, stack.variables()):
        database = Database(folder.resolve(), stack)
        database.apply()
        yield database


def test_second_plan_is_empty(database: Database) -> None:
    assert database.changed() == []


def test_class_and_major_version_change_in_one_apply(database: Database) -> None:
    plan = database.plan(instance_class="db.t4g.small", postgres_version=18)
    assert plan.warnings("database") == []
    database.apply_plan()
    instance = database.instance()
    assert instance["EngineVersion"].startswith("18.")
    assert (instance["DBInstanceClass"], instance["PendingModifiedValues"]) == ("db.t4g.small", {})
    groups = database.client("rds").describe_db_parameter_groups()["DBParameterGroups"]
    assert [group["DBParameterGroupFamily"] for group in groups] == ["postgres18"]
    assert database.max_connections() == 180
    assert database.output()["connection"]["max_clients"] == 175
    assert database.changed() == []


def test_max_connections_counts_when_the_server_has_restarted(database: Database) -> None:
    plan = database.plan(max_connections=200)
    assert "until it restarts" in plan.warnings("database")[0]
    database.apply_plan()
    assert database.max_connections() == 180
    assert database.output()["connection"]["max_clients"] == 175
    assert database.instance()["DBParameterGroups"][0]["ParameterApplyStatus"] == "pending-reboot"
    assert database.changed() == []


def test_change_in_the_window_is_not_reckoned_with_before(database: Database) -> None:
    plan = database.plan(instance_class="db.t4g.micro", max_connections=None, changes={"apply": "in_window"})
    assert any("waits for the window" in warning for warning in plan.warnings("database"))
    database.apply_plan()
    assert database.instance()["PendingModifiedValues"] == {"DBInstanceClass": "db.t4g.micro"}
    assert database.output()["instance_class"] == "db.t4g.small"
    assert database.output()["connection"]["max_clients"] == 85
    assert database.changed() == ["module.database.aws_db_instance.main"]
    with pytest.raises(plans.PlanError) as refused:
        database.plan(iam_authentication=False, postgres_version=17)
    assert "iam_authentication cannot change" in str(refused.value)
    assert "postgres_version cannot change" in str(refused.value)
    with pytest.raises(plans.PlanError, match="first, alone"):
        database.plan(iam_authentication=False, changes={"apply": "now"})
    database.stack.let_window_pass()
    assert database.changed() == []
    assert database.instance()["DBInstanceClass"] == "db.t4g.micro"
    assert database.max_connections() == 90
