"""local/aws/corrections/logs.py: what RDS writes when its instance or proxy is gone."""

import pytest
from botocore.exceptions import ClientError

from tests.local.account import allow

GROUPS = ["/aws/rds/instance/late/postgresql", "/aws/rds/proxy/late"]


def test_rds_makes_a_deleted_log_group_again_for_its_last_lines(plane, account):
    for group in GROUPS:
        account.logs.create_log_group(logGroupName=group)
    account.instance("late", EnableCloudwatchLogsExports=["postgresql"])
    account.proxy("late")
    assert plane.write_late_lines() == []
    account.rds.delete_db_proxy(DBProxyName="late")
    account.rds.delete_db_instance(DBInstanceIdentifier="late", SkipFinalSnapshot=True)
    for group in GROUPS:
        account.logs.delete_log_group(logGroupName=group)
    assert plane.write_late_lines() == GROUPS
    made = account.logs.describe_log_groups(logGroupNamePrefix="/aws/rds")["logGroups"]
    assert [group["logGroupName"] for group in made] == GROUPS
    assert not any("retentionInDays" in group or "kmsKeyId" in group for group in made)
    assert plane.write_late_lines() == []


def test_a_log_group_that_still_stands_takes_the_last_lines(plane, account):
    account.logs.create_log_group(logGroupName="/aws/rds/proxy/standing")
    account.logs.put_retention_policy(logGroupName="/aws/rds/proxy/standing", retentionInDays=7)
    account.proxy("standing")
    account.rds.delete_db_proxy(DBProxyName="standing")
    assert plane.write_late_lines() == []


def test_a_function_s_lines_make_a_log_group_only_where_its_role_may(plane, account, events):
    """So its last lines do not make a deleted group again: no role of the modules may."""
    writing = ["logs:CreateLogStream", "logs:PutLogEvents"]
    for name, actions in (("may", [*writing, "logs:CreateLogGroup"]), ("may-not", writing)):
        account.function(name, Role=account.role(name, allow(actions, "*")))
        account.invoke(name)
        function, *_ = events.seen[-1][1]
        plane.functions.write_log(function, "stream", ["the last line"])
    made = account.logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/may")["logGroups"]
    assert [group["logGroupName"] for group in made] == ["/aws/lambda/may"]


def test_log_group_gets_a_key_later(aws):
    key = aws.kms.create_key()["KeyMetadata"]["Arn"]
    aws.logs.create_log_group(logGroupName="/unencrypted")
    aws.logs.associate_kms_key(logGroupName="/unencrypted", kmsKeyId=key)
    [group] = aws.logs.describe_log_groups(logGroupNamePrefix="/unencrypted")["logGroups"]
    assert group["kmsKeyId"] == key
    aws.kms.disable_key(KeyId=key.split("/")[1])
    with pytest.raises(ClientError, match="InvalidParameterException"):
        aws.logs.associate_kms_key(logGroupName="/unencrypted", kmsKeyId=key)
