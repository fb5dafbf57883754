"""What a plan comes to, told from the document of terraform show -json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tools.plan_summary import Summary, as_markdown, as_text, is_changed, main, summarise

CREATE, UPDATE, DELETE = ["create"], ["update"], ["delete"]
REPLACE, REPLACE_BEFORE = ["delete", "create"], ["create", "delete"]

INSTANCE = {
    "instance_class": "db.m7g.large",
    "engine_version": "17",
    "db_subnet_group_name": "app",
    "port": 5432,
    "identifier": "app",
    "multi_az": False,
    "allocated_storage": 20,
    "backup_retention_period": 14,
    "apply_immediately": True,
    "maintenance_window": "sun:04:00-sun:05:00",
    "vpc_security_group_ids": ["sg-1"],
    "final_snapshot_identifier": "app-final-1",
    "skip_final_snapshot": False,
}


def change(kind: str, actions: list[str], before: Any = None, after: Any = None, **more: Any) -> dict[str, Any]:
    sides = {"actions": actions, "before": before, "after": after, "after_unknown": {}}
    return {"address": f"module.a.{kind}.main", "mode": "managed", "type": kind, "change": sides | more}


def plan(*changes: dict[str, Any]) -> dict[str, Any]:
    return {"resource_changes": list(changes), "applyable": bool(changes)}


def instance(**after: Any) -> dict[str, Any]:
    return change("aws_db_instance", UPDATE, INSTANCE, INSTANCE | after)


def parameters(**values: tuple[str, str]) -> dict[str, Any]:
    """A parameter group: the value and the apply method of each."""
    return {"parameter": [{"name": n, "value": v, "apply_method": m} for n, (v, m) in values.items()]}


# Each change, and what must be said under which of the three headings; nothing else may be said.
LOSES = [
    (change("aws_db_instance", DELETE, INSTANCE), "and with it the database; app-final-1 keeps a copy"),
    (change("aws_db_instance", REPLACE, INSTANCE, INSTANCE), "replaced, and with it the database"),
    (change("aws_db_instance", DELETE, INSTANCE | {"skip_final_snapshot": True}), "no final snapshot is taken"),
    (change("aws_kms_key", DELETE, {}), "all that is encrypted with it"),
    (change("aws_kms_key", REPLACE_BEFORE, {}, {}), "all that is encrypted with it"),
    (change("aws_secretsmanager_secret", DELETE, {}), "its values"),
    (change("aws_cloudwatch_log_group", REPLACE, {}, {}), "its log lines"),
    (change("aws_db_snapshot", DELETE, {}), "the snapshot"),
    (change("aws_sqs_queue", DELETE, {}), "the messages"),
    (change("aws_rds_cluster", DELETE, {"skip_final_snapshot": True}), "the databases of the cluster; no final"),
    (instance(backup_retention_period=7), "14 → 7: backups older than 7 days are deleted"),
    (
        change("aws_cloudwatch_log_group", UPDATE, {"retention_in_days": 0}, {"retention_in_days": 30}),
        "0 → 30: log lines older than 30 days",
    ),
]
RESTARTS = [
    (instance(instance_class="db.m7g.xlarge"), "instance_class db.m7g.large → db.m7g.xlarge, at once"),
    (
        instance(instance_class="db.m7g.xlarge", apply_immediately=False),
        "db.m7g.xlarge, in the window sun:04:00-sun:05:00 (UTC)",
    ),
    (instance(engine_version="18"), "engine_version 17 → 18, at once"),
    (instance(db_subnet_group_name="other"), "db_subnet_group_name app → other"),
    (instance(identifier="other"), "identifier app → other"),
    (instance(port=5433, apply_immediately=False), "port 5432 → 5433, at once"),
    (
        change("aws_db_instance", UPDATE, INSTANCE, INSTANCE, after_unknown={"instance_class": True}),
        "instance_class db.m7g.large",
    ),
    (
        change(
            "aws_db_parameter_group",
            UPDATE,
            parameters(max_connections=("100", "pending-reboot"), log_lock_waits=("0", "immediate")),
            parameters(max_connections=("200", "pending-reboot"), log_lock_waits=("1", "immediate")),
        ),
        "max_connections 100 → 200: in force only after make reboot",
    ),
    (
        change("aws_rds_cluster_instance", UPDATE, {"instance_class": "a"}, {"instance_class": "b"}),
        "instance_class a → b, in the maintenance window",
    ),
]
CUTS = [
    (change("aws_db_proxy", DELETE, {}), "deleted: every connection through it"),
    (change("aws_db_proxy", REPLACE, {}, {}), "replaced: every connection through it"),
    (change("aws_db_proxy_target", REPLACE, {}, {}), "until the new target is AVAILABLE"),
    (change("aws_db_proxy_endpoint", DELETE, {}), "every connection through this endpoint"),
    (change("aws_vpc_security_group_egress_rule", DELETE, {}), "what it lets through"),
    (change("aws_vpc_security_group_ingress_rule", REPLACE, {}, {}), "what it lets through"),
    (change("aws_vpc_endpoint", REPLACE, {}, {}), "calls of AWS by it"),
    (change("aws_lambda_function", REPLACE, {}, {}), "every invocation"),
    (change("aws_lambda_alias", DELETE, {}), "every invocation by this alias"),
    (instance(vpc_security_group_ids=["sg-2"]), "loses sg-1"),
    (
        change("aws_security_group", UPDATE, {"ingress": [{"from_port": 1}]}, {"ingress": []}),
        "loses 1 ingress rules",
    ),
]
CODE = {"filename": "./../../build/output/function-users.zip", "handler": "app.main"}
SWAPS = [
    (
        change("aws_lambda_function", UPDATE, CODE, {"filename": "output/function.zip", "handler": "handler.handler"}),
        "app.main of function-users.zip → handler.handler of function.zip",
    ),
    (change("aws_lambda_function", UPDATE, CODE, CODE | {"handler": "app.other"}), "→ app.other of function-users.zip"),
]
HARMLESS = [
    change("aws_lambda_function", UPDATE, CODE | {"source_code_hash": "a"}, CODE | {"source_code_hash": "b"}),
    change("aws_lambda_function", UPDATE, CODE, CODE | {"filename": "elsewhere/function-users.zip"}),
    instance(multi_az=True),
    instance(allocated_storage=40),
    instance(backup_retention_period=30),
    instance(vpc_security_group_ids=["sg-1", "sg-2"]),
    change("aws_db_instance", CREATE, None, INSTANCE),
    change("aws_db_proxy", UPDATE, {"idle_client_timeout": 60}, {"idle_client_timeout": 90}),
    change("aws_lambda_alias", UPDATE, {"function_version": "1"}, {"function_version": "2"}),
    change("aws_lambda_function", UPDATE, {"memory_size": 128}, {"memory_size": 256}),
    change("aws_vpc_security_group_ingress_rule", CREATE, None, {}),
    change("aws_vpc_security_group_ingress_rule", REPLACE_BEFORE, {}, {}),
    change("aws_cloudwatch_log_group", UPDATE, {"retention_in_days": 30}, {"retention_in_days": 0}),
    change("aws_iam_role_policy", REPLACE_BEFORE, {}, {}),
    change(
        "aws_db_parameter_group",
        UPDATE,
        parameters(log_lock_waits=("0", "immediate")),
        parameters(log_lock_waits=("1", "immediate")),
    ),
]
BOTH = {"aws_db_instance", "aws_rds_cluster"}  # of which a deletion is told under two headings


@pytest.mark.parametrize(
    ("heading", "given", "said"),
    [
        (heading, given, said)
        for heading, table in (("loses_data", LOSES), ("restarts", RESTARTS), ("cuts", CUTS), ("swaps", SWAPS))
        for given, said in table
    ],
)
def test_what_follows_is_told_with_its_address(heading: str, given: dict[str, Any], said: str) -> None:
    summary = summarise(plan(given))
    [found] = getattr(summary, heading)
    assert said in found.what
    assert found.address == given["address"]
    others = [
        name for name in ("loses_data", "restarts", "cuts", "swaps") if name != heading and getattr(summary, name)
    ]
    assert others == (["cuts"] if heading == "loses_data" and given["type"] in BOTH and found.what[0] in "dr" else [])


@pytest.mark.parametrize("given", HARMLESS, ids=lambda given: f"{given['type']}-{given['change']['actions'][0]}")
def test_what_nothing_follows_from_is_left_alone(given: dict[str, Any]) -> None:
    summary = summarise(plan(given))
    assert summary.consequences == {}
    assert "Loses no data, restarts no database, cuts no connection." in as_text(summary, "prod")


def test_no_backups_at_all_lose_the_backups_and_restart() -> None:
    summary = summarise(plan(instance(backup_retention_period=0)))
    assert summary.loses_data
    assert "backup_retention_period 14 → 0" in summary.restarts[0].what


def test_each_action_is_counted_and_listed() -> None:
    given = plan(
        change("aws_a", CREATE),
        change("aws_b", UPDATE),
        change("aws_c", REPLACE),
        change("aws_d", REPLACE_BEFORE),
        change("aws_e", DELETE),
        change("aws_f", ["no-op"]),
        change("aws_g", ["read"]) | {"mode": "data"},
        change("aws_h", DELETE) | {"deposed": "00ff"},
    )
    summary = summarise(given)
    assert summary.counts == "1 to add, 1 to change, 2 to replace, 2 to destroy"
    assert summary.destroy == ("module.a.aws_e.main", "module.a.aws_h.main (deposed 00ff)")
    for text in (as_text(summary, "prod"), as_markdown(summary, "prod")):
        assert all(f"module.a.aws_{letter}.main" in text for letter in "abcdeh")
        assert "aws_f" not in text


def test_a_long_list_is_cut_on_the_terminal_and_whole_in_markdown() -> None:
    summary = Summary(add=tuple(f"aws_a.n{number}" for number in range(12)))
    assert "and 2 more" in as_text(summary, "prod")
    assert "aws_a.n11" not in as_text(summary, "prod")
    assert "aws_a.n11" in as_markdown(summary, "prod")


@pytest.mark.parametrize(
    ("document", "changed"), [({"applyable": False}, False), ({"applyable": True}, True), ({}, True)]
)
def test_whether_there_is_anything_to_apply_is_terraform_s_word(document: dict[str, Any], changed: bool) -> None:
    assert is_changed(document) is changed


def test_markdown_goes_to_a_file_that_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    document = tmp_path / "plan.json"
    document.write_text(json.dumps(plan(change("aws_db_proxy", DELETE, {}))))
    page = tmp_path / "plan.md"
    with document.open() as file:
        monkeypatch.setattr("sys.stdin", file)
        assert main(["prod", "--markdown", str(page)]) is None
    assert f"The summary for a pull request is in {page}." in capsys.readouterr().out
    assert page.read_text().startswith("### Plan of prod: 0 to add, 0 to change, 0 to replace, 1 to destroy\n")
    assert "**Cuts connections**\n\n- `module.a.aws_db_proxy.main`: deleted: every connection through it" in (
        page.read_text()
    )


def test_nothing_changed_is_one_line() -> None:
    assert as_text(Summary(), "prod", changed=False) == "Nothing to change in prod."
