"""local/corrections/network.py: as AWS documents it, where stock moto does not yet."""


def test_group_to_group_rule_keeps_its_description(aws):
    near, far = aws.security_group("described-near"), aws.security_group("described-far")
    pair = {"GroupId": near, "Description": "from the function"}
    permission = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "UserIdGroupPairs": [pair]}
    aws.ec2.authorize_security_group_ingress(GroupId=far, IpPermissions=[permission])
    rules = aws.ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [far]}])
    assert [rule.get("Description") for rule in rules["SecurityGroupRules"]] == ["from the function"]
