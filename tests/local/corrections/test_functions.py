"""local/corrections/functions.py: as AWS documents it, where stock moto does not yet."""

import pytest
from botocore.exceptions import ClientError

from tests.local.account import allow


def test_function_keeps_dead_letters(aws):
    queue = "arn:aws:sqs:us-east-1:123456789012:dead"
    aws.function("dead-letters", DeadLetterConfig={"TargetArn": queue})
    found = getattr(aws, "lambda").get_function_configuration(FunctionName="dead-letters")
    assert found["DeadLetterConfig"] == {"TargetArn": queue}


def test_function_keeps_its_logging(aws):
    client = getattr(aws, "lambda")
    aws.function("logging")
    assert client.get_function_configuration(FunctionName="logging")["LoggingConfig"]["LogFormat"] == "Text"
    client.update_function_configuration(
        FunctionName="logging", LoggingConfig={"LogFormat": "JSON", "LogGroup": "/app/logging"}
    )
    found = client.get_function_configuration(FunctionName="logging")["LoggingConfig"]
    assert found == {"LogFormat": "JSON", "LogGroup": "/app/logging"}


def test_function_keeps_snap_start(aws):
    aws.function("snap", SnapStart={"ApplyOn": "PublishedVersions"}, Publish=True)
    client = getattr(aws, "lambda")
    assert client.get_function_configuration(FunctionName="snap")["SnapStart"]["ApplyOn"] == "PublishedVersions"
    published = client.get_function_configuration(FunctionName="snap", Qualifier="1")["SnapStart"]
    assert published["OptimizationStatus"] == "On"


def test_function_s_variables_are_at_most_4_kb_of_json(aws):
    client = getattr(aws, "lambda")
    most = {"Variables": {"TEXT": '"' * ((4096 - len('{"TEXT":""}')) // 2)}}  # each is escaped
    more = {"Variables": {"TEXT": most["Variables"]["TEXT"] + "xx"}}
    aws.function("told-much", Environment=most)
    with pytest.raises(ClientError, match="exceeded the 4KB limit"):
        client.update_function_configuration(FunctionName="told-much", Environment=more)
    with pytest.raises(ClientError, match="exceeded the 4KB limit"):
        aws.function("told-more", Environment=more)


def test_function_knows_its_vpc(aws):
    subnet = aws.ec2.describe_subnets()["Subnets"][0]
    groups = [aws.security_group("of-a-function")]
    vpc = {"SubnetIds": [subnet["SubnetId"]], "SecurityGroupIds": groups}
    made = aws.function("inside", VpcConfig=vpc, Role=aws.role("inside", allow("ec2:CreateNetworkInterface", "*")))
    assert made["VpcConfig"]["VpcId"] == subnet["VpcId"]


def test_function_needs_a_role_that_lambda_may_assume(aws):
    role = aws.role("not-for-lambda", service="rds.amazonaws.com")
    with pytest.raises(ClientError, match="cannot be assumed by Lambda"):
        aws.function("untrusted", Role=role)


def test_function_in_a_vpc_needs_a_role_that_may_make_interfaces(aws):
    vpc = {"SubnetIds": [aws.ec2.describe_subnets()["Subnets"][0]["SubnetId"]], "SecurityGroupIds": []}
    with pytest.raises(ClientError, match="permissions to call CreateNetworkInterface"):
        aws.function("stuck", VpcConfig=vpc)


def test_provisioned_concurrency_lives_from_put_to_delete(aws):
    client = getattr(aws, "lambda")
    aws.function("provisioned", Publish=True)
    target = {"FunctionName": "provisioned", "Qualifier": "1"}
    client.put_provisioned_concurrency_config(**target, ProvisionedConcurrentExecutions=2)
    found = client.get_provisioned_concurrency_config(**target)
    assert (found["Status"], found["RequestedProvisionedConcurrentExecutions"]) == ("READY", 2)
    client.delete_provisioned_concurrency_config(**target)
    with pytest.raises(ClientError, match="ProvisionedConcurrencyConfigNotFoundException"):
        client.get_provisioned_concurrency_config(**target)
