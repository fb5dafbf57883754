"""local/aws/corrections/functions.py: as AWS documents it, where stock moto does not yet."""

import json
import threading
import time

import pytest
from botocore.exceptions import ClientError

from local.aws.corrections import functions
from tests.local.account import allow
from tests.waiting import await_that


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


def test_a_deleted_version_leaves_its_number(aws):
    client = getattr(aws, "lambda")
    aws.function("numbered", Publish=True)
    for memory in (256, 512):
        client.update_function_configuration(FunctionName="numbered", MemorySize=memory)
        client.publish_version(FunctionName="numbered")
    client.delete_function(FunctionName="numbered", Qualifier="1")
    client.update_function_configuration(FunctionName="numbered", MemorySize=1024)
    assert client.publish_version(FunctionName="numbered")["Version"] == "4"
    versions = client.list_versions_by_function(FunctionName="numbered")["Versions"]
    assert [version["Version"] for version in versions] == ["$LATEST", "2", "3", "4"]


def test_the_account_keeps_concurrency_unreserved(aws):
    client = getattr(aws, "lambda")
    aws.function("greedy")
    client.put_function_concurrency(FunctionName="greedy", ReservedConcurrentExecutions=900)
    limit = client.get_account_settings()["AccountLimit"]
    assert limit["ConcurrentExecutions"] == 1000
    assert limit["UnreservedConcurrentExecutions"] == 100
    with pytest.raises(ClientError, match=r"UnreservedConcurrentExecution below its minimum value of \[100\]"):
        client.put_function_concurrency(FunctionName="greedy", ReservedConcurrentExecutions=901)
    client.delete_function(FunctionName="greedy")


def test_a_new_account_can_reserve_nothing(account, plane):
    account.function("young")
    plane.limit_concurrency(10)
    try:
        with pytest.raises(ClientError, match=r"below its minimum value of \[10\]"):
            getattr(account, "lambda").put_function_concurrency(FunctionName="young", ReservedConcurrentExecutions=1)
    finally:
        plane.limit_concurrency(1000)


def test_an_idle_function_fails_once_and_is_restored(account, plane, monkeypatch):
    monkeypatch.setattr(functions, "RESTORE_SECONDS", 10)
    client = getattr(account, "lambda")
    account.function("sleeper")
    plane.fall_idle("sleeper")
    found = client.get_function_configuration(FunctionName="sleeper")
    assert (found["State"], found["StateReasonCode"]) == ("Inactive", "Idle")
    with pytest.raises(client.exceptions.CodeArtifactUserPendingException):
        client.invoke(FunctionName="sleeper")
    assert client.get_function_configuration(FunctionName="sleeper")["State"] == "Pending"
    client.get_waiter("function_active_v2").wait(FunctionName="sleeper", WaiterConfig={"Delay": 1})
    assert client.invoke(FunctionName="sleeper")["StatusCode"] == 200


def _in_the_vpc(aws, name, role, **settings):
    subnet = aws.ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    group = aws.security_group(f"of-{name}")
    aws.function(name, VpcConfig={"SubnetIds": [subnet], "SecurityGroupIds": [group]}, Role=role, **settings)
    return group


def _interfaces(aws, group):
    filters = [{"Name": "group-id", "Values": [group]}]
    return aws.ec2.describe_network_interfaces(Filters=filters)["NetworkInterfaces"]


INTERFACES = allow(["ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface"], "*")


def test_a_function_holds_its_group_after_it_was_deleted(aws, monkeypatch):
    monkeypatch.setattr(functions, "INTERFACE_SECONDS", 3600)
    group = _in_the_vpc(aws, "holder", aws.role("holder", INTERFACES))
    [interface] = _interfaces(aws, group)
    assert interface["Description"].startswith("AWS Lambda VPC ENI")
    assert interface["Attachment"]["InstanceOwnerId"] == "amazon-aws"
    getattr(aws, "lambda").delete_function(FunctionName="holder")
    with pytest.raises(ClientError, match="DependencyViolation"):
        aws.ec2.delete_security_group(GroupId=group)


def test_lambda_deletes_the_interface_in_the_end(account):
    group = _in_the_vpc(account, "released", account.role("released", INTERFACES))
    assert _interfaces(account, group)
    getattr(account, "lambda").delete_function(FunctionName="released")
    await_that(lambda: not _interfaces(account, group), seconds=60)
    account.ec2.delete_security_group(GroupId=group)


def test_functions_that_are_deleted_at_once_release_each_interface_once(account, monkeypatch):
    def allows_in_the_end(*arguments):
        allowed = role_allows(*arguments)
        time.sleep(0.3)  # both timers are between looking and deleting
        return allowed

    role_allows = functions.role_allows
    monkeypatch.setattr(functions, "INTERFACE_SECONDS", 0.2)
    failed = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    names = ("first", "second")
    groups = [_in_the_vpc(account, name, account.role(name, INTERFACES)) for name in names]
    monkeypatch.setattr(functions, "role_allows", allows_in_the_end)
    for name in names:
        getattr(account, "lambda").delete_function(FunctionName=name)
    await_that(lambda: not any(_interfaces(account, group) for group in groups), seconds=60)
    time.sleep(0.7)
    assert failed == []


def test_a_published_version_keeps_its_interface(account):
    client = getattr(account, "lambda")
    group = _in_the_vpc(account, "published", account.role("published", INTERFACES), Publish=True)
    other = account.security_group("another")
    subnet = account.ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    client.update_function_configuration(
        FunctionName="published", VpcConfig={"SubnetIds": [subnet], "SecurityGroupIds": [other]}
    )
    time.sleep(1.5)
    assert _interfaces(account, group)
    assert _interfaces(account, other)
    client.delete_function(FunctionName="published", Qualifier="1")
    await_that(lambda: not _interfaces(account, group), seconds=60)
    client.delete_function(FunctionName="published")


def test_an_interface_stays_when_the_permission_went_first(account):
    group = _in_the_vpc(account, "orphaned", account.role("gone", INTERFACES))
    account.iam.delete_role_policy(RoleName="gone", PolicyName="main")
    getattr(account, "lambda").delete_function(FunctionName="orphaned")
    time.sleep(1.5)
    with pytest.raises(ClientError, match="DependencyViolation"):
        account.ec2.delete_security_group(GroupId=group)


def fed(aws, name, *actions, timeout=30, visibility=30):
    """A queue and a function with an alias, whose role may do this with the queue."""
    queue = f"arn:aws:sqs:us-east-1:123456789012:{name}"
    aws.sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": str(visibility)})
    role = aws.role(f"{name}-polls", *([allow([f"sqs:{action}" for action in actions], queue)] if actions else []))
    aws.function(name, Role=role, Timeout=timeout, Publish=True)
    client = getattr(aws, "lambda")
    alias = client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")["AliasArn"]
    return client, {"EventSourceArn": queue, "FunctionName": alias}


POLLS = ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")


def test_mapping_is_of_the_alias_and_described_as_it_was_made(aws):
    client, given = fed(aws, "mapped", *POLLS)
    made = client.create_event_source_mapping(**given, ScalingConfig={"MaximumConcurrency": 2})
    found = client.get_event_source_mapping(UUID=made["UUID"])
    assert (found["FunctionArn"], found["ScalingConfig"]) == (given["FunctionName"], {"MaximumConcurrency": 2})
    client.delete_event_source_mapping(UUID=made["UUID"])


def test_mapping_is_refused_when_messages_are_visible_before_the_function_s_end(aws):
    client, given = fed(aws, "impatient", *POLLS, timeout=31)
    with pytest.raises(ClientError, match="Queue visibility timeout: 30 seconds is less than Function timeout: 31 sec"):
        client.create_event_source_mapping(**given)


@pytest.mark.parametrize("lacking", POLLS)
def test_mapping_is_refused_to_a_role_that_may_not_poll(aws, lacking):
    client, given = fed(aws, f"without-{lacking}", *(action for action in POLLS if action != lacking))
    with pytest.raises(ClientError, match=f"does not have permissions to call {lacking} on SQS"):
        client.create_event_source_mapping(**given)


def test_mapping_with_a_large_batch_needs_a_window(aws):
    client, given = fed(aws, "large", *POLLS)
    with pytest.raises(ClientError, match="Maximum batch window in seconds must be greater than 0"):
        client.create_event_source_mapping(**given, BatchSize=11)


def test_queue_feeds_a_function_once(aws):
    client, given = fed(aws, "twice", *POLLS)
    made = client.create_event_source_mapping(**given)
    with pytest.raises(ClientError, match=f"already exists. Please update or delete.*{made['UUID']}"):
        client.create_event_source_mapping(**given)
    client.delete_event_source_mapping(UUID=made["UUID"])


def test_alias_has_a_policy_of_its_own(aws):
    client = getattr(aws, "lambda")
    aws.function("aliased", Publish=True)
    alias = client.create_alias(FunctionName="aliased", Name="live", FunctionVersion="1")["AliasArn"]
    given = {"Action": "lambda:InvokeFunction", "Principal": "apigateway.amazonaws.com"}
    client.add_permission(FunctionName="aliased", StatementId="front", Qualifier="live", **given)
    client.add_permission(FunctionName="aliased", StatementId="whole", **given)
    policy = json.loads(client.get_policy(FunctionName="aliased", Qualifier="live")["Policy"])
    assert [(one["Sid"], one["Resource"]) for one in policy["Statement"]] == [("front", alias)]
    with pytest.raises(ClientError, match="already exists"):
        client.add_permission(FunctionName="aliased", StatementId="front", Qualifier="live", **given)


def test_queue_describes_its_redrive_policy_as_it_was_given(aws):
    aws.sqs.create_queue(QueueName="kept-aside")
    arn = "arn:aws:sqs:us-east-1:123456789012:kept-aside"
    given = f'{{"deadLetterTargetArn":"{arn}","maxReceiveCount":5}}'
    url = aws.sqs.create_queue(QueueName="redriven", Attributes={"RedrivePolicy": given})["QueueUrl"]
    found = aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert found["RedrivePolicy"] == given
