"""local/aws/corrections/instances.py: as AWS documents it, where stock moto does not yet."""

import json
import threading

import pytest
from botocore.exceptions import ClientError

from tests.waiting import await_that


def test_resource_id_is_the_instance_s_own(aws):
    first, second = aws.instance("id-first"), aws.instance("id-second")
    assert first["DbiResourceId"] != second["DbiResourceId"]
    assert first["DbiResourceId"].startswith("db-")


def test_performance_insights_are_kept(aws):
    aws.instance("insights", EnablePerformanceInsights=True, PerformanceInsightsRetentionPeriod=7)
    found = aws.describe_instance("insights")
    assert found["PerformanceInsightsEnabled"] is True
    assert found["PerformanceInsightsRetentionPeriod"] == 7


def test_performance_insights_can_be_switched_on(aws):
    aws.instance("insights-later")
    aws.rds.modify_db_instance(DBInstanceIdentifier="insights-later", EnablePerformanceInsights=True)
    assert aws.describe_instance("insights-later")["PerformanceInsightsEnabled"] is True


def test_extended_support_choice_is_kept(aws):
    aws.instance("lifecycle", EngineLifecycleSupport="open-source-rds-extended-support-disabled")
    assert aws.describe_instance("lifecycle")["EngineLifecycleSupport"] == "open-source-rds-extended-support-disabled"


def test_default_certificate_authority_is_the_documented_one(aws):
    assert aws.instance("authority")["CACertificateIdentifier"] == "rds-ca-rsa2048-g1"


def test_managed_master_secret_names_the_given_user(aws):
    secret = aws.instance("master")["MasterUserSecret"]["SecretArn"]
    value = json.loads(aws.secretsmanager.get_secret_value(SecretId=secret)["SecretString"])
    assert value["username"] == "owner"
    assert len(value["password"]) == 28


def test_managed_master_secret_can_be_rotated(aws):
    secret = aws.instance("rotated")["MasterUserSecret"]["SecretArn"]
    before = aws.secretsmanager.get_secret_value(SecretId=secret)["SecretString"]
    aws.rds.modify_db_instance(DBInstanceIdentifier="rotated", RotateMasterUserPassword=True, ApplyImmediately=True)
    after = json.loads(aws.secretsmanager.get_secret_value(SecretId=secret)["SecretString"])
    assert after["username"] == "owner"
    assert after != json.loads(before)


def modify(aws, name, **changes):
    return aws.rds.modify_db_instance(DBInstanceIdentifier=name, **changes)["DBInstance"]


def refused(call, *arguments, **changes):
    with pytest.raises(ClientError) as caught:
        call(*arguments, **changes)
    return caught.value.response["Error"]["Code"]


def group(aws, name, family):
    aws.rds.create_db_parameter_group(DBParameterGroupName=name, DBParameterGroupFamily=family, Description="test")
    return name


def test_major_version_is_installed_with_a_minor_one(aws):
    assert aws.instance("whole", EngineVersion="17")["EngineVersion"].startswith("17.")


@pytest.mark.parametrize(
    ("setting", "reported", "value"),
    [
        ("DBInstanceClass", "DBInstanceClass", "db.t4g.small"),
        ("AllocatedStorage", "AllocatedStorage", 30),
        ("MultiAZ", "MultiAZ", True),
        ("EngineVersion", "EngineVersion", "17.7"),
        ("EnableIAMDatabaseAuthentication", "IAMDatabaseAuthenticationEnabled", True),
        ("NewDBInstanceIdentifier", "DBInstanceIdentifier", "renamed"),
        ("BackupRetentionPeriod", "BackupRetentionPeriod", 0),
    ],
)
def test_change_waits_for_the_window(aws, setting, reported, value):
    name = f"waits-{setting.lower()}"
    before = aws.instance(name)[reported]
    modify(aws, name, **{setting: value})
    found = aws.describe_instance(name)
    assert found[reported] == before
    assert found["PendingModifiedValues"] == {reported: value}


def test_change_back_waits_no_more(aws):
    aws.instance("back")
    modify(aws, "back", DBInstanceClass="db.t4g.small")
    assert modify(aws, "back", AllocatedStorage=30)["PendingModifiedValues"] == {
        "DBInstanceClass": "db.t4g.small",
        "AllocatedStorage": 30,
    }
    assert modify(aws, "back", DBInstanceClass="db.t4g.micro")["PendingModifiedValues"] == {"AllocatedStorage": 30}


def test_what_is_changed_at_once_takes_along_what_waits(aws):
    aws.instance("along")
    modify(aws, "along", DBInstanceClass="db.t4g.small")
    assert aws.describe_instance("along")["PendingModifiedValues"]
    changed = modify(aws, "along", AllocatedStorage=30, ApplyImmediately=True)
    assert (changed["DBInstanceClass"], changed["AllocatedStorage"]) == ("db.t4g.small", 30)
    assert changed["PendingModifiedValues"] == {}


def test_window_makes_the_changes_that_wait(plane, account, events):
    account.instance("window")
    modify(account, "window", DBInstanceClass="db.t4g.small")
    plane.let_window_pass()
    found = account.describe_instance("window")
    assert (found["DBInstanceClass"], found["PendingModifiedValues"]) == ("db.t4g.small", {})
    assert ("instance_restarted", "window") in [(event, instance.identifier) for event, instance in events.seen]


def test_port_changes_at_once_and_restarts(account, events):
    account.instance("port")
    assert modify(account, "port", DBPortNumber=5433)["Endpoint"]["Port"] == 5433
    assert [(event, instance.port) for event, instance in events.seen][-1] == ("instance_restarted", 5433)


def test_days_of_backups_change_at_once(account):
    account.instance("backups", BackupRetentionPeriod=7)
    assert modify(account, "backups", BackupRetentionPeriod=14)["BackupRetentionPeriod"] == 14


def test_group_of_another_family_is_refused(aws):
    group(aws, "family-18", "postgres18")
    aws.instance("family", EngineVersion="17")
    assert refused(aws.instance, "born", EngineVersion="17", DBParameterGroupName="family-18") == (
        "InvalidParameterCombination"
    )
    assert refused(modify, aws, "family", DBParameterGroupName="family-18") == "InvalidParameterCombination"


def test_major_upgrade_must_be_allowed(aws):
    aws.instance("forbidden", EngineVersion="17")
    changes = {"EngineVersion": "18", "ApplyImmediately": True}
    assert refused(modify, aws, "forbidden", **changes) == "InvalidParameterCombination"


def test_major_upgrade_needs_a_group_where_there_is_one(aws):
    aws.instance("grouped", EngineVersion="17", DBParameterGroupName=group(aws, "grouped-17", "postgres17"))
    changes = {"EngineVersion": "18", "AllowMajorVersionUpgrade": True, "ApplyImmediately": True}
    assert refused(modify, aws, "grouped", **changes) == "InvalidParameterCombination"


def test_downgrade_is_refused(aws):
    aws.instance("downgrade", EngineVersion="17")
    changes = {"EngineVersion": "16", "AllowMajorVersionUpgrade": True, "ApplyImmediately": True}
    assert refused(modify, aws, "downgrade", **changes) == "InvalidParameterCombination"


def test_both_groups_are_held_while_an_upgrade_waits(plane, account):
    old, new = group(account, "held-17", "postgres17"), group(account, "held-18", "postgres18")
    account.instance("upgraded", EngineVersion="17", DBParameterGroupName=old)
    modify(account, "upgraded", EngineVersion="18", AllowMajorVersionUpgrade=True, DBParameterGroupName=new)
    for name in (old, new):
        delete = account.rds.delete_db_parameter_group
        assert refused(delete, DBParameterGroupName=name) == "InvalidDBParameterGroupState"
    assert account.describe_instance("upgraded")["DBParameterGroups"][1]["ParameterApplyStatus"] == (
        "pending-database-upgrade"
    )
    plane.let_window_pass()
    upgraded = account.describe_instance("upgraded")
    assert upgraded["EngineVersion"].startswith("18.")
    assert upgraded["DBParameterGroups"] == [{"DBParameterGroupName": new, "ParameterApplyStatus": "in-sync"}]
    account.rds.delete_db_parameter_group(DBParameterGroupName=old)


@pytest.mark.parametrize(
    "storage",
    [
        {"AllocatedStorage": 100, "Iops": 12000},
        {"AllocatedStorage": 400, "StorageThroughput": 3001},
        {"AllocatedStorage": 400, "Iops": 13000, "StorageThroughput": 4000},
    ],
)
def test_storage_that_gp3_does_not_have_is_refused(aws, storage):
    code = refused(aws.instance, f"gp3-{sum(storage.values())}", StorageType="gp3", **storage)
    assert code == "InvalidParameterCombination"


def test_reboot_takes_a_while_and_is_refused_meanwhile(account, events, monkeypatch):
    account.instance("reboot")
    back = threading.Event()
    monkeypatch.setattr(events, "instance_restarted", lambda _: back.wait(10))
    assert (
        account.rds.reboot_db_instance(DBInstanceIdentifier="reboot")["DBInstance"]["DBInstanceStatus"] == "rebooting"
    )
    assert refused(account.rds.reboot_db_instance, DBInstanceIdentifier="reboot") == "InvalidDBInstanceState"
    back.set()
    await_status(account, "reboot", "available")


def test_server_that_does_not_start_again_is_incompatible(account, events, monkeypatch):
    def fail(_):
        raise RuntimeError("no memory")

    account.instance("broken")
    monkeypatch.setattr(events, "instance_restarted", fail)
    account.rds.reboot_db_instance(DBInstanceIdentifier="broken")
    await_status(account, "broken", "incompatible-parameters")


def await_status(account, name, status):
    await_that(lambda: account.describe_instance(name)["DBInstanceStatus"] == status)


def test_subnet_group_stays_when_it_gets_other_subnets(aws):
    first, second, third = [subnet["SubnetId"] for subnet in aws.ec2.describe_subnets()["Subnets"][:3]]
    aws.rds.create_db_subnet_group(
        DBSubnetGroupName="zones", DBSubnetGroupDescription="zones", SubnetIds=[first, second]
    )
    aws.rds.modify_db_subnet_group(DBSubnetGroupName="zones", SubnetIds=[first, second, third])
    [group] = aws.rds.describe_db_subnet_groups(DBSubnetGroupName="zones")["DBSubnetGroups"]
    assert {subnet["SubnetIdentifier"] for subnet in group["Subnets"]} == {first, second, third}
