"""RDS Proxy: TLS and IAM for every client."""

from typing import Any

from checkov.common.models.enums import CheckCategories, CheckResult
from checkov.terraform.checks.resource.base_resource_check import BaseResourceCheck


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
        return CheckResult.PASSED if conf.get("require_tls") in ([True], ["true"]) else CheckResult.FAILED


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
        end_to_end = conf.get("default_auth_scheme") == ["IAM_AUTH"]
        blocks = [block for block in conf.get("auth") or [] if isinstance(block, dict)]
        required = all(block.get("iam_auth") == ["REQUIRED"] or block.get("iam_auth") == "REQUIRED" for block in blocks)
        return CheckResult.PASSED if required and (blocks or end_to_end) else CheckResult.FAILED


CHECKS = [ProxyRequiresTls(), ProxyRequiresIam()]
