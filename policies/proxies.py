"""RDS Proxy: TLS and IAM for every client, and no statement in its log."""

from typing import Any

from checkov.common.models.enums import CheckCategories, CheckResult
from checkov.terraform.checks.resource.base_resource_check import BaseResourceCheck
from reading import blocks, is_true, is_unresolved, value


class ProxyRequiresTls(BaseResourceCheck):
    def __init__(self) -> None:
        super().__init__(
            name="Ensure RDS Proxy refuses clients without TLS",
            id="CKV_LRP_1",
            categories=[CheckCategories.ENCRYPTION],
            supported_resources=["aws_db_proxy"],
            guideline="Set require_tls = true: without it a token or a password can cross the network in the clear.",
        )

    def scan_resource_conf(self, conf: dict[str, list[Any]]) -> CheckResult:
        required = value(conf, "require_tls")
        if is_unresolved(required):
            return CheckResult.UNKNOWN
        return CheckResult.PASSED if is_true(required) else CheckResult.FAILED


class ProxyRequiresIam(BaseResourceCheck):
    def __init__(self) -> None:
        super().__init__(
            name="Ensure RDS Proxy lets clients log in with IAM only",
            id="CKV_LRP_2",
            categories=[CheckCategories.IAM],
            supported_resources=["aws_db_proxy"],
            guideline='Set iam_auth = "REQUIRED" in every auth block.',
        )

    def scan_resource_conf(self, conf: dict[str, list[Any]]) -> CheckResult:
        # Since provider 6.15 a proxy may have IAM from end to end, and then no auth block.
        end_to_end = value(conf, "default_auth_scheme") == "IAM_AUTH"
        ways = [value(block, "iam_auth") for block in blocks(conf, "auth")]
        known = [way for way in ways if not is_unresolved(way)]
        if any(way != "REQUIRED" for way in known) or not (ways or end_to_end):
            return CheckResult.FAILED
        return CheckResult.PASSED if known == ways else CheckResult.UNKNOWN


class ProxyKeepsStatementsToItself(BaseResourceCheck):
    def __init__(self) -> None:
        super().__init__(
            name="Ensure RDS Proxy does not log the text of statements",
            id="CKV_LRP_10",
            categories=[CheckCategories.LOGGING],
            supported_resources=["aws_db_proxy"],
            guideline="Leave debug_logging off: it writes every statement into the log, values included.",
        )

    def scan_resource_conf(self, conf: dict[str, list[Any]]) -> CheckResult:
        return CheckResult.FAILED if is_true(value(conf, "debug_logging")) else CheckResult.PASSED


CHECKS = [ProxyRequiresTls(), ProxyRequiresIam(), ProxyKeepsStatementsToItself()]
