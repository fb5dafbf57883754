"""What every module promises alike: about names, regions and the account it is in."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from tests import plans
from tests.plans import ARGUMENTS, Plan, PlanError

NAMED_FOR_LIFE = {
    "network": "network",
    "database": "database",
    "cluster": "cluster",
    "bootstrap": "bootstrap function",
    "function": "function",
    "queue": "queue",
}
FOREIGN_KEY = "arn:aws-cn:kms:cn-north-1:999988887777:key/00000000-0000-0000-0000-000000000009"
WITH_A_ROLE = [module for module in ARGUMENTS if module not in ("observability", "http", "queue")]
IN_NETWORK = [module for module in ARGUMENTS if "log_key_arn" in ARGUMENTS[module].get("network", {})]


@pytest.fixture(scope="module")
def with_a_foreign_key() -> Plan:
    return plans.plan_calls(
        **{
            module: (module, {"network": {**ARGUMENTS[module]["network"], "log_key_arn": FOREIGN_KEY}})
            for module in IN_NETWORK
        }
    )


@pytest.mark.parametrize("module", IN_NETWORK)
def test_a_key_of_another_account_only_encrypts(with_a_foreign_key: Plan, module: str) -> None:
    """No policy and no ARN takes its account, region or partition from it."""
    texts = {
        f"{address}.{where}": text
        for address, change in with_a_foreign_key.changes.items()
        if change["module_address"] == f"module.{module}"
        for where, text in _texts(change["change"]["after"])
    }
    foreign = FOREIGN_KEY.split(":")
    named = {where for where, text in texts.items() if any(foreign[part] in text for part in (1, 3, 4))}
    assert named == {where for where, text in texts.items() if text == FOREIGN_KEY}
    assert all("aws_cloudwatch_log_group" in where for where in named)
    assert named
    arns = [text for text in texts.values() if "arn:" in text and text != FOREIGN_KEY]
    assert all("us-east-1" in text or "111122223333" in text or ":aws:policy/" in text for text in arns)


@pytest.fixture(scope="module")
def made_as_app() -> Path:
    """A root of all modules whose names have been applied, and nothing else."""
    folder = plans.calls_root({module: (module, {}) for module in NAMED_FOR_LIFE})
    targets = [f"module.{module}.terraform_data.name" for module in NAMED_FOR_LIFE]
    plans.terraform(folder, "apply", auto_approve=plans.IsFlagged, input=False, target=targets)
    return folder


def _renamed(folder: Path, name: str) -> None:
    root = json.loads((folder / "main.tf.json").read_text())
    for call in root["module"].values():
        call["name"] = name
    (folder / "main.tf.json").write_text(json.dumps(root))


def test_a_changed_name_is_refused_before_anything_is_touched(made_as_app: Path) -> None:
    _renamed(made_as_app, "other")
    with pytest.raises(PlanError) as refused:
        plans.plan_folder(made_as_app)
    for what in NAMED_FOR_LIFE.values():
        assert f"name cannot change: this {what} was made as app, not other. Set it back." in str(refused.value)


def test_the_same_name_is_not_refused(made_as_app: Path) -> None:
    _renamed(made_as_app, "app")
    changes = plans.plan_folder(made_as_app).changes
    for module in NAMED_FOR_LIFE:
        assert changes[f"module.{module}.terraform_data.name"]["change"]["actions"] == ["no-op"]


@pytest.fixture(scope="module")
def two_regions() -> dict[str, str]:
    """The names of all roles, applied by the same modules under the same name in two regions of one account."""
    with patch.dict(os.environ, {"AWS_ENDPOINT_URL": plans.control_plane()}):
        east = _names_of_roles("us-east-1", "use1")
        west = _names_of_roles("eu-west-1", "euw1")
    return {
        f"{region}.{address}": name for region, names in (("east", east), ("west", west)) for address, name in names
    }


def _names_of_roles(region: str, zone: str) -> list[tuple[str, str]]:
    """Apply the role of each module in one region, all with the same long name."""
    folder = plans.calls_root({module: (module, {"name": "a" * 40}) for module in WITH_A_ROLE})
    root = json.loads((folder / "main.tf.json").read_text())
    root["provider"]["aws"]["region"] = region
    root["module"]["network"]["zone_ids"] = [f"{zone}-az1", f"{zone}-az2"]
    (folder / "main.tf.json").write_text(json.dumps(root))
    roles = {"network": "flow_logs", "database": "monitoring", "cluster": "monitoring"}
    targets = [f"module.{module}.aws_iam_role.{roles.get(module, 'main')}" for module in WITH_A_ROLE]
    plans.terraform(folder, "apply", auto_approve=plans.IsFlagged, input=False, target=targets)
    state = json.loads(plans.terraform(folder, "show", json=plans.IsFlagged))
    return [
        (resource["address"], resource["values"]["name"])
        for module in state["values"]["root_module"]["child_modules"]
        for resource in module["resources"]
        if resource["type"] == "aws_iam_role"
    ]


def test_the_same_environment_stands_in_two_regions_of_an_account(two_regions: dict[str, str]) -> None:
    """A role's name is the account's, not the region's."""
    assert len(two_regions) == 2 * len(WITH_A_ROLE)
    assert len(set(two_regions.values())) == len(two_regions)
    assert all(name.startswith("a" * 26) and len(name) <= 64 for name in two_regions.values())


def _texts(value: Any, where: str = "") -> Iterator[tuple[str, str]]:
    match value:
        case str():
            yield where, value
        case dict():
            for name, part in value.items():
                yield from _texts(part, f"{where}.{name}")
        case list():
            for number, part in enumerate(value):
                yield from _texts(part, f"{where}.{number}")
