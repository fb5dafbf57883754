"""The way through the VPC: subnets with their addresses, and the two rules of each step."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tools.doctor.finding import Finding, ok, wrong
from tools.doctor.site import Site, security_groups

# RDS User Guide, rds-proxy-network-prereqs: free addresses in each subnet, for classes up to xlarge.
WANTED_BY_A_PROXY = 10
WANTED_BY_A_FUNCTION = 1  # Lambda makes an interface for each subnet and set of security groups
# RDS User Guide, rds-proxy (limitations)
REFUSED_ZONES = {"use1-az3", "usw1-az2"}

POSTGRES, HTTPS = 5432, 443


@dataclass(frozen=True)
class Tier:
    """Something with security groups, in subnets."""

    name: str
    groups: tuple[str, ...]
    subnets: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """One side connects to the other."""

    near: Tier
    far: Tier
    port: int

    def __str__(self) -> str:
        return f"{self.near.name} → {self.far.name}:{self.port}"


def subnets(site: Site) -> Finding:
    """See that every subnet is there, with addresses for what scales, in zones that a proxy takes."""
    tiers = [tier for tier in _tiers(site).values() if tier.subnets]
    wanted = {subnet: WANTED_BY_A_FUNCTION for tier in tiers for subnet in tier.subnets}
    proxy = next((tier for tier in tiers if tier.name == "proxy"), None)
    wanted |= dict.fromkeys(proxy.subnets if proxy else (), WANTED_BY_A_PROXY)
    found = _subnets(site, wanted)
    again = f"make deploy ENV={site.environment} makes what is missing again."
    if missing := sorted(wanted.keys() - found.keys()):
        return wrong(f"{', '.join(missing)} of {_users(tiers, missing)} is not there.", again)
    short = [name for name, least in wanted.items() if found[name]["AvailableIpAddressCount"] < least]
    if short:
        left = ", ".join(f"{name} has {found[name]['AvailableIpAddressCount']} of {wanted[name]}" for name in short)
        return wrong(
            f"Too few free addresses: {left}.",
            "Delete what else takes addresses there, or give the network a larger cidr (another VPC).",
        )
    zones = {name: found[name].get("AvailabilityZoneId") or found[name]["AvailabilityZone"] for name in wanted}
    for_proxy = {zones[name] for name in proxy.subnets} if proxy else set()
    if refused := sorted(for_proxy & REFUSED_ZONES):
        return wrong(f"RDS Proxy works in no subnet of {', '.join(refused)}.", "Leave that zone out of zone_ids.")
    if proxy and len(for_proxy) < 2:
        return wrong("The proxy's subnets are in one zone; it needs two.", "Add a zone to zone_ids.")
    least = min(found[name]["AvailableIpAddressCount"] for name in wanted)
    return ok(
        f"{len(wanted)} subnets in {', '.join(sorted(set(zones.values())))}, at least {least} free addresses each"
    )


def rules(site: Site) -> Finding:
    """See that each step has its rule on both sides: egress of the near one, ingress of the far one."""
    steps = list(_steps(site))
    ids = sorted({group for step in steps for tier in (step.near, step.far) for group in tier.groups})
    names = sorted({name for step in steps for tier in (step.near, step.far) for name in tier.subnets})
    groups = {
        group["GroupId"]: group
        for group in site.client("ec2").describe_security_groups(Filters=[{"Name": "group-id", "Values": ids}])[
            "SecurityGroups"
        ]
    }
    networks = {name: subnet["CidrBlock"] for name, subnet in _subnets(site, names).items()}
    missing = [text for step in steps for text in _missing(step, groups, networks)]
    if missing:
        return wrong(f"{'; '.join(missing)}.", f"make deploy ENV={site.environment} makes the missing rule again.")
    return ok(f"{', '.join(map(str, steps))}: each has its two rules")


def _missing(step: Step, groups: dict[str, Any], networks: dict[str, str]) -> Iterator[str]:
    for side, other, way in ((step.near, step.far, "Egress"), (step.far, step.near, "")):
        permissions = [
            permission
            for group in side.groups
            if group in groups
            for permission in groups[group][f"IpPermissions{way}"]
        ]
        far = [networks[name] for name in other.subnets if name in networks]
        if not any(_permits(permission, other.groups, far, step.port) for permission in permissions):
            kind, word = ("egress", "to") if way else ("ingress", "from")
            yield f"{step}: no {kind} rule of the {side.name} {word} the {other.name}"


def _permits(permission: dict[str, Any], groups: Iterable[str], networks: list[str], port: int) -> bool:
    """Tell whether a rule lets TCP at this port through to one of the groups, or to all of the networks."""
    if permission["IpProtocol"] not in ("-1", "tcp"):
        return False
    if permission["IpProtocol"] == "tcp" and not permission["FromPort"] <= port <= permission["ToPort"]:
        return False
    if any(pair["GroupId"] in groups for pair in permission.get("UserIdGroupPairs", [])):
        return True
    if permission.get("PrefixListIds"):
        return True  # what is in the list is not known here
    ranges = [ipaddress.ip_network(given["CidrIp"]) for given in permission.get("IpRanges", [])]
    return bool(networks) and all(
        any(ipaddress.ip_network(network).subnet_of(given) for given in ranges)  # type: ignore[arg-type]
        for network in networks
    )


def _steps(site: Site) -> Iterator[Step]:
    tiers = _tiers(site)
    database, port = tiers["database"], site.database.port
    if proxy := tiers.get("proxy"):
        yield Step(tiers["function"], proxy, POSTGRES)
        yield Step(proxy, database, port)
    else:
        yield Step(tiers["function"], database, port)
    yield Step(tiers["bootstrap"], database, port)
    if endpoint := tiers.get("secretsmanager"):
        yield Step(tiers["bootstrap"], endpoint, HTTPS)


def _tiers(site: Site) -> dict[str, Tier]:
    """What the environment consists of, as AWS describes it now."""
    database, proxy = site.database, site.proxy
    found = {
        name: Tier(name, tuple(security_groups(function)), tuple(function.get("VpcConfig", {}).get("SubnetIds", [])))
        for name, function in (("function", site.function), ("bootstrap", site.bootstrap))
    }
    found["database"] = Tier(
        "database",
        tuple(group["VpcSecurityGroupId"] for group in database.described["VpcSecurityGroups"]),
        tuple(
            dict.fromkeys(
                subnet["SubnetIdentifier"]
                for instance in database.instances  # a cluster names its subnet group only
                for subnet in instance.get("DBSubnetGroup", {}).get("Subnets", [])
            )
        ),
    )
    if proxy is not None:
        found["proxy"] = Tier("proxy", tuple(proxy["VpcSecurityGroupIds"]), tuple(proxy["VpcSubnetIds"]))
    if endpoint := _endpoint(site):
        groups = tuple(group["GroupId"] for group in endpoint["Groups"])
        found["secretsmanager"] = Tier("secretsmanager", groups, tuple(endpoint["SubnetIds"]))
    return found


def _endpoint(site: Site) -> dict[str, Any] | None:
    """The interface endpoint through which the bootstrap function reaches Secrets Manager; None with a NAT gateway."""
    vpc = site.bootstrap.get("VpcConfig", {}).get("VpcId")
    filters = [
        {"Name": "vpc-id", "Values": [vpc]},
        {"Name": "service-name", "Values": [f"com.amazonaws.{site.region}.secretsmanager"]},
    ]
    found = site.client("ec2").describe_vpc_endpoints(Filters=filters)["VpcEndpoints"] if vpc else []
    return found[0] if found else None


def _subnets(site: Site, ids: Iterable[str]) -> dict[str, Any]:
    filters = [{"Name": "subnet-id", "Values": sorted(ids)}]
    found = site.client("ec2").describe_subnets(Filters=filters)["Subnets"]
    return {subnet["SubnetId"]: subnet for subnet in found}


def _users(tiers: list[Tier], missing: list[str]) -> str:
    return " and ".join(tier.name for tier in tiers if set(missing) & set(tier.subnets))
