import json
from typing import Any

import pytest

from tests.plans import ARGUMENTS, Plan, Refusals, plan_module, plan_refusals

CONNECTION = ARGUMENTS["function"]["connection"]
APPLICATION = ARGUMENTS["function"]["application"]

REFUSALS: Refusals = {
    "no_package": ({"package": "missing.zip"}, "run make package"),
    "no_layer": ({"layer": "missing.zip"}, "run make package"),
    "auth": ({"auth": "password"}, "auth must be iam or secret"),
    "architecture": ({"runtime": {"architecture": "riscv64"}}, "must be arm64 or x86_64"),
    "concurrency": ({"reserved_concurrency": 0}, "must be at least 1"),
    "budget": ({"reserved_concurrency": 85}, "that is 89, but the instance bears 85 clients"),
}


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_module("function")


@pytest.fixture(scope="module")
def refusals() -> dict[str, str]:
    return plan_refusals("function", REFUSALS)


@pytest.mark.parametrize("case", REFUSALS)
def test_wrong_arguments_are_refused(refusals: dict[str, str], case: str) -> None:
    assert REFUSALS[case][1] in refusals[case]


def log_in_statements(plan: Plan) -> list[dict[str, Any]]:
    statements: list[dict[str, Any]] = json.loads(plan["module.function.aws_iam_role_policy.log_in"]["policy"])[
        "Statement"
    ]
    return statements


def test_role_may_log_in_as_the_application_and_as_nobody_else(plan: Plan) -> None:
    [statement] = log_in_statements(plan)
    assert statement["Action"] == "rds-db:connect"
    assert statement["Resource"] == f"{CONNECTION['rds_db_arn_prefix']}/app"


def test_secret_mode_reads_one_secret_instead_of_signing_tokens() -> None:
    plan = plan_module("function", auth="secret")
    assert {statement["Resource"] for statement in log_in_statements(plan)} == {
        APPLICATION["secret_arn"],
        APPLICATION["key_arn"],
    }
    [environment] = plan["module.function.aws_lambda_function.main"]["environment"]
    assert environment["variables"]["DB_AUTH"] == "secret"
    assert environment["variables"]["DB_SECRET_ARN"] == APPLICATION["secret_arn"]


def test_environment_is_what_the_library_reads(plan: Plan) -> None:
    [environment] = plan["module.function.aws_lambda_function.main"]["environment"]
    assert environment["variables"] == {
        "PGHOST": CONNECTION["host"],
        "PGPORT": "5432",
        "PGDATABASE": "app",
        "PGUSER": "app",
        "PGSSLROOTCERT": "/opt/certificates/rds-us-east-1.pem",
        "DB_AUTH": "iam",
    }


def test_no_limit_of_concurrency_through_the_proxy() -> None:
    plan = plan_module("function", connection={**CONNECTION, "max_clients": None}, reserved_concurrency=900)
    assert plan["module.function.aws_lambda_function.main"]["reserved_concurrent_executions"] == 900


def test_invocations_reach_published_versions(plan: Plan) -> None:
    assert plan["module.function.aws_lambda_function.main"]["publish"] is True
    assert plan["module.function.aws_lambda_alias.live"]["name"] == "live"


def test_log_group_is_made_first_with_retention(plan: Plan) -> None:
    group = plan["module.function.aws_cloudwatch_log_group.main"]
    assert group["name"] == "/aws/lambda/app"
    assert group["retention_in_days"] == 365
    assert group["kms_key_id"]


def test_destroy_does_not_wait_for_network_interfaces(plan: Plan) -> None:
    assert plan["module.function.aws_lambda_function.main"]["replace_security_groups_on_destroy"] is True
