"""VPC: security groups, endpoints, interfaces."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from moto.ec2.exceptions import DependencyViolationError, EC2ClientError
from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.models.security_groups import SecurityGroupBackend, SecurityGroupRule
from moto.ec2.models.subnets import SubnetBackend
from moto.ec2.models.vpcs import VPCBackend
from moto.ec2.responses import EC2Response

from local.aws.moto import Method, Moto


def correct(moto: Moto) -> None:
    """Apply the corrections of this room."""
    security_group_rules_keep_their_description(moto)
    private_names_need_the_dns_of_the_vpc(moto)
    interfaces_are_held_by_a_service(moto)
    what_an_interface_uses_cannot_be_deleted(moto)
    calls_take_turns(moto)


def calls_take_turns(moto: Moto) -> None:
    """moto's EC2 iterates over dictionaries that other requests change: Terraform sends ten at once."""
    turn = threading.RLock()

    @moto.around(EC2Response, "call_action")
    def call(original: Method, self: Any) -> Any:
        with turn:
            return original(self)


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


def interfaces_are_held_by_a_service(moto: Moto) -> None:
    """An interface that a service made is in use, attached by amazon-aws: Terraform's provider waits for such ones."""
    attachment = NetworkInterface.attachment.fget  # type: ignore[attr-defined]
    moto.set(
        NetworkInterface,
        "attachment",
        property(lambda self: self.__dict__.get("held_as") or attachment(self)),
    )


def hold(interface: Any) -> None:
    """Let an interface be one that a service uses."""
    interface.status = "in-use"
    interface.requester_managed = True
    interface.interface_type = "lambda"
    interface.held_as = SimpleNamespace(
        attachment_id=interface.id.replace("eni-", "ela-attach-"),
        delete_on_termination=False,
        device_index=1,
        instance_owner_id="amazon-aws",
        status="attached",
    )


def what_an_interface_uses_cannot_be_deleted(moto: Moto) -> None:
    """DependencyViolation for the subnet and the groups of a service's interface (VPC User Guide, security groups).

    Interfaces that moto makes for endpoints and instances are left out: it does not always remove them.
    """

    def held(backend: Any) -> list[Any]:
        return [interface for interface in list(backend.enis.values()) if interface.__dict__.get("held_as")]

    @moto.around(SecurityGroupBackend, "delete_security_group")
    def delete_group(original: Method, self: Any, name: str | None = None, group_id: str | None = None) -> Any:
        if any(group_id == group.id for interface in held(self) for group in interface.group_set):
            raise DependencyViolationError(f"resource {group_id} has a dependent object")
        return original(self, name, group_id)

    @moto.around(SubnetBackend, "delete_subnet")
    def delete_subnet(original: Method, self: Any, subnet_id: str) -> Any:
        if any(interface.subnet.id == subnet_id for interface in held(self)):
            raise DependencyViolationError(f"The subnet '{subnet_id}' has dependencies and cannot be deleted.")
        return original(self, subnet_id)
