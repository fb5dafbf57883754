import json

import pytest

from tests.grants import grants
from tests.plans import (
    ARGUMENTS,
    Plan,
    PlanError,
    Refusals,
    arn,
    plan_change,
    plan_standing,
    plan_variants,
)

GIVEN_KEY = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000009"

REFUSALS: Refusals = {
    "name": ({"name": "app--prod"}, "single hyphens"),
    "old_postgres": ({"postgres_version": 13}, "(13: 28 February 2026)"),
    "ageing_postgres": ({"postgres_version": 15}, "must be 16, 17 or 18"),
    "unknown_class": ({"instance_class": "db.x2g.large"}, "max_connections must be given"),
    "few_connections": ({"max_connections": 5}, "must be between 20 and 5000"),
    "no_room_to_grow": ({"storage": {"allocated_gib": 100, "max_gib": 110}}, "at least 26 %"),
    "small_disk": ({"storage": {"allocated_gib": 10}}, "from 20 to 65536 GiB"),
    "iops_of_a_small_disk": ({"storage": {"allocated_gib": 399, "max_gib": 600, "iops": 16000}}, "at 399 GiB gp3 has"),
    "throughput_of_a_small_disk": ({"storage": {"throughput_mib": 600}}, "at 20 GiB gp3 has"),
    "few_iops": ({"storage": {"allocated_gib": 400, "max_gib": 600, "iops": 3000}}, "must be from 12000"),
    "low_throughput": ({"storage": {"allocated_gib": 400, "max_gib": 600, "throughput_mib": 125}}, "from 500 MiB/s"),
    "unknown_tier": ({"tier": "orders"}, "has no tier orders, only bootstrap, database, function, proxy"),
    "much_throughput": (
        {"storage": {"allocated_gib": 400, "max_gib": 600, "throughput_mib": 4000}},
        "of 12000 iops, which is 3000: give at least 16000 iops",
    ),
    "shares": (
        {"shares": {"app-orders": 25, "app-users": 15}},
        "shares are app-orders 25, app-users 15: 40 direct connections, and 80 during a deployment. With 4 for the"
        " bootstrap function of each, 8, and 2 for people that is 90, but the instance takes 85 clients",
    ),
    "half_a_share": ({"shares": {"app": 0.5}}, "shares must be whole numbers"),
    "some_day": ({"changes": {"apply": "later"}}, "must be now or in_window"),
    "database_of_postgresql": ({"database": {"name": "postgres"}}, "database.name postgres must be"),
    "database_in_capitals": ({"database": {"name": "App"}}, "database.name App must be"),
    "master_of_rds": ({"database": {"master_user": "rdsadmin"}}, "database.master_user rdsadmin must be"),
    "master_of_the_engine": ({"database": {"master_user": "admin"}}, "neither admin nor public"),
    "no_backups": ({"backups": {"retention_days": 0}}, "must be from 1 to 35"),
    "alias_of_a_key": (
        {"storage_key_arn": "arn:aws:kms:us-east-1:111122223333:alias/rds"},
        "must be the ARN of a KMS key",
    ),
}


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_variants(
        "database",
        database={},
        version_18={"postgres_version": 18},
        shared={"shares": {"app-orders": 20, "app-users": 17}},
        as_one_function_alone={"shares": {"app": 39}},
        named={
            "database": {"name": "orders", "master_user": "owner"},
            "network": {**ARGUMENTS["database"]["network"], "database_port": 5433},
        },
        in_window={"changes": {"apply": "in_window", "window": "sat:01:00-sat:02:00"}},
        keyed={"storage_key_arn": GIVEN_KEY},
        large={"storage": {"allocated_gib": 400, "max_gib": 600, "iops": 16000, "throughput_mib": 1000}},
    )


def parameters(plan: Plan, call: str = "database") -> dict[str, str]:
    group = plan[f"module.{call}.aws_db_parameter_group.main"]
    return {parameter["name"]: parameter["value"] for parameter in group["parameter"]}


def test_shares_that_fit_are_taken_and_one_alone_fits_up_to_what_the_function_module_allows(plan: Plan) -> None:
    """39 is what tests/modules/test_function.py plans as `last_direct`."""
    for call in ("shared", "as_one_function_alone"):
        assert f"module.{call}.aws_db_instance.main" in plan.changes


def test_clients_must_use_tls_and_scram(plan: Plan) -> None:
    assert parameters(plan)["rds.force_ssl"] == "1"
    assert parameters(plan).items() >= {("rds.accepted_password_auth_method", "scram")}


def test_max_connections_fits_the_memory_of_the_class(plan: Plan) -> None:
    assert parameters(plan)["max_connections"] == "90"


def test_passwords_set_by_statements_stay_out_of_the_log(plan: Plan) -> None:
    assert "log_statement" not in parameters(plan)  # its default is none


def test_default_keeps_the_apply_method_that_rds_gives_it(plan: Plan) -> None:
    group = plan["module.database.aws_db_parameter_group.main"]
    methods = {parameter["name"]: parameter["apply_method"] for parameter in group["parameter"]}
    defaults = ("max_connections", "password_encryption", "rds.force_ssl")
    assert [methods[name] for name in defaults] == ["pending-reboot"] * 3


def test_changes_are_made_now_or_the_plan_warns(plan: Plan) -> None:
    assert plan["module.database.aws_db_instance.main"]["apply_immediately"] is True
    assert plan.warnings("database") == []
    assert plan["module.in_window.aws_db_instance.main"]["apply_immediately"] is False
    [warning] = plan.warnings("in_window")
    assert "waits for the window sat:01:00-sat:02:00" in warning


def test_names_and_port_are_the_user_s(plan: Plan) -> None:
    instance = plan["module.named.aws_db_instance.main"]
    assert (instance["db_name"], instance["username"], instance["port"]) == ("orders", "owner", 5433)


def test_slow_statements_and_the_values_in_them_stay_out_of_the_log(plan: Plan) -> None:
    assert "log_min_duration_statement" not in parameters(plan)
    assert plan["module.database.aws_db_instance.main"]["performance_insights_enabled"] is True


def test_monitoring_is_for_this_instance_alone(plan: Plan) -> None:
    [statement] = json.loads(plan["module.database.aws_iam_role.monitoring"]["assume_role_policy"])["Statement"]
    assert statement["Condition"] == {
        "StringEquals": {"aws:SourceAccount": "111122223333"},
        "ArnLike": {"aws:SourceArn": "arn:aws:rds:us-east-1:111122223333:db:app"},
    }


def test_version_18_logs_connections_in_its_own_way(plan: Plan) -> None:
    assert parameters(plan, "version_18")["log_connections"] == "all"
    assert parameters(plan)["log_connections"] == "1"


def test_instance_is_private_encrypted_and_protected(plan: Plan) -> None:
    instance = plan["module.database.aws_db_instance.main"]
    assert instance["publicly_accessible"] is False
    assert instance["storage_encrypted"] is True
    assert instance["deletion_protection"] is True
    assert instance["skip_final_snapshot"] is False
    assert instance["multi_az"] is True
    assert instance["iam_database_authentication_enabled"] is True


def test_master_password_is_never_terraforms(plan: Plan) -> None:
    instance = plan["module.database.aws_db_instance.main"]
    assert instance["manage_master_user_password"] is True
    assert instance["password"] is None


def test_logs_are_made_before_the_instance_with_retention(plan: Plan) -> None:
    instance = plan["module.database.aws_db_instance.main"]
    logs = plan.of_type("aws_cloudwatch_log_group").items()
    groups = [group for address, group in logs if address.startswith("module.database.")]
    exports = sorted(instance["enabled_cloudwatch_logs_exports"])
    assert sorted(group["name"] for group in groups) == [f"/aws/rds/instance/app/{export}" for export in exports]
    assert exports == ["iam-db-auth-error", "postgresql", "upgrade"]
    assert all(group["retention_in_days"] and group["kms_key_id"] for group in groups)


def test_iops_are_left_to_gp3_below_400_gib(plan: Plan) -> None:
    instance = plan["module.database.aws_db_instance.main"]
    assert instance["storage_type"] == "gp3"
    assert "iops" not in instance or instance["iops"] is None


def test_a_large_disk_may_have_more_iops(plan: Plan) -> None:
    instance = plan["module.large.aws_db_instance.main"]
    assert (instance["iops"], instance["storage_throughput"]) == (16000, 1000)


def test_extended_support_is_never_paid_for(plan: Plan) -> None:
    instance = plan["module.database.aws_db_instance.main"]
    assert instance["engine_lifecycle_support"] == "open-source-rds-extended-support-disabled"
    assert instance["ca_cert_identifier"] == "rds-ca-rsa2048-g1"


@pytest.fixture(scope="module")
def standing() -> Plan:
    return plan_standing("database")


KEY = arn("aws_kms_key", "data")


def test_account_stays_in_charge_of_the_key_of_the_data(standing: Plan) -> None:
    key = standing["module.database.aws_kms_key.data"]
    assert grants(key["policy"]) == {"Allow arn:aws:iam::111122223333:root kms:* on *"}
    assert key["enable_key_rotation"] is True
    assert key["deletion_window_in_days"] == 30


def test_master_secret_and_performance_data_are_under_one_key_and_logs_under_the_network_s(standing: Plan) -> None:
    instance = standing["module.database.aws_db_instance.main"]
    for name in ("master_user_secret_kms_key_id", "performance_insights_kms_key_id"):
        assert instance[name] == KEY
    groups = standing.of_type("aws_cloudwatch_log_group").values()
    assert {group["kms_key_id"] for group in groups} == {ARGUMENTS["database"]["network"]["log_key_arn"]}


def test_rds_may_watch_the_system_for_this_account(standing: Plan) -> None:
    instance = standing["module.database.aws_db_instance.main"]
    assert instance["monitoring_role_arn"] == arn("aws_iam_role", "monitoring")
    assert instance["monitoring_interval"] == 60
    assert grants(standing["module.database.aws_iam_role.monitoring"]["assume_role_policy"]) == {
        "Allow monitoring.rds.amazonaws.com sts:AssumeRole"
        " if aws:SourceArn is like arn:aws:rds:us-east-1:111122223333:db:app and aws:SourceAccount is 111122223333"
    }
    attached = standing["module.database.aws_iam_role_policy_attachment.monitoring"]
    assert attached["policy_arn"] == "arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"


def test_instance_stands_in_the_network_s_subnets_and_in_the_group_of_the_database(standing: Plan) -> None:
    instance, network = standing["module.database.aws_db_instance.main"], ARGUMENTS["database"]["network"]
    assert instance["vpc_security_group_ids"] == [network["security_group_ids"]["database"]]
    assert instance["db_subnet_group_name"] == standing["module.database.aws_db_subnet_group.main"]["name"]
    assert sorted(standing["module.database.aws_db_subnet_group.main"]["subnet_ids"]) == sorted(network["subnet_ids"])


def test_snapshots_keep_their_tags_and_minor_versions_come_by_themselves(plan: Plan) -> None:
    instance = plan["module.database.aws_db_instance.main"]
    assert instance["copy_tags_to_snapshot"] is True
    assert instance["auto_minor_version_upgrade"] is True
    assert instance["allow_major_version_upgrade"] is True
    assert instance["performance_insights_enabled"] is True
    assert instance["performance_insights_retention_period"] == 7  # what is free of charge


def test_waits_and_sessions_are_logged(plan: Plan) -> None:
    expected = {"log_lock_waits": "1", "log_disconnections": "1"}
    assert parameters(plan).items() >= expected.items()
    assert parameters(plan).items() >= {("password_encryption", "scram-sha-256")}


def test_storage_and_snapshots_have_no_key_that_destroy_deletes(plan: Plan) -> None:
    assert plan["module.database.aws_db_instance.main"]["storage_encrypted"] is True
    assert "kms_key_id" not in plan["module.database.aws_db_instance.main"]  # the account's own for RDS
    assert plan["module.keyed.aws_db_instance.main"]["kms_key_id"] == GIVEN_KEY


def test_a_snapshot_is_refused_while_the_instance_stands() -> None:
    with pytest.raises(PlanError, match="which exists"):
        plan_change("database", "terraform_data.life", {}, {"restore_from_snapshot": "app-final"})


@pytest.mark.parametrize("later", [None, "app-final"])
def test_a_snapshot_may_stay_or_be_removed_once_it_is_restored(later: str | None) -> None:
    plan = plan_change(
        "database",
        "terraform_data.life",
        {"restore_from_snapshot": "app-final"},
        {"restore_from_snapshot": later},
    )
    assert plan.changes["module.database.terraform_data.life"]["change"]["actions"] == ["no-op"]


def test_a_snapshot_replaces_the_instance_when_that_is_asked_for() -> None:
    plan = plan_change(
        "database", "terraform_data.life", {}, {"restore_from_snapshot": "app-final"}, replace="terraform_data.life"
    )
    assert plan["module.database.aws_db_instance.main"]["snapshot_identifier"] == "app-final"
