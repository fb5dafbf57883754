"""Secrets that pass through Terraform stand in the plan file and in the state."""

from typing import Any

from checkov.common.models.enums import CheckCategories, CheckResult
from checkov.terraform.checks.resource.base_resource_check import BaseResourceCheck
from reading import blocks, flat, is_unresolved, value
from secret_rule import has_secret_name, is_harmless_value, is_secret_value

ARGUMENTS = {
    "aws_db_instance": ["password"],
    "aws_rds_cluster": ["master_password"],
    "aws_secretsmanager_secret_version": ["secret_string", "secret_binary"],
    "aws_ssm_parameter": ["value"],
}


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
            environment = [pair for block in blocks(conf, "environment") for pair in _variables(block)]
            return CheckResult.FAILED if any(is_secret(*pair) for pair in environment) else CheckResult.PASSED
        if self.entity_type == "aws_ssm_parameter" and value(conf, "type") != "SecureString":
            return CheckResult.PASSED
        # Also one that is not known yet: wherever it comes from, it will stand in the state.
        given = any(value(conf, argument) is not None for argument in ARGUMENTS[self.entity_type])
        return CheckResult.FAILED if given else CheckResult.PASSED


def is_secret(name: str, found: str) -> bool:
    """Tell whether an environment variable holds a secret."""
    if is_secret_value(found):
        return True
    return has_secret_name(name) and not is_harmless_value(found) and not is_unresolved(found)


def _variables(block: dict[str, Any]) -> list[tuple[str, str]]:
    """Return names and values, also where checkov knows but some of them."""
    pairs = []
    for variables in flat(block.get("variables")):
        if isinstance(variables, dict):
            pairs += [(name, str(found)) for name in variables for found in flat(variables[name])]
    return pairs


CHECKS = [NoSecretInArgument()]
