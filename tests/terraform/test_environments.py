import json
import re
from typing import Any

import pytest

from tests.plans import Plan, PlanError, plan_root


@pytest.fixture(scope="module")
def dev() -> Plan:
    return plan_root("dev")


@pytest.fixture(scope="module")
def prod() -> Plan:
    return plan_root("prod")


@pytest.fixture(scope="module")
def secret() -> Plan:
    """prod, whose clients log in with the password of the secret instead."""
    return plan_root(
        "prod",
        network={"endpoints": {"secretsmanager": ["bootstrap", "function"]}},
        database={"iam_authentication": False},
        proxy={"auth": "secret"},
        function={"auth": "secret"},
    )


def rules(plan: Plan, direction: str) -> dict[str, int]:
    return {
        address.split('"')[1]: rule["from_port"]
        for address, rule in plan.of_type(f"aws_vpc_security_group_{direction}_rule").items()
    }


@pytest.mark.parametrize("direction", ["egress", "ingress"])
def test_dev_opens_the_direct_path_only(dev: Plan, direction: str) -> None:
    assert rules(dev, direction) == {
        "function-database": 5432,
        "bootstrap-database": 5432,
        "bootstrap-secretsmanager": 443,
    }


@pytest.mark.parametrize("direction", ["egress", "ingress"])
def test_prod_opens_the_path_through_the_proxy_only(prod: Plan, direction: str) -> None:
    assert rules(prod, direction) == {
        "function-proxy": 5432,
        "proxy-database": 5432,
        "bootstrap-database": 5432,
        "bootstrap-secretsmanager": 443,
    }


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_nothing_is_open_to_the_world(environment: str, request: pytest.FixtureRequest) -> None:
    plan: Plan = request.getfixturevalue(environment)
    assert "0.0.0.0/0" not in str(plan.document["resource_changes"])
    assert "::/0" not in str(plan.document["resource_changes"])


def test_function_connects_and_logs_in_where_its_environment_says(dev: Plan, prod: Plan) -> None:
    assert dev.references("function", "connection")[0] == "module.database.connection"
    assert prod.references("function", "connection")[0] == "module.proxy.connection"


def resources(plan: Plan) -> dict[str, dict[str, Any]]:
    """What is planned, with the environment's own name taken out."""
    return {
        address: json.loads(re.sub(r"\b(dev|prod)\b", "ENV", json.dumps(change["change"]["after"])))
        for address, change in plan.changes.items()
        if change["mode"] == "managed"
    }


def test_function_is_called_with_the_same_arguments_but_for_its_connection_and_concurrency(
    dev: Plan, prod: Plan
) -> None:
    def arguments(plan: Plan) -> dict[str, Any]:
        call = plan.document["configuration"]["root_module"]["module_calls"]["function"]
        return dict(call["expressions"])

    ours, theirs = arguments(dev), arguments(prod)
    assert ours.keys() == theirs.keys()
    assert {name for name in ours if ours[name] != theirs[name]} == {"connection", "reserved_concurrency"}


def test_function_has_the_same_package_layer_and_handler_and_user(dev: Plan, prod: Plan) -> None:
    ours, theirs = (resources(plan) for plan in (dev, prod))
    function, layer = "module.function.aws_lambda_function.main", "module.function.aws_lambda_layer_version.main"
    for address, names in {
        function: ("filename", "source_code_hash", "handler", "runtime", "architectures", "memory_size", "timeout"),
        layer: ("filename", "source_code_hash", "compatible_architectures", "compatible_runtimes"),
    }.items():
        assert all(ours[address][name] for name in names)
        assert [ours[address][name] for name in names] == [theirs[address][name] for name in names]
    users = [plan.document["output_changes"]["application"]["after"] for plan in (dev, prod)]
    assert [(user["user"], user["iam_user"]) for user in users] == [("app", "app_iam")] * 2


def test_connections_have_the_same_shape(dev: Plan, prod: Plan) -> None:
    def shape(plan: Plan) -> set[str]:
        change = plan.document["output_changes"]["connection"]
        return {*change["after"], *change["after_unknown"]}

    assert shape(dev) == shape(prod)


def test_exactly_this_is_in_one_environment_only(dev: Plan, prod: Plan) -> None:
    ours, theirs = resources(dev).keys(), resources(prod).keys()
    rule = "module.network.aws_vpc_security_group_{}_rule.pair[{}]"
    assert ours - theirs == {rule.format(way, '"function-database"') for way in ("egress", "ingress")}
    assert theirs - ours == {
        *(rule.format(way, '"function-proxy"') for way in ("egress", "ingress")),
        *(rule.format(way, '"proxy-database"') for way in ("egress", "ingress")),
        'module.network.aws_security_group.tier["proxy"]',
        'module.network.aws_subnet.isolated["use1-az4"]',
        'module.network.aws_route_table.isolated["use1-az4"]',
        'module.network.aws_route_table_association.isolated["use1-az4"]',
        "module.proxy.aws_cloudwatch_log_group.main",
        "module.proxy.aws_db_proxy.main",
        "module.proxy.aws_db_proxy_default_target_group.main",
        "module.proxy.aws_db_proxy_target.main",
        "module.proxy.aws_iam_role.main",
        "module.proxy.aws_iam_role_policy.main",
        "module.proxy.terraform_data.instance",
        "module.proxy.terraform_data.name",
        *(
            f'module.observability.aws_cloudwatch_metric_alarm.main["proxy-{alarm}"]'
            for alarm in ("borrow-latency", "failed-connections", "failed-logins", "pinned", "pool", "without-tls")
        ),
    }


def test_exactly_this_differs_in_what_both_have(dev: Plan, prod: Plan) -> None:
    ours, theirs = resources(dev), resources(prod)
    differences = {
        f"{address}.{name}": (value, theirs[address].get(name))
        for address in ours.keys() & theirs.keys()
        if ".terraform_data." not in address  # what Terraform remembers of the rest
        for name, value in ours[address].items()
        if value != theirs[address].get(name) and name != "parameter"
    }
    watching = {name for name in differences if name.startswith("module.observability.")}
    alarm = "module.observability.aws_cloudwatch_metric_alarm.main"
    assert watching == {
        f'{alarm}["function-concurrency"].threshold',
        *(f'{alarm}["database-{what}"].threshold' for what in ("connections", "memory")),
        *(f'{alarm}["database-{what}"].alarm_description' for what in ("connections", "memory")),
        "module.observability.aws_cloudwatch_composite_alarm.path_broken.alarm_rule",
    }
    instance = "module.database.aws_db_instance.main"
    assert {name: pair for name, pair in differences.items() if name not in watching} == {
        f"{instance}.instance_class": ("db.t4g.micro", "db.m7g.large"),
        f"{instance}.multi_az": (False, True),
        f"{instance}.backup_retention_period": (1, 14),
        f"{instance}.deletion_protection": (False, True),
        f"{instance}.skip_final_snapshot": (True, False),
        "module.function.aws_lambda_function.main.reserved_concurrent_executions": (20, 400),
    }
    group = "module.database.aws_db_parameter_group.main"
    changed = [
        (mine["name"], mine["value"], other["value"])
        for mine, other in zip(ours[group]["parameter"], theirs[group]["parameter"], strict=True)
        if mine != other
    ]
    assert changed == [("max_connections", "90", "720")]


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_the_connections_suffice_without_a_warning(environment: str, request: pytest.FixtureRequest) -> None:
    plan: Plan = request.getfixturevalue(environment)
    assert [plan.warnings(call) for call in ("proxy", "function")] == [[], []]


def test_prod_survives_a_zone_and_a_mistake(prod: Plan) -> None:
    instance = prod["module.database.aws_db_instance.main"]
    assert instance["multi_az"] is True
    assert instance["deletion_protection"] is True
    assert instance["skip_final_snapshot"] is False
    assert len(prod.of_type("aws_subnet")) == 3


def test_dev_is_cheap_and_can_be_thrown_away(dev: Plan) -> None:
    instance = dev["module.database.aws_db_instance.main"]
    assert instance["multi_az"] is False
    assert instance["deletion_protection"] is False
    assert len(dev.of_type("aws_vpc_endpoint")) == 1
    assert not dev.of_type("aws_nat_gateway")
    assert not dev.of_type("aws_db_proxy")


def test_passwords_work_through_the_proxy_where_iam_is_off(secret: Plan) -> None:
    assert secret["module.database.aws_db_instance.main"]["iam_database_authentication_enabled"] is False
    assert [auth["iam_auth"] for auth in secret["module.proxy.aws_db_proxy.main"]["auth"]] == ["DISABLED"]
    assert rules(secret, "egress")["function-secretsmanager"] == 443
    application = secret.document["output_changes"]["application"]["after"]
    assert (application["user"], application.get("iam_user")) == ("app", None)


def test_iam_where_the_database_has_none_is_refused() -> None:
    with pytest.raises(PlanError, match="auth must be secret, the only way"):
        plan_root("dev", database={"iam_authentication": False})


def test_more_functions_than_dev_bears_are_refused() -> None:
    with pytest.raises(PlanError, match="lower reserved_concurrency, a larger instance class, or the proxy"):
        plan_root("dev", function={"reserved_concurrency": 400})


@pytest.mark.parametrize(
    "overrides",
    [
        {"function": {"environment": {"TEXT": "x" * 4000}}},
        {"bootstrap": {"further_users": {f"tool_{n}": {"access": "read", "auth": "password"} for n in range(20)}}},
    ],
    ids=["variables", "users"],
)
def test_too_many_environment_variables_are_refused_before_hosts_and_secrets_are_known(
    overrides: dict[str, dict[str, Any]],
) -> None:
    with pytest.raises(PlanError, match="Lambda takes 4096"):
        plan_root("dev", **overrides)


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_endpoints_are_paid_for_in_one_zone(environment: str, request: pytest.FixtureRequest) -> None:
    plan: Plan = request.getfixturevalue(environment)
    call = plan.document["configuration"]["root_module"]["module_calls"]["network"]
    assert len(call["expressions"]["endpoint_zone_ids"]["constant_value"]) == 1


def test_prod_can_be_unprotected_and_then_destroyed(prod: Plan) -> None:
    variable = prod.document["configuration"]["root_module"]["variables"]["deletion_protection"]
    assert "TF_VAR_deletion_protection=false" in variable["description"]
    assert prod.references("database", "deletion_protection") == ["var.deletion_protection"]


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_alarms_watch_what_the_environment_has(environment: str, request: pytest.FixtureRequest) -> None:
    plan: Plan = request.getfixturevalue(environment)
    has = {
        "FunctionName": {function["function_name"] for function in plan.of_type("aws_lambda_function").values()},
        "ProxyName": {proxy["name"] for proxy in plan.of_type("aws_db_proxy").values()},
        "DBInstanceIdentifier": {instance["identifier"] for instance in plan.of_type("aws_db_instance").values()},
        "QueueName": {queue["name"] for queue in plan.of_type("aws_sqs_queue").values()},
    }
    alarms = plan.of_type("aws_cloudwatch_metric_alarm").values()
    watched: dict[str, set[str]] = {name: set() for name in has}
    for read in [*alarms, *(read for a in alarms for query in a["metric_query"] for read in query["metric"])]:
        for name in has.keys() & (read["dimensions"] or {}):
            watched[name].add(read["dimensions"][name])
    assert watched == has


def test_thresholds_are_those_of_the_environment(dev: Plan, prod: Plan) -> None:
    address = 'module.observability.aws_cloudwatch_metric_alarm.main["{}"]'
    alarms = ("function-concurrency", "database-connections", "database-memory", "database-storage")
    ours, theirs = ([plan[address.format(alarm)]["threshold"] for alarm in alarms] for plan in (dev, prod))
    assert ours == [18, pytest.approx(0.9 * 85), int(0.05 * 1024**3), 1024**3]
    assert theirs == [360, pytest.approx((643 + 715) / 2), int(0.05 * 8 * 1024**3), 1024**3]
