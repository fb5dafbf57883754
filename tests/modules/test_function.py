import json
from typing import Any

import pytest

from tests.grants import grants
from tests.plans import ARGUMENTS, POOLED, Plan, Refusals, arn, plan_standing, plan_variants

CONNECTION = ARGUMENTS["function"]["connection"]
APPLICATION = ARGUMENTS["function"]["application"]

REFUSALS: Refusals = {
    "no_package": ({"package": "missing.zip"}, "run make package"),
    "no_layer": ({"layer": "missing.zip"}, "run make package"),
    "auth": ({"auth": "password"}, "auth must be iam or secret"),
    "architecture": ({"runtime": {"architecture": "riscv64"}}, "must be arm64 or x86_64"),
    "name": ({"name": "app function"}, "1 to 64 letters"),
    "any_user": ({"application": {**APPLICATION, "user": "*"}}, "letter by letter"),
    "long_user": ({"application": {**APPLICATION, "user": "u" * 64}}, "at most 63 characters"),
    "any_iam_user": ({"application": {**APPLICATION, "iam_user": "*"}}, "letter by letter"),
    "layer_of_another_architecture": (
        {"runtime": {"architecture": "arm64"}},
        "run make package ARCH=arm64",
    ),
    "layer_of_another_python": (
        {"layer": "layer-python3.12-x86_64.zip"},
        "is compiled for python3.12, but runtime.name is python3.13: run make package PYTHON_VERSION=3.13",
    ),
    "layer_of_another_python_one_byte_on": ({"layer": "compiled-1.zip"}, "is compiled for python3.12, but"),
    "layer_of_another_python_two_bytes_on": ({"layer": "compiled-2.zip"}, "is compiled for python3.12, but"),
    "package_of_another_python": (
        {"package": "layer-python3.12-x86_64.zip"},
        "is compiled for python3.12, but runtime.name is python3.13: make the package with PYTHON_VERSION=3.13",
    ),
    "handler": ({"handler": "app:main"}, "handler must be module.function"),
    "handler_in_its_old_place": ({"runtime": {"handler": "app.main"}}, "is now the argument handler"),
    "memory": ({"runtime": {"memory_mb": 64}}, "must be from 128 to 10240"),
    "long_timeout": ({"runtime": {"timeout_seconds": 901}}, "must be at most 900"),
    "six_layers": ({"runtime": {"extra_layers": ["arn"] * 5}}, "must be at most four"),
    "two_ways_to_start": (
        {"runtime": {"snap_start": True, "provisioned_concurrency": 1}},
        "exclude each other",
    ),
    "old_runtime": ({"runtime": {"snap_start": True, "name": "python3.11"}}, "needs python3.12 or newer"),
    "more_provisioned_than_reserved": ({"runtime": {"provisioned_concurrency": 21}}, "of which it is a part"),
    "short_timeout": (
        {"connection": POOLED, "runtime": {"timeout_seconds": 10}},
        "(5 s) together: 10 s",
    ),
    "long_connecting": ({"environment": {"PGCONNECT_TIMEOUT": "20"}}, "connecting (20 s)"),
    "connect_timeout": ({"environment": {"PGCONNECT_TIMEOUT": "soon"}}, "must be a number of seconds"),
    "host_of_readers_of_ones_own": (
        {"environment": {"PGHOST_READER": "elsewhere"}},
        "must not name what the module sets",
    ),
    "paused": ({"connection": {**CONNECTION, "resume_seconds": 30}}, "PGCONNECT_TIMEOUT 5 must be at least 30"),
    "paused_and_short": (
        {
            "connection": {**CONNECTION, "resume_seconds": 30},
            "environment": {"PGCONNECT_TIMEOUT": "40"},
            "runtime": {"timeout_seconds": 30},
        },
        "must be longer than connecting (40 s)",
    ),
    "tokens": (
        {"connection": {**CONNECTION, "max_clients": 5000, "iam_logins_per_second": 200}, "reserved_concurrency": 201},
        "reserved_concurrency 201 lets as many execution environments log in with new tokens within one second, but an"
        " instance bears fewer than 200",
    ),
    "readers_another_way": ({"reader_connection": POOLED}, "must go the way that connection goes"),
    "readers_of_another_proxy": (
        {
            "connection": POOLED,
            "reader_connection": {**POOLED, "rds_db_arn_prefix": POOLED["rds_db_arn_prefix"] + "0"},
        },
        "directly to the same cluster or through the same proxy",
    ),
    "few_readers": (
        {
            "connection": {**CONNECTION, "max_clients": 500},
            "reader_connection": {**CONNECTION, "max_clients": 60},
            "reserved_concurrency": 40,
        },
        "takes up to 80 direct connections to the readers during a deployment; with 2 for people that is 82, but the"
        " readers take 60 clients",
    ),
    "host_of_ones_own": ({"environment": {"PGHOST": "elsewhere"}}, "must not name what the module sets"),
    "secret_by_name": (
        {"environment": {"DB_PASS": "hunter", "STAGE": "prod"}},
        "must not hold a secret, as DB_PASS seems",
    ),
    "secret_beside_what_is_not_known": (
        {"environment": {"DB_PASS": "hunter", "STARTED": "${timestamp()}"}},
        "must not hold a secret, as DB_PASS seems",
    ),
    "secret_by_value": (
        {"environment": {"DATABASE_URL": "postgresql://app:hunter@app.example.com/app"}},
        "one of the values of DATABASE_URL contains a password or a key",
    ),
    "secret_by_value_beside_what_is_not_known": (
        {"environment": {"DSN": "user=app password=hunter", "STARTED": "${timestamp()}"}},
        "one of the values of DSN, STARTED contains a password or a key",
    ),
    "secret_at_a_proxy_with_iam": ({"connection": POOLED, "auth": "secret"}, "auth must be iam, the only way"),
    "token_at_a_proxy_with_passwords": (
        {"connection": {**POOLED, "auth": "secret"}},
        "auth must be secret, the only way",
    ),
    "concurrency": ({"reserved_concurrency": 0}, "must be at least 1"),
    "unlimited": ({"reserved_concurrency": None}, "nothing limits the function's direct connections"),
    "budget": ({"reserved_concurrency": 40}, "that is 86, but the instance takes 85 clients"),
    "no_share": (
        {"connection": {**POOLED, "shares": {"orders": 300, "users": 100}}},
        "has no share for app, only orders 300, users 100",
    ),
    "above_its_share": (
        {"connection": {**POOLED, "shares": {"app": 19, "users": 100}}},
        "reserved_concurrency 20 is above the share of app: connection.shares are app 19, users 100",
    ),
    "no_limit_beside_shares": (
        {"connection": {**POOLED, "shares": {"app": 300}}, "reserved_concurrency": None},
        "reserved_concurrency null is above the share of app",
    ),
    "environment": ({"environment": {"TEXT": "x" * 3807}}, "it is 4097 bytes of JSON, and Lambda takes 4096"),
    "unknown_tier": ({"tier": "orders"}, "has no tier orders, only bootstrap, database, function, proxy"),
}

# Names of secrets, that hold none.
NO_SECRETS = {
    "DB_SECRET": APPLICATION["secret_arn"],
    "MAX_TOKEN": "4096",
    "USE_TOKEN": "true",
    "LATER_SECRET": "arn:aws:secretsmanager:us-east-1:111122223333:secret:${timestamp()}",
}

FUNCTION = "module.function.aws_lambda_function.main"


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_variants(
        "function",
        function={},
        reading={"connection": POOLED, "reader_connection": {**POOLED, "host": "reader.example.com"}},
        paused={
            "connection": {**CONNECTION, "resume_seconds": 30},
            "environment": {"PGCONNECT_TIMEOUT": "30"},
            "runtime": {"timeout_seconds": 31},
        },
        tokens={
            "connection": {**CONNECTION, "max_clients": 5000, "iam_logins_per_second": 200},
            "reserved_concurrency": 200,
        },
        one_user={"application": {**APPLICATION, "iam_user": None}},
        no_secrets={"environment": NO_SECRETS},
        last_direct={"reserved_concurrency": 39, "environment": {"TEXT": "x" * 3806}},
        last_pooled={"connection": POOLED, "reserved_concurrency": 494},
        shared={"connection": {**POOLED, "shares": {"app": 20, "users": 100}}},
        unreserved={"connection": POOLED, "reserved_concurrency": None},
        over_pooled={"connection": POOLED, "reserved_concurrency": 495},
        secret={"auth": "secret"},
        secret_pooled={"auth": "secret", "connection": {**POOLED, "auth": "secret"}},
        arm={
            "layer": "layer-arm64.zip",
            "runtime": {
                "architecture": "arm64",
                "snap_start": True,
                "tracing": True,
                "extra_layers": ["arn:aws:lambda:us-east-1:111122223333:layer:more:1"],
            },
        },
        provisioned={"runtime": {"provisioned_concurrency": 5}},
        python312={
            "handler": "shop/app.main",
            "layer": "layer-python3.12-x86_64.zip",
            "package": "compiled-1.zip",
            "runtime": {"name": "python3.12"},
        },
    )


def test_a_function_within_its_share_is_planned(plan: Plan) -> None:
    assert plan["module.shared.aws_lambda_function.main"]["reserved_concurrent_executions"] == 20


def test_arns_and_numbers_are_no_secrets(plan: Plan) -> None:
    assert "module.no_secrets.aws_lambda_function.main" in plan.changes


def log_in_statements(plan: Plan, call: str = "function") -> list[dict[str, Any]]:
    policy = plan[f"module.{call}.aws_iam_role_policy.log_in"]["policy"]
    statements: list[dict[str, Any]] = json.loads(policy)["Statement"]
    return statements


def environment(plan: Plan, call: str = "function") -> dict[str, str]:
    [block] = plan[f"module.{call}.aws_lambda_function.main"]["environment"]
    variables: dict[str, str] = block["variables"]
    return variables


def test_role_may_log_in_as_the_application_and_as_nobody_else(plan: Plan) -> None:
    for call, user in {
        "function": f"{CONNECTION['rds_db_arn_prefix']}/app_iam",
        "one_user": f"{CONNECTION['rds_db_arn_prefix']}/app",
        "last_pooled": f"{POOLED['rds_db_arn_prefix']}/app",
    }.items():
        [statement] = log_in_statements(plan, call)
        assert (statement["Action"], statement["Resource"]) == ("rds-db:connect", user)
        assert environment(plan, call)["PGUSER"] == user.rsplit("/", 1)[1]


def test_what_it_logs_in_to_names_the_policy_so_that_two_can_stand_side_by_side(plan: Plan) -> None:
    calls = ("function", "last_pooled", "secret")
    assert [plan[f"module.{call}.aws_iam_role_policy.log_in"]["name"] for call in calls] == [
        "log-in-db-ABCDEFGHIJKL",
        "log-in-prx-ABCDEFGHIJKL",
        "log-in-app-application-AbCdEf",
    ]


@pytest.mark.parametrize(("call", "connection"), [("secret", CONNECTION), ("secret_pooled", POOLED)])
def test_secret_mode_reads_one_secret_instead_of_signing_tokens(
    plan: Plan, call: str, connection: dict[str, Any]
) -> None:
    assert {statement["Resource"]: statement["Action"] for statement in log_in_statements(plan, call)} == {
        APPLICATION["secret_arn"]: ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"],
        APPLICATION["key_arn"]: "kms:Decrypt",
    }
    variables = environment(plan, call)
    assert (variables["DB_AUTH"], variables["DB_SECRET_ARN"]) == ("secret", APPLICATION["secret_arn"])
    assert variables["PGHOST"] == connection["host"]


def test_the_readers_host_is_told_beside_the_writer_s(plan: Plan) -> None:
    def variables(call: str) -> dict[str, str]:
        [environment] = plan[f"module.{call}.aws_lambda_function.main"]["environment"]
        found: dict[str, str] = environment["variables"]
        return found

    assert variables("reading")["PGHOST_READER"] == "reader.example.com"
    assert variables("reading")["PGHOST"] == POOLED["host"]
    assert "PGHOST_READER" not in variables("function")
    assert {"module.paused.aws_lambda_function.main", "module.tokens.aws_lambda_function.main"} <= plan.changes.keys()


def test_environment_is_what_the_library_reads(plan: Plan) -> None:
    assert environment(plan) == {
        "PGHOST": CONNECTION["host"],
        "PGPORT": "5432",
        "PGDATABASE": "app",
        "PGUSER": "app_iam",
        "PGSSLROOTCERT": "/opt/certificates/rds-us-east-1.pem",
        "DB_AUTH": "iam",
    }


def test_environment_has_the_same_names_through_the_proxy(plan: Plan) -> None:
    assert environment(plan, "last_pooled").keys() == environment(plan).keys()
    assert environment(plan, "secret_pooled").keys() == environment(plan, "secret").keys()


def test_through_the_proxy_concurrency_is_compared_with_the_pool(plan: Plan) -> None:
    assert plan.warnings("last_pooled") == []
    [warning] = plan.warnings("over_pooled")
    assert "that is 644 connections, but the proxy's pool has 643" in warning
    assert plan["module.over_pooled.aws_lambda_function.main"]["reserved_concurrent_executions"] == 495


def test_directly_the_old_version_and_the_new_one_may_use_every_connection(plan: Plan) -> None:
    assert plan["module.last_direct.aws_lambda_function.main"]["reserved_concurrent_executions"] == 39
    assert plan.warnings("last_direct") == []


def test_it_may_start_from_a_snapshot_and_be_traced_on_arm(plan: Plan) -> None:
    function = plan["module.arm.aws_lambda_function.main"]
    assert function["architectures"] == ["arm64"]
    assert function["snap_start"][0]["apply_on"] == "PublishedVersions"
    assert function["tracing_config"] == [{"mode": "Active"}]
    assert plan["module.arm.aws_lambda_layer_version.main"]["compatible_architectures"] == ["arm64"]


def test_a_layer_and_a_package_of_the_runtime_s_python_are_taken(plan: Plan) -> None:
    function = plan["module.python312.aws_lambda_function.main"]
    assert (function["runtime"], function["handler"]) == ("python3.12", "shop/app.main")
    assert plan["module.python312.aws_lambda_layer_version.main"]["compatible_runtimes"] == ["python3.12"]


def test_environments_may_be_kept_started(plan: Plan) -> None:
    [provisioned] = plan.of_type("aws_lambda_provisioned_concurrency_config").values()
    assert (provisioned["qualifier"], provisioned["provisioned_concurrent_executions"]) == ("live", 5)


def test_nothing_is_traced_unless_asked_for(plan: Plan) -> None:
    assert plan[FUNCTION]["tracing_config"] == [{"mode": "PassThrough"}]
    assert plan[FUNCTION]["snap_start"] == []


def test_invocations_reach_published_versions(plan: Plan) -> None:
    assert plan[FUNCTION]["publish"] is True
    assert plan["module.function.aws_lambda_alias.live"]["name"] == "live"


def test_what_the_old_version_used_is_kept_until_its_invocations_have_ended(plan: Plan) -> None:
    """tests/terraform leads a function elsewhere; there invocations are too short to need the wait each time."""
    module = plan.document["configuration"]["root_module"]["module_calls"]["function"]["module"]
    drained = next(each for each in module["resources"] if each["address"] == "terraform_data.drained")
    assert drained["depends_on"] == ["aws_lambda_alias.live"]
    assert "var.connection.host" in drained["expressions"]["triggers_replace"]["references"]
    assert "aws_iam_role_policy.log_in.name" in drained["expressions"]["triggers_replace"]["references"]
    [provisioner] = drained["provisioners"]
    assert "var.runtime.timeout_seconds" in provisioner["expressions"]["command"]["references"]


def test_log_group_is_made_first_with_retention(plan: Plan) -> None:
    group = plan["module.function.aws_cloudwatch_log_group.main"]
    assert group["name"] == "/aws/lambda/app"
    assert group["retention_in_days"] == 365
    assert group["kms_key_id"]


@pytest.fixture(scope="module")
def standing() -> Plan:
    return plan_standing("function")


NETWORK_INTERFACES = (
    "AssignPrivateIpAddresses",
    "CreateNetworkInterface",
    "DeleteNetworkInterface",
    "DescribeNetworkInterfaces",
    "DescribeSubnets",
    "UnassignPrivateIpAddresses",
)


def test_role_logs_keeps_dead_letters_and_stands_in_the_vpc_and_nothing_else(standing: Plan) -> None:
    log, own = arn("aws_cloudwatch_log_group", "main"), "arn:aws:lambda:us-east-1:111122223333:function:app"
    role = standing["module.function.aws_iam_role.main"]
    assert grants(role["assume_role_policy"]) == {"Allow lambda.amazonaws.com sts:AssumeRole"}
    assert grants(standing["module.function.aws_iam_role_policy.runtime"]["policy"]) == {
        f"Allow sqs:SendMessage on {arn('aws_sqs_queue', 'dead_letters')}",
        *(f"Allow logs:{action} on {log}:*" for action in ("CreateLogStream", "PutLogEvents")),
        *(f"Allow ec2:{action} on *" for action in NETWORK_INTERFACES),
        *(f"Deny ec2:{action} on * if lambda:SourceFunctionArn is {own}" for action in NETWORK_INTERFACES),
    }


def test_function_stands_in_the_network_with_its_role_and_keeps_what_failed(standing: Plan) -> None:
    function, network = standing[FUNCTION], ARGUMENTS["function"]["network"]
    assert function["role"] == arn("aws_iam_role", "main")
    [place] = function["vpc_config"]
    assert sorted(place["subnet_ids"]) == sorted(network["subnet_ids"])
    own = "module.function.aws_security_group.interfaces"
    assert sorted(place["security_group_ids"]) == [own, network["security_group_ids"]["function"]]
    assert function["dead_letter_config"] == [{"target_arn": arn("aws_sqs_queue", "dead_letters")}]
    queue = standing["module.function.aws_sqs_queue.dead_letters"]
    assert queue["sqs_managed_sse_enabled"] is True
    assert queue["message_retention_seconds"] == 14 * 24 * 3600


def test_secret_s_key_is_used_through_secrets_manager_only(plan: Plan) -> None:
    policy = plan["module.secret.aws_iam_role_policy.log_in"]["policy"]
    key = APPLICATION["key_arn"]
    assert f"Allow kms:Decrypt on {key} if kms:ViaService is secretsmanager.us-east-1.amazonaws.com" in grants(policy)


def test_its_role_outlives_its_network_interfaces(plan: Plan) -> None:
    """Where the provider deletes the function's own group it waits until Lambda has deleted the interfaces."""
    module = plan.document["configuration"]["root_module"]["module_calls"]["function"]["module"]
    resources = {each["address"]: each for each in module["resources"]}
    assert resources["aws_security_group.interfaces"]["depends_on"] == ["aws_iam_role_policy.runtime"]
    [vpc] = resources["aws_lambda_function.main"]["expressions"]["vpc_config"]
    assert "aws_security_group.interfaces.id" in vpc["security_group_ids"]["references"]
    assert plan[FUNCTION]["replace_security_groups_on_destroy"] is None  # published versions keep their groups


def test_code_goes_live_after_the_migration(plan: Plan) -> None:
    module = plan.document["configuration"]["root_module"]["module_calls"]["function"]["module"]
    function = next(each for each in module["resources"] if each["address"] == "aws_lambda_function.main")
    assert "var.migration" in function["depends_on"]


def test_through_the_proxy_concurrency_may_be_the_accounts(plan: Plan) -> None:
    assert plan["module.unreserved.aws_lambda_function.main"]["reserved_concurrent_executions"] == -1
    assert plan.warnings("unreserved") == []
