"""Security group rules in all their forms: a resource for each, rule resources, blocks inside a group."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from typing import Any, Literal

from checkov.common.models.enums import CheckCategories, CheckResult
from checkov.terraform.checks.resource.base_resource_check import BaseResourceCheck
from reading import blocks, number, value, values

DATABASE_PORT = 5432
HTTPS_PORT = 443
GROUPS = ["aws_security_group", "aws_default_security_group"]
RANGES = ["cidr_ipv4", "cidr_ipv6", "cidr_blocks", "ipv6_cidr_blocks"]

# The largest private ranges are 10.0.0.0/8 and fc00::/7: what is wider holds the world, or a good part of it.
WIDEST_PRIVATE = {4: 8, 6: 7}


@dataclass(frozen=True)
class Rule:
    """One rule; a port is None where it is not known, or where all are meant."""

    protocol: str
    first: int | None
    last: int | None
    ranges: list[str]
    by_address: bool

    def reaches(self, port: int) -> bool:
        if self.protocol in ("-1", "all"):
            return True
        return self.is_tcp and self.first is not None and self.last is not None and self.first <= port <= self.last

    def is_https(self) -> bool:
        return self.is_tcp and self.first == self.last == HTTPS_PORT

    @property
    def is_tcp(self) -> bool:
        return self.protocol in ("tcp", "6")

    def opens_the_world(self) -> bool:
        """Tell whether the ranges, taken together, are wider than any private one."""
        networks = [network for text in self.ranges if (network := _network(text))]
        together = [
            *collapse_addresses(network for network in networks if isinstance(network, IPv4Network)),
            *collapse_addresses(network for network in networks if isinstance(network, IPv6Network)),
        ]
        return any(network.prefixlen < WIDEST_PRIVATE[network.version] for network in together)


class EgressNamesItsTarget(BaseResourceCheck):
    def __init__(self) -> None:
        super().__init__(
            name="Ensure no egress rule is open to the world, but for HTTPS",
            id="CKV_LRP_3",
            categories=[CheckCategories.NETWORKING],
            supported_resources=["aws_vpc_security_group_egress_rule", "aws_security_group_rule", *GROUPS],
            guideline="Name the other side's group; to the internet, port 443 alone.",
        )

    def scan_resource_conf(self, conf: dict[str, list[Any]]) -> CheckResult:
        rules = _rules(self.entity_type, conf, "egress")
        opened = any(rule.opens_the_world() and not rule.is_https() for rule in rules)
        return CheckResult.FAILED if opened else CheckResult.PASSED


class DatabasePortIsOpenToGroupsOnly(BaseResourceCheck):
    def __init__(self) -> None:
        super().__init__(
            name="Ensure PostgreSQL's port is open to security groups, not to addresses",
            id="CKV_LRP_4",
            categories=[CheckCategories.NETWORKING],
            supported_resources=["aws_vpc_security_group_ingress_rule", "aws_security_group_rule", *GROUPS],
            guideline="Name the client's group: a range holds strangers.",
        )

    def scan_resource_conf(self, conf: dict[str, list[Any]]) -> CheckResult:
        rules = _rules(self.entity_type, conf, "ingress")
        reached = any(rule.by_address and rule.reaches(DATABASE_PORT) for rule in rules)
        return CheckResult.FAILED if reached else CheckResult.PASSED


def _rules(kind: str, conf: dict[str, Any], direction: Literal["ingress", "egress"]) -> Iterator[Rule]:
    if kind in GROUPS:
        yield from map(_rule, blocks(conf, direction))
    elif kind != "aws_security_group_rule" or value(conf, "type") == direction:
        yield _rule(conf)


def _rule(conf: dict[str, Any]) -> Rule:
    ranges = [str(found) for key in RANGES for found in values(conf, key)]
    return Rule(
        protocol=str(value(conf, "ip_protocol") or value(conf, "protocol")).lower(),
        first=number(value(conf, "from_port")),
        last=number(value(conf, "to_port")),
        ranges=ranges,
        by_address=bool(ranges or values(conf, "prefix_list_id") or values(conf, "prefix_list_ids")),
    )


def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None  # a reference, which a plan may know


CHECKS = [EgressNamesItsTarget(), DatabasePortIsOpenToGroupsOnly()]
