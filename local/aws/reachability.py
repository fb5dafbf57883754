"""What reaches what: TCP between security groups, and the call of a function that leaves its VPC for AWS."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from moto.awslambda_simple.models import lambda_simple_backends
from moto.ec2.models import ec2_backends

from local.aws.iam_policies import permits
from local.aws.moto import every

HTTPS = 443


@dataclass(frozen=True)
class Call:
    """What a function asks of a service, and as whom."""

    function_arn: str
    service: str
    action: str
    resource: str
    role_arn: str
    session_arn: str


def reachable(from_group_ids: Iterable[str], to_group_ids: Iterable[str], port: int) -> bool:
    """Tell whether the security groups let TCP through: egress of the one side and ingress of the other.

    Addresses are not known here: a rule with a CIDR counts only when it covers the other side's whole VPC.
    """
    near, far = _groups(from_group_ids), _groups(to_group_ids)
    return any(_permits(rule, far, port) for group in near for rule in group.egress_rules) and any(
        _permits(rule, near, port) for group in far for rule in group.ingress_rules
    )


def refusal(call: Call) -> str | None:
    """Say why a call is not answered; None when it is.

    With private DNS a service's own name leads to the interface endpoint, whose policy counts besides those of IAM
    (AWS PrivateLink Guide, "Access an AWS service using an interface VPC endpoint" and "Control access to VPC endpoints
    using endpoint policies"). Without an endpoint it takes a way to the internet. Where there is none, AWS never
    answers and the call times out; here it is told so at once. The default VPC, which no module uses, counts as having
    a way.
    """
    _, _, _, region, account, _ = call.function_arn.split(":", 5)
    vpc = lambda_simple_backends[account][region].get_function(call.function_arn).vpc_config or {}
    if not vpc.get("SubnetIds"):
        return None
    ec2 = ec2_backends[account][region]
    groups = vpc["SecurityGroupIds"]
    for endpoint in list(ec2.vpc_end_points.values()):
        if (
            endpoint.vpc_id == vpc["VpcId"]
            and endpoint.service_name == f"com.amazonaws.{region}.{call.service}"
            and endpoint.state == "available"
            and endpoint.private_dns_enabled
        ):
            if not reachable(groups, endpoint.security_group_ids, HTTPS):
                return f"because it never arrives: no path of security groups to {endpoint.id}"
            return _judged_by(endpoint, call, account)
    if ec2.vpcs[vpc["VpcId"]].is_default or _way_to_the_internet(ec2, vpc["SubnetIds"], groups):
        return None
    return f"because it never arrives: no endpoint of {call.service} with private DNS and no way to the internet"


def _judged_by(endpoint: Any, call: Call, account: str) -> str | None:
    """The policy names the caller itself: an account there means its root user alone."""
    who = {"AWS": (call.role_arn, call.session_arn)}
    context = {"aws:PrincipalAccount": account, "aws:PrincipalArn": call.role_arn, "aws:SourceVpce": endpoint.id}
    if permits(json.loads(endpoint.policy_document), who, call.action, call.resource, context):
        return None
    return f"because no VPC endpoint policy allows the {call.action} action"


def _way_to_the_internet(ec2: Any, subnet_ids: list[str], group_ids: list[str]) -> bool:
    """Egress on HTTPS to everywhere, and a NAT gateway in a route of each subnet."""
    groups = [ec2.get_security_group_from_id(group_id) for group_id in group_ids]
    permitted = any(
        rule.cidr_ipv4 == "0.0.0.0/0"
        and (rule.ip_protocol == "-1" or int(rule.from_port) <= HTTPS <= int(rule.to_port))
        for group in groups
        for rule in group.egress_rules
    )
    return permitted and all(
        any(
            route.nat_gateway is not None and route.destination_cidr_block == "0.0.0.0/0"
            for table in list(ec2.route_tables.values())
            if subnet_id in list(table._associations.values())
            for route in table.routes
        )
        for subnet_id in subnet_ids
    )


def _groups(group_ids: Iterable[str]) -> list[Any]:
    found = [backend.get_security_group_from_id(id_) for id_ in group_ids for backend in every(ec2_backends)]
    return [group for group in found if group is not None]


def _permits(rule: Any, others: list[Any], port: int) -> bool:
    if rule.ip_protocol != "-1" and not (
        rule.ip_protocol == "tcp" and int(rule.from_port) <= port <= int(rule.to_port)
    ):
        return False
    if rule.source_group:
        return any(rule.source_group["GroupId"] == group.id for group in others)
    if not rule.cidr_ipv4:
        return False
    network = ipaddress.ip_network(rule.cidr_ipv4)
    vpcs = [group.ec2_backend.vpcs[group.vpc_id] for group in others]
    return any(ipaddress.ip_network(vpc.cidr_block).subnet_of(network) for vpc in vpcs)  # type: ignore[arg-type]
