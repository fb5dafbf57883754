"""local/aws/corrections/network.py: as AWS documents it, where stock moto does not yet."""

import pytest
from botocore.exceptions import ClientError


def test_group_to_group_rule_keeps_its_description(aws):
    near, far = aws.security_group("described-near"), aws.security_group("described-far")
    pair = {"GroupId": near, "Description": "from the function"}
    permission = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "UserIdGroupPairs": [pair]}
    aws.ec2.authorize_security_group_ingress(GroupId=far, IpPermissions=[permission])
    rules = aws.ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [far]}])
    assert [rule.get("Description") for rule in rules["SecurityGroupRules"]] == ["from the function"]


@pytest.mark.parametrize("lacking", ["EnableDnsHostnames", "EnableDnsSupport"])
def test_private_names_of_an_endpoint_need_the_dns_of_its_vpc(aws, lacking):
    vpc = aws.ec2.create_vpc(CidrBlock="10.1.0.0/24")["Vpc"]["VpcId"]
    for attribute in ("EnableDnsHostnames", "EnableDnsSupport"):
        aws.ec2.modify_vpc_attribute(VpcId=vpc, **{attribute: {"Value": attribute != lacking}})
    endpoint = {"VpcId": vpc, "VpcEndpointType": "Interface", "ServiceName": "com.amazonaws.us-east-1.secretsmanager"}
    with pytest.raises(ClientError, match=r"InvalidParameter.*Enabling private DNS requires both"):
        aws.ec2.create_vpc_endpoint(**endpoint, PrivateDnsEnabled=True)
    aws.ec2.create_vpc_endpoint(**endpoint, PrivateDnsEnabled=False)
    aws.ec2.modify_vpc_attribute(VpcId=vpc, **{lacking: {"Value": True}})
    aws.ec2.create_vpc_endpoint(**endpoint, PrivateDnsEnabled=True)
