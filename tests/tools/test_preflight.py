import io
import json

import pytest

from tools import preflight


def change(kind, actions=("create",), **after):
    return {
        "address": f"module.one.{kind}.main",
        "mode": "managed",
        "type": kind,
        "change": {"actions": list(actions), "before": None, "after": after},
    }


def function(name, reserved, *actions):
    after = {"function_name": name, "reserved_concurrent_executions": reserved}
    return change("aws_lambda_function", actions or ("create",), **after)


@pytest.fixture
def check(account, monkeypatch):  # noqa: ARG001
    def run(*changes):
        provider = {"aws": {"expressions": {"region": {"constant_value": "us-east-1"}}}}
        plan = {"resource_changes": list(changes), "configuration": {"provider_config": provider}}
        monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(plan)))
        return preflight.main()

    return run


@pytest.fixture
def small(plane):
    plane.limit_concurrency(10)
    yield
    plane.limit_concurrency(1000)


def test_a_plan_that_fits_the_account_passes(check):
    assert check(function("web", 900)) is None


@pytest.mark.usefixtures("small")
def test_a_new_account_is_told_what_to_ask_for(check):
    said = check(function("web", 20), function("bootstrap", -1))
    assert "reserves 20 concurrent executions (web 20), but this account has 10 in us-east-1" in said
    assert "10 must stay unreserved" in said
    assert "--quota-code L-B99A9384 --desired-value 120" in said


@pytest.mark.usefixtures("small")
def test_a_function_without_a_reservation_fits_any_account(check):
    assert check(function("web", -1)) is None


def test_what_others_reserve_counts_and_what_the_function_has_itself_does_not(check, account):
    client = getattr(account, "lambda")
    for name, reserved in (("other", 300), ("ours", 400)):
        account.function(name)
        client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=reserved)
    try:
        assert check(function("ours", 600, "update")) is None
        said = check(function("ours", 601, "update"))
        assert "300 are reserved by other functions" in said
        assert "--desired-value 1001" in said
    finally:
        for name in ("other", "ours"):
            client.delete_function(FunctionName=name)


def test_what_a_killed_apply_left_is_named_with_the_way_to_adopt_it(check, account):
    account.function("left")
    said = check(function("left", 1))
    assert "left exists, but is not in this state as module.one.aws_lambda_function.main" in said
    assert "terraform import 'module.one.aws_lambda_function.main' 'left'" in said


def test_what_is_only_changed_or_replaced_is_not_taken(check, account):
    account.function("ours-already")
    assert check(function("ours-already", 1, "update"), function("ours-already", 1, "delete", "create")) is None


def test_every_kind_of_name_is_looked_for(check, account):
    account.instance("orphan")
    account.proxy("orphan")
    account.cluster("orphan", 1)
    account.logs.create_log_group(logGroupName="/orphan")
    subnets = [subnet["SubnetId"] for subnet in account.ec2.describe_subnets()["Subnets"][:2]]
    account.rds.create_db_subnet_group(DBSubnetGroupName="orphan", DBSubnetGroupDescription="orphan", SubnetIds=subnets)
    kinds = {
        "aws_db_instance": {"identifier": "orphan"},
        "aws_db_proxy": {"name": "orphan"},
        "aws_rds_cluster": {"cluster_identifier": "orphan"},
        "aws_rds_cluster_instance": {"identifier": "orphan-1"},
        "aws_db_subnet_group": {"name": "orphan"},
        "aws_cloudwatch_log_group": {"name": "/orphan"},
    }
    said = check(*(change(kind, **after) for kind, after in kinds.items()))
    assert said.count("is not in this state") == len(kinds)
    new = {kind: {argument: f"{value}-new" for argument, value in after.items()} for kind, after in kinds.items()}
    assert check(*(change(kind, **after) for kind, after in new.items())) is None


def test_an_account_that_may_not_be_asked_is_no_reason_to_stop(check, plane, capsys):
    plane.refuse_once("GetAccountSettings", "AccessDeniedException")
    assert check(function("web", 20)) is None
    assert "Not checked (reservations)" in capsys.readouterr().err
