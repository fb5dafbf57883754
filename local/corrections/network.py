"""VPC: security groups, endpoints, interfaces."""

from __future__ import annotations

from moto.ec2.models.security_groups import SecurityGroupRule

from local.corrections.moto import Moto


def correct(moto: Moto) -> None:
    """Apply the corrections of this room."""
    security_group_rules_keep_their_description(moto)


def security_group_rules_keep_their_description(moto: Moto) -> None:
    """A rule that names another group has its description as a rule with a CIDR has."""
    moto.set(
        SecurityGroupRule,
        "description",
        property(lambda self: self.ip_range.get("Description") or self.source_group.get("Description")),
    )
