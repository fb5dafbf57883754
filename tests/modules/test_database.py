import json

import pytest

from tests.plans import Plan, Refusals, plan_refusals, plan_variants

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
    "no_backups": ({"backup_retention_days": 0}, "must be from 1 to 35"),
}


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_variants(
        "database",
        database={},
        version_18={"postgres_version": 18},
        large={"storage": {"allocated_gib": 400, "max_gib": 600, "iops": 16000, "throughput_mib": 1000}},
    )


@pytest.fixture(scope="module")
def refusals() -> dict[str, str]:
    return plan_refusals("database", REFUSALS)


@pytest.mark.parametrize("case", REFUSALS)
def test_wrong_arguments_are_refused(refusals: dict[str, str], case: str) -> None:
    assert REFUSALS[case][1] in refusals[case]


def parameters(plan: Plan, call: str = "database") -> dict[str, str]:
    group = plan[f"module.{call}.aws_db_parameter_group.main"]
    return {parameter["name"]: parameter["value"] for parameter in group["parameter"]}


def test_clients_must_use_tls_and_scram(plan: Plan) -> None:
    assert parameters(plan)["rds.force_ssl"] == "1"
    assert parameters(plan).items() >= {("rds.accepted_password_auth_method", "scram")}


def test_max_connections_fits_the_memory_of_the_class(plan: Plan) -> None:
    assert parameters(plan)["max_connections"] == "90"


def test_passwords_set_by_statements_stay_out_of_the_log(plan: Plan) -> None:
    assert parameters(plan)["log_statement"] == "none"


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
