"""An instance that somebody made in the console, adopted by modules/database as docs/existing-database.md tells."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from local.stack import REGION, Stack
from tests import plans
from tests.docs.pages import blocks
from tests.local.account import log_key

PAGE = plans.ROOT / "docs" / "existing-database.md"
NAME, SUBNETS = "legacy", "console-made"


@dataclass
class Adopted:
    before: plans.Plan
    rows: list[Any]
    after: plans.Plan
    instance: dict[str, Any]


@pytest.fixture(scope="module")
def adopted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adopted]:
    with Stack(tmp_path_factory.mktemp("stack")) as stack, patch.dict(os.environ, stack.variables()):
        root = tmp_path_factory.mktemp("root").resolve()
        _write(root, _made_by_hand(stack))
        plans.terraform(root, "get")
        before = plans.plan_folder(root)
        with stack.databases.servers[NAME].administrator("shop") as cursor:
            cursor.execute("CREATE TABLE orders AS SELECT 7 AS id")
        plans.terraform(root, "apply", "plan", input=False)
        with stack.databases.servers[NAME].administrator("shop") as cursor:
            cursor.execute("TABLE orders")
            rows = cursor.fetchall()
        [instance] = stack.client("rds").describe_db_instances()["DBInstances"]
        yield Adopted(before, rows, plans.plan_folder(root), instance)


def _made_by_hand(stack: Stack) -> dict[str, Any]:
    """Make an instance as the console does, with groups of its own; return the network that it stands in."""
    ec2, rds = stack.client("ec2"), stack.client("rds")
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    group = ec2.create_security_group(GroupName="database", Description="database", VpcId=vpc)["GroupId"]
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"][:2]]
    rds.create_db_subnet_group(DBSubnetGroupName=SUBNETS, DBSubnetGroupDescription="By hand", SubnetIds=subnets)
    rds.create_db_parameter_group(
        DBParameterGroupName="tuned", DBParameterGroupFamily="postgres17", Description="By hand"
    )
    rds.create_db_instance(
        DBInstanceIdentifier=NAME, DBInstanceClass="db.m7g.large", Engine="postgres", EngineVersion="17.6",
        AllocatedStorage=50, StorageType="gp2", StorageEncrypted=True, DBName="shop", MasterUsername="postgres",
        MasterUserPassword="in-the-console", DBSubnetGroupName=SUBNETS, DBParameterGroupName="tuned",
        VpcSecurityGroupIds=[group],
    )  # fmt: skip
    return {
        "subnet_ids": subnets,
        "security_group_ids": {"database": group},
        "log_key_arn": log_key(stack.client("kms")),
        "location": {"partition": "aws", "region": REGION, "account": "123456789012"},
    }


def _write(root: Path, network: dict[str, Any]) -> None:
    """Write the page's own blocks, with the network of the account in the place of local.network."""
    [text] = [block.text for block in blocks("hcl") if block.page == PAGE]
    source = os.path.relpath((plans.ROOT / "modules" / "database").resolve(), root)
    text = text.replace("../../modules/database", source)
    (root / "main.tf").write_text(text)
    (root / "network.tf.json").write_text(
        json.dumps({"provider": {"aws": {"region": REGION}}, "locals": {"network": network}})
    )


def _changed(change: dict[str, Any]) -> set[str]:
    """Which arguments the plan changes of a resource that it imports."""
    before, after, unknown = (change["change"][key] for key in ("before", "after", "after_unknown"))
    return {name for name in before | after if before.get(name) != after.get(name) and unknown.get(name) is not True}


def test_the_plan_imports_and_neither_replaces_nor_destroys(adopted: Adopted) -> None:
    actions = {address: change["change"]["actions"] for address, change in adopted.before.changes.items()}
    assert [address for address, done in actions.items() if "delete" in done] == []
    imported = {address: change["change"]["importing"]["id"] for address, change in adopted.before.changes.items()
                if "importing" in change["change"]}  # fmt: skip
    assert imported == {
        "module.database.aws_db_instance.main": NAME,
        "module.database.aws_db_subnet_group.main": SUBNETS,
    }
    assert [actions[address] for address in imported] == [["update"], ["update"]]


def test_the_page_names_every_change_of_the_instance(adopted: Adopted) -> None:
    named = set(re.findall(r"^\| (`.*`) \|", PAGE.read_text(), re.MULTILINE))
    listed = {name for cell in named for name in re.findall(r"`([a-z_]+)`", cell)}
    changed = _changed(adopted.before.changes["module.database.aws_db_instance.main"])
    changed |= {"parameter_group_name", "performance_insights_kms_key_id", "monitoring_role_arn"}  # not known yet
    changed -= {"engine_version"}  # 17 is any 17
    assert changed == listed


def test_the_rows_stay_and_a_second_plan_is_empty(adopted: Adopted) -> None:
    assert adopted.rows == [(7,)]
    assert adopted.instance["DBSubnetGroup"]["DBSubnetGroupName"] == SUBNETS
    assert adopted.instance["MasterUserSecret"]["SecretArn"]
    changes = {address: change["change"] for address, change in adopted.after.changes.items()}
    assert {address: change["actions"] for address, change in changes.items() if change["actions"] != ["no-op"]} == {}
