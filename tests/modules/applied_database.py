"""A root that calls the database module alone, on a local stack."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from local.stack import REGION, Stack
from tests import plans
from tests.local.account import log_key


@contextmanager
def applied(folder: Path, **arguments: Any) -> Iterator[Database]:
    """Apply the module in a folder; the stack ends with the block."""
    for name in ("root", "stack"):
        (folder / name).mkdir()
    with Stack(folder / "stack") as stack, patch.dict(os.environ, stack.variables()):
        database = Database((folder / "root").resolve(), stack)
        database.apply(**arguments)
        yield database


class Database:
    """The root, and what RDS says of its instance."""

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
        plans.terraform(self._folder, "get")
        plan = plans.plan_folder(self._folder)
        self._arguments = arguments
        return plan

    def apply(self, **changes: Any) -> None:
        self.plan(**changes)
        self.apply_plan()

    def apply_plan(self) -> None:
        plans.terraform(self._folder, "apply", "plan", input=False)

    def output(self) -> Any:
        return json.loads(plans.terraform(self._folder, "output", "database", json=plans.IsFlagged))

    def instance(self) -> dict[str, Any]:
        [found] = self.client("rds").describe_db_instances()["DBInstances"]
        return dict(found)

    def changed(self) -> list[str]:
        """Plan again; return what would change."""
        changes = self.plan().changes.values()
        return [change["address"] for change in changes if change["change"]["actions"] != ["no-op"]]

    def max_connections(self) -> int:
        with self.stack.databases.servers["app"].administrator() as cursor:
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
