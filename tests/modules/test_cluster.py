import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from tests.grants import grants
from tests.plans import ARGUMENTS, ROOT, Plan, PlanError, Refusals, arn, plan_change, plan_standing, plan_variants
from tools import docs

SERVERLESS: dict[str, Any] = {"instance_class": "db.serverless", "capacity": {"min_acu": 0.5, "max_acu": 8}}
MULTI_AZ: dict[str, Any] = {"engine": "multi_az", "instance_class": "db.m6gd.large"}
NETWORK = ARGUMENTS["cluster"]["network"]


def capacity(min_acu: float, max_acu: float, **more: Any) -> dict[str, Any]:
    return {**SERVERLESS, "capacity": {"min_acu": min_acu, "max_acu": max_acu, **more}}


REFUSALS: Refusals = {
    "name": ({"name": "a" * 61}, "at most 60 characters"),
    "unknown_tier": ({"tier": "orders"}, "has no tier orders, only bootstrap, database, function, proxy"),
    "old_postgres": ({"postgres_version": 13}, "(13: 28 February 2026)"),
    "engine": ({"engine": "aurora-postgresql"}, "engine must be aurora or multi_az"),
    "multi_az_where_there_is_none": (
        {**MULTI_AZ, "network": {**NETWORK, "location": {**NETWORK["location"], "region": "us-west-1"}}},
        "must not be multi_az in us-west-1",
    ),
    "multi_az_in_a_new_region": (
        {**MULTI_AZ, "network": {**NETWORK, "location": {**NETWORK["location"], "region": "ap-southeast-7"}}},
        "must not be multi_az in ap-southeast-7",
    ),
    "too_small_for_aurora": ({"instance_class": "db.t4g.micro"}, "db.t4g.micro is too small for Aurora"),
    "class_without_a_disk": ({**MULTI_AZ, "instance_class": "db.m7g.large"}, "db.m7g.large does not exist for engine"),
    "no_capacity": ({"instance_class": "db.serverless"}, "db.serverless needs it, but instance_class is db.serverless"),
    "capacity_of_a_class": ({"capacity": {"min_acu": 1, "max_acu": 2}}, "capacity belongs to instance_class"),
    "much_capacity": (capacity(1, 300), "capacity must be from 0 to 256 ACU"),
    "hardly_any_capacity": (capacity(0.5, 0.5), "with max_acu at least 1"),
    "capacity_upside_down": (capacity(4, 2), "not below min_acu"),
    "steps": (capacity(0.7, 4), "capacity goes in steps of 0.5 ACU, but is 0.7 to 4"),
    "no_pause_known": (
        {**capacity(0, 4), "postgres_version": 18},
        "capacity.min_acu 0 needs postgres_version 16 or 17: of 18 AWS does not say that it pauses",
    ),
    "short_pause": (capacity(0, 4, pause_after_seconds=60), "pause_after_seconds must be from 300 to 86400"),
    "readers_of_multi_az": ({**MULTI_AZ, "readers": {"count": 1}}, "readers must be left out with engine multi_az"),
    "many_readers": ({"readers": {"count": 16}}, "whole numbers from 0 to 15"),
    "no_reader_to_scale": ({"readers": {"count": 0, "max_count": 3}}, "must be at least 1: AWS adds readers only"),
    "serverless_readers": ({**SERVERLESS, "readers": {"max_count": 3}}, "AWS adds no serverless readers"),
    "busy_readers": ({"readers": {"cpu_percent": 95}}, "readers.cpu_percent must be from 10 to 90"),
    "unknown_class": ({"instance_class": "db.x2g.large"}, "max_connections must be given"),
    "connections_of_serverless": ({**SERVERLESS, "max_connections": 90}, "Aurora computes it from capacity.max_acu"),
    "few_connections": ({"max_connections": 5}, "must be between 20 and 5000"),
    "size_of_aurora": ({"storage": {"allocated_gib": 100}}, "the storage of Aurora has no size"),
    "aurora_s_storage_elsewhere": ({**MULTI_AZ, "storage": {"io_optimized": True}}, "belongs to engine aurora"),
    "much_iops": ({**MULTI_AZ, "storage": {"iops": 6000}}, "storage.allocated_gib, which is 100"),
    "shares": (
        {"shares": {"app-orders": 600, "app-users": 400}},
        "shares are app-orders 600, app-users 400: 1000 direct connections, and 2000 during a deployment. With 4 for"
        " the bootstrap function of each, 8, and 2 for people that is 2010, but the writer takes 1436 clients",
    ),
    "half_a_share": ({"shares": {"app": 0.5}}, "shares must be whole numbers"),
    "some_day": ({"changes": {"apply": "later"}}, "must be now or in_window"),
    "database_of_postgresql": ({"database": {"name": "postgres"}}, "database.name postgres must be"),
    "master_of_the_engine": ({"database": {"master_user": "admin"}}, "neither admin nor public"),
    "no_backups": ({"backups": {"retention_days": 0}}, "must be from 1 to 35"),
    "alias_of_a_key": (
        {"storage_key_arn": "arn:aws:kms:us-east-1:111122223333:alias/rds"},
        "must be the ARN of a KMS key",
    ),
}

# By a call's largest capacity: max_connections, of which AWS's guide lists those of 1, 4, 8, 16, and 32 and more.
CONNECTIONS = {"acu_1": 189, "acu_4": 823, "serverless": 1669, "acu_16": 3360, "large": 5000}


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_variants(
        "cluster",
        cluster={},
        pausing=capacity(0, 2),
        serverless={**capacity(1, 8), "readers": {"count": 3, "failover_targets": 1}},
        large={**capacity(2, 256), "postgres_version": 18},
        multi_az={**MULTI_AZ, "postgres_version": 16},
        growing={"readers": {"count": 1, "max_count": 4, "cpu_percent": 50}, "storage": {"io_optimized": True}},
        alone={"readers": {"count": 0}, "iam_authentication": False, "changes": {"apply": "in_window"}},
        restored={"restore_from_snapshot": "app-final"},
        **{f"acu_{acu}": capacity(1, acu) for acu in (1, 4, 16)},
        acu_capped=capacity(0.5, 64),
    )


def cluster(plan: Plan, call: str = "cluster") -> dict[str, Any]:
    return plan[f"module.{call}.aws_rds_cluster.main"]


def members(plan: Plan, call: str = "cluster") -> dict[str, dict[str, Any]]:
    found = plan.of_type("aws_rds_cluster_instance", call=call).values()
    return {member["identifier"]: member for member in found}


def parameters(plan: Plan, call: str = "cluster") -> dict[str, str]:
    group = plan[f"module.{call}.aws_rds_cluster_parameter_group.main"]
    return {parameter["name"]: parameter["value"] for parameter in group["parameter"]}


def started_with(plan: Plan, call: str) -> int:
    found: int = plan[f"module.{call}.terraform_data.started_with"]["input"]["max_connections"]
    return found


# --- the same shapes as modules/database


def variables(module: str) -> dict[str, dict[str, Any]]:
    return dict(docs._named("variable", docs._parse(ROOT / "modules" / module / "variables.tf")))


def outputs(module: str) -> set[str]:
    return set(re.findall(r'^output "(\w+)"', (ROOT / "modules" / module / "outputs.tf").read_text(), re.MULTILINE))


def test_both_modules_have_the_same_outputs_and_the_cluster_its_readers() -> None:
    assert len(outputs("database")) > 10
    assert outputs("cluster") == {*outputs("database"), "reader_connection"}


@pytest.mark.parametrize(
    ("output", "source"), [("connection", r"  connection = \{\n(.*?)\n  \}"), ("monitoring", None)], ids=str
)
def test_an_output_has_one_shape_in_both_modules(output: str, source: str | None) -> None:
    def shape(module: str, expression: str) -> set[str]:
        text = (ROOT / "modules" / module / "outputs.tf").read_text()
        found = re.search(expression, text, re.DOTALL)
        assert found is not None
        return set(re.findall(r"^ +(\w+) +=", found[1], re.MULTILINE))

    there = rf'output "{output}".*?value = \{{\n(.*?)\n  \}}'
    assert shape("cluster", source or there) == shape("database", there)
    assert len(shape("database", there)) > 4


def test_variables_that_both_modules_have_are_of_one_type_and_default() -> None:
    of_database, of_cluster = variables("database"), variables("cluster")
    own = {"engine", "capacity", "readers"}
    assert of_cluster.keys() - of_database.keys() == own
    # The readers take the place of the one; the other is for an instance that is imported.
    assert of_database.keys() - of_cluster.keys() == {"multi_az", "subnet_group_name"}
    for name in of_cluster.keys() & of_database.keys() - {"storage"}:
        given, wanted = of_cluster[name], of_database[name]
        if name == "network":
            given["type"] = re.sub(r", zone_names = optional\(list\(string\), \[\]\)", "", given["type"])
        assert given["type"] == wanted["type"], name
        assert given.get("default", "required") == wanted.get("default", "required"), name
        assert given.get("nullable") == wanted.get("nullable"), name


# --- what cannot be otherwise


@pytest.mark.parametrize("call", ["cluster", "pausing", "multi_az", "growing"])
def test_cluster_is_encrypted_and_protected_and_its_password_is_never_terraforms(plan: Plan, call: str) -> None:
    made = cluster(plan, call)
    assert made["storage_encrypted"] is True
    assert made["deletion_protection"] is True
    assert made["skip_final_snapshot"] is False
    assert made["copy_tags_to_snapshot"] is True
    assert made["backup_retention_period"] == 7
    assert made["iam_database_authentication_enabled"] is True
    assert made["manage_master_user_password"] is True
    assert made["master_password"] is None
    assert made["engine_lifecycle_support"] == "open-source-rds-extended-support-disabled"
    assert made["engine_mode"] == "provisioned"
    assert not any(member["publicly_accessible"] for member in members(plan, call).values())


@pytest.mark.parametrize("call", ["cluster", "pausing", "multi_az", "large"])
def test_clients_must_use_tls_and_scram(plan: Plan, call: str) -> None:
    assert parameters(plan, call).items() >= {
        ("rds.force_ssl", "1"),
        ("password_encryption", "scram-sha-256"),
        ("rds.accepted_password_auth_method", "scram"),
    }
    assert not {"log_statement", "log_min_duration_statement"} & parameters(plan, call).keys()


def test_version_18_logs_connections_in_its_own_way(plan: Plan) -> None:
    assert (parameters(plan)["log_connections"], parameters(plan, "large")["log_connections"]) == ("1", "all")


def test_groups_are_of_the_engine_s_family(plan: Plan) -> None:
    families = {
        call: plan[f"module.{call}.aws_rds_cluster_parameter_group.main"]["family"]
        for call in ("cluster", "multi_az", "large")
    }
    assert families == {"cluster": "aurora-postgresql17", "multi_az": "postgres16", "large": "aurora-postgresql18"}
    group = plan['module.cluster.aws_db_parameter_group.member["member"]']
    assert (group["family"], group["parameter"]) == ("aurora-postgresql17", [])
    assert not plan.of_type("aws_db_parameter_group", call="multi_az")


def test_logs_are_made_before_the_cluster_with_retention(plan: Plan) -> None:
    for call, exports in {
        "cluster": ["iam-db-auth-error", "postgresql"],
        "multi_az": ["iam-db-auth-error", "postgresql", "upgrade"],
    }.items():
        groups = plan.of_type("aws_cloudwatch_log_group", call=call).values()
        assert sorted(cluster(plan, call)["enabled_cloudwatch_logs_exports"]) == exports
        assert sorted(group["name"] for group in groups) == [f"/aws/rds/cluster/app/{export}" for export in exports]
        assert all(group["retention_in_days"] and group["kms_key_id"] for group in groups)


# --- writer and readers


def test_writer_and_first_reader_stand_in_different_zones(plan: Plan) -> None:
    assert {name: member["availability_zone"] for name, member in members(plan, "serverless").items()} == {
        "app-1": "us-east-1a",
        "app-2": "us-east-1b",
        "app-3": "us-east-1a",
        "app-4": "us-east-1b",
    }
    assert {member["availability_zone"] for member in members(plan).values()} == {"us-east-1a", "us-east-1b"}
    assert cluster(plan).get("availability_zones") is None  # three at least, or each plan would replace the cluster


def test_one_reader_follows_the_writer_and_the_others_grow_for_themselves(plan: Plan) -> None:
    assert [member["promotion_tier"] for _, member in sorted(members(plan, "serverless").items())] == [0, 1, 2, 2]


def test_a_reader_is_there_unless_none_is_wanted(plan: Plan) -> None:
    assert [len(members(plan, call)) for call in ("cluster", "alone", "multi_az")] == [2, 1, 0]


def test_readers_are_added_by_the_load(plan: Plan) -> None:
    target = plan['module.growing.aws_appautoscaling_target.readers["readers"]']
    assert (target["min_capacity"], target["max_capacity"]) == (1, 4)
    assert target["scalable_dimension"] == "rds:cluster:ReadReplicaCount"
    [policy] = plan['module.growing.aws_appautoscaling_policy.readers["readers"]'][
        "target_tracking_scaling_policy_configuration"
    ]
    assert policy["target_value"] == 50
    assert policy["predefined_metric_specification"][0]["predefined_metric_type"] == "RDSReaderAverageCPUUtilization"
    assert not plan.of_type("aws_appautoscaling_target", call="cluster")


def test_rds_watches_the_cluster_s_own_instances_and_those_that_it_adds(plan: Plan) -> None:
    for call, named in {"cluster": "app-*", "growing": "*"}.items():
        [statement] = json.loads(plan[f"module.{call}.aws_iam_role.monitoring"]["assume_role_policy"])["Statement"]
        assert statement["Condition"]["ArnLike"]["aws:SourceArn"] == f"arn:aws:rds:us-east-1:111122223333:db:{named}"


# --- kinds


def test_a_pausing_cluster_says_how_long_it_may_wait(plan: Plan) -> None:
    [scaling] = cluster(plan, "pausing")["serverlessv2_scaling_configuration"]
    assert scaling == {"min_capacity": 0, "max_capacity": 2, "seconds_until_auto_pause": 300}
    [steady] = cluster(plan, "serverless")["serverlessv2_scaling_configuration"]
    assert (steady["min_capacity"], steady.get("seconds_until_auto_pause")) == (1, None)
    assert cluster(plan)["serverlessv2_scaling_configuration"] == []


def test_performance_insights_take_no_memory_of_a_small_capacity(plan: Plan) -> None:
    on = {call: members(plan, call)["app-1"]["performance_insights_enabled"] for call in ("cluster", "large")}
    assert on == {"cluster": True, "large": True}
    assert members(plan, "serverless")["app-1"]["performance_insights_enabled"] is False


def test_a_multi_az_cluster_has_its_class_disk_and_watch_itself(plan: Plan) -> None:
    made = cluster(plan, "multi_az")
    assert (made["engine"], made["db_cluster_instance_class"]) == ("postgres", "db.m6gd.large")
    assert (made["storage_type"], made["allocated_storage"]) == ("gp3", 100)
    assert made["ca_certificate_identifier"] == "rds-ca-rsa2048-g1"
    assert made["performance_insights_enabled"] is True
    assert made["monitoring_interval"] == 60


def test_aurora_leaves_that_to_its_instances(plan: Plan) -> None:
    made = cluster(plan)
    assert (made["engine"], made.get("db_cluster_instance_class")) == ("aurora-postgresql", None)
    assert "allocated_storage" not in made  # RDS's own to say
    assert made.get("monitoring_interval") is None
    assert all(member["monitoring_interval"] == 60 for member in members(plan).values())
    assert cluster(plan, "growing")["storage_type"] == "aurora-iopt1"


# --- connections


@pytest.mark.parametrize("call", CONNECTIONS)
def test_connections_of_a_capacity_are_those_that_aws_lists(plan: Plan, call: str) -> None:
    assert started_with(plan, call) == CONNECTIONS[call]
    assert "max_connections" not in parameters(plan, call)


def test_connections_are_capped_where_the_smallest_capacity_is_half_or_nothing(plan: Plan) -> None:
    assert started_with(plan, "acu_capped") == 2000
    assert started_with(plan, "pausing") == 400  # 211.43 for each ACU, less 22.4


def test_connections_of_a_class_are_explicit_for_all_servers(plan: Plan) -> None:
    assert parameters(plan)["max_connections"] == "1441" == str(started_with(plan, "cluster"))
    assert parameters(plan, "multi_az")["max_connections"] == "720"


def test_changes_are_made_now_or_the_plan_warns(plan: Plan) -> None:
    assert cluster(plan)["apply_immediately"] is True
    assert plan.warnings("cluster") == []
    assert {cluster(plan, "alone")["apply_immediately"], members(plan, "alone")["app-1"]["apply_immediately"]} == {
        False
    }
    [warning] = plan.warnings("alone")
    assert "changes.apply is in_window" in warning
    [restored] = plan.warnings("restored")
    assert "no IAM authentication after the first apply" in restored


def test_another_max_connections_waits_for_a_restart() -> None:
    plan = plan_change("cluster", "terraform_data.started_with", {"max_connections": 100}, {"max_connections": 300})
    [warning] = plan.warnings("cluster")
    assert "is to be 300, but the servers run with 100" in warning


def test_a_snapshot_is_refused_while_the_cluster_stands() -> None:
    with pytest.raises(PlanError, match="which exists"):
        plan_change("cluster", "terraform_data.life", {}, {"restore_from_snapshot": "app-final"})


@pytest.mark.parametrize("change", [MULTI_AZ, {"database": {"name": "shop"}}])
def test_a_change_that_replaces_the_cluster_begins_another_life_with_a_last_snapshot_of_its_own(
    change: dict[str, Any],
) -> None:
    """Else the final snapshot of the second would have the name of the first one's, and destroy would fail."""
    plan = plan_change("cluster", "terraform_data.life", {}, change)
    actions = {change["address"]: change["change"]["actions"] for change in plan.document["resource_changes"]}
    assert actions["module.cluster.terraform_data.life"] == ["delete", "create"]


# --- as if it stood


@pytest.fixture(scope="module")
def standing() -> Plan:
    return plan_standing("cluster")


def test_one_key_holds_secret_and_performance_data_and_the_account_the_key(standing: Plan) -> None:
    key = standing["module.cluster.aws_kms_key.data"]
    assert grants(key["policy"]) == {"Allow arn:aws:iam::111122223333:root kms:* on *"}
    held: list[Mapping[str, Any]] = [cluster(standing), *members(standing).values()]
    names = ("master_user_secret_kms_key_id", "performance_insights_kms_key_id")
    assert {made[name] for made in held for name in names if made.get(name)} == {arn("aws_kms_key", "data")}
    assert "kms_key_id" not in cluster(standing) or not cluster(standing)["kms_key_id"].startswith("arn:aws:planned")


def test_cluster_stands_in_the_network_s_subnets_and_in_the_group_of_the_database(standing: Plan) -> None:
    assert cluster(standing)["vpc_security_group_ids"] == [NETWORK["security_group_ids"]["database"]]
    group = standing["module.cluster.aws_db_subnet_group.main"]
    assert cluster(standing)["db_subnet_group_name"] == group["name"]
    assert sorted(group["subnet_ids"]) == sorted(NETWORK["subnet_ids"])
