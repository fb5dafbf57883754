"""local/aws/corrections/parameters.py: as AWS documents it, where stock moto does not yet."""

import pytest
from botocore.exceptions import ClientError

from tests.local.account import parameter_group


def described(aws, group, name):
    found = aws.rds.describe_db_parameters(DBParameterGroupName=group)["Parameters"]
    return next((parameter for parameter in found if parameter["ParameterName"] == name), None)


def give(aws, group, name, value, method="immediate"):
    parameter = {"ParameterName": name, "ParameterValue": value, "ApplyMethod": method}
    aws.rds.modify_db_parameter_group(DBParameterGroupName=group, Parameters=[parameter])


def refused(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"]


def apply_status(aws, instance):
    return [group["ParameterApplyStatus"] for group in aws.describe_instance(instance)["DBParameterGroups"]]


def test_given_parameters_are_the_user_s(aws):
    parameter_group(aws, "given")
    assert described(aws, "given", "max_connections")["Source"] == "user"


def test_parameters_can_be_reset(aws):
    parameter_group(aws, "reset")
    aws.rds.reset_db_parameter_group(
        DBParameterGroupName="reset",
        Parameters=[{"ParameterName": "max_connections", "ApplyMethod": "pending-reboot"}],
    )
    assert described(aws, "reset", "max_connections")["Source"] == "system"


def test_default_has_its_own_apply_method_even_when_it_is_given(aws):
    parameter_group(aws, "default")
    give(aws, "default", "rds.force_ssl", "1")
    parameter = described(aws, "default", "rds.force_ssl")
    assert (parameter["Source"], parameter["ApplyMethod"]) == ("system", "pending-reboot")


def test_apply_method_changes_with_the_value_only(aws):
    parameter_group(aws, "method")
    give(aws, "method", "log_disconnections", "1", "immediate")
    give(aws, "method", "log_disconnections", "1", "pending-reboot")
    assert described(aws, "method", "log_disconnections")["ApplyMethod"] == "immediate"


def test_static_parameter_cannot_change_at_once(aws):
    parameter_group(aws, "static")
    parameter = {"ParameterName": "max_connections", "ParameterValue": "95", "ApplyMethod": "immediate"}
    modify = aws.rds.modify_db_parameter_group
    assert refused(modify, DBParameterGroupName="static", Parameters=[parameter]) == "InvalidParameterCombination"


def test_group_of_an_instance_is_not_deleted(aws):
    parameter_group(aws, "held")
    aws.instance("holds", DBParameterGroupName="held")
    assert refused(aws.rds.delete_db_parameter_group, DBParameterGroupName="held") == "InvalidDBParameterGroupState"


def test_static_parameter_waits_for_a_reboot(aws):
    parameter_group(aws, "waits")
    aws.instance("waits", DBParameterGroupName="waits")
    assert apply_status(aws, "waits") == ["in-sync"]
    give(aws, "waits", "max_connections", "95", "pending-reboot")
    assert apply_status(aws, "waits") == ["pending-reboot"]


def test_dynamic_parameter_does_not_wait(account):
    parameter_group(account, "dynamic")
    account.instance("dynamic", DBParameterGroupName="dynamic")
    give(account, "dynamic", "log_lock_waits", "1", "immediate")
    assert apply_status(account, "dynamic") == ["in-sync"]


def test_group_that_is_new_to_an_instance_waits_for_a_reboot(aws):
    parameter_group(aws, "old-group")
    parameter_group(aws, "new-group")
    give(aws, "new-group", "log_lock_waits", "1", "immediate")
    aws.instance("regrouped", DBParameterGroupName="old-group")
    aws.rds.modify_db_instance(DBInstanceIdentifier="regrouped", DBParameterGroupName="new-group")
    assert apply_status(aws, "regrouped") == ["pending-reboot"]
