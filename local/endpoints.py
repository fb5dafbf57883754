"""How the call of a function reaches AWS out of its VPC, and what the endpoint on its way says to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from moto.awslambda_simple.models import lambda_simple_backends
from moto.ec2.models import ec2_backends

from local import policies

# From these security groups to those, on this port.
Reachable = Callable[[Iterable[str], Iterable[str], int], bool]

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


def refusal(call: Call, reachable: Reachable) -> str | None:
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
    for endpoint in ec2.vpc_end_points.values():
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
    if policies.permits(json.loads(endpoint.policy_document), who, call.action, call.resource, context):
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
            for table in ec2.route_tables.values()
            if subnet_id in table._associations.values()
            for route in table.routes
        )
        for subnet_id in subnet_ids
    )
