"""How long a plan of prod takes beside one of the same resources in one flat file.

The flat file has every argument that the modules give: the value where the plan knows it, else a placeholder. Both are
planned in turns, and the medians compared.
"""

import json
import re
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from tests import plans, roots

ROUNDS = 5
LIMIT = 1.2
LEFT_TO_AWS = {"iops", "storage_throughput"}  # null here, so RDS decides
ARN = "arn:aws:iam::111122223333:role/placeholder"


def main() -> None:
    prod = roots.plan_offline("terraform/prod")
    folders = {"modules": roots._tree() / "terraform" / "prod", "flat": _flat_root(prod)}
    sizes = {name: len(plans.plan_folder(folder).changes) for name, folder in folders.items()}
    taken: dict[str, list[float]] = {name: [] for name in folders}
    for _ in range(ROUNDS):
        for name, folder in folders.items():
            start = time.perf_counter()
            plans.terraform(folder, "plan", input=False, out="plan", lock=False, detailed_exitcode=plans.IsNotFlagged)
            taken[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in taken.items()}
    for name, times in taken.items():
        spread = f"({min(times):.2f} to {max(times):.2f})"
        print(f"{name:8} {sizes[name]:3} resources   {medians[name]:.2f} s   {spread}")
    ratio = medians["modules"] / medians["flat"]
    print(f"ratio    {ratio:.2f} (at most {LIMIT})")
    sys.exit(ratio > LIMIT)


def _flat_root(plan: plans.Plan) -> Path:
    folder = plans.temporary_folder()
    resources: dict[str, dict[str, Any]] = {}
    for address, change in plan.changes.items():
        if change["mode"] == "managed":
            configuration = _configuration(plan, address)
            body = _arguments(configuration, change["change"]["after"], change["change"]["after_unknown"])
            if "role" in body and change["type"].startswith("aws_iam_"):
                body["role"] = "placeholder"  # a name there, an ARN elsewhere
            resources.setdefault(change["type"], {})[re.sub(r"\W+", "_", address).strip("_")] = body
    root = {
        "provider": {"aws": {"region": "us-east-1", **roots.OFFLINE}},
        "resource": resources,
    }
    (folder / "main.tf.json").write_text(json.dumps(root, indent=1))
    plans.terraform(folder, "get")
    return folder


def _configuration(plan: plans.Plan, address: str) -> dict[str, Any]:
    """The expressions of the arguments that the module gives the resource."""
    *modules, kind, name = re.sub(r"\[[^]]*\]", "", address).replace("module.", "").split(".")
    module = plan.document["configuration"]["root_module"]
    for call in modules:
        module = module["module_calls"][call]["module"]
    for resource in module["resources"]:
        if (resource["type"], resource["name"]) == (kind, name):
            expressions: dict[str, Any] = resource.get("expressions", {})
            return expressions
    raise LookupError(address)


def _arguments(expressions: dict[str, Any], after: dict[str, Any], unknown: Any) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for name, expression in expressions.items():
        value = after.get(name)
        not_known = unknown.get(name, False) if isinstance(unknown, dict) else unknown
        if isinstance(expression, list) and isinstance(value, list):  # blocks
            rest = not_known if isinstance(not_known, list) else [not_known] * len(value)
            given = [expression[min(i, len(expression) - 1)] for i in range(len(value))]
            body[name] = [_arguments(e, v, u) for e, v, u in zip(given, value, rest, strict=True)]
        elif not_known is True and name in LEFT_TO_AWS:
            continue
        elif not_known is True or (value is None and not_known):
            body[name] = _placeholder(name)
        elif value is not None:
            body[name] = _complete(value, not_known)
    return body


def _complete(value: Any, unknown: Any) -> Any:
    """The value, with a placeholder for each part of it that is not known."""
    if unknown is True:
        return ARN
    if isinstance(value, list) and isinstance(unknown, list):
        return [_complete(item, unknown[i] if i < len(unknown) else False) for i, item in enumerate(value)]
    if isinstance(value, dict) and isinstance(unknown, dict):
        return {key: _complete(value.get(key), unknown.get(key)) for key in value.keys() | unknown.keys()}
    return value.replace("${", "$${") if isinstance(value, str) else value


def _placeholder(name: str) -> Any:
    if name.endswith("policy"):
        statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}
        return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    if name == "dashboard_body":
        return json.dumps({"widgets": []})
    if name in ("variables", "triggers"):
        return {"PLACEHOLDER": ARN}
    if name.endswith(("actions", "ids", "layers")):
        return [ARN]
    if name == "source_account":
        return "111122223333"
    return "placeholder" if name.endswith(("name", "identifier")) else ARN


if __name__ == "__main__":
    main()
