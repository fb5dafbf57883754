"""Compare a saved plan with the account before it is applied: terraform show -json PLAN | python -m tools.preflight.

What would fail in the middle of the apply is refused here: concurrency that the account cannot reserve, and names that
are taken by what is not in the state.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from tools.saved_plan import region

KEPT_UNRESERVED = 100  # Lambda Developer Guide, configuration-concurrency
QUOTA = "L-B99A9384"  # Lambda, concurrent executions

Client = Callable[[str], Any]


def main() -> str | None:
    """Check the plan on standard input; return what it would run into, if anything."""
    try:
        plan = json.load(sys.stdin)
    except ValueError:
        return "The plan could not be read."
    named = region(plan)

    def client(service: str) -> Any:
        return boto3.client(service, region_name=named)

    refused: list[str] = []
    for check in (reservations, taken_names):
        try:
            refused += check(plan, client)
        except (BotoCoreError, ClientError) as error:
            print(f"Not checked ({check.__name__.replace('_', ' ')}): {error}", file=sys.stderr)
    return "\n\n".join(refused) or None


def reservations(plan: Any, client: Client) -> Iterator[str]:
    """Say how many concurrent executions the account lacks for what the functions of the plan reserve."""
    wanted = {
        change["after"]["function_name"]: max(change["after"].get("reserved_concurrent_executions") or 0, 0)
        for _, change in _changes(plan, "aws_lambda_function")
        if change["after"]
    }
    if not any(wanted.values()):
        return
    account = client("lambda").get_account_settings()["AccountLimit"]
    limit, unreserved = account["ConcurrentExecutions"], account["UnreservedConcurrentExecutions"]
    ours = sum(_reserved(client("lambda"), name) for name in wanted)
    free, needed, least = unreserved + ours, sum(wanted.values()), min(KEPT_UNRESERVED, limit)
    if free - needed >= least:
        return
    by_function = ", ".join(f"{name} {count}" for name, count in wanted.items() if count)
    enough = limit - free + needed + KEPT_UNRESERVED
    yield (
        f"The plan reserves {needed} concurrent executions ({by_function}), but this account has {limit} in "
        f"{client('lambda').meta.region_name}: {limit - free} are reserved by other functions, and {least} must stay "
        f"unreserved. Lower reserved_concurrency, or ask for {enough}: aws service-quotas "
        f"request-service-quota-increase --service-code lambda --quota-code {QUOTA} --desired-value {enough}"
    )


def taken_names(plan: Any, client: Client) -> Iterator[str]:
    """Name what the plan would create and the account has already, as after an apply that was killed."""
    for kind, (argument, exists) in _NAMED.items():
        for address, change in _changes(plan, kind):
            name = (change["after"] or {}).get(argument)
            if change["actions"] == ["create"] and name and exists(client, name):
                yield (
                    f"{name} exists, but is not in this state as {address}. Either an apply was killed before "
                    f"Terraform noted it: then terraform import '{address}' '{name}' in the folder of the environment. "
                    "Or it is somebody else's: then choose another name."
                )


def _reserved(client: Any, function: str) -> int:
    """Return what a function has reserved now; 0 for one that does not exist."""
    try:
        found = client.get_function_concurrency(FunctionName=function)
    except client.exceptions.ResourceNotFoundException:
        return 0
    return int(found.get("ReservedConcurrentExecutions") or 0)


def _found(error: str, call: Callable[[Client, str], Any]) -> Callable[[Client, str], bool]:
    """Tell whether a call finds something, or fails with this error."""

    def exists(client: Client, name: str) -> bool:
        try:
            return bool(call(client, name))
        except ClientError as failure:
            if failure.response["Error"]["Code"] in (error, f"{error}Fault"):
                return False
            raise

    return exists


def _log_group(client: Client, name: str) -> bool:
    groups = client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    return any(group["logGroupName"] == name for group in groups)


def _instance(client: Client, name: str) -> Any:
    return client("rds").describe_db_instances(DBInstanceIdentifier=name)


def _cluster(client: Client, name: str) -> Any:
    return client("rds").describe_db_clusters(DBClusterIdentifier=name)


def _proxy(client: Client, name: str) -> Any:
    return client("rds").describe_db_proxies(DBProxyName=name)


def _subnet_group(client: Client, name: str) -> Any:
    return client("rds").describe_db_subnet_groups(DBSubnetGroupName=name)


def _function(client: Client, name: str) -> Any:
    return client("lambda").get_function_configuration(FunctionName=name)


# By type, the argument that is its name and its id: what a killed apply leaves behind and the next one stumbles on.
_NAMED: dict[str, tuple[str, Callable[[Client, str], bool]]] = {
    "aws_cloudwatch_log_group": ("name", _log_group),
    "aws_db_instance": ("identifier", _found("DBInstanceNotFound", _instance)),
    "aws_db_proxy": ("name", _found("DBProxyNotFound", _proxy)),
    "aws_db_subnet_group": ("name", _found("DBSubnetGroupNotFound", _subnet_group)),
    "aws_rds_cluster": ("cluster_identifier", _found("DBClusterNotFoundFault", _cluster)),
    "aws_rds_cluster_instance": ("identifier", _found("DBInstanceNotFound", _instance)),
    "aws_lambda_function": ("function_name", _found("ResourceNotFoundException", _function)),
}


def _changes(plan: Any, kind: str) -> Iterator[tuple[str, Any]]:
    for resource in plan.get("resource_changes", []):
        if resource["mode"] == "managed" and resource["type"] == kind:
            yield resource["address"], resource["change"]


if __name__ == "__main__":
    sys.exit(main())
