"""local/aws/corrections/keys.py: as AWS documents it, where stock moto does not yet."""

import pytest
from botocore.exceptions import ClientError


@pytest.fixture
def key(aws):
    return aws.kms.create_key()["KeyMetadata"]["Arn"]


def pending(aws, key):
    aws.kms.schedule_key_deletion(KeyId=key.split("/")[1], PendingWindowInDays=7)


def test_state_of_a_key_changes_by_its_arn_too(aws, key):
    aws.kms.disable_key(KeyId=key)
    aws.kms.enable_key(KeyId=key)
    aws.kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    aws.kms.cancel_key_deletion(KeyId=key)
    assert aws.kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Disabled"


def test_key_that_waits_for_deletion_does_not_decrypt(aws, key):
    encrypted = aws.kms.encrypt(KeyId=key, Plaintext=b"data")["CiphertextBlob"]
    pending(aws, key)
    with pytest.raises(ClientError, match="KMSInvalidStateException"):
        aws.kms.decrypt(CiphertextBlob=encrypted)


def test_key_that_waits_for_deletion_does_not_encrypt(aws, key):
    pending(aws, key)
    for call in (
        lambda: aws.kms.encrypt(KeyId=key, Plaintext=b"data"),
        lambda: aws.kms.generate_data_key(KeyId=key, KeySpec="AES_256"),
    ):
        with pytest.raises(ClientError, match="KMSInvalidStateException"):
            call()


def test_key_works_again_after_its_deletion_was_cancelled_and_it_was_enabled(account):
    key = account.kms.create_key()["KeyMetadata"]["Arn"]
    pending(account, key)
    account.kms.cancel_key_deletion(KeyId=key)
    with pytest.raises(ClientError, match="DisabledException"):
        account.kms.encrypt(KeyId=key, Plaintext=b"data")
    account.kms.enable_key(KeyId=key)
    account.kms.encrypt(KeyId=key, Plaintext=b"data")


def test_secret_is_neither_read_nor_written_without_its_key(aws, key):
    aws.secretsmanager.create_secret(Name="locked", SecretString="old", KmsKeyId=key)
    pending(aws, key)
    with pytest.raises(ClientError, match="DecryptionFailure"):
        aws.secretsmanager.get_secret_value(SecretId="locked")
    with pytest.raises(ClientError, match="EncryptionFailure"):
        aws.secretsmanager.put_secret_value(SecretId="locked", SecretString="new")


def test_instance_is_not_made_with_a_key_that_waits_for_deletion(aws, key):
    pending(aws, key)
    with pytest.raises(ClientError, match="KMSKeyNotAccessibleFault"):
        aws.instance("locked", StorageEncrypted=True, KmsKeyId=key)


def test_encrypted_instance_has_the_key_of_rds_by_default(aws):
    given = aws.instance("encrypted", StorageEncrypted=True)["KmsKeyId"]
    assert given == aws.kms.describe_key(KeyId="alias/aws/rds")["KeyMetadata"]["Arn"]


def test_key_of_rds_is_managed_by_aws_and_cannot_be_deleted(aws):
    key = aws.kms.describe_key(KeyId="alias/aws/rds")["KeyMetadata"]
    assert key["KeyManager"] == "AWS"
    with pytest.raises(ClientError, match="AccessDeniedException"):
        aws.kms.schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=7)
