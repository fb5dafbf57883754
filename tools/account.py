"""Compare who calls AWS with whose the state is: python -m tools.account ROOT <STATE, with --ask or --arn.

With credentials of another account, or in another region, the provider finds none of the state's resources: it would
plan all of them anew, and destroy would forget them and succeed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import hcl2
from botocore.exceptions import BotoCoreError, ClientError
from hcl2.utils import SerializationOptions

_PROVIDER = 'provider["registry.terraform.io/hashicorp/aws"]'


@dataclass(frozen=True)
class Place:
    """Where the provider of a root acts. None is what only Terraform can tell."""

    account: str | None
    region: str | None
    endpoint: str

    def __str__(self) -> str:
        account = self.account or "of the role that the provider assumes"
        return f"account {account}, region {self.region or 'of the provider'}, endpoint {self.endpoint}"


def main(arguments: list[str]) -> str | None:
    """Compare, or ask; return why not to go on."""
    parser = argparse.ArgumentParser(prog="python -m tools.account", description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--ask", metavar="QUESTION")
    parser.add_argument("--arn", help="of what is to be called, in place of a state")
    parser.add_argument("--yes", action="store_true", help="the answer, given beforehand")
    given = parser.parse_args(arguments)
    try:
        if given.ask:
            return _ask(given.root, given.ask, yes=given.yes)
        arns = [given.arn] if given.arn else list(arns_of(json.loads(sys.stdin.read() or "{}")))
        return refusal(given.root, arns, place(given.root)) if arns else None
    except (BotoCoreError, ClientError) as error:
        return f"Who calls is not known: {error}"


def place(root: Path, environment: Mapping[str, str] = os.environ) -> Place:
    """Ask STS who calls, with the settings that the root's provider has."""
    blocks = _blocks(root)
    provider: dict[str, Any] = next((block for block in blocks("provider", "aws") if "alias" not in block), {})
    variables = {name: block.get("default") for name, block in _named(blocks, "variable")}
    variables |= {name: environment[f"TF_VAR_{name}"] for name in variables if f"TF_VAR_{name}" in environment}

    def value(given: Any) -> str | None:
        name = str(given).removeprefix("${var.").removesuffix("}")
        resolved = variables.get(name) if given == f"${{var.{name}}}" else given
        return resolved if isinstance(resolved, str) and "${" not in resolved else None

    session = boto3.Session(profile_name=value(provider.get("profile")))
    default = environment.get("AWS_REGION") or session.region_name
    region = value(provider["region"]) if "region" in provider else default
    sts = session.client("sts", region_name=region or default or "us-east-1")
    account: str | None = sts.get_caller_identity()["Account"]
    for role in provider.get("assume_role", []):
        arn = value(role.get("role_arn"))
        account = arn.split(":")[4] if arn else None
    return Place(account, region, sts.meta.endpoint_url)


def refusal(root: Path, arns: Iterable[str], here: Place) -> str | None:
    """Say where the resources of a state are, unless the provider acts there."""
    parts = [arn.split(":") for arn in arns]
    accounts, regions = ({arn[field] for arn in parts if arn[field]} for field in (4, 3))
    away = here.account and accounts and here.account not in accounts
    if away or (here.region and regions and here.region not in regions):
        there = f"account {', '.join(sorted(accounts))}, region {', '.join(sorted(regions))}"
        return f"The state of {root} is of {there}. You are in {here}. Use the state's own account and region."
    return None


def arns_of(state: Mapping[str, Any]) -> Iterator[str]:
    """Yield the ARNs of what the root's own provider manages."""
    for resource in state.get("resources", []):
        if resource["mode"] == "managed" and resource["provider"] == _PROVIDER:
            for instance in resource["instances"]:
                arn = (instance.get("attributes") or {}).get("arn")
                if isinstance(arn, str) and arn.count(":") >= 5:
                    yield arn


def _ask(root: Path, question: str, *, yes: bool) -> str | None:
    here = place(root)
    print(f"{question}\n  {here}", flush=True)
    if yes:
        return None
    try:
        answer = input("[yes/no] ")
    except EOFError:
        answer = ""
    if answer != "yes":
        return "Nothing was changed."
    if (now := place(root)) != here:
        return f"Nothing was changed: meanwhile you are in {now}."
    return None


def _blocks(root: Path) -> Any:
    options = SerializationOptions(strip_string_quotes=True)
    documents = [hcl2.loads(path.read_text(), serialization_options=options) for path in sorted(root.glob("*.tf"))]

    def blocks(kind: str, name: str | None = None) -> list[Any]:
        found = [block for document in documents for block in document.get(kind, [])]
        return found if name is None else [block[name] for block in found if name in block]

    return blocks


def _named(blocks: Any, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for block in blocks(kind):
        yield from ((name, body) for name, body in block.items() if isinstance(body, dict))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
