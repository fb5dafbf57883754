"""Terraform sends ten requests at once: in moto's EC2 what one iterates over is what another changes."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from moto.ec2.models import ec2_backends

from tests.local.account import Account


class Slow(dict[str, Any]):
    """A dictionary that takes its time to be iterated over."""

    def values(self) -> Iterator[Any]:  # type: ignore[override]
        for value in super().values():
            time.sleep(0.05)
            yield value


def test_groups_are_created_side_by_side(account: Account) -> None:
    vpc = account.ec2.create_vpc(CidrBlock="10.9.0.0/24")["Vpc"]["VpcId"]
    groups = ec2_backends["123456789012"]["us-east-1"].groups
    groups[vpc] = Slow(groups[vpc])

    def create(number: int) -> str:
        name = f"group-{number}"
        return str(account.ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"])

    with ThreadPoolExecutor() as pool:
        assert len(set(pool.map(create, range(4)))) == 4
