import json

import pytest

from tests.plans import Plan, Refusals, plan_module, plan_refusals

REFUSALS: Refusals = {
    "no_package": ({"package": "missing.zip"}, "run make package"),
    "no_layer": ({"layer": "missing.zip"}, "run make package"),
    "auth": ({"auth": "secret"}, "auth must be iam or password"),
    "reserved_user": ({"user": "rdsproxyadmin"}, "none of master"),
    "upper_case_user": ({"user": "App"}, "lower-case PostgreSQL name"),
}


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_module("bootstrap")


@pytest.fixture(scope="module")
def refusals() -> dict[str, str]:
    return plan_refusals("bootstrap", REFUSALS)


@pytest.mark.parametrize("case", REFUSALS)
def test_wrong_arguments_are_refused(refusals: dict[str, str], case: str) -> None:
    assert REFUSALS[case][1] in refusals[case]


def test_secret_is_a_container_without_a_value(plan: Plan) -> None:
    assert len(plan.of_type("aws_secretsmanager_secret")) == 1
    assert not plan.of_type("aws_secretsmanager_secret_version")


def test_apply_invokes_it_again_when_code_or_settings_change(plan: Plan) -> None:
    invocation = plan["module.bootstrap.aws_lambda_invocation.apply"]
    assert json.loads(invocation["input"]) == {"action": "apply"}
    assert invocation["lifecycle_scope"] == "CREATE_ONLY"
    assert plan.changes["module.bootstrap.aws_lambda_invocation.apply"]["change"]["after_unknown"]["triggers"] is True


def test_it_never_takes_more_than_one_connection(plan: Plan) -> None:
    assert plan["module.bootstrap.aws_lambda_function.main"]["reserved_concurrent_executions"] == 1
