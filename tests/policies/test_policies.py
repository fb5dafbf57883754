"""Each policy passes and fails where it should, on HCL and on a plan."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import plans

HERE = Path(__file__).parent
CHECKOV = plans.ROOT / ".venv" / "checkov" / "bin" / "checkov"

# The fixtures' names are none of the modules': checkov finds the skips for a plan by name, anywhere in the tree.
# By policy: what must fail. All else that it looks at in passing/ must pass.
FAILING = {
    "CKV_LRP_1": {"aws_db_proxy.one_of_two_without_iam", "aws_db_proxy.tls_left_out"},
    "CKV_LRP_2": {"aws_db_proxy.one_of_two_without_iam", "aws_db_proxy.tls_left_out"},
    "CKV_LRP_3": {
        "aws_vpc_security_group_egress_rule.everything",
        "aws_vpc_security_group_egress_rule.many_ports",
    },
    "CKV_LRP_4": {
        "aws_vpc_security_group_ingress_rule.all_protocols",
        "aws_vpc_security_group_ingress_rule.from_addresses",
        "aws_vpc_security_group_ingress_rule.within_a_range",
    },
    "CKV_LRP_5": {
        "aws_iam_policy.any_database",
        "aws_iam_policy_document.any_database",
        "aws_iam_role_policy.any_user",
    },
    "CKV_LRP_6": {
        "aws_db_instance.given_password",
        "aws_lambda_function.password_in_environment",
        "aws_secretsmanager_secret_version.given_value",
        "aws_ssm_parameter.given_value",
    },
    "CKV_LRP_7": {"aws_cloudwatch_log_group.for_ever", "aws_cloudwatch_log_group.left_out"},
    "CKV_LRP_8": {"aws_lambda_function.without_a_path"},
}

Found = dict[str, dict[str, set[str]]]


@pytest.fixture(scope="module")
def on_hcl() -> Found:
    return _scan("--directory", str(HERE))


@pytest.fixture(scope="module")
def on_plan(tmp_path_factory: pytest.TempPathFactory) -> Found:
    folder = tmp_path_factory.mktemp("plans")
    arguments = []
    for name in ("passing", "failing"):
        shutil.copytree(HERE / name, folder / name)
        path = folder / f"{name}.json"
        path.write_text(json.dumps(_plan(folder / name)))
        arguments += ["--file", str(path)]
    return _scan(*arguments)


@pytest.mark.parametrize("policy", FAILING)
def test_hcl_is_judged(on_hcl: Found, policy: str) -> None:
    assert on_hcl["failed"].get(policy) == FAILING[policy]
    assert on_hcl["passed"].get(policy)


@pytest.mark.parametrize("policy", FAILING)
def test_plan_is_judged(on_plan: Found, policy: str) -> None:
    documents = {resource for resource in FAILING[policy] if "policy_document" in resource}  # a plan has them rendered
    assert on_plan["failed"].get(policy) == FAILING[policy] - documents
    assert on_plan["passed"].get(policy)


def _scan(*arguments: str) -> Found:
    options = ["--compact", "--skip-download", "--output=json", "--external-checks-dir=policies"]
    command = [str(CHECKOV), *options, "--check=CKV_LRP_*", *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=plans.ROOT, check=False)
    reports = json.loads(answer.stdout)
    found: Found = {"passed": {}, "failed": {}}
    for report in reports if isinstance(reports, list) else [reports]:
        for outcome, by_policy in found.items():
            for check in report["results"][f"{outcome}_checks"]:
                by_policy.setdefault(check["check_id"], set()).add(check["resource"])
    return found


def _plan(folder: Path) -> dict[str, Any]:
    provider = {
        "region": "us-east-1",
        "skip_credentials_validation": True,
        "skip_requesting_account_id": True,
        "skip_metadata_api_check": True,
    }
    (folder / "provider.tf.json").write_text(json.dumps({"provider": {"aws": provider}}))
    plans._terraform(folder, "init", input=False, plugin_dir=str(plans._plugins()))
    return plans._plan(folder).document
