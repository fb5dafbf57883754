"""Logs are not kept for ever."""

from typing import Any

from checkov.common.models.enums import CheckCategories, CheckResult
from checkov.terraform.checks.resource.base_resource_check import BaseResourceCheck
from reading import number, value


class LogGroupForgets(BaseResourceCheck):
    def __init__(self) -> None:
        super().__init__(
            name="Ensure a log group says how long it keeps its logs",
            id="CKV_LRP_7",
            categories=[CheckCategories.LOGGING],
            supported_resources=["aws_cloudwatch_log_group"],
            guideline="Set retention_in_days; 0, like nothing, means for ever.",
        )

    def scan_resource_conf(self, conf: dict[str, list[Any]]) -> CheckResult:
        days = value(conf, "retention_in_days")
        return CheckResult.FAILED if days is None or number(days) == 0 else CheckResult.PASSED


CHECKS = [LogGroupForgets()]
