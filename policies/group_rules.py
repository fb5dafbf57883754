"""Security group rules that checkov's own policies do not look into."""

from typing import Any

from checkov.common.models.enums import CheckCategories, CheckResult
from checkov.terraform.checks.resource.base_resource_check import BaseResourceCheck

DATABASE_PORT = 5432
HTTPS_PORT = 443
ADDRESSES = ("cidr_ipv4", "cidr_ipv6", "prefix_list_id")
WORLD = ("0.0.0.0/0", "::/0")


class EgressNamesItsTarget(BaseResourceCheck):
    def __init__(self) -> None:
        super().__init__(
            name="Ensure no egress rule is open to the world, but for HTTPS",
            id="CKV_LRP_3",
            categories=[CheckCategories.NETWORKING],
            supported_resources=["aws_vpc_security_group_egress_rule"],
            guideline="Name the other side's group with referenced_security_group_id; to the internet, port 443 alone.",
        )

    def scan_resource_conf(self, conf: dict[str, list[Any]]) -> CheckResult:
        if not any(_value(conf, key) in WORLD for key in ("cidr_ipv4", "cidr_ipv6")):
            return CheckResult.PASSED
        https_only = _value(conf, "ip_protocol") == "tcp" and _ports(conf) == (HTTPS_PORT, HTTPS_PORT)
        return CheckResult.PASSED if https_only else CheckResult.FAILED


class DatabasePortIsOpenToGroupsOnly(BaseResourceCheck):
    def __init__(self) -> None:
        super().__init__(
            name="Ensure PostgreSQL's port is open to security groups, not to addresses",
            id="CKV_LRP_4",
            categories=[CheckCategories.NETWORKING],
            supported_resources=["aws_vpc_security_group_ingress_rule"],
            guideline="Name the client's group with referenced_security_group_id: a range holds strangers.",
        )

    def scan_resource_conf(self, conf: dict[str, list[Any]]) -> CheckResult:
        by_address = any(_value(conf, key) for key in ADDRESSES)
        return CheckResult.FAILED if by_address and _reaches(conf, DATABASE_PORT) else CheckResult.PASSED


def _reaches(conf: dict[str, list[Any]], port: int) -> bool:
    if _value(conf, "ip_protocol") in ("-1", -1):
        return True
    first, last = _ports(conf)
    if first is None or last is None:
        return False  # not known before apply
    return first <= port <= last


def _ports(conf: dict[str, list[Any]]) -> tuple[int | None, int | None]:
    def number(key: str) -> int | None:
        try:
            return int(_value(conf, key))
        except (TypeError, ValueError):
            return None

    return number("from_port"), number("to_port")


def _value(conf: dict[str, list[Any]], key: str) -> Any:
    values = conf.get(key)
    return values[0] if isinstance(values, list) and values else None


CHECKS = [EgressNamesItsTarget(), DatabasePortIsOpenToGroupsOnly()]
