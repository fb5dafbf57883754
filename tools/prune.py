"""Delete old versions of a function, each of which keeps its network interfaces: python -m tools.prune ALIAS_ARN.

The newest stay, and every version that an alias leads to.
"""

from __future__ import annotations

import sys
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

KEPT = 3  # the one in use and two to go back to


def main(alias_arn: str) -> str | None:
    """Print what was deleted; return what went wrong, if anything."""
    function = alias_arn.split(":")[6]
    try:
        client = boto3.client("lambda", region_name=alias_arn.split(":")[3])
        deleted = prune(client, function)
    except (BotoCoreError, ClientError) as error:
        return f"Old versions of {function} were not deleted: {error}"
    if deleted:
        print(f"Deleted {function}'s old versions {', '.join(deleted)}.")
    return None


def prune(client: Any, function: str) -> list[str]:
    """Delete all but the newest versions and those that aliases use; return their numbers."""
    pages = client.get_paginator("list_versions_by_function").paginate(FunctionName=function)
    found = [version["Version"] for page in pages for version in page["Versions"]]
    numbers = sorted((int(number) for number in found if number != "$LATEST"), reverse=True)
    used = _used(client, function)
    old = [str(number) for number in reversed(numbers[KEPT:]) if str(number) not in used]
    for number in old:
        client.delete_function(FunctionName=function, Qualifier=number)
    return old


def _used(client: Any, function: str) -> set[str]:
    used: set[str] = set()
    for page in client.get_paginator("list_aliases").paginate(FunctionName=function):
        for alias in page["Aliases"]:
            used |= {alias["FunctionVersion"], *alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})}
    return used


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
