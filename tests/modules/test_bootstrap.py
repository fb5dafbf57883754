import json
from typing import Any

import pytest

from tests.grants import grants
from tests.plans import ARGUMENTS, Plan, Refusals, arn, plan_module, plan_standing

RESERVED = (
    "rds",
    "rds_superuser",
    "rds_password",
    "rdsadmin",
    "rdsproxyadmin",
    "pg_monitor",
    "postgres",
    "public",
    "none",
)
CHIEF = {**ARGUMENTS["bootstrap"]["database"], "master_user": "chief"}

REFUSALS: Refusals = {
    "no_package": ({"package": "missing.zip"}, "run make package"),
    "no_layer": ({"layer": "missing.zip"}, "run make package"),
    **{
        f"reserved_user_{user}": ({"application": {"user": user}}, "PostgreSQL or RDS reserves it") for user in RESERVED
    },
    **{
        f"reserved_further_{user}": ({"further_users": {user: {"access": "read"}}}, f"must not have {user}: PostgreSQL")
        for user in RESERVED
    },
    "user_is_master": ({"application": {"user": "chief"}, "database": CHIEF}, "the database's master user"),
    "user_by_token_is_master": (
        {"application": {"user": "chief"}, "database": {**CHIEF, "master_user": "chief_iam"}},
        "its user for tokens would be chief_iam",
    ),
    "user_is_owner": ({"application": {"user": "app_owner"}}, "or the schema's owner"),
    "user_is_stand_in": ({"application": {"user": "app_next"}}, "does not end in _next"),
    "further_is_master": ({"further_users": {"chief": {"access": "read"}}, "database": CHIEF}, "master user, the"),
    "owner_is_master": ({"database": {**CHIEF, "master_user": "app_owner"}}, "its owner would be app_owner"),
    "schema_of_rds": ({"application": {"schema": "rds"}}, "not begin with pg_ or rds_"),
    "architecture": ({"runtime": {"architecture": "riscv64"}}, "must be arm64 or x86_64"),
    "layer_of_another_python": (
        {"layer": "layer-python3.12-x86_64.zip"},
        "is compiled for python3.12, but this function runs on python3.13: name the layer",
    ),
    "package_of_another_python": (
        {"package": "compiled-1.zip"},
        "is compiled for python3.12, but this function runs on python3.13: name the bootstrap.zip",
    ),
    "layer_of_another_architecture": ({"runtime": {"architecture": "arm64"}}, "run make package ARCH=arm64"),
    "memory": ({"runtime": {"memory_mb": 64}}, "must be from 128 to 10240"),
    "long_timeout": ({"runtime": {"timeout_seconds": 901}}, "must be from 30"),
    "unknown_tier": ({"tier": "orders"}, "has no tier orders, only bootstrap, database, function, proxy"),
    "many_users": (
        {"further_users": {f"person_{number}": {"access": "read"} for number in range(60)}},
        "bytes of JSON, and Lambda takes 4096",
    ),
    "no_connections": ({"application": {"connection_limit": 0}}, "application.connection_limit must be a whole number"),
    "no_time": ({"application": {"statement_timeout_ms": 0}}, "application.statement_timeout_ms must be a whole"),
    "two_timeouts": (
        {"application": {"statement_timeout_ms": 5000, "settings": {"Statement_Timeout": "5s"}}},
        "must not have statement_timeout beside",
    ),
    "upper_case_user": ({"application": {"user": "App"}}, "lower-case PostgreSQL name"),
    "long_user": ({"application": {"user": "a" * 57}}, "at most 56 characters"),
    "schema_of_the_ledger": ({"application": {"schema": "bootstrap"}}, "application.schema must be"),
    "schema_of_postgresql": ({"application": {"schema": "pg_app"}}, "not begin with pg_ or rds_"),
    "access": ({"further_users": {"ada": {"access": "write"}}}, "access must be read or migrate"),
    "further_auth": ({"further_users": {"ada": {"access": "read", "auth": "secret"}}}, "auth iam or password"),
    "further_is_application": ({"further_users": {"app": {"access": "read"}}}, "the application's two"),
    "further_is_the_application_by_iam": ({"further_users": {"app_iam": {"access": "read"}}}, "the application's two"),
    "further_is_owner": ({"further_users": {"app_owner": {"access": "read"}}}, "the schema's roles"),
    "further_is_deployer": ({"further_users": {"app_deploy": {"access": "read"}}}, "the schema's roles"),
    "further_is_stand_in": ({"further_users": {"app_next": {"access": "read"}}}, "not end in _next"),
    "rotation": ({"rotation_days": 91}, "rotation_days must be from 1 to 90"),
}
PEOPLE = {"ada": {"access": "migrate"}, "reports": {"access": "read", "auth": "password"}}


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_module("bootstrap", further_users=PEOPLE)


def test_secrets_are_containers_without_values(plan: Plan) -> None:
    assert set(plan.of_type("aws_secretsmanager_secret")) == {_login("app"), _login("reports")}
    assert not plan.of_type("aws_secretsmanager_secret_version")


def test_every_password_is_rotated_but_not_at_once(plan: Plan) -> None:
    rotations = plan.of_type("aws_secretsmanager_secret_rotation")
    assert set(rotations) == {_login("app", "_rotation"), _login("reports", "_rotation")}
    for rotation in rotations.values():
        assert rotation["rotate_immediately"] is False
        assert rotation["rotation_rules"][0]["automatically_after_days"] == 30


def test_only_secrets_manager_of_this_account_may_invoke_it_for_these_secrets(plan: Plan) -> None:
    permissions = plan.of_type("aws_lambda_permission")
    assert len(permissions) == 2
    assert len({permission["statement_id"] for permission in permissions.values()}) == 2
    for permission in permissions.values():
        assert permission["principal"] == "secretsmanager.amazonaws.com"
        assert permission["source_account"] == "111122223333"
    source = _resource(plan, "aws_lambda_permission.rotation")["source_arn"]["references"]
    assert "aws_secretsmanager_secret.login" in source


def test_apply_invokes_it_again_when_code_or_settings_change(plan: Plan) -> None:
    invocation = plan["module.bootstrap.aws_lambda_invocation.apply"]
    assert json.loads(invocation["input"]) == {"action": "apply"}
    assert invocation["lifecycle_scope"] == "CREATE_ONLY"
    triggers = _resource(plan, "aws_lambda_invocation.apply")["triggers"]["references"]
    assert {"aws_lambda_function.migrator.source_code_hash", "local.environment"} <= set(triggers)


def test_it_reserves_nothing_so_that_a_new_account_can_make_it(plan: Plan) -> None:
    function = plan["module.bootstrap.aws_lambda_function.migrator"]
    assert function["reserved_concurrent_executions"] == -1


def test_its_role_outlives_its_network_interfaces(plan: Plan) -> None:
    assert _resource(plan, "aws_security_group.interfaces", "depends_on") == ["aws_iam_role_policy.runtime"]
    [vpc] = _resource(plan, "aws_lambda_function.migrator")["vpc_config"]
    assert "aws_security_group.interfaces.id" in vpc["security_group_ids"]["references"]


def test_no_proxy_and_no_policy_stands_on_the_function(plan: Plan) -> None:
    """What a create-before-destroy resource stands on cannot be replaced under a fixed name."""
    module = plan.document["configuration"]["root_module"]["module_calls"]["bootstrap"]["module"]
    application = module["outputs"]["application"]
    assert "depends_on" not in application
    assert not any("aws_lambda" in reference for reference in application["expression"]["references"])


def test_rotation_waits_for_the_first_value(plan: Plan) -> None:
    configured = _resource(plan, "aws_secretsmanager_secret_rotation.login", argument=None)
    assert "aws_lambda_invocation.apply" in configured["depends_on"]


@pytest.fixture(scope="module")
def standing() -> Plan:
    limits = {"connection_limit": 40, "statement_timeout_ms": 5000, "settings": {"lock_timeout": "2s"}, "adopt": True}
    database = ARGUMENTS["bootstrap"]["database"]
    pausing = {**database, "connection": {**database["connection"], "resume_seconds": 30}}
    return plan_standing("bootstrap", application=limits, database=pausing)


def test_it_waits_for_a_database_that_has_paused(standing: Plan) -> None:
    [environment] = standing["module.bootstrap.aws_lambda_function.migrator"]["environment"]
    assert environment["variables"]["PGCONNECT_TIMEOUT"] == "40"


def test_it_is_told_the_limits_of_the_application(standing: Plan) -> None:
    [environment] = standing["module.bootstrap.aws_lambda_function.migrator"]["environment"]
    assert environment["variables"]["APPLICATION_CONNECTION_LIMIT"] == "40"
    assert environment["variables"]["APPLICATION_ADOPT"] == "1"
    settings = json.loads(environment["variables"]["APPLICATION_SETTINGS"])
    assert settings == {"lock_timeout": "2s", "statement_timeout": "5000ms"}


def test_it_is_led_to_the_database_and_to_its_secrets(standing: Plan) -> None:
    function = standing["module.bootstrap.aws_lambda_function.migrator"]
    [environment] = function["environment"]
    variables = environment["variables"]
    given = ARGUMENTS["bootstrap"]["database"]
    assert variables["PGHOST"] == given["connection"]["host"]
    assert variables["MASTER_SECRET_ARN"] == given["master_secret_arn"]
    assert variables["APPLICATION_SECRET_ARN"] == arn("aws_secretsmanager_secret", "login")
    assert variables["APPLICATION_SCHEMA"] == "app"


NETWORK_INTERFACES = (
    "AssignPrivateIpAddresses",
    "CreateNetworkInterface",
    "DeleteNetworkInterface",
    "DescribeNetworkInterfaces",
    "DescribeSubnets",
    "UnassignPrivateIpAddresses",
)


def test_role_reads_the_master_s_secret_and_turns_over_its_own_and_nothing_else(standing: Plan) -> None:
    database, own = ARGUMENTS["bootstrap"]["database"], arn("aws_secretsmanager_secret", "login")
    through = "if kms:ViaService is secretsmanager.us-east-1.amazonaws.com"
    steps = ("DescribeSecret", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage")
    assert grants(standing["module.bootstrap.aws_iam_role_policy.secrets"]["policy"]) == {
        f"Allow secretsmanager:GetSecretValue on {database['master_secret_arn']}",
        *(f"Allow secretsmanager:{step} on {own}" for step in steps),
        *(f"Allow kms:{action} on {database['key_arn']} {through}" for action in ("Decrypt", "GenerateDataKey")),
    }


def test_lambda_logs_and_stands_in_the_vpc_and_the_code_makes_no_interfaces(standing: Plan) -> None:
    log, own = arn("aws_cloudwatch_log_group", "main"), "arn:aws:lambda:us-east-1:111122223333:function:app-bootstrap"
    role = standing["module.bootstrap.aws_iam_role.main"]
    assert grants(role["assume_role_policy"]) == {"Allow lambda.amazonaws.com sts:AssumeRole"}
    assert grants(standing["module.bootstrap.aws_iam_role_policy.runtime"]["policy"]) == {
        *(f"Allow logs:{action} on {log}:*" for action in ("CreateLogStream", "PutLogEvents")),
        *(f"Allow ec2:{action} on *" for action in NETWORK_INTERFACES),
        *(f"Deny ec2:{action} on * if lambda:SourceFunctionArn is {own}" for action in NETWORK_INTERFACES),
    }


def test_function_stands_in_the_network_with_its_role_and_encrypted_log(standing: Plan) -> None:
    function, network = standing["module.bootstrap.aws_lambda_function.migrator"], ARGUMENTS["bootstrap"]["network"]
    assert function["role"] == arn("aws_iam_role", "main")
    [place] = function["vpc_config"]
    assert sorted(place["subnet_ids"]) == sorted(network["subnet_ids"])
    own = "module.bootstrap.aws_security_group.interfaces"
    assert sorted(place["security_group_ids"]) == [own, network["security_group_ids"]["bootstrap"]]
    log = standing["module.bootstrap.aws_cloudwatch_log_group.main"]
    assert (log["name"], log["kms_key_id"]) == (f"/aws/lambda/{function['function_name']}", network["log_key_arn"])
    assert log["retention_in_days"] == 365


def test_secrets_are_under_the_database_s_key_and_rotated_by_the_function(standing: Plan) -> None:
    [secret] = standing.of_type("aws_secretsmanager_secret").values()
    assert secret["kms_key_id"] == ARGUMENTS["bootstrap"]["database"]["key_arn"]
    [rotation] = standing.of_type("aws_secretsmanager_secret_rotation").values()
    assert rotation["secret_id"] == _login("app")
    assert rotation["rotation_lambda_arn"] == arn("aws_lambda_function", "migrator")
    [permission] = standing.of_type("aws_lambda_permission").values()
    assert permission["action"] == "lambda:InvokeFunction"
    assert permission["function_name"] == "app-bootstrap"


def _login(user: str, suffix: str = "") -> str:
    return f'module.bootstrap.aws_secretsmanager_secret{suffix}.login["{user}"]'


def _resource(plan: Plan, address: str, argument: str | None = "expressions") -> dict[str, Any]:
    module = plan.document["configuration"]["root_module"]["module_calls"]["bootstrap"]["module"]
    found: dict[str, Any] = next(each for each in module["resources"] if each["address"] == address)
    return found[argument] if argument else found
