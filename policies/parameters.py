"""Parameter groups do not let clients in without TLS."""

from typing import Any

from checkov.common.models.enums import CheckCategories, CheckResult
from checkov.terraform.checks.resource.base_resource_check import BaseResourceCheck
from reading import blocks, is_true, is_unresolved, value


class ServerRequiresTls(BaseResourceCheck):
    def __init__(self) -> None:
        super().__init__(
            name="Ensure PostgreSQL on RDS refuses clients without TLS",
            id="CKV_LRP_9",
            categories=[CheckCategories.ENCRYPTION],
            supported_resources=["aws_db_parameter_group", "aws_rds_cluster_parameter_group"],
            guideline='Set the parameter rds.force_ssl to "1"; since PostgreSQL 15 that is also its default.',
        )

    def scan_resource_conf(self, conf: dict[str, list[Any]]) -> CheckResult:
        for parameter in blocks(conf, "parameter"):
            if value(parameter, "name") == "rds.force_ssl":
                given = value(parameter, "value")
                if not is_true(given) and not is_unresolved(given):
                    return CheckResult.FAILED
        return CheckResult.PASSED


CHECKS = [ServerRequiresTls()]
