"""Roles that services assume when something is made with them."""

from __future__ import annotations

import json
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.flow_logs import FlowLogsBackend
from moto.iam.exceptions import NotFoundException
from moto.iam.models import iam_backends
from moto.rds.exceptions import RDSClientError
from moto.rds.models import RDSBackend

from local.aws import iam_policies
from local.aws.iam import role_allows
from local.aws.moto import Method, Moto


def correct(moto: Moto) -> None:
    """Apply the corrections of this room."""
    monitoring_needs_a_role_that_rds_may_use(moto)
    flow_logs_need_a_role_that_they_may_assume(moto)


def monitoring_needs_a_role_that_rds_may_use(moto: Moto) -> None:
    """CreateDBInstance and ModifyDBInstance try the role of Enhanced Monitoring: its trust, and that it may write.

    RDS User Guide, "Setting up and enabling Enhanced Monitoring"; the message, and that the permissions are tried too,
    is in claranet/terraform-aws-aurora#23 and hashicorp/terraform-provider-aws#315.
    """

    def check(backend: Any, identifier: str, role_arn: str | None) -> None:
        if not role_arn:
            return
        where = f"{backend.region_name}:{backend.account_id}"
        context = {
            "aws:SourceAccount": backend.account_id,
            "aws:SourceArn": f"arn:{backend.partition}:rds:{where}:db:{identifier}",
        }
        stream = f"arn:{backend.partition}:logs:{where}:log-group:RDSOSMetrics:log-stream:db"
        if not _trusts(role_arn, "monitoring.rds.amazonaws.com", context) or not all(
            role_allows(role_arn, f"logs:{action}", stream) for action in ("CreateLogStream", "PutLogEvents")
        ):
            message = (
                "IAM role ARN value is invalid or does not include the required permissions for: ENHANCED_MONITORING"
            )
            raise RDSClientError("InvalidParameterValue", message)

    @moto.around(RDSBackend, "create_db_instance")
    def create(original: Method, self: Any, db_kwargs: Any) -> Any:
        check(self, db_kwargs["db_instance_identifier"], db_kwargs.get("monitoring_role_arn"))
        return original(self, db_kwargs)

    @moto.around(RDSBackend, "modify_db_instance")
    def modify(original: Method, self: Any, db_instance_identifier: str, db_kwargs: Any) -> Any:
        check(self, db_instance_identifier, db_kwargs.get("monitoring_role_arn"))
        return original(self, db_instance_identifier, db_kwargs)


def flow_logs_need_a_role_that_they_may_assume(moto: Moto) -> None:
    """CreateFlowLogs tries to assume the role; what it may write shows later only, in DeliverLogsStatus.

    VPC User Guide, "IAM role for publishing flow logs to CloudWatch Logs"; the message is that of
    hashicorp/terraform-provider-aws#29323.
    """

    @moto.around(FlowLogsBackend, "create_flow_logs")
    def create(original: Method, self: Any, *args: Any, **kwargs: Any) -> Any:
        role_arn = kwargs.get("deliver_logs_permission_arn", args[3] if len(args) > 3 else None)
        context = {
            "aws:SourceAccount": self.account_id,
            "aws:SourceArn": f"arn:{self.partition}:ec2:{self.region_name}:{self.account_id}:vpc-flow-log/new",
        }
        if role_arn and not _trusts(role_arn, "vpc-flow-logs.amazonaws.com", context):
            raise EC2ClientError("InvalidParameter", f"Unable to assume given IAM role: '{role_arn}'")
        return original(self, *args, **kwargs)


def _trusts(role_arn: str, service: str, context: dict[str, str]) -> bool:
    _, partition, _, _, account, _ = role_arn.split(":", 5)
    try:
        role = iam_backends[account][partition].get_role_by_arn(role_arn)
    except (NotFoundException, JsonRESTError):
        return False
    return iam_policies.trusts(json.loads(role.assume_role_policy_document), service, context)
