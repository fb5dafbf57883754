"""Keep what a broken-off apply made: terraform state pull | python -m tools.mend TERRAFORM [OPTIONS].

Terraform replaces what it has seen fail while being made ("tainted"), though the failure was often only that of the
waiting: an interrupt, credentials that ran out, a quota. Replacing fails where a name is taken or the database is
protected, and costs a quarter of an hour where it does not. What AWS says is whole is kept; what settings it lacks the
plan shows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

WAIT_SECONDS = 1800
POLL_SECONDS = 10.0

# By type, how to ask for its state, and what the state of a whole one is. A state in neither set is still under way.
Ask = Callable[[str, dict[str, Any]], str]
WHOLE = {"available", "active", "Active", "Inactive"}
BROKEN = {
    "failed",
    "Failed",
    "deleting",
    "deleted",
    "incompatible-network",
    "incompatible-parameters",
    "migration-failed",
    "rejected",
}


def _client(service: str, region: str) -> Any:
    import boto3  # noqa: PLC0415  it takes a quarter of a second, and most states have nothing unfinished

    return boto3.client(service, region)


def _instance(region: str, attributes: dict[str, Any]) -> str:
    found = _client("rds", region).describe_db_instances(DBInstanceIdentifier=attributes["identifier"])
    return str(found["DBInstances"][0]["DBInstanceStatus"])


def _cluster(region: str, attributes: dict[str, Any]) -> str:
    name = attributes["cluster_identifier"]
    return str(_client("rds", region).describe_db_clusters(DBClusterIdentifier=name)["DBClusters"][0]["Status"])


def _proxy(region: str, attributes: dict[str, Any]) -> str:
    found = _client("rds", region).describe_db_proxies(DBProxyName=attributes["name"])
    return str(found["DBProxies"][0]["Status"])


def _function(region: str, attributes: dict[str, Any]) -> str:
    found = _client("lambda", region).get_function_configuration(FunctionName=attributes["function_name"])
    return str(found.get("State", "Active"))


def _endpoint(region: str, attributes: dict[str, Any]) -> str:
    found = _client("ec2", region).describe_vpc_endpoints(VpcEndpointIds=[attributes["id"]])
    return str(found["VpcEndpoints"][0]["State"])


ASK: dict[str, Ask] = {
    "aws_db_instance": _instance,
    "aws_db_proxy": _proxy,
    "aws_lambda_function": _function,
    "aws_rds_cluster": _cluster,
    "aws_rds_cluster_instance": _instance,
    "aws_vpc_endpoint": _endpoint,
}

# Made by one call, and complete as soon as they exist; what settings they lack the plan shows.
AT_ONCE = {
    "aws_cloudwatch_log_group",
    "aws_db_parameter_group",
    "aws_db_subnet_group",
    "aws_iam_role",
    "aws_iam_role_policy",
    "aws_kms_alias",
    "aws_kms_key",
    "aws_rds_cluster_parameter_group",
    "aws_secretsmanager_secret",
    "aws_security_group",
    "aws_sqs_queue",
    "aws_subnet",
    "aws_vpc",
}


def main(*terraform: str) -> str | None:
    """Untaint what is whole; return what went wrong, if anything."""
    text = sys.stdin.read()
    state = json.loads(text) if text.strip() else {}
    unfinished = list(tainted(state))
    if not unfinished:
        return None
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  as in _client

    try:
        return _mend(unfinished, _region(state), terraform)
    except (BotoCoreError, ClientError, TimeoutError) as error:
        return f"What an apply left unfinished could not be looked at: {error}"


def _mend(unfinished: list[tuple[str, str, dict[str, Any]]], region: str, terraform: tuple[str, ...]) -> str | None:
    for address, kind, attributes in unfinished:
        if not _is_whole(kind, region, attributes):
            print(f"{address} was not made to the end: it is replaced.", flush=True)
            continue
        print(f"{address} was made although an apply broke off: it is kept.", flush=True)
        done = subprocess.run(
            [*terraform, "untaint", "-no-color", address], text=True, capture_output=True, check=False
        )
        if done.returncode:
            return f"{address} could not be kept: {done.stderr.strip()}"
    return None


def tainted(state: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield address, type and attributes of each object that Terraform would replace as tainted."""
    for resource in state.get("resources", []):
        if resource["mode"] != "managed":
            continue
        for instance in resource["instances"]:
            if instance.get("status") == "tainted" and "deposed" not in instance:
                key = f"[{json.dumps(instance['index_key'])}]" if "index_key" in instance else ""
                module = f"{resource['module']}." if "module" in resource else ""
                address = f"{module}{resource['type']}.{resource['name']}{key}"
                yield address, resource["type"], instance["attributes"]


def _is_whole(kind: str, region: str, attributes: dict[str, Any]) -> bool:
    if kind in AT_ONCE:
        return True
    if kind not in ASK:
        return False
    from botocore.exceptions import ClientError  # noqa: PLC0415

    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            status = ASK[kind](region, attributes)
        except ClientError as error:
            if "NotFound" in error.response["Error"]["Code"]:
                return False
            raise
        if status in WHOLE or status in BROKEN:
            return status in WHOLE
        if time.monotonic() > deadline:
            raise TimeoutError(f"{attributes.get('id')} is still {status} after {WAIT_SECONDS // 60} minutes.")
        print(f"{attributes.get('id')} is {status}: waiting.", flush=True)
        time.sleep(POLL_SECONDS)


def _region(state: Any) -> str:
    """Return the region of the first ARN of a regional resource in the state."""
    for resource in state.get("resources", []):
        for instance in resource["instances"]:
            parts = str((instance.get("attributes") or {}).get("arn", "")).split(":")
            if len(parts) > 5 and parts[3]:
                return parts[3]
    import boto3  # noqa: PLC0415

    return os.environ.get("AWS_REGION") or str(boto3.session.Session().region_name)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
