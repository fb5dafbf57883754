"""The arguments that the modules use exist in the installed provider, and none is on its way out."""

import json
from typing import Any

import pytest

from build.docs import ARGUMENTS
from tests import plans

USED: dict[str, list[str]] = json.loads(ARGUMENTS.read_text())


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    # The folder in which the provider of the lock file is installed.
    folder = plans._plugins().parents[1]
    schemas = json.loads(plans._terraform(folder, "providers schema", json=plans.IsFlagged))
    found: dict[str, Any] = schemas["provider_schemas"]["registry.terraform.io/hashicorp/aws"]["resource_schemas"]
    return found


@pytest.mark.parametrize("kind", USED)
def test_arguments_are_in_the_schema(resources: dict[str, Any], kind: str) -> None:
    for argument in USED[kind]:
        attribute = _attribute(resources[kind]["block"], argument)
        assert attribute.get("required") or attribute.get("optional"), f"{argument} cannot be set"
        assert not attribute.get("deprecated"), f"{argument} is deprecated"


def test_region_is_not_asked_for() -> None:
    """Provider 6 renames aws_region's name, so nothing here may use either."""
    for path in plans.ROOT.glob("modules/*/*.tf"):
        assert 'data "aws_region"' not in path.read_text()


def _attribute(block: dict[str, Any], argument: str) -> dict[str, Any]:
    *blocks, name = argument.split(".")
    for nested in blocks:
        block = block["block_types"][nested]["block"]
    found: dict[str, Any] = block["attributes"][name]
    return found
