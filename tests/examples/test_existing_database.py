"""An instance that Terraform did not make, on the local stack: examples/existing-database before it, and gone again."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from local.stack import Stack
from tests import plans
from tests.local.account import log_key
from tools.await_target import await_target

NAME = "legacy"
PASSWORD = "as-in-the-console"  # noqa: S105
SCHEMA = (
    "CREATE ROLE clerk LOGIN; GRANT clerk TO admin_of_it WITH ADMIN OPTION; CREATE SCHEMA shop AUTHORIZATION clerk;"
)
SCHEMA += "CREATE TABLE shop.orders AS SELECT 7 AS id; ALTER TABLE shop.orders OWNER TO clerk;"
SCHEMA += "CREATE TABLE public.used_by_others AS SELECT 1 AS id;"


class ByHand:
    """What a person made in the console: a VPC with subnets and an endpoint, an instance, a secret, rows."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        ec2, self.rds = stack.client("ec2"), stack.client("rds")
        self.vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
        ec2.modify_vpc_attribute(VpcId=self.vpc, EnableDnsHostnames={"Value": True})
        self.subnets = [
            ec2.create_subnet(VpcId=self.vpc, CidrBlock=f"10.9.{number}.0/24", AvailabilityZone=f"us-east-1{zone}")[
                "Subnet"
            ]["SubnetId"]
            for number, zone in enumerate("ab")
        ]
        self.group, of_endpoint = (
            ec2.create_security_group(GroupName=name, Description=name, VpcId=self.vpc)["GroupId"]
            for name in (NAME, "endpoints")
        )
        ec2.create_vpc_endpoint(
            VpcId=self.vpc, VpcEndpointType="Interface", ServiceName="com.amazonaws.us-east-1.secretsmanager",
            SubnetIds=self.subnets[:1], SecurityGroupIds=[of_endpoint], PrivateDnsEnabled=True,
        )  # fmt: skip
        self.rds.create_db_subnet_group(DBSubnetGroupName=NAME, DBSubnetGroupDescription=NAME, SubnetIds=self.subnets)
        self.rds.create_db_parameter_group(
            DBParameterGroupName=NAME, DBParameterGroupFamily="postgres17", Description="By hand"
        )
        self.secret = stack.client("secretsmanager").create_secret(
            Name=NAME, SecretString=json.dumps({"username": "admin_of_it", "password": PASSWORD})
        )["ARN"]
        self.instance(NAME)
        with self.administrator() as cursor:
            cursor.execute(SCHEMA)

    def instance(self, identifier: str, **given: Any) -> None:
        given = {"Engine": "postgres", "EngineVersion": "17.6", "DBName": "app", "Port": 5433} | given
        self.rds.create_db_instance(
            DBInstanceIdentifier=identifier, DBInstanceClass="db.m7g.large", AllocatedStorage=20,
            MasterUsername="admin_of_it", MasterUserPassword=PASSWORD, DBSubnetGroupName=NAME,
            VpcSecurityGroupIds=[self.group], **given,
        )  # fmt: skip

    def administrator(self) -> Any:
        return self.stack.databases.servers[NAME].administrator("app")

    def portrait(self) -> list[Any]:
        """The instance, its group, and the data that was there, as they are now."""
        [instance] = self.rds.describe_db_instances(DBInstanceIdentifier=NAME)["DBInstances"]
        [group] = self.stack.client("ec2").describe_security_groups(GroupIds=[self.group])["SecurityGroups"]
        with self.administrator() as cursor:
            cursor.execute("SELECT id, (SELECT relowner::regrole::text FROM pg_class WHERE relname = 'orders')"
                           " FROM shop.orders UNION ALL SELECT id, NULL FROM public.used_by_others")  # fmt: skip
            rows = cursor.fetchall()
        changing = ("LatestRestorableTime", "PreferredBackupWindow", "PreferredMaintenanceWindow")
        instance = {name: value for name, value in instance.items() if name not in changing}
        return [instance, group["IpPermissions"], group["IpPermissionsEgress"], rows]


@dataclass
class Seen:
    before: list[Any] = field(default_factory=list)
    let_in: list[int] = field(default_factory=list)
    answer: Any = None
    second_plan: str = ""
    refusals: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    after: list[Any] = field(default_factory=list)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    tree = tmp_path_factory.mktemp("tree")
    root = tree / "examples" / "existing-database"
    shutil.copytree(
        plans.ROOT / "examples" / root.name, root, ignore=shutil.ignore_patterns(".terraform", "*.tfstate*")
    )
    for name in ("modules", "build"):
        (tree / name).symlink_to(plans.ROOT / name)
    with Stack(tmp_path_factory.mktemp("stack")) as stack:
        yield _story(ByHand(stack), root)


def _story(hand: ByHand, root: Path) -> Seen:
    seen, stack = Seen(before=hand.portrait()), hand.stack
    key = log_key(stack.client("kms"))
    given = {"identifier": NAME, "max_connections": 90, "log_key_arn": key, "master_secret_arn": hand.secret}
    environment = stack.environment() | plans.relay(stack.environment(), root).variables

    def terraform(*arguments: str, fails: bool = False, **more: Any) -> str:
        (root / "given.auto.tfvars.json").write_text(json.dumps(given | more))
        done = subprocess.run(
            ["terraform", *arguments, "-no-color"], cwd=root, env=environment, text=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert (done.returncode != 0) == fails, done.stdout[-5000:]
        return " ".join(done.stdout.replace("│", " ").split())

    terraform("get")
    terraform("apply", "-auto-approve")
    await_target(stack.client("rds"), "app-beside", timeout_seconds=60)
    [permissions] = hand.portrait()[1:2]
    seen.let_in = [permission["FromPort"] for permission in permissions for _ in permission["UserIdGroupPairs"]]
    functions = stack.client("lambda")
    seen.answer = json.load(functions.invoke(FunctionName="app-beside:live", Payload=b"{}")["Payload"])
    seen.second_plan = terraform("plan")
    _refuse(hand, seen, terraform)
    terraform("destroy", "-auto-approve")
    state = json.loads((root / "terraform.tfstate").read_text())
    seen.left = [resource["type"] for resource in state["resources"]]
    seen.after = hand.portrait()
    return seen


def _refuse(hand: ByHand, seen: Seen, terraform: Any) -> None:
    hand.instance("old", EngineVersion="13.20", DBName="app")
    hand.instance("nameless", DBName="")
    other = hand.stack.client("ec2").describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])
    for case, more in {
        "version": {"identifier": "old"},
        "database": {"identifier": "nameless"},
        "secret": {"master_secret_arn": None},
        "group": {"security_group_id": "sg-0123456789abcdef0"},
        "vpc": {"subnet_ids": [other["Subnets"][0]["SubnetId"]]},
    }.items():
        seen.refusals[case] = terraform("plan", fails=True, **more)


def test_the_function_reads_through_the_proxy(seen: Seen) -> None:
    assert "Ada Lovelace" in seen.answer["body"]


def test_the_instance_s_group_gets_two_rules_on_its_own_port(seen: Seen) -> None:
    assert seen.let_in == [5433, 5433]


def test_a_second_plan_is_empty(seen: Seen) -> None:
    assert "No changes." in seen.second_plan


def test_what_it_needs_of_the_instance_is_refused_at_plan_by_name(seen: Seen) -> None:
    words = {
        "version": "The instance old runs PostgreSQL 13.20, and the bootstrap function needs 14 or newer",
        "database": "database must be given: the instance nameless was made without one",
        "secret": "master_secret_arn must be given: RDS does not manage the master password of legacy",
        "group": "security_group_id must be one of the groups of legacy: sg-",
        "vpc": "subnet_ids must be in the VPC of the instance",
    }
    assert {case: words[case] in text for case, text in seen.refusals.items()} == dict.fromkeys(words, True)


def test_after_the_destroy_the_instance_its_group_and_its_data_are_as_before(seen: Seen) -> None:
    assert seen.left == []
    assert seen.after == seen.before
