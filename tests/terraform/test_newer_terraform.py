"""Every root plans with a newer Terraform too, and makes the same."""

import pytest

from tests.plans import ROOT, Plan
from tests.roots import plan_offline

ROOTS = sorted(
    str(folder.relative_to(ROOT))
    for place in ("terraform", "examples")
    for folder in (ROOT / place).iterdir()
    if (folder / "main.tf").exists()
)


def kinds(plan: Plan) -> set[str]:
    return {address for address, change in plan.changes.items() if change["change"]["actions"] == ["create"]}


@pytest.mark.parametrize("root", ROOTS)
def test_newer_terraform_plans_the_root(root: str) -> None:
    plan = plan_offline(root, newer=True)
    version = tuple(map(int, plan.document["terraform_version"].split(".")[:2]))
    assert version > (1, 11)
    assert kinds(plan)
