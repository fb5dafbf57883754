"""Every root plans with a newer Terraform too; dev and prod would make the same."""

import pytest

from tests.plans import ROOT, Plan
from tests.roots import plan_offline

# One asks AWS while it is planned, the other takes zips that `make examples` builds: their own tests apply them.
NOT_OFFLINE = {"examples/existing-database", "examples/frameworks"}
ROOTS = sorted(
    {
        str(folder.relative_to(ROOT))
        for place in ("terraform", "examples")
        for folder in (ROOT / place).iterdir()
        if (folder / "main.tf").exists()
    }
    - NOT_OFFLINE
)


def changes(plan: Plan) -> dict[str, object]:
    return {address: change["change"] for address, change in plan.changes.items()}


@pytest.mark.parametrize("root", ROOTS)
def test_newer_terraform_plans_the_root(root: str) -> None:
    newer = plan_offline(root, newer=True)
    version = tuple(map(int, newer.document["terraform_version"].split(".")[:2]))
    assert version > (1, 11)
    if root.startswith("terraform/"):  # which call every module
        assert changes(newer) == changes(plan_offline(root))
