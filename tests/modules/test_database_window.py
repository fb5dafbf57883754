"""The database module applied, and changed in the maintenance window.

The provider waits more than a minute for each change of an instance, so one lives through all of it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import plans
from tests.modules.applied_database import Database, applied


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with applied(tmp_path_factory.mktemp("database"), instance_class="db.t4g.small", max_connections=200) as database:
        yield database


def test_change_in_the_window_is_not_reckoned_with_before(database: Database) -> None:
    plan = database.plan(instance_class="db.t4g.micro", max_connections=None, changes={"apply": "in_window"})
    assert any("waits for the window" in warning for warning in plan.warnings("database"))
    database.apply_plan()
    assert database.instance()["PendingModifiedValues"] == {"DBInstanceClass": "db.t4g.micro"}
    assert database.output()["instance_class"] == "db.t4g.small"
    assert database.output()["connection"]["max_clients"] == 85
    assert database.changed() == ["module.database.aws_db_instance.main"]
    with pytest.raises(plans.PlanError) as refused:
        database.plan(iam_authentication=False, postgres_version=18)
    assert "iam_authentication cannot change" in str(refused.value)
    assert "postgres_version cannot change" in str(refused.value)
    with pytest.raises(plans.PlanError, match="first, alone"):
        database.plan(iam_authentication=False, changes={"apply": "now"})
    database.stack.let_window_pass()
    assert database.changed() == []
    assert database.instance()["DBInstanceClass"] == "db.t4g.micro"
    assert database.max_connections() == 90
