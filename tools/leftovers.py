"""Adopt log groups that AWS made again after a destroy: terraform show -json PLAN | python -m tools.leftovers FILE.

RDS writes the last lines of a deleted instance or proxy late, into a group that it makes when Terraform has deleted it
already; the next apply would fail (ResourceAlreadyExistsException). Where the plan creates a group that exists, FILE
gets import blocks for a second plan. Where it does not, no file is written.
"""

import json
import sys
from pathlib import Path
from typing import Any

from tools.saved_plan import region


def created(plan: dict[str, Any]) -> dict[str, str]:
    """The name of each log group that a plan creates, by address."""
    return {
        change["address"]: change["change"]["after"]["name"]
        for change in plan.get("resource_changes", [])
        if change["type"] == "aws_cloudwatch_log_group" and change["change"]["actions"] == ["create"]
        if change["change"]["after"].get("name")
    }


def leftovers(logs: Any, groups: dict[str, str]) -> dict[str, str]:
    """Those of the groups that exist."""
    return {address: name for address, name in groups.items() if _exists(logs, name)}


def imports(groups: dict[str, str]) -> str:
    """Import blocks, in Terraform's JSON syntax."""
    return json.dumps({"import": [{"to": address, "id": name} for address, name in groups.items()]}, indent=2)


def main(path: Path, plan: str) -> str | None:
    """Write the file where something is left over; return what went wrong, if anything."""
    document = json.loads(plan)
    groups = created(document)
    if not groups:
        return None
    # Only here, since it takes a quarter of a second: most plans create no log group.
    import boto3  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    try:
        found = leftovers(boto3.client("logs", region_name=region(document)), groups)
    except (BotoCoreError, ClientError) as error:
        return f"The log groups could not be looked at: {error}"
    if found:
        print(f"Left over from an earlier life, and adopted: {', '.join(found.values())}")
        path.write_text(imports(found))
    return None


def _exists(logs: Any, name: str) -> bool:
    pages = logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name)
    return any(group["logGroupName"] == name for page in pages for group in page["logGroups"])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.stdin.read()))
