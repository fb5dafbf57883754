"""One function in a VPC, applied and destroyed against the control plane: no database, no proxy."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.aws.control_plane import ControlPlane
from tests import plans
from tests.local.account import Account, Recorder, log_key, running
from tests.plans import ARGUMENTS, ROOT, write_zip

DESTROY_SECONDS = 420  # the provider would wait 45 minutes for interfaces that stay


@pytest.fixture
def account() -> Iterator[Account]:
    with running(ControlPlane(Recorder())) as plane:
        yield Account.of(plane)


@pytest.fixture
def root(tmp_path: Path, account: Account, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a root of the module, of which a test may change its copy."""
    shutil.copytree(ROOT / "modules" / "function", tmp_path / "modules" / "function")
    folder = tmp_path / "root"
    for name in ("package.zip", "layer-x86_64.zip"):
        write_zip(folder / name)
    vpc = {"cidr_block": "10.0.0.0/16"}
    subnet = {"cidr_block": "10.0.0.0/24", "vpc_id": "${aws_vpc.main.id}"}
    network = {
        "vpc_id": "${aws_vpc.main.id}",
        "subnet_ids": ["${aws_subnet.main.id}"],
        "security_group_ids": {"function": "${aws_security_group.function.id}"},
        "log_key_arn": log_key(account.kms),
        "location": {"partition": "aws", "region": "us-east-1", "account": "123456789012"},
    }
    document = {
        "provider": {"aws": {"region": "us-east-1"}},
        "resource": {
            "aws_vpc": {"main": vpc},
            "aws_subnet": {"main": subnet},
            "aws_security_group": {"function": {"vpc_id": "${aws_vpc.main.id}"}},
        },
        "module": {"function": {"source": "../modules/function", **ARGUMENTS["function"], "network": network}},
    }
    (folder / "main.tf.json").write_text(json.dumps(document))
    for name, value in plans.relay(os.environ | account.variables(), folder).variables.items():
        monkeypatch.setenv(name, value)
    return folder


def terraform(root: Path, account: Account, *command: str, timeout: float | None = None) -> str:
    environment = os.environ | account.variables()
    done = subprocess.run(
        ["terraform", *command],
        cwd=root, env=environment, text=True, capture_output=True, check=False, timeout=timeout,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    return done.stdout


def interfaces(account: Account) -> list[Any]:
    of_lambda = [{"Name": "description", "Values": ["AWS Lambda VPC ENI"]}]
    found: list[Any] = account.ec2.describe_network_interfaces(Filters=of_lambda)["NetworkInterfaces"]
    return found


def test_lambda_deletes_the_interfaces_before_destroy_deletes_the_role(root: Path, account: Account) -> None:
    terraform(root, account, "get")
    terraform(root, account, "apply", "-no-color", "-auto-approve")
    assert len(interfaces(account)) == 1
    said = terraform(root, account, "destroy", "-no-color", "-auto-approve", timeout=DESTROY_SECONDS)
    assert interfaces(account) == []
    gone = [line.split(":")[0] for line in said.splitlines() if "Destruction complete" in line]
    order = ["aws_lambda_function.main", "aws_security_group.interfaces", "aws_iam_role_policy.runtime"]
    assert [gone.index(f"module.function.{address}") for address in order] == sorted(
        gone.index(f"module.function.{address}") for address in order
    )
