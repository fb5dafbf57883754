import json
from typing import Any

import pytest

from tests.plans import Plan, Refusals, plan_module, plan_refusals

REFUSALS: Refusals = {
    "no_package": ({"package": "missing.zip"}, "run make package"),
    "no_layer": ({"layer": "missing.zip"}, "run make package"),
    "reserved_user": ({"application": {"user": "rdsproxyadmin"}}, "none of master"),
    "user_of_a_role_of_rds": ({"application": {"user": "rds"}}, "none of master"),  # rds_iam
    "upper_case_user": ({"application": {"user": "App"}}, "lower-case PostgreSQL name"),
    "long_user": ({"application": {"user": "a" * 57}}, "at most 56 characters"),
    "schema_of_the_ledger": ({"application": {"schema": "bootstrap"}}, "application.schema must be"),
    "schema_of_postgresql": ({"application": {"schema": "pg_app"}}, "not begin with pg_"),
    "access": ({"further_users": {"ada": {"access": "write"}}}, "access must be read or migrate"),
    "further_auth": ({"further_users": {"ada": {"access": "read", "auth": "secret"}}}, "auth iam or password"),
    "further_is_application": ({"further_users": {"app": {"access": "read"}}}, "the application's two"),
    "further_is_the_application_by_iam": ({"further_users": {"app_iam": {"access": "read"}}}, "the application's two"),
    "further_is_owner": ({"further_users": {"app_owner": {"access": "read"}}}, "the schema's owner"),
    "further_is_stand_in": ({"further_users": {"app_next": {"access": "read"}}}, "not end in _next"),
    "rotation": ({"rotation_days": 91}, "rotation_days must be from 1 to 90"),
}
PEOPLE = {"ada": {"access": "migrate"}, "reports": {"access": "read", "auth": "password"}}


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_module("bootstrap", further_users=PEOPLE)


@pytest.fixture(scope="module")
def refusals() -> dict[str, str]:
    return plan_refusals("bootstrap", REFUSALS)


@pytest.mark.parametrize("case", REFUSALS)
def test_wrong_arguments_are_refused(refusals: dict[str, str], case: str) -> None:
    assert REFUSALS[case][1] in refusals[case]


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


def test_rotations_are_not_throttled_and_connections_are_bounded(plan: Plan) -> None:
    function = plan["module.bootstrap.aws_lambda_function.migrator"]
    assert function["reserved_concurrent_executions"] == 3  # apply, and the rotations of app and reports


def test_rotation_waits_for_the_first_value(plan: Plan) -> None:
    configured = _resource(plan, "aws_secretsmanager_secret_rotation.login", argument=None)
    assert "aws_lambda_invocation.apply" in configured["depends_on"]


def _login(user: str, suffix: str = "") -> str:
    return f'module.bootstrap.aws_secretsmanager_secret{suffix}.login["{user}"]'


def _resource(plan: Plan, address: str, argument: str | None = "expressions") -> dict[str, Any]:
    module = plan.document["configuration"]["root_module"]["module_calls"]["bootstrap"]["module"]
    found: dict[str, Any] = next(each for each in module["resources"] if each["address"] == address)
    return found[argument] if argument else found
