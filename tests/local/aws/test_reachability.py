"""The call of a function in a VPC takes the way that its VPC has, and the endpoint on it has a say."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.aws.control_plane import ControlPlane
from tests.local.account import Account, allow

EVERYTHING = {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}
MINE = {**EVERYTHING, "Condition": {"StringEquals": {"aws:PrincipalAccount": "123456789012"}}}
DENIED = "no VPC endpoint policy allows the secretsmanager:GetSecretValue action"


class Inside:
    """A VPC with a subnet, a function that may read a secret, and what it is answered."""

    def __init__(self, plane: ControlPlane, account: Account) -> None:
        self._plane, self.account = plane, account
        self.vpc = account.ec2.create_vpc(CidrBlock="10.2.0.0/16")["Vpc"]["VpcId"]
        for attribute in ("EnableDnsSupport", "EnableDnsHostnames"):
            account.ec2.modify_vpc_attribute(VpcId=self.vpc, **{attribute: {"Value": True}})
        self.subnet = account.ec2.create_subnet(VpcId=self.vpc, CidrBlock="10.2.0.0/24")["Subnet"]["SubnetId"]
        self.group, self.of_endpoint = (self._group(name) for name in ("function", "endpoint"))
        name = self.vpc
        self.secret = account.secretsmanager.create_secret(Name=name, SecretString="1")["ARN"]
        grants = [allow("secretsmanager:*", "*"), allow("ec2:CreateNetworkInterface", "*")]
        config = {"SubnetIds": [self.subnet], "SecurityGroupIds": [self.group]}
        made = account.function(name, Role=account.role(name, *grants), VpcConfig=config)
        session = plane.iam.assume_role(made["Role"], session=name, seconds=900, function_arn=made["FunctionArn"])
        self._session = Account(
            plane.url,
            aws_access_key_id=session.access_key_id,
            aws_secret_access_key=session.secret_access_key,
            aws_session_token=session.session_token,
        )

    def _group(self, name: str) -> str:
        made = self.account.ec2.create_security_group(GroupName=name, Description=name, VpcId=self.vpc)
        everywhere = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
        self.account.ec2.revoke_security_group_egress(GroupId=made["GroupId"], IpPermissions=[everywhere])
        return str(made["GroupId"])

    def open_path(self) -> None:
        def https(group: str) -> list[dict[str, Any]]:
            pairs = [{"GroupId": group}]
            return [{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "UserIdGroupPairs": pairs}]

        self.account.ec2.authorize_security_group_egress(GroupId=self.group, IpPermissions=https(self.of_endpoint))
        self.account.ec2.authorize_security_group_ingress(GroupId=self.of_endpoint, IpPermissions=https(self.group))

    def endpoint(self, *statements: dict[str, Any], private: bool = True) -> None:
        self.account.ec2.create_vpc_endpoint(
            VpcId=self.vpc,
            VpcEndpointType="Interface",
            ServiceName="com.amazonaws.us-east-1.secretsmanager",
            SubnetIds=[self.subnet],
            SecurityGroupIds=[self.of_endpoint],
            PrivateDnsEnabled=private,
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": list(statements)}),
        )

    def read(self) -> str:
        return str(self._session.secretsmanager.get_secret_value(SecretId=self.secret)["SecretString"])


@pytest.fixture
def inside(plane: ControlPlane, account: Account, events: object) -> Inside:  # noqa: ARG001
    return Inside(plane, account)


@pytest.mark.parametrize("policy", [EVERYTHING, MINE], ids=["everything", "this account's"])
def test_endpoint_leads_to_the_service(inside: Inside, policy: dict[str, Any]) -> None:
    inside.open_path()
    inside.endpoint(policy)
    assert inside.read() == "1"


@pytest.mark.parametrize(
    "policy",
    [
        {**EVERYTHING, "Action": "ec2:*"},
        {**EVERYTHING, "Principal": {"AWS": "arn:aws:iam::123456789012:user/another"}},
        {**EVERYTHING, "Principal": {"AWS": "arn:aws:iam::123456789012:root"}},
        {**EVERYTHING, "Resource": "arn:aws:iam::111122223333:role/another"},
        {**MINE, "Condition": {"StringEquals": {"aws:PrincipalAccount": "111122223333"}}},
    ],
    ids=["another service's action", "another user", "the root user", "another resource", "another account"],
)
def test_endpoint_s_policy_is_asked_too(inside: Inside, policy: dict[str, Any]) -> None:
    inside.open_path()
    inside.endpoint(policy)
    with pytest.raises(ClientError, match=DENIED):
        inside.read()


def test_without_a_path_of_security_groups_nothing_arrives(inside: Inside) -> None:
    inside.endpoint(EVERYTHING)
    with pytest.raises(ClientError, match="never arrives: no path of security groups"):
        inside.read()


@pytest.mark.parametrize("with_endpoint", [False, True])
def test_without_private_names_nothing_arrives(inside: Inside, with_endpoint: bool) -> None:
    inside.open_path()
    if with_endpoint:
        inside.endpoint(EVERYTHING, private=False)
    with pytest.raises(ClientError, match="never arrives: no endpoint of secretsmanager with private DNS"):
        inside.read()


def test_nat_gateway_leads_to_the_service_too(inside: Inside) -> None:
    ec2 = inside.account.ec2
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    gateway = ec2.create_nat_gateway(SubnetId=inside.subnet, AllocationId=address)["NatGateway"]["NatGatewayId"]
    table = ec2.create_route_table(VpcId=inside.vpc)["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=table, SubnetId=inside.subnet)
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=gateway)
    with pytest.raises(ClientError, match="no way to the internet"):
        inside.read()
    https = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ec2.authorize_security_group_egress(GroupId=inside.group, IpPermissions=[https])
    assert inside.read() == "1"
