"""Clients of a control plane, hooks that a test can replace, and fixtures of both.

A conftest.py that imports `plane`, `account` and `events` has them: one control plane for each of its test files.
"""

import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from local.aws.account import Events, Instance, Proxy
from local.aws.control_plane import ControlPlane
from local.lambda_runtime.function import FunctionVersion, Invocation
from local.rds_proxy.server_connection import TargetHealth

REGION = "us-east-1"


RUNTIME_PYTHON = Path(__file__).parents[2] / ".venv/runtime/bin/python"


STOCK = """
import os, sys
os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"
from moto.core.config import default_user_config
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
default_user_config["lambda"]["use_docker"] = False
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


class Account:
    """Clients of one control plane, and the things that most tests need in it."""

    def __init__(self, url: str, **credentials: str) -> None:
        self.url = url
        self._credentials = credentials or {"aws_access_key_id": "test", "aws_secret_access_key": "test"}

    @classmethod
    def of(cls, plane: ControlPlane) -> "Account":
        """The administrator's."""
        key = plane.administrator
        return cls(plane.url, aws_access_key_id=key.access_key_id, aws_secret_access_key=key.secret_access_key)

    def variables(self) -> dict[str, str]:
        """The environment variables that lead a process here, with this account's key."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "CHECKPOINT_DISABLE": "1",
            **{name.upper(): value for name, value in self._credentials.items()},
        }

    def __getattr__(self, service: str) -> Any:
        config = Config(retries={"total_max_attempts": 1}, read_timeout=20)
        client = boto3.client(service, REGION, endpoint_url=self.url, config=config, **self._credentials)
        self.__dict__[service] = client
        return client

    def role(self, name: str, *statements: dict[str, Any], service: str = "lambda.amazonaws.com") -> str:
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": service}}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        arn: str = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
        if statements:
            policy = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
            self.iam.put_role_policy(RoleName=name, PolicyName="main", PolicyDocument=policy)
        return arn

    def assume(self, role_arn: str) -> "Account":
        given = self.sts.assume_role(RoleArn=role_arn, RoleSessionName="session")["Credentials"]
        return Account(
            self.url,
            aws_access_key_id=given["AccessKeyId"],
            aws_secret_access_key=given["SecretAccessKey"],
            aws_session_token=given["SessionToken"],
        )

    def instance(self, identifier: str, **settings: Any) -> dict[str, Any]:
        given = {
            "DBInstanceClass": "db.t4g.micro",
            "Engine": "postgres",
            "EngineVersion": "17.6",
            "AllocatedStorage": 20,
            "MasterUsername": "owner",
            "ManageMasterUserPassword": True,
            "DBName": "app",
        }
        made: dict[str, Any] = self.rds.create_db_instance(DBInstanceIdentifier=identifier, **(given | settings))
        return made["DBInstance"]

    def cluster(self, identifier: str, members: int = 0, **settings: Any) -> None:
        """Make an Aurora cluster with so many instances, the first of them its writer."""
        given = {"Engine": "aurora-postgresql", "EngineVersion": "17", "MasterUsername": "owner", "DatabaseName": "app"}
        self.rds.create_db_cluster(DBClusterIdentifier=identifier, ManageMasterUserPassword=True, **(given | settings))
        for number in range(1, members + 1):
            self.instance(f"{identifier}-{number}", Engine="aurora-postgresql", DBClusterIdentifier=identifier)

    def describe_instance(self, identifier: str) -> dict[str, Any]:
        found: dict[str, Any] = self.rds.describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"][0]
        return found

    def proxy(self, name: str, **settings: Any) -> dict[str, Any]:
        secret = self.secretsmanager.create_secret(Name=f"{name}-secret", SecretString="{}")["ARN"]
        given = {
            "EngineFamily": "POSTGRESQL",
            "Auth": [{"AuthScheme": "SECRETS", "IAMAuth": "REQUIRED", "SecretArn": secret}],
            "RoleArn": self.role(f"{name}-role", service="rds.amazonaws.com"),
            "VpcSubnetIds": [subnet["SubnetId"] for subnet in self.ec2.describe_subnets()["Subnets"][:2]],
            "RequireTLS": True,
        }
        made: dict[str, Any] = self.rds.create_db_proxy(DBProxyName=name, **(given | settings))
        return made["DBProxy"]

    def function(self, name: str, code: str = "", **settings: Any) -> dict[str, Any]:
        given = {"Runtime": "python3.13", "Handler": "handler.handler", "Code": {"ZipFile": package(handler=code)}}
        if "Role" not in settings:
            given["Role"] = self.role(f"{name}-role")
        made: dict[str, Any] = getattr(self, "lambda").create_function(FunctionName=name, **(given | settings))
        return made

    def invoke(self, name: str, event: object = None, **settings: Any) -> dict[str, Any]:
        answer = getattr(self, "lambda").invoke(FunctionName=name, Payload=json.dumps(event), **settings)
        return {**answer, "Payload": answer["Payload"].read()}

    def security_group(self, name: str) -> str:
        vpc = self.ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        group: str = self.ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"]
        everywhere = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
        self.ec2.revoke_security_group_egress(GroupId=group, IpPermissions=[everywhere])
        return group


class Recorder(Events):
    """Hooks that a test can replace."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.seen: list[tuple[str, Any]] = []
        self.health = TargetHealth("AVAILABLE")
        self.answer: Callable[[FunctionVersion, bytes], Invocation] = lambda _, payload: Invocation(
            "1", payload, None, ""
        )
        self.raises: Exception | None = None

    def _see(self, name: str, what: Any) -> None:
        self.seen.append((name, what))
        if self.raises:
            raise self.raises

    def instance_created(self, instance: Instance) -> None:
        self._see("instance_created", instance)

    def instance_changed(self, instance: Instance) -> None:
        self._see("instance_changed", instance)

    def instance_restarted(self, instance: Instance) -> None:
        self._see("instance_restarted", instance)

    def instance_deleted(self, instance: Instance) -> None:
        self._see("instance_deleted", instance)

    def proxy_changed(self, proxy: Proxy) -> None:
        self._see("proxy_changed", proxy)

    def proxy_deleted(self, proxy: Proxy) -> None:
        self._see("proxy_deleted", proxy)

    def function_deleted(self, name: str) -> None:
        self._see("function_deleted", name)

    def target_health(self, proxy: Proxy) -> TargetHealth:
        assert proxy.instance is not None
        return self.health

    def invoke(
        self, function: FunctionVersion, payload: bytes, *, reserved_concurrency: int | None, invoked_arn: str
    ) -> Invocation:
        self.seen.append(("invoke", (function, reserved_concurrency, invoked_arn)))
        return self.answer(function, payload)


def allow(action: str | list[str], resource: str, **conditions: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    return statement | ({"Condition": conditions} if conditions else {})


def parameter_group(aws: Account, name: str) -> None:
    aws.rds.create_db_parameter_group(
        DBParameterGroupName=name, DBParameterGroupFamily="postgres17", Description="test"
    )
    parameter = {"ParameterName": "max_connections", "ParameterValue": "90", "ApplyMethod": "pending-reboot"}
    aws.rds.modify_db_parameter_group(DBParameterGroupName=name, Parameters=[parameter])


def log_key(kms: Any) -> str:
    """Make a key that log groups may have."""
    users = {"AWS": "arn:aws:iam::123456789012:root"}, {"Service": f"logs.{REGION}.amazonaws.com"}
    allowed = [{"Effect": "Allow", "Principal": user, "Action": "kms:*", "Resource": "*"} for user in users]
    policy = json.dumps({"Version": "2012-10-17", "Statement": allowed})
    arn: str = kms.create_key(Policy=policy)["KeyMetadata"]["Arn"]
    return arn


def package(**files: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, text in files.items():
            file.writestr(zipfile.ZipInfo(name.replace("__", "/") + ".py"), text)  # the same bytes at any time
    return content.getvalue()


@contextmanager
def running(plane: ControlPlane) -> Iterator[ControlPlane]:
    plane.start()
    try:
        yield plane
    finally:
        plane.stop()


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with running(ControlPlane(Recorder())) as plane:
        yield plane


@pytest.fixture(scope="module")
def account(plane: ControlPlane) -> Account:
    return Account.of(plane)


@pytest.fixture
def events(plane: ControlPlane) -> Iterator[Recorder]:
    recorder = plane.events
    assert isinstance(recorder, Recorder)
    recorder.reset()
    yield recorder
    recorder.reset()
