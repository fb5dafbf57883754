"""rds-db:connect: on one instance or proxy, as one user."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from checkov.common.models.enums import CheckCategories, CheckResult
from checkov.terraform.checks.data.base_check import BaseDataCheck
from checkov.terraform.checks.resource.base_resource_check import BaseResourceCheck
from reading import blocks, flat

NAME = "Ensure rds-db:connect is granted on one database and one user"
ID = "CKV_LRP_5"
CATEGORIES = [CheckCategories.IAM]
GUIDELINE = "Name the whole ARN, arn:aws:rds-db:REGION:ACCOUNT:dbuser:RESOURCE-ID/USER, without a wildcard."

# By resource type: the argument that holds a policy document.
DOCUMENTS = {
    "aws_iam_policy": "policy",
    "aws_iam_role_policy": "policy",
    "aws_iam_user_policy": "policy",
    "aws_iam_group_policy": "policy",
    "aws_ssoadmin_permission_set_inline_policy": "inline_policy",
}
CONNECT = "rds-db:connect"


@dataclass(frozen=True)
class Statement:
    effect: str
    actions: list[str]
    not_actions: list[str]
    resources: list[str]
    not_resources: list[str]

    def is_too_wide(self) -> bool:
        if self.effect != "Allow" or not self._lets_connect():
            return False
        wide = [resource for resource in self.resources if "*" in resource or "?" in resource]
        if self.actions == ["*"]:  # on everything: for that checkov has its own policies
            wide = [resource for resource in wide if resource != "*"]
            wide = [resource for resource in wide if resource.split(":")[2:3] == ["rds-db"]]
        return bool(wide or self.not_resources)

    def _lets_connect(self) -> bool:
        if self.not_actions:
            return not any(_covers(pattern, CONNECT) for pattern in self.not_actions)
        return any(_covers(pattern, CONNECT) for pattern in self.actions)


class LoginNamesDatabaseAndUser(BaseResourceCheck):
    def __init__(self) -> None:
        kinds = [*DOCUMENTS, "aws_iam_role"]
        super().__init__(name=NAME, id=ID, categories=CATEGORIES, supported_resources=kinds, guideline=GUIDELINE)

    def scan_resource_conf(self, conf: dict[str, list[Any]]) -> CheckResult:
        if self.entity_type == "aws_iam_role":
            documents = [block.get("policy") for block in blocks(conf, "inline_policy")]
        else:
            documents = [conf.get(DOCUMENTS[self.entity_type])]
        return _result(statement for document in documents for statement in _of_document(document))


class LoginDocumentNamesDatabaseAndUser(BaseDataCheck):
    def __init__(self) -> None:
        kinds = ["aws_iam_policy_document"]
        super().__init__(name=NAME, id=ID, categories=CATEGORIES, supported_data=kinds, guideline=GUIDELINE)

    def scan_data_conf(self, conf: dict[str, list[Any]]) -> CheckResult:
        return _result(
            Statement(
                effect=(_texts(block, "effect") or ["Allow"])[0],
                actions=_texts(block, "actions"),
                not_actions=_texts(block, "not_actions"),
                resources=_texts(block, "resources"),
                not_resources=_texts(block, "not_resources"),
            )
            for block in _statement_blocks(conf)
        )


def _result(statements: Iterator[Statement]) -> CheckResult:
    return CheckResult.FAILED if any(statement.is_too_wide() for statement in statements) else CheckResult.PASSED


def _of_document(found: Any) -> Iterator[Statement]:
    """Yield the statements of a document that is an object, or the JSON of one; of a reference none."""
    for given in flat(found):
        document = _parsed(given) if isinstance(given, str) else given
        for block in flat(document.get("Statement")) if isinstance(document, dict) else []:
            if isinstance(block, dict):
                yield Statement(
                    effect=(_texts(block, "Effect") or [""])[0],
                    actions=_texts(block, "Action"),
                    not_actions=_texts(block, "NotAction"),
                    resources=_texts(block, "Resource"),
                    not_resources=_texts(block, "NotResource"),
                )


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _statement_blocks(conf: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the statements; of a dynamic one also each of the values that it is made of, where these are known."""
    yield from blocks(conf, "statement")
    for dynamic in flat(conf.get("dynamic")):
        for made in flat(dynamic.get("statement")) if isinstance(dynamic, dict) else []:
            given = [item for item in flat(made.get("for_each")) if isinstance(item, str)]
            for block in flat(made.get("content")):
                if isinstance(block, dict) and "statement.value" in _texts(block, "resources"):
                    yield {**block, "resources": given}


def _texts(block: dict[str, Any], key: str) -> list[str]:
    return [str(item) for item in flat(block.get(key))]


def _covers(pattern: str, action: str) -> bool:
    """Tell whether an action matches a pattern as IAM has them: * and ?, in any case."""
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, action, re.IGNORECASE) is not None


CHECKS = [LoginNamesDatabaseAndUser(), LoginDocumentNamesDatabaseAndUser()]
