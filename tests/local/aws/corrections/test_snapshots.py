"""local/aws/corrections/snapshots.py: as AWS documents it, where stock moto does not yet."""

import pytest
from botocore.exceptions import ClientError


@pytest.fixture
def snapshot(aws, request):
    """The final snapshot of an instance whose storage has a key of its own: its name, and the key."""
    name = request.node.originalname.replace("_", "-")[:40].rstrip("-")
    key = aws.kms.create_key()["KeyMetadata"]["Arn"]
    aws.instance(name, StorageEncrypted=True, KmsKeyId=key)
    aws.rds.delete_db_instance(DBInstanceIdentifier=name, FinalDBSnapshotIdentifier=f"{name}-final")
    return name, key


def test_copy_is_refused_while_the_key_waits_for_deletion(aws, snapshot):
    name, key = snapshot
    aws.kms.schedule_key_deletion(KeyId=key.split("/")[1], PendingWindowInDays=7)
    copy = {"SourceDBSnapshotIdentifier": f"{name}-final", "TargetDBSnapshotIdentifier": f"{name}-copy"}
    for options in ({}, {"KmsKeyId": aws.kms.create_key()["KeyMetadata"]["Arn"]}):
        with pytest.raises(ClientError, match="KMSKeyNotAccessibleFault"):
            aws.rds.copy_db_snapshot(**copy, **options)


def test_restore_is_refused_while_the_key_waits_for_deletion(aws, snapshot):
    name, key = snapshot
    aws.kms.schedule_key_deletion(KeyId=key.split("/")[1], PendingWindowInDays=7)
    with pytest.raises(ClientError, match="KMSKeyNotAccessibleFault"):
        aws.rds.restore_db_instance_from_db_snapshot(DBInstanceIdentifier=name, DBSnapshotIdentifier=f"{name}-final")


def test_restored_instance_has_no_managed_secret_until_it_is_told_to(aws, snapshot):
    name, _ = snapshot
    aws.rds.restore_db_instance_from_db_snapshot(DBInstanceIdentifier=name, DBSnapshotIdentifier=f"{name}-final")
    assert "MasterUserSecret" not in aws.describe_instance(name)
    aws.rds.modify_db_instance(DBInstanceIdentifier=name, ManageMasterUserPassword=True)
    assert aws.describe_instance(name)["MasterUserSecret"]["SecretArn"]


def test_restored_instance_has_the_key_of_its_snapshot_and_an_id_of_its_own(account):
    key = account.kms.create_key()["KeyMetadata"]["Arn"]
    first = account.instance("lived", StorageEncrypted=True, KmsKeyId=key)
    account.rds.delete_db_instance(DBInstanceIdentifier="lived", FinalDBSnapshotIdentifier="lived-final")
    second = account.rds.restore_db_instance_from_db_snapshot(
        DBInstanceIdentifier="lived", DBSnapshotIdentifier="lived-final"
    )["DBInstance"]
    assert second["KmsKeyId"] == key
    assert second["DbiResourceId"] != first["DbiResourceId"]
