"""The control plane leads to the real things, and answers as AWS documents."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session

from local.aws.control_plane import ControlPlane
from local.aws.iam import SecretRefused
from local.aws.reachability import reachable
from local.lambda_runtime.function import FunctionVersion, Invocation, TooManyRequestsError
from local.lambda_runtime.runtime import LambdaRuntime
from local.rds_proxy.pool import TargetHealth
from tests.local.account import RUNTIME_PYTHON, Account, Recorder, allow, package, parameter_group


def test_what_is_not_implemented_fails_at_once(aws):
    with pytest.raises(ClientError) as refusal:
        aws.rds.describe_source_regions()
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert refusal.value.response["Error"]["Code"] == "NotImplemented"


def test_repeated_attempt_is_answered_as_the_first(aws):
    sent = []
    own = Account(aws.url, **aws._credentials)
    own.iam.meta.events.register("before-send.iam.CreateRole", lambda request, **_: sent.append(request))
    own.role("repeated")
    again = URLLib3Session().send(sent[0])
    assert (again.status_code, b":role/repeated</Arn>" in again.content) == (200, True)


def test_role_without_a_policy_may_do_nothing(aws):
    session = aws.assume(aws.role("powerless"))
    with pytest.raises(ClientError, match="AccessDenied"):
        session.secretsmanager.list_secrets()


def test_invocation_names_the_version_that_ran(aws):
    aws.function("ran", Publish=True)
    assert aws.invoke("ran:1")["ExecutedVersion"] == "1"


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
    answered, done = threading.Event(), threading.Event()

    def answer(_: object, payload: bytes) -> Invocation:
        assert answered.wait(30)
        done.set()
        return Invocation("1", payload, None, "")

    events.answer = answer
    account.function("event")
    assert account.invoke("event", InvocationType="Event")["StatusCode"] == 202
    assert not done.is_set()
    answered.set()
    assert done.wait(30)


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
        credentials=plane.functions.credentials_for,
        endpoint_url=plane.url,
        log=plane.functions.write_log,
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


def test_directory_knows_sessions_and_their_policies(plane, account):
    user = "arn:aws:rds-db:us-east-1:123456789012:dbuser:prx-1/app"
    session = account.assume(account.role("reader", allow("rds-db:connect", user)))
    credentials = plane.iam.credentials_of(session._credentials["aws_access_key_id"])
    assert credentials.secret_access_key == session._credentials["aws_secret_access_key"]
    assert credentials.session_token == session._credentials["aws_session_token"]
    assert plane.iam.allows(credentials, "rds-db:connect", user)
    assert not plane.iam.allows(credentials, "rds-db:connect", user.replace("prx-1", "prx-2"))
    assert plane.iam.credentials_of("AKIAIOSFODNN7EXAMPLE") is None


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
            plane.iam.read_secret(role, secret)
    assert account.assume(right).secretsmanager.get_secret_value(SecretId=secret)["SecretString"]
    assert plane.iam.read_secret(right, secret) == {"username": "app"}
    for_lambda = account.role("for-lambda", read, decrypt("secretsmanager"))
    with pytest.raises(SecretRefused, match="cannot be assumed by rds"):
        plane.iam.read_secret(for_lambda, secret)


def test_security_groups_let_through_what_both_sides_permit(account):
    function, proxy = account.security_group("pair-function"), account.security_group("pair-proxy")

    def permission(group: str) -> dict[str, Any]:
        pairs = [{"GroupId": group}]
        return {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "UserIdGroupPairs": pairs}

    assert not reachable([function], [proxy], 5432)
    account.ec2.authorize_security_group_egress(GroupId=function, IpPermissions=[permission(proxy)])
    assert not reachable([function], [proxy], 5432)
    account.ec2.authorize_security_group_ingress(GroupId=proxy, IpPermissions=[permission(function)])
    assert reachable([function], [proxy], 5432)
    assert not reachable([function], [proxy], 5433)
    assert not reachable([proxy], [function], 5432)


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
