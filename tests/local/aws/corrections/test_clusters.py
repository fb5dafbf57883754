"""local/aws/corrections/clusters.py: as AWS documents it, where stock moto does not yet."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.waiting import await_that


def cluster(aws: Any, name: str, **options: Any) -> dict[str, Any]:
    defaults = {"Engine": "aurora-postgresql", "EngineVersion": "17", "MasterUsername": "chief", "DatabaseName": "app"}
    login = {} if options.get("ManageMasterUserPassword") else {"MasterUserPassword": "not-a-secret"}
    found: dict[str, Any] = aws.rds.create_db_cluster(DBClusterIdentifier=name, **(defaults | login | options))
    return dict(found["DBCluster"])


def member(aws: Any, name: str, number: int, **options: Any) -> None:
    aws.rds.create_db_instance(
        DBInstanceIdentifier=f"{name}-{number}",
        DBInstanceClass="db.r7g.large",
        Engine="aurora-postgresql",
        DBClusterIdentifier=name,
        **options,
    )


def described(aws: Any, name: str) -> dict[str, Any]:
    [found] = aws.rds.describe_db_clusters(DBClusterIdentifier=name)["DBClusters"]
    return dict(found)


def test_storage_may_be_of_the_kind_without_charges_for_io(aws):
    assert cluster(aws, "optimized", StorageType="aurora-iopt1")["StorageType"] == "aurora-iopt1"


def test_a_multi_az_cluster_takes_tokens(aws):
    made = cluster(
        aws,
        "three-zones",
        Engine="postgres",
        DBClusterInstanceClass="db.m6gd.large",
        StorageType="io1",
        AllocatedStorage=100,
        Iops=1000,
        EnableIAMDatabaseAuthentication=True,
    )
    assert made["IAMDatabaseAuthenticationEnabled"] is True


def test_tokens_can_be_turned_off(aws):
    cluster(aws, "tokens", EnableIAMDatabaseAuthentication=True)
    aws.rds.modify_db_cluster(
        DBClusterIdentifier="tokens", EnableIAMDatabaseAuthentication=False, ApplyImmediately=True
    )
    assert described(aws, "tokens")["IAMDatabaseAuthenticationEnabled"] is False


def test_the_default_group_and_the_version_are_the_engine_s(aws):
    made = cluster(aws, "plain")
    assert made["DBClusterParameterGroup"] == "default.aurora-postgresql17"
    assert made["EngineVersion"].startswith("17.")


def test_the_managed_secret_holds_the_given_user(aws):
    made = cluster(aws, "managed", ManageMasterUserPassword=True)
    value = aws.secretsmanager.get_secret_value(SecretId=made["MasterUserSecret"]["SecretArn"])
    assert json.loads(value["SecretString"])["username"] == "chief"


def test_a_group_of_another_family_is_refused(aws):
    aws.rds.create_db_cluster_parameter_group(
        DBClusterParameterGroupName="sixteen", DBParameterGroupFamily="aurora-postgresql16", Description="of 16"
    )
    with pytest.raises(ClientError, match="with DBParameterGroupFamily aurora-postgresql17"):
        cluster(aws, "seventeen", DBClusterParameterGroupName="sixteen")


def test_a_group_lists_what_the_user_gave_and_stays_while_a_cluster_has_it(aws):
    group = {"DBClusterParameterGroupName": "given"}
    aws.rds.create_db_cluster_parameter_group(
        **group, DBParameterGroupFamily="aurora-postgresql17", Description="given"
    )
    given = {"ParameterName": "log_lock_waits", "ParameterValue": "1", "ApplyMethod": "immediate"}
    aws.rds.modify_db_cluster_parameter_group(**group, Parameters=[given])
    [listed] = aws.rds.describe_db_cluster_parameters(**group, Source="user")["Parameters"]
    assert listed["ParameterName"] == "log_lock_waits"
    static = {"ParameterName": "max_connections", "ParameterValue": "90", "ApplyMethod": "immediate"}
    with pytest.raises(ClientError, match="static parameter"):
        aws.rds.modify_db_cluster_parameter_group(**group, Parameters=[static])
    cluster(aws, "grouped", **group)
    with pytest.raises(ClientError, match="InvalidDBParameterGroupState"):
        aws.rds.delete_db_cluster_parameter_group(**group)
    aws.rds.reset_db_cluster_parameter_group(**group, ResetAllParameters=True)
    assert aws.rds.describe_db_cluster_parameters(**group, Source="user")["Parameters"] == []


def test_deletion_asks_for_a_final_snapshot_or_a_waiver(aws):
    cluster(aws, "going")
    with pytest.raises(ClientError, match="FinalDBSnapshotIdentifier is required"):
        aws.rds.delete_db_cluster(DBClusterIdentifier="going")


def test_failover_leads_to_a_member_only(aws):
    for name in ("one", "other"):
        cluster(aws, name)
        for number in (1, 2):
            member(aws, name, number)
    for target in ("other-2", "nobody"):
        with pytest.raises(ClientError, match=f"Cannot find target instance: {target}"):
            aws.rds.failover_db_cluster(DBClusterIdentifier="one", TargetDBInstanceIdentifier=target)


def test_failover_makes_the_other_instance_the_writer(account):
    cluster(account, "over")
    for number in (1, 2):
        member(account, "over", number)

    def writers() -> list[str]:
        members = described(account, "over")["DBClusterMembers"]
        return [found["DBInstanceIdentifier"] for found in members if found["IsClusterWriter"]]

    assert writers() == ["over-1"]
    account.rds.failover_db_cluster(DBClusterIdentifier="over")
    assert writers() == ["over-2"]


def test_a_cluster_with_a_managed_secret_can_be_restored(aws):
    made = cluster(aws, "lived", ManageMasterUserPassword=True)
    aws.rds.create_db_cluster_snapshot(DBClusterIdentifier="lived", DBClusterSnapshotIdentifier="kept")
    restored = aws.rds.restore_db_cluster_from_snapshot(
        DBClusterIdentifier="again", SnapshotIdentifier="kept", Engine="aurora-postgresql"
    )["DBCluster"]
    assert (restored["MasterUsername"], restored["DatabaseName"]) == ("chief", "app")
    assert "MasterUserSecret" not in restored
    assert restored["DbClusterResourceId"] != made["DbClusterResourceId"]


def test_a_snapshot_of_an_instance_can_be_restored_by_its_arn_only(aws):
    aws.instance("single", EngineVersion="16.9")
    arn = aws.rds.create_db_snapshot(DBInstanceIdentifier="single", DBSnapshotIdentifier="single-to-cluster")[
        "DBSnapshot"
    ]["DBSnapshotArn"]
    given = {"DBClusterIdentifier": "moved", "Engine": "aurora-postgresql"}
    restored = aws.rds.restore_db_cluster_from_snapshot(SnapshotIdentifier=arn, EngineVersion="16", **given)[
        "DBCluster"
    ]
    [source] = aws.rds.describe_db_instances(DBInstanceIdentifier="single")["DBInstances"]
    for name in ("MasterUsername", "StorageEncrypted", "KmsKeyId"):
        assert restored.get(name) == source.get(name)
    assert (restored["Engine"], restored["EngineVersion"].split(".")[0]) == ("aurora-postgresql", "16")
    with pytest.raises(ClientError, match="DBClusterSnapshotNotFound"):
        aws.rds.restore_db_cluster_from_snapshot(SnapshotIdentifier="single-to-cluster", **given)
    with pytest.raises(ClientError, match="InvalidParameterCombination"):
        aws.rds.restore_db_cluster_from_snapshot(SnapshotIdentifier=arn, EngineVersion="15", **given)


def test_a_major_upgrade_is_allowed_and_brings_its_groups(aws):
    for version in (16, 17):
        made = {"DBParameterGroupFamily": f"aurora-postgresql{version}", "Description": "test"}
        aws.rds.create_db_cluster_parameter_group(DBClusterParameterGroupName=f"of-{version}", **made)
        aws.rds.create_db_parameter_group(DBParameterGroupName=f"member-{version}", **made)
    cluster(aws, "older", EngineVersion="16", DBClusterParameterGroupName="of-16")
    member(aws, "older", 1)
    upgrade = {"DBClusterIdentifier": "older", "EngineVersion": "17", "ApplyImmediately": True}
    groups = {"DBClusterParameterGroupName": "of-17", "DBInstanceParameterGroupName": "member-17"}
    allowed = {"AllowMajorVersionUpgrade": True}
    for refused in (groups, allowed, allowed | groups | {"DBInstanceParameterGroupName": "member-16"}):
        with pytest.raises(ClientError, match="InvalidParameterCombination"):
            aws.rds.modify_db_cluster(**upgrade, **refused)
    aws.rds.modify_db_cluster(**upgrade, **allowed, **groups)
    [upgraded] = aws.rds.describe_db_instances(DBInstanceIdentifier="older-1")["DBInstances"]
    assert upgraded["EngineVersion"].startswith("17.")
    assert upgraded["DBParameterGroups"][0]["DBParameterGroupName"] == "member-17"
    aws.rds.modify_db_instance(DBInstanceIdentifier="older-1", DBParameterGroupName="member-17")  # as Terraform does
    with pytest.raises(ClientError, match="InvalidParameterCombination"):
        aws.rds.modify_db_cluster(DBClusterIdentifier="older", EngineVersion="16", ApplyImmediately=True)


def test_a_multi_az_cluster_is_rebooted_as_one_and_takes_its_parameters(account):
    family = {"DBParameterGroupFamily": "postgres17", "Description": "test"}
    account.rds.create_db_cluster_parameter_group(DBClusterParameterGroupName="as-one", **family)
    account.cluster("as-one", Engine="postgres", DBClusterInstanceClass="db.m6gd.large", StorageType="gp3",
                    AllocatedStorage=100, DBClusterParameterGroupName="as-one")  # fmt: skip
    parameter = {"ParameterName": "max_connections", "ParameterValue": "50", "ApplyMethod": "pending-reboot"}
    account.rds.modify_db_cluster_parameter_group(DBClusterParameterGroupName="as-one", Parameters=[parameter])
    groups = {member["DBClusterParameterGroupStatus"] for member in described(account, "as-one")["DBClusterMembers"]}
    assert groups == {"pending-reboot"}
    account.rds.reboot_db_cluster(DBClusterIdentifier="as-one")
    await_that(lambda: described(account, "as-one")["Status"] == "available")
    groups = {member["DBClusterParameterGroupStatus"] for member in described(account, "as-one")["DBClusterMembers"]}
    assert groups == {"in-sync"}


def test_the_instances_of_aurora_are_rebooted_one_by_one(account):
    cluster(account, "one-by-one")
    with pytest.raises(ClientError, match="InvalidParameterCombination"):
        account.rds.reboot_db_cluster(DBClusterIdentifier="one-by-one")


def test_a_proxy_lists_the_instances_of_a_tracked_cluster(aws):
    cluster(aws, "tracked")
    for number in (1, 2):
        member(aws, "tracked", number)
    aws.proxy("tracking")
    aws.rds.register_db_proxy_targets(DBProxyName="tracking", DBClusterIdentifiers=["tracked"])
    targets = aws.rds.describe_db_proxy_targets(DBProxyName="tracking")["Targets"]
    assert sorted(target.get("Role", "none") for target in targets) == ["READ_ONLY", "READ_WRITE", "none"]


def test_an_empty_cluster_is_no_target(account):
    cluster(account, "empty")
    account.proxy("none")
    with pytest.raises(ClientError, match="InvalidDBInstanceState"):
        account.rds.register_db_proxy_targets(DBProxyName="none", DBClusterIdentifiers=["empty"])


def test_a_final_snapshot_is_taken_although_the_managed_secret_goes_with_the_cluster(account):
    cluster(account, "last", ManageMasterUserPassword=True)
    member(account, "last", 1)
    account.rds.delete_db_instance(DBInstanceIdentifier="last-1")
    account.rds.delete_db_cluster(DBClusterIdentifier="last", FinalDBSnapshotIdentifier="last-final")
    [kept] = account.rds.describe_db_cluster_snapshots(DBClusterSnapshotIdentifier="last-final")["DBClusterSnapshots"]
    assert kept["Status"] == "available"


def test_each_member_is_told_and_the_cluster_s_end(account, events):
    cluster(account, "served", ManageMasterUserPassword=True)
    for number in (1, 2):
        member(account, "served", number)
    for number in (1, 2):
        account.rds.delete_db_instance(DBInstanceIdentifier=f"served-{number}")
    account.rds.delete_db_cluster(DBClusterIdentifier="served", SkipFinalSnapshot=True)
    assert [(name, [(one.identifier, one.is_writer) for one in view.members]) for name, view in events.seen] == [
        ("instance_created", [("served-1", True)]),
        ("instance_changed", [("served-1", True), ("served-2", False)]),
        ("instance_changed", [("served-2", True)]),
        ("instance_changed", []),
        ("instance_deleted", []),
    ]


def test_a_failover_that_fails_changes_no_writer(account, events):
    cluster(account, "stays")
    for number in (1, 2):
        member(account, "stays", number)
    events.raises = RuntimeError("the standby has not all")
    with pytest.raises(ClientError, match="has not all"):
        account.rds.failover_db_cluster(DBClusterIdentifier="stays")
    events.raises = None
    assert [found["IsClusterWriter"] for found in described(account, "stays")["DBClusterMembers"]] == [True, False]


def test_without_a_target_the_reader_of_the_lowest_tier_becomes_the_writer(account):
    cluster(account, "tiers")
    for number, tier in ((1, 0), (2, 5), (3, 2)):
        member(account, "tiers", number, PromotionTier=tier)
    account.rds.failover_db_cluster(DBClusterIdentifier="tiers")
    writers = [
        m["DBInstanceIdentifier"] for m in described(account, "tiers")["DBClusterMembers"] if m["IsClusterWriter"]
    ]
    assert writers == ["tiers-3"]


def test_a_multi_az_cluster_has_a_writer_and_two_readers_of_its_own(account, events):
    multi_az = {"Engine": "postgres", "DBClusterInstanceClass": "db.m6gd.large", "StorageType": "io1"}
    cluster(account, "three", **multi_az, AllocatedStorage=100, Iops=1000)
    members = described(account, "three")["DBClusterMembers"]
    assert [found["IsClusterWriter"] for found in members] == [True, False, False]
    account.rds.delete_db_cluster(DBClusterIdentifier="three", FinalDBSnapshotIdentifier="three-final")
    left = [instance["DBInstanceIdentifier"] for instance in account.rds.describe_db_instances()["DBInstances"]]
    assert not any(name.startswith("three-instance-") for name in left)
    assert [events.seen[0][0], events.seen[-1][0]] == ["instance_created", "instance_deleted"]


def test_a_reader_that_is_rebooted_reads_the_group_and_the_others_wait(account):
    group = {"DBClusterParameterGroupName": "waits"}
    account.rds.create_db_cluster_parameter_group(
        **group, DBParameterGroupFamily="aurora-postgresql17", Description="waits"
    )
    cluster(account, "waiting", **group)
    for number in (1, 2):
        member(account, "waiting", number)
    given = {"ParameterName": "max_connections", "ParameterValue": "90", "ApplyMethod": "pending-reboot"}
    account.rds.modify_db_cluster_parameter_group(**group, Parameters=[given])
    account.rds.reboot_db_instance(DBInstanceIdentifier="waiting-2")

    def states() -> list[str]:
        return [m["DBClusterParameterGroupStatus"] for m in described(account, "waiting")["DBClusterMembers"]]

    await_that(lambda: states() == ["pending-reboot", "in-sync"])
