"""Each policy finds its fault in every form that Terraform has for it, on HCL and on a plan, and nothing else.

A resource in failing/ holds the fault of its file, in the form that its name begins with. All that a policy looks at
in passing/ must pass. The names are none of the modules': checkov finds the skips for a plan by name, anywhere in the
tree.
"""

import json
import os
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import plans

HERE = Path(__file__).parent
CHECKOV = plans.ROOT / ".venv" / "checkov" / "bin" / "checkov"
README = plans.ROOT / "policies" / "README.md"

# The policies of each file in failing/, and the types of resources that hold its fault.
FAULTS = {
    "proxy.tf": (["CKV_LRP_1", "CKV_LRP_2", "CKV_LRP_10"], r"aws_db_proxy"),
    "egress.tf": (["CKV_LRP_3"], r"aws_.*security_group.*"),
    "postgresql_port.tf": (["CKV_LRP_4"], r"aws_.*security_group.*"),
    "login.tf": (["CKV_LRP_5"], r"aws_iam_.*"),
    "secrets.tf": (["CKV_LRP_6"], r"aws_.*"),
    "logs.tf": (["CKV_LRP_7"], r"aws_.*"),
    "function.tf": (["CKV_LRP_8"], r"aws_lambda_function"),
    "parameters.tf": (["CKV_LRP_9"], r"aws_.*"),
}
# The same for the module in failing/called, where all of them are together.
CALLED = {
    "aws_db_proxy": ["CKV_LRP_1", "CKV_LRP_2", "CKV_LRP_10"],
    "aws_vpc_security_group_egress_rule": ["CKV_LRP_3"],
    "aws_vpc_security_group_ingress_rule": ["CKV_LRP_4"],
    "aws_iam_role_policy": ["CKV_LRP_5"],
    "aws_lambda_function": ["CKV_LRP_6"],
    "aws_cloudwatch_log_group": ["CKV_LRP_7"],
    "aws_db_parameter_group": ["CKV_LRP_9"],
}
POLICIES = [f"CKV_LRP_{number}" for number in range(1, 11)]

# What a resource is named after, and how README.md calls it.
FORMS = {
    "plain": "an argument or a block of the resource",
    "inline": "a block inside the group or the role",
    "attribute": "the same as a list of objects",
    "rule": "`aws_security_group_rule`",
    "own": "`aws_vpc_security_group_…_rule`",
    "called": "in a module that is called with it",
    "counted": "`count`",
    "each": "`for_each`",
    "dynamic": "a `dynamic` block, with the fault in its `for_each`",
    "variable": "through a variable or `merge()`",
    "encoded": "`jsonencode()`",
    "heredoc": "a heredoc",
    "document": "`aws_iam_policy_document`",
    "computed": "computed by a `for` expression",
    "unknown": "beside what only an apply will know",
    "blind": "in small pieces, or `dynamic` beside what is unknown",
}
EVERYWHERE, NOWHERE = frozenset({"HCL", "plan"}), frozenset[str]()
WORDS = {EVERYWHERE: "both", frozenset({"HCL"}): "HCL", frozenset({"plan"}): "plan", NOWHERE: "**no**"}
# The forms that are not found everywhere.
BLIND: dict[tuple[str, str], frozenset[str]] = {
    # checkov drops the for_each of a dynamic block, and leaves an index into a list as it is.
    ("CKV_LRP_3", "dynamic"): frozenset({"plan"}),
    ("CKV_LRP_3", "counted"): frozenset({"plan"}),
    ("CKV_LRP_4", "dynamic"): frozenset({"plan"}),
    ("CKV_LRP_6", "dynamic"): frozenset({"plan"}),
    ("CKV_LRP_9", "dynamic"): frozenset({"plan"}),
    # One unknown value makes the whole document, or the whole map, unknown to a plan.
    ("CKV_LRP_5", "unknown"): frozenset({"HCL"}),
    ("CKV_LRP_6", "unknown"): frozenset({"HCL"}),
    ("CKV_LRP_3", "blind"): NOWHERE,
    ("CKV_LRP_6", "blind"): NOWHERE,
}
# What the plan of passing/ knows, and HCL does not.
UNKNOWN_IN_HCL = {
    "unknown": json.dumps({"Version": "2012-10-17", "Statement": []}),
    "unknown_bool": True,
    "unknown_debug": False,
    "unknown_port": 443,
    "unknown_range": "10.0.0.0/16",
    "unknown_token": "arn:aws:secretsmanager:us-east-1:111122223333:secret:app-AbCdEf",
}

# By policy and resource: where it is found, among EVERYWHERE.
Found = dict[str, dict[str, frozenset[str]]]


def expected() -> Found:
    """All faults in failing/, with the places where each should be found."""
    faults: Found = {policy: {} for policy in POLICIES}
    for path in sorted((HERE / "failing").rglob("*.tf")):
        for kind, name in re.findall(r'^(?:resource|data) "(\w+)" "(\w+)"', path.read_text(), re.MULTILINE):
            if path.parent.name == "called":
                policies = CALLED[kind]
            else:
                policies, kinds = FAULTS.get(path.name, ([], ""))
                policies = policies if re.fullmatch(kinds, kind) else []
            for policy in policies:
                faults[policy][_key(f"{kind}.{name}")] = BLIND.get((policy, name.split("_")[0]), EVERYWHERE)
    return faults


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    """What fails, by folder."""
    folder = tmp_path_factory.mktemp("plans")
    arguments = []
    for name in ("passing", "failing"):
        shutil.copytree(HERE / name, folder / name)
        path = folder / f"{name}.json"
        path.write_text(json.dumps(_plan(folder / name)))
        arguments += ["--file", str(path)]
    places = {"HCL": list(_scan("--directory", str(HERE))), "plan": list(_scan(*arguments))}

    faults: dict[str, Found] = {}
    for outcome in ("passed", "failed"):
        for name in ("passing", "failing"):
            by_policy: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
            for place, checks in places.items():
                for where, how, policy, resource in checks:
                    if (name, outcome) == (where, how):
                        by_policy[policy][_key(resource)].add(place)
            faults[f"{outcome} in {name}"] = {
                policy: {resource: frozenset(seen) for resource, seen in resources.items()}
                for policy, resources in by_policy.items()
            }
    return faults


@pytest.mark.parametrize("policy", POLICIES)
def test_the_fault_is_found_in_every_form_but_those_that_are_named(found: dict[str, Found], policy: str) -> None:
    faults = {resource: places for resource, places in expected()[policy].items() if places}
    assert found["failed in failing"][policy] == faults


@pytest.mark.parametrize("policy", POLICIES)
def test_what_is_right_or_not_known_yet_is_no_fault(found: dict[str, Found], policy: str) -> None:
    assert found["failed in passing"].get(policy, {}) == {}
    assert frozenset().union(*found["passed in passing"][policy].values()) == EVERYWHERE


def test_the_readme_says_what_is_found_and_what_is_not() -> None:
    assert table() in README.read_text(), f"The table in policies/README.md should be:\n\n{table()}"


def table() -> str:
    """Form by policy: where the fault is found."""
    faults = expected()
    rows = [["form of the fault", *(policy.removeprefix("CKV_LRP_") for policy in POLICIES)], ["---"] * 11]
    for form, words in FORMS.items():
        cells = []
        for policy in POLICIES:
            places = {seen for name, seen in faults[policy].items() if name.split(".")[1].split("_")[0] == form}
            assert len(places) <= 1, f"{form} of {policy} is found in {places}: give the exception a form of its own"
            cells += [WORDS[seen] for seen in places] or [""]
        rows.append([words, *cells])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _key(resource: str) -> str:
    """The address without module, count or key; a document stands for the policy that is made of it."""
    kind, name = re.sub(r"\[[^]]*\]", "", resource).split(".")[-2:]
    return f"{'aws_iam_policy' if kind == 'aws_iam_policy_document' else kind}.{name}"


def _scan(*arguments: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield folder, outcome, policy and resource of each check, made as `make scan` makes them."""
    options = ["--compact", "--skip-download", "--output=json", "--external-checks-dir=policies"]
    command = [str(CHECKOV), *options, "--check=CKV_LRP_*", *arguments]
    environment = os.environ | {"EVAL_TF_PLAN_AFTER_UNKNOWN": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=plans.ROOT, env=environment, check=False)
    reports = json.loads(done.stdout)
    for report in reports if isinstance(reports, list) else [reports]:
        for outcome in ("passed", "failed"):
            for check in report["results"][f"{outcome}_checks"]:
                folder = "failing" if "failing" in check["file_path"] else "passing"
                yield folder, outcome, check["check_id"], check["resource"]


def _plan(folder: Path) -> dict[str, Any]:
    provider = {
        "region": "us-east-1",
        "skip_credentials_validation": True,
        "skip_requesting_account_id": True,
        "skip_metadata_api_check": True,
    }
    (folder / "provider.tf.json").write_text(json.dumps({"provider": {"aws": provider}}))
    if folder.name == "passing":
        (folder / "terraform.tfvars.json").write_text(json.dumps(UNKNOWN_IN_HCL))
    plans.terraform(folder, "get")
    return plans.plan_folder(folder).document
