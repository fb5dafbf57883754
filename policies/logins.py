"""rds-db:connect: on one instance or proxy, as one user."""

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from checkov.common.models.enums import CheckCategories, CheckResult
from checkov.terraform.checks.data.base_check import BaseDataCheck
from checkov.terraform.checks.resource.base_resource_check import BaseResourceCheck

NAME = "Ensure rds-db:connect is granted on one database and one user"
ID = "CKV_LRP_5"
CATEGORIES = [CheckCategories.IAM]
GUIDELINE = "Name the whole ARN, arn:aws:rds-db:REGION:ACCOUNT:dbuser:RESOURCE-ID/USER, without a wildcard."


class LoginNamesDatabaseAndUser(BaseResourceCheck):
    def __init__(self) -> None:
        policies = ["aws_iam_policy", "aws_iam_role_policy", "aws_iam_user_policy", "aws_iam_group_policy"]
        super().__init__(name=NAME, id=ID, categories=CATEGORIES, supported_resources=policies, guideline=GUIDELINE)

    def scan_resource_conf(self, conf: dict[str, list[Any]]) -> CheckResult:
        [policy] = conf.get("policy") or [None]
        if isinstance(policy, str):
            try:
                policy = json.loads(policy)
            except ValueError:
                return CheckResult.PASSED  # another resource's, or not known before apply
        statements = policy.get("Statement", []) if isinstance(policy, dict) else []
        return _result(
            (statement.get("Effect"), _flat(statement.get("Action")), _flat(statement.get("Resource")))
            for statement in _flat(statements)
            if isinstance(statement, dict)
        )


class LoginDocumentNamesDatabaseAndUser(BaseDataCheck):
    def __init__(self) -> None:
        super().__init__(
            name=NAME, id=ID, categories=CATEGORIES, supported_data=["aws_iam_policy_document"], guideline=GUIDELINE
        )

    def scan_data_conf(self, conf: dict[str, list[Any]]) -> CheckResult:
        return _result(
            (
                _flat(statement.get("effect", "Allow"))[0],
                _flat(statement.get("actions")),
                _flat(statement.get("resources")),
            )
            for statement in _flat(conf.get("statement"))
            if isinstance(statement, dict)
        )


def _result(statements: Iterator[tuple[Any, list[Any], list[Any]]]) -> CheckResult:
    for effect, actions, resources in statements:
        # "*" alone is every action of AWS, for which checkov has its own policies.
        connects = any(action != "*" and fnmatchcase("rds-db:connect", str(action).lower()) for action in actions)
        if effect == "Allow" and connects and any("*" in str(resource) for resource in resources):
            return CheckResult.FAILED
    return CheckResult.PASSED


def _flat(value: Any) -> list[Any]:
    """What HCL wraps in lists, some of them within others."""
    if not isinstance(value, list):
        return [] if value is None else [value]
    return [item for part in value for item in _flat(part)]


CHECKS = [LoginNamesDatabaseAndUser(), LoginDocumentNamesDatabaseAndUser()]
