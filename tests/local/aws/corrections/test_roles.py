"""local/aws/corrections/roles.py: as AWS documents it, where stock moto does not yet."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.account import Account

MONITORING = "arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
REFUSED = "required permissions for: ENHANCED_MONITORING"


def role(
    aws: Account, name: str, service: str = "monitoring.rds.amazonaws.com", *, policy: bool = True, **condition: str
) -> str:
    trust: dict[str, Any] = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": service}}
    if condition:
        trust["Condition"] = {"StringEquals": {name.replace("_", ":"): value for name, value in condition.items()}}
    document = json.dumps({"Version": "2012-10-17", "Statement": trust})
    arn: str = aws.iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    if policy:
        aws.iam.attach_role_policy(RoleName=name, PolicyArn=MONITORING)
    return arn


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("of-another-service", {"service": "rds.amazonaws.com"}),
        ("without-permissions", {"policy": False}),
        ("of-another-account", {"aws_SourceAccount": "111122223333"}),
    ],
)
def test_monitoring_refuses_a_role_that_rds_cannot_use(aws, name, wrong):
    with pytest.raises(ClientError, match=REFUSED):
        aws.instance(name, MonitoringInterval=60, MonitoringRoleArn=role(aws, name, **wrong))


def test_monitoring_refuses_such_a_role_later_too(aws):
    aws.instance("monitored-later")
    with pytest.raises(ClientError, match=REFUSED):
        aws.rds.modify_db_instance(
            DBInstanceIdentifier="monitored-later",
            MonitoringInterval=60,
            MonitoringRoleArn=role(aws, "later", service="ec2.amazonaws.com"),
        )


def test_monitoring_takes_a_role_for_this_account(account):
    right = role(account, "monitoring", aws_SourceAccount="123456789012")
    account.instance("monitored", MonitoringInterval=60, MonitoringRoleArn=right)


def flow_log(aws: Account, role_arn: str) -> list[dict[str, Any]]:
    vpc = aws.ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    made = aws.ec2.create_flow_logs(
        ResourceType="VPC",
        ResourceIds=[vpc],
        TrafficType="ALL",
        LogGroupName=role_arn.rsplit("/", 1)[1],
        DeliverLogsPermissionArn=role_arn,
    )
    unsuccessful: list[dict[str, Any]] = made["Unsuccessful"]
    return unsuccessful


def test_flow_log_refuses_a_role_that_it_cannot_assume(aws):
    for name, wrong in [("flow-of-another", {}), ("flow-elsewhere", {"aws_SourceAccount": "111122223333"})]:
        service = "vpc-flow-logs.amazonaws.com" if wrong else "ec2.amazonaws.com"
        with pytest.raises(ClientError, match="Unable to assume given IAM role"):
            flow_log(aws, role(aws, name, service, policy=False, **wrong))


def test_flow_log_takes_a_role_for_this_account(account):
    right = role(account, "flow", "vpc-flow-logs.amazonaws.com", policy=False, aws_SourceAccount="123456789012")
    assert flow_log(account, right) == []
