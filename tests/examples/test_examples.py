import json
import re

import pytest

from tests.plans import Plan
from tests.roots import PLATFORM, plan_edited, plan_offline


@pytest.fixture(scope="module")
def existing_vpc() -> Plan:
    return plan_offline("examples/existing-vpc")


@pytest.fixture(scope="module")
def secret_nat() -> Plan:
    return plan_offline("examples/secret-nat")


@pytest.fixture(scope="module")
def shared_proxy() -> Plan:
    return plan_offline("examples/shared-proxy")


@pytest.fixture(scope="module")
def orders() -> Plan:
    return plan_offline("examples/orders")


@pytest.fixture(scope="module")
def aurora() -> Plan:
    return plan_offline("examples/aurora")


@pytest.fixture(scope="module")
def aurora_dev() -> Plan:
    return plan_offline("examples/aurora-dev")


CLUSTER = """module "cluster" {
  source = "../../modules/cluster"

  name           = local.name
  network        = module.network
  instance_class = "db.r7g.large"
}
"""


def test_a_cluster_takes_the_place_of_the_instance_by_one_edit() -> None:
    """The block of the module, and its name wherever it is referred to."""

    def edit(text: str) -> str:
        text = re.sub(r'^module "database" {\n.*?^}\n', CLUSTER, text, flags=re.DOTALL | re.MULTILINE)
        return text.replace("module.database", "module.cluster")

    plan = plan_edited("terraform/prod", edit)
    assert not plan.of_type("aws_db_instance")
    assert len(plan.of_type("aws_rds_cluster_instance")) == 2
    assert plan["module.proxy.aws_db_proxy_target.main"]["db_cluster_identifier"] == "app-prod"
    assert {"database-silent", "cluster-failover", "cluster-reader-lag"} <= {
        alarm["alarm_name"].removeprefix("app-prod-") for alarm in plan.of_type("aws_cloudwatch_metric_alarm").values()
    }
    for call in ("proxy", "function", "cluster"):
        assert plan.warnings(call) == []


def test_aurora_is_written_through_the_proxy_and_read_from_a_reader(aurora: Plan) -> None:
    assert aurora.references("function", "connection")[0] == "module.proxy.connection"
    assert aurora.references("function", "reader_connection")[0] == "module.proxy.reader_connection"
    [endpoint] = aurora.of_type("aws_db_proxy_endpoint").values()
    assert endpoint["target_role"] == "READ_ONLY"
    assert aurora["module.cluster.aws_rds_cluster.main"]["deletion_protection"] is True


def test_a_cluster_that_pauses_is_reached_directly_by_a_function_that_waits(aurora_dev: Plan) -> None:
    [scaling] = aurora_dev["module.cluster.aws_rds_cluster.main"]["serverlessv2_scaling_configuration"]
    assert (scaling["min_capacity"], scaling["seconds_until_auto_pause"]) == (0, 600)
    assert not aurora_dev.of_type("aws_db_proxy")
    assert aurora_dev["module.function.aws_lambda_function.main"]["timeout"] == 75  # it waits for 60


def test_a_service_goes_through_the_platform_s_proxy_as_its_own_user(orders: Plan) -> None:
    assert not orders.of_type("aws_db_proxy") | orders.of_type("aws_db_instance") | orders.of_type("aws_vpc")
    policy = json.loads(orders["module.function.aws_iam_role_policy.log_in"]["policy"])
    [statement] = policy["Statement"]
    assert statement["Resource"] == f"{PLATFORM['connection']['rds_db_arn_prefix']}/orders"
    assert orders["module.function.aws_lambda_function.main"]["reserved_concurrent_executions"] == 300


@pytest.fixture(scope="module")
def users_api() -> Plan:
    return plan_offline("examples/users-api")


def test_a_queue_takes_no_connection_from_the_http_api(users_api: Plan) -> None:
    """Each has a function of its own with a share of its own, and the queue fits into its function's."""
    shares = PLATFORM["connection"]["shares"]
    reserved = {
        function["function_name"]: function["reserved_concurrent_executions"]
        for function in users_api.of_type("aws_lambda_function").values()
        if function["function_name"] in shares
    }
    assert reserved == {"shop-users-api": 30, "shop-users-worker": 10}
    assert all(reserved[name] <= shares[name] for name in reserved)
    [mapping] = users_api.of_type("aws_lambda_event_source_mapping").values()
    assert mapping["scaling_config"] == [{"maximum_concurrency": 10}]


def test_the_example_s_api_and_queue_are_watched(users_api: Plan) -> None:
    alarms = {alarm["alarm_name"]: alarm for alarm in users_api.of_type("aws_cloudwatch_metric_alarm").values()}
    [queue] = (one for one in users_api.of_type("aws_sqs_queue").values() if one["name"] == "shop-new-users")
    waits = alarms["shop-users-api-queue-shop-new-users-message-age"]
    assert waits["dimensions"] == {"QueueName": "shop-new-users"}
    assert waits["threshold"] == 5 * queue["visibility_timeout_seconds"]
    failed = alarms["shop-users-api-queue-shop-new-users-failed-messages"]
    assert failed["dimensions"] == {"QueueName": "shop-new-users-failed"}
    assert {"shop-users-api-api-server-errors", "shop-users-api-api-latency"} <= alarms.keys()


def test_requests_to_the_example_are_signed(users_api: Plan) -> None:
    [route] = users_api.of_type("aws_apigatewayv2_route").values()
    assert (route["route_key"], route["authorization_type"]) == ("$default", "AWS_IAM")


def test_existing_vpc_is_used_as_it_is(existing_vpc: Plan) -> None:
    assert not existing_vpc.of_type("aws_vpc")
    assert not existing_vpc.of_type("aws_subnet")
    function = existing_vpc["module.function.aws_lambda_function.main"]
    assert function["vpc_config"][0]["subnet_ids"] == ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]


def test_existing_vpc_gets_the_pairs_of_the_path(existing_vpc: Plan) -> None:
    for direction in ("egress", "ingress"):
        rules = existing_vpc.of_type(f"aws_vpc_security_group_{direction}_rule").values()
        assert sorted(rule["from_port"] for rule in rules) == [443, 5432, 5432, 5432]
        assert not any(rule["cidr_ipv4"] or rule["cidr_ipv6"] for rule in rules)


def test_function_reads_the_secret_and_may_not_log_in_by_iam(secret_nat: Plan) -> None:
    call = secret_nat.document["configuration"]["root_module"]["module_calls"]["function"]
    assert call["expressions"]["auth"]["constant_value"] == "secret"
    assert secret_nat.references("function", "connection")[0] == "module.database.connection"


def test_way_out_is_https_only(secret_nat: Plan) -> None:
    assert len(secret_nat.of_type("aws_nat_gateway")) == 1
    rules = secret_nat.of_type("aws_vpc_security_group_egress_rule").values()
    out = [rule for rule in rules if rule["cidr_ipv4"] == "0.0.0.0/0"]
    assert [(rule["ip_protocol"], rule["from_port"], rule["to_port"]) for rule in out] == [("tcp", 443, 443)] * 2
    assert not secret_nat.of_type("aws_vpc_endpoint")


def test_both_functions_share_one_proxy(shared_proxy: Plan) -> None:
    assert len(shared_proxy.of_type("aws_db_proxy")) == 1
    for function in ("orders", "reports"):
        assert shared_proxy.references(function, "connection")[0] == "module.proxy.connection"


def test_functions_do_not_share_a_role(shared_proxy: Plan) -> None:
    roles = [shared_proxy[f"module.{name}.aws_iam_role.main"]["name_prefix"] for name in ("orders", "reports")]
    assert roles == ["app-shared-orders-", "app-shared-reports-"]
    trust = json.loads(shared_proxy["module.orders.aws_iam_role.main"]["assume_role_policy"])
    assert trust["Statement"][0]["Principal"] == {"Service": "lambda.amazonaws.com"}


def test_no_example_is_beyond_its_pool(shared_proxy: Plan, existing_vpc: Plan) -> None:
    for plan in (shared_proxy, existing_vpc):
        checks = [check for check in plan.document.get("checks", []) if check["address"]["kind"] == "check"]
        assert checks
        assert not [check["address"]["to_display"] for check in checks if check["status"] == "fail"]
