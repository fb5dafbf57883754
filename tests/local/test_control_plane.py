"""The control plane answers as AWS documents, where stock moto does not yet, and leads to the real things.

A test that takes `aws` runs twice: against the control plane, where it must pass, and against stock moto, where it must
fail. When it passes there too, moto has learned it: delete the correction.
"""

import io
import json
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local.control_plane import ControlPlane, Events, Instance, Proxy, SecretRefused, TargetHealth
from local.runtime import FunctionVersion, Invocation, LambdaRuntime, TooManyRequestsError

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


def allow(action: str | list[str], resource: str, **conditions: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    return statement | ({"Condition": conditions} if conditions else {})


def package(**files: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, text in files.items():
            file.writestr(name.replace("__", "/") + ".py", text)
    return content.getvalue()


@pytest.fixture(scope="module")
def stock() -> Iterator[Account]:
    server = subprocess.Popen(
        [sys.executable, "-c", STOCK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert server.stdout is not None
    yield Account(f"http://127.0.0.1:{int(server.stdout.readline())}")
    server.communicate()


class Recorder(Events):
    """Hooks that a test can replace."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.seen: list[tuple[str, Any]] = []
        self.health = TargetHealth()
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
    return Account(plane.url)


@pytest.fixture
def events(plane: ControlPlane) -> Iterator[Recorder]:
    recorder = plane.events
    assert isinstance(recorder, Recorder)
    recorder.reset()
    yield recorder
    recorder.reset()


LACKING = pytest.mark.xfail(strict=True, reason="stock moto lacks it; when this passes, delete the correction")


@pytest.fixture(params=["account", pytest.param("stock", marks=LACKING)])
def aws(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


# --- corrections ---


def test_resource_id_is_the_instance_s_own(aws):
    first, second = aws.instance("id-first"), aws.instance("id-second")
    assert first["DbiResourceId"] != second["DbiResourceId"]
    assert first["DbiResourceId"].startswith("db-")


def test_performance_insights_are_kept(aws):
    aws.instance("insights", EnablePerformanceInsights=True, PerformanceInsightsRetentionPeriod=7)
    found = aws.describe_instance("insights")
    assert found["PerformanceInsightsEnabled"] is True
    assert found["PerformanceInsightsRetentionPeriod"] == 7


def test_performance_insights_can_be_switched_on(aws):
    aws.instance("insights-later")
    aws.rds.modify_db_instance(DBInstanceIdentifier="insights-later", EnablePerformanceInsights=True)
    assert aws.describe_instance("insights-later")["PerformanceInsightsEnabled"] is True


def test_extended_support_choice_is_kept(aws):
    aws.instance("lifecycle", EngineLifecycleSupport="open-source-rds-extended-support-disabled")
    assert aws.describe_instance("lifecycle")["EngineLifecycleSupport"] == "open-source-rds-extended-support-disabled"


def test_default_certificate_authority_is_the_documented_one(aws):
    assert aws.instance("authority")["CACertificateIdentifier"] == "rds-ca-rsa2048-g1"


def test_managed_master_secret_names_the_given_user(aws):
    secret = aws.instance("master")["MasterUserSecret"]["SecretArn"]
    value = json.loads(aws.secretsmanager.get_secret_value(SecretId=secret)["SecretString"])
    assert value["username"] == "owner"
    assert len(value["password"]) == 28


def test_managed_master_secret_can_be_rotated(aws):
    secret = aws.instance("rotated")["MasterUserSecret"]["SecretArn"]
    before = aws.secretsmanager.get_secret_value(SecretId=secret)["SecretString"]
    aws.rds.modify_db_instance(DBInstanceIdentifier="rotated", RotateMasterUserPassword=True, ApplyImmediately=True)
    after = json.loads(aws.secretsmanager.get_secret_value(SecretId=secret)["SecretString"])
    assert after["username"] == "owner"
    assert after != json.loads(before)


def parameter_group(aws: Account, name: str) -> None:
    aws.rds.create_db_parameter_group(
        DBParameterGroupName=name, DBParameterGroupFamily="postgres17", Description="test"
    )
    parameter = {"ParameterName": "max_connections", "ParameterValue": "90", "ApplyMethod": "pending-reboot"}
    aws.rds.modify_db_parameter_group(DBParameterGroupName=name, Parameters=[parameter])


def test_given_parameters_are_the_user_s(aws):
    parameter_group(aws, "given")
    [parameter] = aws.rds.describe_db_parameters(DBParameterGroupName="given")["Parameters"]
    assert parameter["Source"] == "user"


def test_parameters_can_be_reset(aws):
    parameter_group(aws, "reset")
    aws.rds.reset_db_parameter_group(
        DBParameterGroupName="reset",
        Parameters=[{"ParameterName": "max_connections", "ApplyMethod": "pending-reboot"}],
    )
    assert aws.rds.describe_db_parameters(DBParameterGroupName="reset")["Parameters"] == []


def test_proxy_can_be_modified(aws):
    aws.proxy("modified")
    aws.rds.modify_db_proxy(DBProxyName="modified", IdleClientTimeout=60)
    [proxy] = aws.rds.describe_db_proxies(DBProxyName="modified")["DBProxies"]
    assert proxy["IdleClientTimeout"] == 60
    assert proxy["RequireTLS"] is True


def test_proxy_endpoint_lives_from_create_to_delete(aws):
    proxy = aws.proxy("endpoints")
    names = {"DBProxyName": "endpoints", "DBProxyEndpointName": "more"}
    tags = [{"Key": "Name", "Value": "more"}]
    made = aws.rds.create_db_proxy_endpoint(**names, VpcSubnetIds=proxy["VpcSubnetIds"], Tags=tags)["DBProxyEndpoint"]
    assert aws.rds.list_tags_for_resource(ResourceName=made["DBProxyEndpointArn"])["TagList"] == tags
    assert aws.rds.describe_db_proxy_endpoints(**names)["DBProxyEndpoints"][0]["Endpoint"] == made["Endpoint"]
    changed = aws.rds.modify_db_proxy_endpoint(DBProxyEndpointName="more", VpcSecurityGroupIds=["sg-1"])
    assert changed["DBProxyEndpoint"]["VpcSecurityGroupIds"] == ["sg-1"]
    aws.rds.delete_db_proxy_endpoint(DBProxyEndpointName="more")
    with pytest.raises(ClientError, match="DBProxyEndpointNotFoundFault"):
        aws.rds.describe_db_proxy_endpoints(**names)


def test_read_only_endpoint_is_refused_on_an_instance(aws):
    subnets = aws.proxy("reader")["VpcSubnetIds"]
    with pytest.raises(ClientError, match="READ_ONLY are not supported"):
        aws.rds.create_db_proxy_endpoint(
            DBProxyName="reader", DBProxyEndpointName="ro", VpcSubnetIds=subnets, TargetRole="READ_ONLY"
        )


def test_pool_keeps_its_init_query(aws):
    aws.proxy("init")
    aws.rds.modify_db_proxy_target_group(
        DBProxyName="init", TargetGroupName="default", ConnectionPoolConfig={"InitQuery": "SET ROLE app"}
    )
    [group] = aws.rds.describe_db_proxy_target_groups(DBProxyName="init")["TargetGroups"]
    assert group["ConnectionPoolConfig"]["InitQuery"] == "SET ROLE app"


def test_group_to_group_rule_keeps_its_description(aws):
    near, far = aws.security_group("described-near"), aws.security_group("described-far")
    pair = {"GroupId": near, "Description": "from the function"}
    permission = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "UserIdGroupPairs": [pair]}
    aws.ec2.authorize_security_group_ingress(GroupId=far, IpPermissions=[permission])
    rules = aws.ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [far]}])
    assert [rule.get("Description") for rule in rules["SecurityGroupRules"]] == ["from the function"]


def test_function_keeps_dead_letters(aws):
    queue = "arn:aws:sqs:us-east-1:123456789012:dead"
    aws.function("dead-letters", DeadLetterConfig={"TargetArn": queue})
    found = getattr(aws, "lambda").get_function_configuration(FunctionName="dead-letters")
    assert found["DeadLetterConfig"] == {"TargetArn": queue}


def test_function_keeps_its_logging(aws):
    client = getattr(aws, "lambda")
    aws.function("logging")
    assert client.get_function_configuration(FunctionName="logging")["LoggingConfig"]["LogFormat"] == "Text"
    client.update_function_configuration(
        FunctionName="logging", LoggingConfig={"LogFormat": "JSON", "LogGroup": "/app/logging"}
    )
    found = client.get_function_configuration(FunctionName="logging")["LoggingConfig"]
    assert found == {"LogFormat": "JSON", "LogGroup": "/app/logging"}


def test_function_keeps_snap_start(aws):
    aws.function("snap", SnapStart={"ApplyOn": "PublishedVersions"}, Publish=True)
    client = getattr(aws, "lambda")
    assert client.get_function_configuration(FunctionName="snap")["SnapStart"]["ApplyOn"] == "PublishedVersions"
    published = client.get_function_configuration(FunctionName="snap", Qualifier="1")["SnapStart"]
    assert published["OptimizationStatus"] == "On"


def test_function_knows_its_vpc(aws):
    subnet = aws.ec2.describe_subnets()["Subnets"][0]
    groups = [aws.security_group("of-a-function")]
    vpc = {"SubnetIds": [subnet["SubnetId"]], "SecurityGroupIds": groups}
    made = aws.function("inside", VpcConfig=vpc, Role=aws.role("inside", allow("ec2:CreateNetworkInterface", "*")))
    assert made["VpcConfig"]["VpcId"] == subnet["VpcId"]


def test_function_needs_a_role_that_lambda_may_assume(aws):
    role = aws.role("not-for-lambda", service="rds.amazonaws.com")
    with pytest.raises(ClientError, match="cannot be assumed by Lambda"):
        aws.function("untrusted", Role=role)


def test_function_in_a_vpc_needs_a_role_that_may_make_interfaces(aws):
    vpc = {"SubnetIds": [aws.ec2.describe_subnets()["Subnets"][0]["SubnetId"]], "SecurityGroupIds": []}
    with pytest.raises(ClientError, match="permissions to call CreateNetworkInterface"):
        aws.function("stuck", VpcConfig=vpc)


def test_provisioned_concurrency_lives_from_put_to_delete(aws):
    client = getattr(aws, "lambda")
    aws.function("provisioned", Publish=True)
    target = {"FunctionName": "provisioned", "Qualifier": "1"}
    client.put_provisioned_concurrency_config(**target, ProvisionedConcurrentExecutions=2)
    found = client.get_provisioned_concurrency_config(**target)
    assert (found["Status"], found["RequestedProvisionedConcurrentExecutions"]) == ("READY", 2)
    client.delete_provisioned_concurrency_config(**target)
    with pytest.raises(ClientError, match="ProvisionedConcurrencyConfigNotFoundException"):
        client.get_provisioned_concurrency_config(**target)


def test_composite_alarm_exists(aws):
    aws.cloudwatch.put_composite_alarm(AlarmName="both", AlarmRule="ALARM(one) AND ALARM(two)")
    found = aws.cloudwatch.describe_alarms(AlarmNames=["both"], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
    assert [alarm["AlarmRule"] for alarm in found] == ["ALARM(one) AND ALARM(two)"]


def test_rotation_can_be_repeated_and_keeps_its_function(aws):
    aws.function("rotation")
    arn = getattr(aws, "lambda").get_function_configuration(FunctionName="rotation")["FunctionArn"]
    secrets = aws.secretsmanager
    secrets.create_secret(Name="rotated-twice", SecretString="1")
    secrets.rotate_secret(SecretId="rotated-twice", RotationLambdaARN=arn)
    versions = secrets.describe_secret(SecretId="rotated-twice")["VersionIdsToStages"]
    pending = next(version for version, stages in versions.items() if "AWSPENDING" in stages)
    current = next(version for version, stages in versions.items() if "AWSCURRENT" in stages)
    if pending != current:
        secrets.update_secret_version_stage(
            SecretId="rotated-twice", VersionStage="AWSCURRENT", RemoveFromVersionId=current, MoveToVersionId=pending
        )
    secrets.rotate_secret(SecretId="rotated-twice")
    assert secrets.describe_secret(SecretId="rotated-twice")["RotationLambdaARN"] == arn


def secret_with_a_pending_version(aws: Account, name: str) -> tuple[str, str]:
    """Make a secret; return the versions that hold its current and its pending value."""
    current = aws.secretsmanager.create_secret(Name=name, SecretString="old")["VersionId"]
    pending = aws.secretsmanager.put_secret_value(SecretId=name, SecretString="new", VersionStages=["AWSPENDING"])
    return current, pending["VersionId"]


def test_default_value_follows_the_current_label(aws):
    current, pending = secret_with_a_pending_version(aws, "moved")
    aws.secretsmanager.update_secret_version_stage(
        SecretId="moved", VersionStage="AWSCURRENT", RemoveFromVersionId=current, MoveToVersionId=pending
    )
    assert aws.secretsmanager.get_secret_value(SecretId="moved")["SecretString"] == "new"


def test_one_version_is_current_after_the_label_was_moved_and_a_value_put(aws):
    current, pending = secret_with_a_pending_version(aws, "superseded")
    aws.secretsmanager.update_secret_version_stage(
        SecretId="superseded", VersionStage="AWSCURRENT", RemoveFromVersionId=current, MoveToVersionId=pending
    )
    newest = aws.secretsmanager.put_secret_value(SecretId="superseded", SecretString="newest")["VersionId"]
    stages = aws.secretsmanager.describe_secret(SecretId="superseded")["VersionIdsToStages"]
    assert [version for version, labels in stages.items() if "AWSCURRENT" in labels] == [newest]


def test_rotation_that_waits_leaves_no_pending_version(aws):
    aws.function("waiting")
    arn = getattr(aws, "lambda").get_function_configuration(FunctionName="waiting")["FunctionArn"]
    secret = {"SecretId": "waiting"}
    aws.secretsmanager.create_secret(Name="waiting")
    aws.secretsmanager.put_secret_value(**secret, SecretString="1")
    aws.secretsmanager.rotate_secret(**secret, RotationLambdaARN=arn, RotateImmediately=False)
    assert list(aws.secretsmanager.describe_secret(**secret)["VersionIdsToStages"].values()) == [["AWSCURRENT"]]
    assert aws.secretsmanager.get_secret_value(**secret)["SecretString"] == "1"


def test_rotation_that_waits_is_tested_with_the_current_value(account, events):
    seen = []

    def test(_: FunctionVersion, payload: bytes) -> Invocation:
        version = json.loads(payload)["ClientRequestToken"]
        value = account.secretsmanager.get_secret_value(SecretId="tried", VersionId=version, VersionStage="AWSPENDING")
        seen.append((json.loads(payload)["Step"], value["SecretString"]))
        return Invocation("1", b"null", None, "")

    events.answer = test
    arn = account.function("tried")["FunctionArn"]
    account.secretsmanager.create_secret(Name="tried")
    account.secretsmanager.put_secret_value(SecretId="tried", SecretString="1")
    account.secretsmanager.rotate_secret(SecretId="tried", RotationLambdaARN=arn, RotateImmediately=False)
    assert seen == [("testSecret", "1")]


def test_what_is_not_implemented_fails_at_once(aws):
    with pytest.raises(ClientError) as refusal:
        aws.rds.describe_source_regions()
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert refusal.value.response["Error"]["Code"] == "NotImplemented"


def test_repeated_attempt_is_answered_as_the_first(aws):
    def same_call(request: Any, **_: Any) -> None:
        del request.headers["amz-sdk-invocation-id"]
        request.headers["amz-sdk-invocation-id"] = "the-same"

    own = Account(aws.url)
    own.iam.meta.events.register("before-send.iam.CreateRole", same_call)
    assert own.role("repeated") == own.role("repeated")


def test_register_target_of_an_unknown_instance_is_refused(aws):
    aws.proxy("lost")
    with pytest.raises(ClientError, match="DBInstanceNotFound"):
        aws.rds.register_db_proxy_targets(DBProxyName="lost", DBInstanceIdentifiers=["nowhere"])


def test_role_without_a_policy_may_do_nothing(aws):
    session = aws.assume(aws.role("powerless"))
    with pytest.raises(ClientError, match="AccessDenied"):
        session.secretsmanager.list_secrets()


def test_invocation_names_the_version_that_ran(aws):
    aws.function("ran", Publish=True)
    assert aws.invoke("ran:1")["ExecutedVersion"] == "1"


# --- the database and its proxy ---


def test_instance_leads_to_its_hook_with_what_the_server_needs(account, events):
    parameter_group(account, "server")
    made = account.instance("server", DBParameterGroupName="server", Port=5433, EnableIAMDatabaseAuthentication=True)
    [(name, instance)] = events.seen
    secret = account.secretsmanager.get_secret_value(SecretId=made["MasterUserSecret"]["SecretArn"])["SecretString"]
    assert name == "instance_created"
    assert (instance.host, instance.port) == (made["Endpoint"]["Address"], 5433)
    assert (instance.database, instance.master_username) == ("app", "owner")
    assert instance.master_password == json.loads(secret)["password"]
    assert instance.master_password not in repr(instance)
    assert instance.parameters == {"max_connections": "90"}
    assert instance.resource_id == made["DbiResourceId"]
    assert instance.iam_authentication
    account.rds.delete_db_instance(DBInstanceIdentifier="server", SkipFinalSnapshot=True)
    assert events.seen[-1] == ("instance_deleted", instance)


def test_error_of_a_hook_is_the_call_s_and_leaves_no_instance(account, events):
    events.raises = RuntimeError("no PostgreSQL found")
    with pytest.raises(ClientError, match="no PostgreSQL found"):
        account.instance("broken")
    with pytest.raises(ClientError, match="DBInstanceNotFound"):
        account.describe_instance("broken")


def test_rotated_master_password_is_announced(account, events):
    account.instance("announced")
    account.rds.modify_db_instance(
        DBInstanceIdentifier="announced", RotateMasterUserPassword=True, ApplyImmediately=True
    )
    (_, before), (name, after) = events.seen
    assert name == "instance_changed"
    assert before.master_password != after.master_password


def test_proxy_leads_to_its_hook_when_it_has_its_target(account, events):
    groups = [account.security_group("of-the-proxy")]
    made = account.proxy("door", VpcSecurityGroupIds=groups)
    account.rds.modify_db_proxy_target_group(
        DBProxyName="door",
        TargetGroupName="default",
        ConnectionPoolConfig={"MaxConnectionsPercent": 90, "ConnectionBorrowTimeout": 5},
    )
    assert events.seen == []
    account.instance("behind")
    account.rds.register_db_proxy_targets(DBProxyName="door", DBInstanceIdentifiers=["behind"])
    name, proxy = events.seen[-1]
    assert name == "proxy_changed"
    assert (proxy.name, proxy.host, proxy.port) == ("door", made["Endpoint"], 5432)
    assert proxy.arn.endswith(f":db-proxy:{proxy.id}")
    assert [auth.iam_auth for auth in proxy.auth] == ["REQUIRED"]
    assert proxy.instance.identifier == "behind"
    assert (proxy.max_connections_percent, proxy.borrow_timeout_seconds) == (90, 5)
    assert proxy.require_tls
    assert list(proxy.security_group_ids) == groups
    account.rds.modify_db_proxy(DBProxyName="door", IdleClientTimeout=60)
    assert events.seen[-1] == ("proxy_changed", replace(proxy, idle_client_timeout_seconds=60))
    account.rds.delete_db_proxy(DBProxyName="door")
    assert events.seen[-1][0] == "proxy_deleted"


def test_error_of_the_proxy_s_hook_leaves_no_target(account, events):
    account.proxy("refused")
    account.instance("refused")
    events.raises = RuntimeError("port taken")
    with pytest.raises(ClientError, match="port taken"):
        account.rds.register_db_proxy_targets(DBProxyName="refused", DBInstanceIdentifiers=["refused"])
    assert account.rds.describe_db_proxy_targets(DBProxyName="refused")["Targets"] == []


def test_target_health_is_what_the_stack_says(account, events):
    account.proxy("health")
    account.instance("health")
    account.rds.register_db_proxy_targets(DBProxyName="health", DBInstanceIdentifiers=["health"])
    [target] = account.rds.describe_db_proxy_targets(DBProxyName="health")["Targets"]
    assert target["TargetHealth"] == {"State": "AVAILABLE"}
    events.health = TargetHealth("UNAVAILABLE", "AUTH_FAILURE", "password authentication failed")
    [target] = account.rds.describe_db_proxy_targets(DBProxyName="health")["Targets"]
    assert target["TargetHealth"] == {
        "State": "UNAVAILABLE",
        "Reason": "AUTH_FAILURE",
        "Description": "password authentication failed",
    }


# --- functions ---


def seen_function(events: Recorder) -> FunctionVersion:
    return events.seen[-1][1][0]


def test_alias_leads_to_its_published_version(account, events):
    client = getattr(account, "lambda")
    account.function("versions", "A = 1", Environment={"Variables": {"N": "1"}}, Publish=True)
    client.create_alias(FunctionName="versions", Name="live", FunctionVersion="1")
    client.update_function_configuration(FunctionName="versions", Environment={"Variables": {"N": "2"}})
    client.update_function_code(FunctionName="versions", ZipFile=package(handler="A = 2"))
    arn = client.get_function_configuration(FunctionName="versions")["FunctionArn"]
    for name, qualifier in [("versions:live", {}), (f"{arn}:live", {}), ("versions", {"Qualifier": "live"})]:
        assert account.invoke(name, **qualifier)["ExecutedVersion"] == "1"
        function, _, invoked = events.seen[-1][1]
        assert (function.version, dict(function.variables)) == ("1", {"N": "1"})
        assert function.package.content == package(handler="A = 1")
        assert invoked == f"{arn}:live"
    assert account.invoke("versions")["ExecutedVersion"] == "$LATEST"
    assert dict(seen_function(events).variables) == {"N": "2"}


def test_version_runs_on_when_its_layer_is_deleted(account, events):
    client = getattr(account, "lambda")
    layer = client.publish_layer_version(LayerName="shared", Content={"ZipFile": package(python__shared="")})
    account.function("layered", Layers=[layer["LayerVersionArn"]], Publish=True)
    client.delete_layer_version(LayerName="shared", VersionNumber=1)
    account.invoke("layered:1")
    assert [archive.content for archive in seen_function(events).layers] == [package(python__shared="")]


def test_function_error_and_log_are_in_the_headers(account, events):
    events.answer = lambda *_: Invocation("1", b'{"errorMessage": "no"}', "Unhandled", "the log\n")
    account.function("failing")
    answer = account.invoke("failing", LogType="Tail")
    assert answer["FunctionError"] == "Unhandled"
    assert answer["LogResult"] == "dGhlIGxvZwo="
    assert json.loads(answer["Payload"]) == {"errorMessage": "no"}
    assert "LogResult" not in account.invoke("failing")


def test_throttled_invocation_says_why(account, events):
    def throttle(*_: object) -> Invocation:
        raise TooManyRequestsError("ReservedFunctionConcurrentInvocationLimitExceeded")

    events.answer = throttle
    account.function("throttled")
    getattr(account, "lambda").put_function_concurrency(FunctionName="throttled", ReservedConcurrentExecutions=0)
    with pytest.raises(ClientError) as refusal:
        account.invoke("throttled")
    assert refusal.value.response["Error"]["Code"] == "TooManyRequestsException"
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert refusal.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert events.seen[-1][1][1] == 0


def test_event_runs_in_the_background(account, events):
    done = threading.Event()

    def answer(_: object, payload: bytes) -> Invocation:
        time.sleep(0.3)
        done.set()
        return Invocation("1", payload, None, "")

    events.answer = answer
    account.function("event")
    assert account.invoke("event", InvocationType="Event")["StatusCode"] == 202
    assert not done.is_set()
    assert done.wait(5)


def test_invocations_run_side_by_side(account, events):
    together = threading.Barrier(4, timeout=5)

    def answer(_: object, payload: bytes) -> Invocation:
        together.wait()
        return Invocation("1", payload, None, "")

    events.answer = answer
    account.function("parallel")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: account.invoke("parallel", n)["Payload"], range(4)))
    assert answers == [b"0", b"1", b"2", b"3"]


def test_unknown_function_and_bad_payload_are_refused(account):
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        account.invoke("nowhere")
    account.function("picky")
    with pytest.raises(ClientError, match="InvalidRequestContentException"):
        getattr(account, "lambda").invoke(FunctionName="picky", Payload=b"{")


def test_failed_rotation_step_stops_the_rotation(account, events):
    asked = []

    def fail(_: object, payload: bytes) -> Invocation:
        asked.append(json.loads(payload))
        return Invocation("1", b'{"errorMessage": "setSecret failed"}', "Unhandled", "")

    events.answer = fail
    arn = account.function("rotator")["FunctionArn"]
    secret = account.secretsmanager.create_secret(Name="kept", SecretString="old")["ARN"]
    with pytest.raises(ClientError, match="setSecret failed"):
        account.secretsmanager.rotate_secret(SecretId="kept", RotationLambdaARN=arn)
    assert account.secretsmanager.get_secret_value(SecretId="kept")["SecretString"] == "old"
    assert [(event["Step"], event["SecretId"]) for event in asked] == [("createSecret", secret)]


def test_deleted_function_is_announced(account, events):
    account.function("gone", Publish=True)
    getattr(account, "lambda").delete_function(FunctionName="gone")
    assert events.seen == [("function_deleted", "gone")]


def test_function_runs_with_its_role_s_credentials_and_logs(plane, account, events, tmp_path):
    code = """
import boto3
def handler(event, context):
    print("hello")
    return boto3.client("sts").get_caller_identity()["Arn"]
"""
    runtime = LambdaRuntime(
        python=RUNTIME_PYTHON,
        folder=tmp_path,
        credentials=plane.credentials_for,
        endpoint_url=plane.url,
        log=plane.write_log,
    )
    events.answer = runtime.invoke
    try:
        account.logs.create_log_group(logGroupName="/aws/lambda/whoami")
        logs = "arn:aws:logs:us-east-1:123456789012:log-group:/aws/lambda/whoami:*"
        role = account.role("whoami", allow(["logs:CreateLogStream", "logs:PutLogEvents"], logs))
        account.function("whoami", code, Timeout=20, Role=role)
        answer = account.invoke("whoami")
        assert json.loads(answer["Payload"]) == "arn:aws:sts::123456789012:assumed-role/whoami/whoami"
        logged = account.logs.filter_log_events(logGroupName="/aws/lambda/whoami")["events"]
        assert "hello" in [event["message"] for event in logged]
        account.iam.delete_role_policy(RoleName="whoami", PolicyName="main")
        account.invoke("whoami")
        assert account.logs.filter_log_events(logGroupName="/aws/lambda/whoami")["events"] == logged
    finally:
        runtime.stop()


# --- who may do what ---


def test_directory_knows_sessions_and_their_policies(plane, account):
    user = "arn:aws:rds-db:us-east-1:123456789012:dbuser:prx-1/app"
    session = account.assume(account.role("reader", allow("rds-db:connect", user)))
    credential = plane.directory.credential(session._credentials["aws_access_key_id"])
    assert credential.secret_access_key == session._credentials["aws_secret_access_key"]
    assert credential.session_token == session._credentials["aws_session_token"]
    assert plane.directory.allows(credential, "rds-db:connect", user)
    assert not plane.directory.allows(credential, "rds-db:connect", user.replace("prx-1", "prx-2"))
    assert plane.directory.credential("AKIAIOSFODNN7EXAMPLE") is None


def test_calls_of_a_role_are_held_to_its_policies(account):
    secret = account.secretsmanager.create_secret(Name="mine", SecretString="1")["ARN"]
    account.secretsmanager.create_secret(Name="other", SecretString="2")
    session = account.assume(account.role("narrow", allow("secretsmanager:GetSecretValue", secret)))
    assert session.secretsmanager.get_secret_value(SecretId=secret)["SecretString"] == "1"
    assert session.sts.get_caller_identity()["Account"] == "123456789012"
    for call in [
        lambda: session.secretsmanager.get_secret_value(SecretId="other"),
        lambda: session.secretsmanager.put_secret_value(SecretId=secret, SecretString="3"),
        session.secretsmanager.get_random_password,
    ]:
        with pytest.raises(ClientError, match=r"AccessDeniedException.*not authorized to perform: secretsmanager:"):
            call()
    with pytest.raises(ClientError, match="AccessDenied"):
        session.rds.describe_db_instances()


def test_secret_under_a_customer_s_key_needs_the_key_through_secrets_manager(plane, account):
    key = account.kms.create_key()["KeyMetadata"]["Arn"]
    secret = account.secretsmanager.create_secret(Name="keyed", SecretString='{"username": "app"}', KmsKeyId=key)["ARN"]
    read = allow("secretsmanager:GetSecretValue", secret)

    def decrypt(service: str) -> dict[str, Any]:
        return allow("kms:Decrypt", key, StringEquals={"kms:ViaService": f"{service}.us-east-1.amazonaws.com"})

    without = account.role("without-key", read, service="rds.amazonaws.com")
    wrong = account.role("wrong-service", read, decrypt("s3"), service="rds.amazonaws.com")
    right = account.role("with-key", read, decrypt("secretsmanager"), service="rds.amazonaws.com")
    for role in (without, wrong):
        with pytest.raises(ClientError, match="kms:Decrypt"):
            account.assume(role).secretsmanager.get_secret_value(SecretId=secret)
        with pytest.raises(SecretRefused, match="kms:Decrypt"):
            plane.directory.read_secret(role, secret)
    assert account.assume(right).secretsmanager.get_secret_value(SecretId=secret)["SecretString"]
    assert plane.directory.read_secret(right, secret) == {"username": "app"}
    for_lambda = account.role("for-lambda", read, decrypt("secretsmanager"))
    with pytest.raises(SecretRefused, match="cannot be assumed by rds"):
        plane.directory.read_secret(for_lambda, secret)


def test_security_groups_let_through_what_both_sides_permit(plane, account):
    function, proxy = account.security_group("hop-function"), account.security_group("hop-proxy")

    def permission(group: str) -> dict[str, Any]:
        pairs = [{"GroupId": group}]
        return {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "UserIdGroupPairs": pairs}

    assert not plane.reachable([function], [proxy], 5432)
    account.ec2.authorize_security_group_egress(GroupId=function, IpPermissions=[permission(proxy)])
    assert not plane.reachable([function], [proxy], 5432)
    account.ec2.authorize_security_group_ingress(GroupId=proxy, IpPermissions=[permission(function)])
    assert plane.reachable([function], [proxy], 5432)
    assert not plane.reachable([function], [proxy], 5433)
    assert not plane.reachable([proxy], [function], 5432)


# --- the server ---


def test_taken_port_is_an_error_and_stop_puts_moto_back(plane):
    with pytest.raises(OSError, match="in use"):
        ControlPlane().start(int(plane.url.rsplit(":", 1)[1]))


def test_two_environments_live_side_by_side(account, events):
    for environment in ("app-dev", "app-prod"):
        account.instance(environment)
        account.function(environment)
    assert account.invoke("app-dev")["StatusCode"] == account.invoke("app-prod")["StatusCode"] == 200
    hosts = {view.host for name, view in events.seen if name == "instance_created"}
    assert len(hosts) == 2
