"""local/aws/corrections/proxies.py: as AWS documents it, where stock moto does not yet."""

import pytest
from botocore.exceptions import ClientError


def test_proxy_can_be_modified(aws):
    aws.proxy("modified")
    aws.rds.modify_db_proxy(DBProxyName="modified", IdleClientTimeout=60)
    [proxy] = aws.rds.describe_db_proxies(DBProxyName="modified")["DBProxies"]
    assert proxy["IdleClientTimeout"] == 60
    assert proxy["RequireTLS"] is True


def test_proxy_endpoint_lives_from_create_to_delete(aws):
    proxy = aws.proxy("endpoints")
    names = {"DBProxyName": "endpoints", "DBProxyEndpointName": "more"}
    tags = [{"Key": "Name", "Value": "more"}]
    made = aws.rds.create_db_proxy_endpoint(**names, VpcSubnetIds=proxy["VpcSubnetIds"], Tags=tags)["DBProxyEndpoint"]
    assert aws.rds.list_tags_for_resource(ResourceName=made["DBProxyEndpointArn"])["TagList"] == tags
    assert aws.rds.describe_db_proxy_endpoints(**names)["DBProxyEndpoints"][0]["Endpoint"] == made["Endpoint"]
    changed = aws.rds.modify_db_proxy_endpoint(DBProxyEndpointName="more", VpcSecurityGroupIds=["sg-1"])
    assert changed["DBProxyEndpoint"]["VpcSecurityGroupIds"] == ["sg-1"]
    aws.rds.delete_db_proxy_endpoint(DBProxyEndpointName="more")
    with pytest.raises(ClientError, match="DBProxyEndpointNotFoundFault"):
        aws.rds.describe_db_proxy_endpoints(**names)


def test_read_only_endpoint_is_refused_on_an_instance(aws):
    subnets = aws.proxy("reader")["VpcSubnetIds"]
    aws.instance("read")
    aws.rds.register_db_proxy_targets(DBProxyName="reader", DBInstanceIdentifiers=["read"])
    with pytest.raises(ClientError, match="READ_ONLY are not supported"):
        aws.rds.create_db_proxy_endpoint(
            DBProxyName="reader", DBProxyEndpointName="ro", VpcSubnetIds=subnets, TargetRole="READ_ONLY"
        )


def test_pool_keeps_its_init_query(aws):
    aws.proxy("init")
    aws.rds.modify_db_proxy_target_group(
        DBProxyName="init", TargetGroupName="default", ConnectionPoolConfig={"InitQuery": "SET ROLE app"}
    )
    [group] = aws.rds.describe_db_proxy_target_groups(DBProxyName="init")["TargetGroups"]
    assert group["ConnectionPoolConfig"]["InitQuery"] == "SET ROLE app"


def test_register_target_of_an_unknown_instance_is_refused(aws):
    aws.proxy("lost")
    with pytest.raises(ClientError, match="DBInstanceNotFound"):
        aws.rds.register_db_proxy_targets(DBProxyName="lost", DBInstanceIdentifiers=["nowhere"])


def test_deletion_of_an_instance_ends_its_registration(aws):
    aws.proxy("front")
    aws.instance("behind")
    aws.rds.register_db_proxy_targets(DBProxyName="front", DBInstanceIdentifiers=["behind"])
    aws.rds.delete_db_instance(DBInstanceIdentifier="behind", SkipFinalSnapshot=True)
    aws.instance("behind")
    assert aws.rds.describe_db_proxy_targets(DBProxyName="front")["Targets"] == []


def test_deregistering_what_is_not_registered_is_refused(aws):
    aws.proxy("bare")
    with pytest.raises(ClientError, match="DBProxyTargetNotFoundFault"):
        aws.rds.deregister_db_proxy_targets(DBProxyName="bare", DBInstanceIdentifiers=["nowhere"])
