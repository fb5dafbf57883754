"""Secrets that pass through Terraform stand in the plan file and in the state."""

import re
from typing import Any

from checkov.common.models.enums import CheckCategories, CheckResult
from checkov.terraform.checks.resource.base_resource_check import BaseResourceCheck

ARGUMENTS = {
    "aws_db_instance": ["password"],
    "aws_rds_cluster": ["master_password"],
    "aws_secretsmanager_secret_version": ["secret_string", "secret_binary"],
    "aws_ssm_parameter": ["value"],
}
SECRET_NAME = re.compile(r"(PASSW(OR)?D|PASSPHRASE|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY)$", re.IGNORECASE)


class NoSecretInArgument(BaseResourceCheck):
    def __init__(self) -> None:
        super().__init__(
            name="Ensure no secret value is an argument of a resource",
            id="CKV_LRP_6",
            categories=[CheckCategories.SECRETS],
            supported_resources=[*ARGUMENTS, "aws_lambda_function"],
            guideline="Let RDS or a function make the secret and pass its ARN, or use the write-only argument (…_wo).",
        )

    def scan_resource_conf(self, conf: dict[str, list[Any]]) -> CheckResult:
        if self.entity_type == "aws_lambda_function":
            names = {name for block in conf.get("environment") or [] for name in _variables(block)}
            return CheckResult.FAILED if any(map(SECRET_NAME.search, names)) else CheckResult.PASSED
        if self.entity_type == "aws_ssm_parameter" and conf.get("type") != ["SecureString"]:
            return CheckResult.PASSED
        given = any(conf.get(argument) not in (None, [None], [""]) for argument in ARGUMENTS[self.entity_type])
        return CheckResult.FAILED if given else CheckResult.PASSED


def _variables(block: Any) -> list[str]:
    variables = block.get("variables") if isinstance(block, dict) else None
    if isinstance(variables, list) and variables:
        variables = variables[0]
    return list(variables) if isinstance(variables, dict) else []


CHECKS = [NoSecretInArgument()]
