import json

import pytest

from tests.plans import ARGUMENTS, Plan, Refusals, plan_module, plan_refusals

REFUSALS: Refusals = {
    "name": ({"name": "app--prod"}, "single hyphens"),
    "idle_above_total": ({"pool": {"max_percent": 20, "max_idle_percent": 40}}, "must not be greater"),
    "too_much": ({"pool": {"max_percent": 101}}, "pool.max_percent must be from 1 to 100"),
    "no_waiting": ({"pool": {"borrow_timeout_seconds": 0}}, "could not grow"),
    "idle_clients": ({"idle_client_timeout_seconds": 30}, "from 60 to 28800"),
}


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_module("proxy")


@pytest.fixture(scope="module")
def refusals() -> dict[str, str]:
    return plan_refusals("proxy", REFUSALS)


@pytest.mark.parametrize("case", REFUSALS)
def test_wrong_arguments_are_refused(refusals: dict[str, str], case: str) -> None:
    assert REFUSALS[case][1] in refusals[case]


def test_clients_must_use_tls_and_iam(plan: Plan) -> None:
    proxy = plan["module.proxy.aws_db_proxy.main"]
    assert proxy["require_tls"] is True
    assert [auth["iam_auth"] for auth in proxy["auth"]] == ["REQUIRED"]


def test_statements_are_not_logged(plan: Plan) -> None:
    assert plan["module.proxy.aws_db_proxy.main"]["debug_logging"] is False


def test_role_reads_its_secret_and_nothing_else(plan: Plan) -> None:
    statements = json.loads(plan["module.proxy.aws_iam_role_policy.main"]["policy"])["Statement"]
    application = ARGUMENTS["proxy"]["application"]
    assert {statement["Action"]: statement["Resource"] for statement in statements} == {
        "secretsmanager:GetSecretValue": application["secret_arn"],
        "kms:Decrypt": application["key_arn"],
    }
    assert statements[1]["Condition"] == {"StringEquals": {"kms:ViaService": "secretsmanager.us-east-1.amazonaws.com"}}


def test_pool_has_no_session_pinning_filters(plan: Plan) -> None:
    [pool] = plan["module.proxy.aws_db_proxy_default_target_group.main"]["connection_pool_config"]
    assert pool["session_pinning_filters"] is None  # PostgreSQL has none
    assert pool["max_idle_connections_percent"] <= pool["max_connections_percent"]
