import json
from typing import Any

import pytest

from tests.grants import grants
from tests.plans import (
    ARGUMENTS,
    Plan,
    PlanError,
    Refusals,
    module_root,
    plan_change,
    plan_folder,
    plan_replacement,
    plan_variants,
    state_as_planned,
)

DATABASE = ARGUMENTS["proxy"]["database"]
NETWORK = ARGUMENTS["proxy"]["network"]
[APPLICATION] = ARGUMENTS["proxy"]["applications"]


def applications(number: int) -> list[dict[str, str]]:
    """So many applications, whose secrets have the longest names that the bootstrap module gives."""
    users = [f"{'u' * 52}{count:04}" for count in range(number)]
    prefix = "arn:aws:secretsmanager:ap-southeast-4:111122223333:secret"
    name = "n" * 63
    return [{**APPLICATION, "user": user, "secret_arn": f"{prefix}:{name}-{user}-{'0' * 26}-AbCdEf"} for user in users]


CLUSTER = {
    **DATABASE,
    "instance_class": "db.r7g.large",
    "cluster": {"readers": 2, "postgres_version": 17, "aurora": True, "serverless": False},
}


def of_cluster(**changes: Any) -> dict[str, Any]:
    return {**CLUSTER, "cluster": {**CLUSTER["cluster"], **changes}}


REFUSALS: Refusals = {
    "name": ({"name": "app--prod"}, "single hyphens"),
    "idle_above_total": ({"pool": {"max_percent": 20, "max_idle_percent": 40}}, "must not be greater"),
    "too_much": ({"pool": {"max_percent": 101}}, "pool.max_percent must be from 1 to 100"),
    "no_waiting": ({"pool": {"borrow_timeout_seconds": 0}}, "could not grow"),
    "negative_idle": ({"pool": {"max_idle_percent": -1}}, "nor negative"),
    "secret_in_init_query": ({"pool": {"init_query": "SET app.Api_Key = 'x'"}}, "seems to hold a secret"),
    "password_in_init_query": ({"pool": {"init_query": "ALTER ROLE app PASSWORD 'x'"}}, "seems to hold a secret"),
    "token_in_init_query": ({"pool": {"init_query": "SELECT set_config('app.token', 'x', false)"}}, "to hold a secret"),
    "number_beside_secret_in_init_query": (
        {"pool": {"init_query": "SET app.max_token = 4096; SET app.token = 'x'"}},
        "seems to hold a secret",
    ),
    "url_in_init_query": ({"pool": {"init_query": "SELECT connect('postgres://a:b@c')"}}, "seems to hold a secret"),
    "readers": ({"endpoints": {"reader": {"target_role": "READ_ONLY"}}}, "standby of an instance answers nobody"),
    "no_proxy_in_the_region": (
        {"network": {**NETWORK, "location": {**NETWORK["location"], "region": "ap-east-2"}}},
        "network is in ap-east-2, which has no RDS Proxy",
    ),
    "no_readers": (
        {"database": of_cluster(readers=0), "endpoints": {"reader": {"target_role": "READ_ONLY"}}},
        "the cluster has no reader",
    ),
    "role_of_an_endpoint": (
        {"database": CLUSTER, "endpoints": {"reader": {"target_role": "READER"}}},
        "READ_WRITE or READ_ONLY",
    ),
    "pausing": (
        {"database": {**CLUSTER, "connection": {**DATABASE["connection"], "resume_seconds": 30}}},
        "database has capacity.min_acu 0, but never pauses behind a proxy",
    ),
    "too_new_for_a_proxy": ({"database": of_cluster(postgres_version=18)}, "database has postgres_version 18"),
    "endpoint_name": ({"endpoints": {"a_b": {}}}, "named by letters"),
    "half_an_endpoint": ({"endpoints": {"far": {"subnet_ids": ["subnet-1"]}}}, "or neither"),
    "auth": ({"auth": "password"}, "auth must be iam or secret"),
    "passwords_beside_iam": ({"auth": "secret"}, "iam_authentication = false"),
    "no_room": ({"network": {**NETWORK, "free_addresses": 12}, "endpoints": {"more": {}}}, "10 free addresses"),
    "no_room_for_a_large_one": (
        {"network": {**NETWORK, "free_addresses": 21}, "database": {**DATABASE, "instance_class": "db.r7g.4xlarge"}},
        "but the network leaves 21",
    ),
    "unknown_tier": ({"tier": "orders"}, "has no tier orders, only bootstrap, database, function, proxy"),
    "no_application": ({"applications": []}, "must be 1 to 200, and here are 0"),
    "too_many_applications": ({"applications": applications(201)}, "and here are 201"),
    "an_application_twice": ({"applications": [APPLICATION, APPLICATION]}, "must not have the user app more than once"),
    "no_share": ({"shares": {"app": 0}}, "shares must be whole numbers"),
    "idle_clients": ({"idle_client_timeout_seconds": 30}, "from 60 to 28800"),
}


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_variants(
        "proxy",
        proxy={},
        many={"applications": applications(200)},
        shared={"shares": {"app-orders": 40, "app-users": 18}},
        crowded={"shares": {"app-orders": 40, "app-users": 19}},
        role={"pool": {"init_query": "SET ROLE app_owner"}},
        no_secret={"pool": {"init_query": "SET app.max_token = 4096; SET password_encryption TO 'scram-sha-256'"}},
        secret={"auth": "secret", "database": {**DATABASE, "iam_authentication": False}},
        cluster={
            "database": CLUSTER,
            "endpoints": {"reader": {"target_role": "READ_ONLY"}, "more": {}},
        },
        small={"database": {**DATABASE, "instance_class": "db.t4g.medium"}, "pool": {"max_percent": 50}},
    )


def test_an_init_query_may_name_what_is_no_secret(plan: Plan) -> None:
    assert "module.no_secret.aws_db_proxy_default_target_group.main" in plan.changes


def test_clients_must_use_tls_and_iam(plan: Plan) -> None:
    proxy = plan["module.proxy.aws_db_proxy.main"]
    assert proxy["require_tls"] is True
    assert [auth["iam_auth"] for auth in proxy["auth"]] == ["REQUIRED"]


def test_proxy_logs_in_with_the_application_s_secret(plan: Plan) -> None:
    [auth] = plan["module.proxy.aws_db_proxy.main"]["auth"]
    assert auth["secret_arn"] == APPLICATION["secret_arn"]


def test_proxy_of_many_applications_reads_exactly_their_secrets_within_the_limits_of_iam(plan: Plan) -> None:
    """10,240 characters for the inline policies of a role, 6,144 for a managed one, ten managed ones a role."""
    given = [application["secret_arn"] for application in applications(200)]
    assert sorted(auth["secret_arn"] for auth in plan["module.many.aws_db_proxy.main"]["auth"]) == given
    inline = plan["module.many.aws_iam_role_policy.main"]["policy"]
    managed = [plan[f'module.many.aws_iam_policy.further["{number}"]']["policy"] for number in range(1, 8)]
    statements = [s for policy in (inline, *managed) for s in json.loads(policy)["Statement"]]
    read = [s["Resource"] for s in statements if s["Action"] == "secretsmanager:GetSecretValue"]
    assert sorted(arn for arns in read for arn in arns) == given
    assert len(inline) <= 10240
    assert max(map(len, managed)) <= 6144
    assert len(plan.of_type("aws_iam_role_policy_attachment")) == len(managed) <= 10


def test_statements_are_not_logged(plan: Plan) -> None:
    assert plan["module.proxy.aws_db_proxy.main"]["debug_logging"] is False


def test_role_reads_its_secret_and_nothing_else(plan: Plan) -> None:
    statements = json.loads(plan["module.proxy.aws_iam_role_policy.main"]["policy"])["Statement"]
    assert {statement["Action"]: statement["Resource"] for statement in statements} == {
        "secretsmanager:GetSecretValue": [APPLICATION["secret_arn"]],
        "kms:Decrypt": [APPLICATION["key_arn"]],
    }
    assert statements[1]["Condition"] == {"StringEquals": {"kms:ViaService": "secretsmanager.us-east-1.amazonaws.com"}}


def test_pool_has_no_session_pinning_filters(plan: Plan) -> None:
    [pool] = plan["module.proxy.aws_db_proxy_default_target_group.main"]["connection_pool_config"]
    assert pool["session_pinning_filters"] is None  # PostgreSQL has none
    assert pool["max_idle_connections_percent"] <= pool["max_connections_percent"]


def test_a_new_proxy_gets_its_pool_target_and_endpoints_anew() -> None:
    plan = plan_replacement("proxy", "module.proxy.aws_db_proxy.main", endpoints={"more": {}})
    for address in (
        "aws_db_proxy_default_target_group.main",
        "aws_db_proxy_target.main",
        'aws_db_proxy_endpoint.further["more"]',
    ):
        change = plan.changes[f"module.proxy.{address}"]
        assert change["change"]["actions"] == ["delete", "create"]
        assert change["action_reason"] == "replace_by_triggers"


@pytest.mark.parametrize("subnets", [["subnet-0a", "subnet-0b", "subnet-0c"], ["subnet-0a", "subnet-0d"]])
def test_a_proxy_that_would_move_to_other_subnets_under_its_name_is_refused(subnets: list[str]) -> None:
    with pytest.raises(PlanError, match="cannot move to other subnets"):
        plan_change("proxy", "terraform_data.name", {}, {"network": {**NETWORK, "subnet_ids": subnets}})


def test_a_proxy_of_another_name_may_stand_in_other_subnets() -> None:
    subnets = ["subnet-0a", "subnet-0d"]
    plan = plan_change(
        "proxy", "terraform_data.name", {}, {"name": "app-b", "network": {**NETWORK, "subnet_ids": subnets}}
    )
    assert sorted(plan["module.proxy.aws_db_proxy.main"]["vpc_subnet_ids"]) == subnets


def test_an_output_tells_what_to_wait_for(plan: Plan) -> None:
    outputs = plan.document["configuration"]["root_module"]["module_calls"]["proxy"]["module"]["outputs"]
    assert "aws_db_proxy_target.main" in outputs["wait_for"]["depends_on"]


def test_a_role_may_be_set_on_each_connection(plan: Plan) -> None:
    [pool] = plan["module.role.aws_db_proxy_default_target_group.main"]["connection_pool_config"]
    assert pool["init_query"] == "SET ROLE app_owner"


def test_secret_mode_logs_clients_in_with_passwords_over_tls(plan: Plan) -> None:
    proxy = plan["module.secret.aws_db_proxy.main"]
    assert [auth["iam_auth"] for auth in proxy["auth"]] == ["DISABLED"]
    assert proxy["require_tls"] is True


def test_a_share_too_small_for_the_class_is_warned_of(plan: Plan) -> None:
    assert plan.warnings("proxy") == []
    [warning] = plan.warnings("small")
    assert "50 is below 55" in warning


def test_shares_beyond_the_pool_are_warned_of_with_their_sum_and_each_by_name(plan: Plan) -> None:
    assert plan.warnings("shared") == []
    [warning] = plan.warnings("crowded")
    assert "shares are app-orders 40, app-users 19: 59 transactions may be open at once" in warning
    assert "that is 77 connections, but the pool has 76" in warning


def test_log_group_is_made_first_with_retention(plan: Plan) -> None:
    group = plan["module.proxy.aws_cloudwatch_log_group.main"]
    assert (group["name"], group["retention_in_days"]) == ("/aws/rds/proxy/app", 365)
    assert group["kms_key_id"]


def test_rds_assumes_the_proxy_s_role(plan: Plan) -> None:
    trust = plan["module.proxy.aws_iam_role.main"]["assume_role_policy"]
    assert grants(trust) == {"Allow rds.amazonaws.com sts:AssumeRole"}


def test_proxy_stands_in_the_network_and_in_the_group_of_the_proxy(plan: Plan) -> None:
    proxy = plan["module.proxy.aws_db_proxy.main"]
    assert sorted(proxy["vpc_subnet_ids"]) == sorted(NETWORK["subnet_ids"])
    assert proxy["vpc_security_group_ids"] == [NETWORK["security_group_ids"]["proxy"]]


def test_target_is_the_database(plan: Plan) -> None:
    target = plan["module.proxy.aws_db_proxy_target.main"]
    assert target["db_instance_identifier"] == DATABASE["identifier"]
    assert target["db_proxy_name"] == plan["module.proxy.aws_db_proxy.main"]["name"]


def test_target_may_be_a_cluster_with_an_endpoint_for_its_readers(plan: Plan) -> None:
    target = plan["module.cluster.aws_db_proxy_target.main"]
    assert (target["db_cluster_identifier"], target["db_instance_identifier"]) == (DATABASE["identifier"], None)
    roles = {
        name: plan[f'module.cluster.aws_db_proxy_endpoint.further["{name}"]']["target_role"]
        for name in ("reader", "more")
    }
    assert roles == {"reader": "READ_ONLY", "more": "READ_WRITE"}


def test_connection_of_an_endpoint_for_readers_has_a_pool_for_each_reader() -> None:
    """The pool is 90 % of the 85 connections that one instance takes."""
    folder = module_root(
        "proxy", {"proxy": {"database": CLUSTER, "endpoints": {"reader": {"target_role": "READ_ONLY"}}}}
    )
    root = json.loads((folder / "main.tf.json").read_text())
    root["output"] = {
        name: {"value": f"${{{value}}}"}
        for name, value in {
            "writer": "module.proxy.connection.pool_size",
            "readers": "module.proxy.reader_connection.pool_size",
        }.items()
    }
    (folder / "main.tf.json").write_text(json.dumps(root))
    found = plan_folder(folder).document["planned_values"]["outputs"]
    assert (found["writer"]["value"], found["readers"]["value"]) == (76, 152)


def test_functions_read_at_the_endpoint_that_stands_beside_the_proxy_rather_than_in_another_vpc() -> None:
    elsewhere = {"subnet_ids": ["subnet-1", "subnet-2"], "security_group_ids": ["sg-1"]}
    endpoints = {"analytics": {"target_role": "READ_ONLY", **elsewhere}, "reader": {"target_role": "READ_ONLY"}}
    folder = module_root("proxy", {"proxy": {"database": CLUSTER, "endpoints": endpoints}})
    root = json.loads((folder / "main.tf.json").read_text())
    root["output"] = {"host": {"value": "${module.proxy.reader_connection.host}"}}
    (folder / "main.tf.json").write_text(json.dumps(root))
    (folder / "terraform.tfstate").write_text(json.dumps(state_as_planned(plan_folder(folder))))
    found = plan_folder(folder, refresh=False).document["planned_values"]["outputs"]
    assert found["host"]["value"] == 'module.proxy.aws_db_proxy_endpoint.further["reader"]'


def test_passwords_are_scram_only(plan: Plan) -> None:
    [auth] = plan["module.proxy.aws_db_proxy.main"]["auth"]
    assert (auth["auth_scheme"], auth["client_password_auth_type"]) == ("SECRETS", "POSTGRES_SCRAM_SHA_256")
