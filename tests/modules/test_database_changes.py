"""The database module applied, and changed: what RDS makes at once, and what at a restart only.

The provider waits more than a minute for each change of an instance, so one lives through all of it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.modules.applied_database import Database, applied


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with applied(tmp_path_factory.mktemp("database")) as database:
        yield database


def test_second_plan_is_empty(database: Database) -> None:
    assert database.changed() == []


def test_class_and_major_version_change_in_one_apply(database: Database) -> None:
    plan = database.plan(instance_class="db.t4g.small", postgres_version=18)
    assert plan.warnings("database") == []
    database.apply_plan()
    instance = database.instance()
    assert instance["EngineVersion"].startswith("18.")
    assert (instance["DBInstanceClass"], instance["PendingModifiedValues"]) == ("db.t4g.small", {})
    groups = database.client("rds").describe_db_parameter_groups()["DBParameterGroups"]
    assert [group["DBParameterGroupFamily"] for group in groups] == ["postgres18"]
    assert database.max_connections() == 180
    assert database.output()["connection"]["max_clients"] == 175
    assert database.changed() == []


def test_max_connections_counts_when_the_server_has_restarted(database: Database) -> None:
    plan = database.plan(max_connections=200)
    assert "until it restarts" in plan.warnings("database")[0]
    database.apply_plan()
    assert database.max_connections() == 180
    assert database.output()["connection"]["max_clients"] == 175
    assert database.instance()["DBParameterGroups"][0]["ParameterApplyStatus"] == "pending-reboot"
    assert database.changed() == []
