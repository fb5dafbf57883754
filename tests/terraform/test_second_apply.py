"""prod, whose apply breaks off three times: in the instance, in the proxy and in the function.

Credentials that run out while Terraform waits, and a quota, end an apply as an interrupt does: what was being made is
tainted. One life, read by the promises below.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from local.stack import Stack
from tests.terraform.test_apply import NO_CHANGES, ROOT, Life

INSTANCE = "module.database.aws_db_instance.main"
PROXY = "module.proxy.aws_db_proxy.main"
FUNCTION = "module.function.aws_lambda_function.main"


@dataclass
class Broken:
    """What was seen of each apply that broke off, and of the one after them."""

    tainted: dict[str, list[str]] = field(default_factory=dict)
    resource_ids: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    answer: dict[str, Any] = field(default_factory=dict)
    second_plan: int = -1


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if shutil.which("terraform") is None:
        pytest.fail("Terraform is missing: install 1.11 or newer.")
    with Stack(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


@pytest.fixture(scope="module")
def seen(stack: Stack) -> Broken:
    seen = Broken()
    life = Life("prod", stack, stack.folder_of("prod"), ROOT / "terraform" / "prod")
    plan = life.folder / "prod.tfplan"
    life._init()

    def state() -> Any:
        return json.loads((life.folder / "terraform.tfstate").read_text())

    def make_plan() -> None:
        done = life._run(["make", "plan", "ENV=prod"], life.environment())
        assert done.returncode == 0, done.stdout[-3000:]
        seen.said.append(done.stdout)

    def break_off(action: str, address: str, code: str = "AccessDenied") -> None:
        stack.control_plane.refuse_once(action, code)
        life._terraform("apply", str(plan), expect=(1,))
        seen.tainted[address] = [
            f"{resource.get('module')}.{resource['type']}.{resource['name']}"
            for resource in state()["resources"]
            for instance in resource["instances"]
            if instance.get("status") == "tainted"
        ]
        seen.resource_ids += [
            database["DbiResourceId"] for database in life.client("rds").describe_db_instances()["DBInstances"]
        ]

    make_plan()
    break_off("DescribeDBInstances", INSTANCE)
    make_plan()
    break_off("DescribeDBProxies", PROXY)
    make_plan()
    break_off("PutFunctionConcurrency", FUNCTION, "InvalidParameterValueException")
    life._terraform("apply", "-auto-approve")  # no make: Terraform alone replaces the function
    life.outputs = {name: o["value"] for name, o in json.loads(life._terraform("output", "-json").stdout).items()}
    seen.answer = life.invoke()
    seen.second_plan = life._plan().returncode
    seen.resource_ids += [
        database["DbiResourceId"] for database in life.client("rds").describe_db_instances()["DBInstances"]
    ]
    return seen


@pytest.mark.parametrize("address", [INSTANCE, PROXY, FUNCTION])
def test_what_broke_off_is_tainted_alone(seen: Broken, address: str) -> None:
    assert seen.tainted[address] == [address]


def test_make_keeps_the_protected_instance_and_the_proxy(seen: Broken) -> None:
    assert f"{INSTANCE} was made although an apply broke off: it is kept." in seen.said[1]
    assert f"{PROXY} was made although an apply broke off: it is kept." in seen.said[2]
    assert len(set(seen.resource_ids)) == 1


def test_terraform_alone_replaces_the_function(seen: Broken) -> None:
    assert seen.answer["statusCode"] == 200
    assert seen.second_plan == NO_CHANGES
