"""VPC: security groups, endpoints, interfaces."""

from __future__ import annotations

from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.security_groups import SecurityGroupRule
from moto.ec2.models.vpcs import VPCBackend

from local.corrections.moto import Method, Moto


def correct(moto: Moto) -> None:
    """Apply the corrections of this room."""
    security_group_rules_keep_their_description(moto)
    private_names_need_the_dns_of_the_vpc(moto)


def security_group_rules_keep_their_description(moto: Moto) -> None:
    """A rule that names another group has its description as a rule with a CIDR has."""
    moto.set(
        SecurityGroupRule,
        "description",
        property(lambda self: self.ip_range.get("Description") or self.source_group.get("Description")),
    )


def private_names_need_the_dns_of_the_vpc(moto: Moto) -> None:
    """CreateVpcEndpoint refuses private DNS in a VPC without DNS hostnames or without DNS support.

    EC2 API Reference, CreateVpcEndpoint: PrivateDnsEnabled; the message is quoted in the GuardDuty User Guide,
    "Troubleshooting coverage issues".
    """

    @moto.around(VPCBackend, "create_vpc_endpoint")
    def create(original: Method, self: Any, vpc_id: str, *args: Any, **kwargs: Any) -> Any:
        vpc = self.get_vpc(vpc_id)
        attributes = (vpc.enable_dns_support, vpc.enable_dns_hostnames)
        wanted = kwargs.get("endpoint_type") == "Interface" and kwargs.get("private_dns_enabled")
        if wanted and {str(value).lower() for value in attributes} != {"true"}:
            message = (
                "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true"
                f" for {vpc_id}"
            )
            raise EC2ClientError("InvalidParameter", message)
        return original(self, vpc_id, *args, **kwargs)
