"""KMS: what a key that is not enabled is good for, which is nothing; and the key that RDS has by itself."""

from __future__ import annotations

from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.kms.models import KmsBackend, kms_backends
from moto.rds.exceptions import KMSKeyNotAccessibleFault
from moto.rds.models import RDSBackend
from moto.secretsmanager.models import SecretsManagerBackend

from local.aws.moto import Method, Moto

RDS_KEY = "alias/aws/rds"


def correct(moto: Moto) -> None:
    """Apply the corrections of this room."""
    keys_are_known_by_arn(moto)
    keys_of_services_are_managed_by_aws(moto)
    disabled_keys_do_nothing(moto)
    secrets_need_their_key(moto)
    instances_need_their_keys(moto)


def is_enabled(backend: Any, key: str) -> bool:
    """Tell whether a key, given by ARN, id or alias, exists and is neither disabled nor waiting for its deletion."""
    try:
        found = _key(backend, key)
    except (KeyError, JsonRESTError):
        return False
    return bool(found.key_state == "Enabled")


def storage_key(backend: Any, key: str | None) -> str:
    """Return the ARN of the key that storage is encrypted with: by default the account's own for RDS.

    RDS User Guide, Overview.Encryption.Keys: without KmsKeyId the AWS managed key aws/rds is used.
    """
    if not is_enabled(backend, key or RDS_KEY):
        raise KMSKeyNotAccessibleFault(key or RDS_KEY)
    return str(_key(backend, key or RDS_KEY).arn)


def keys_are_known_by_arn(moto: Moto) -> None:
    """The calls that change a key's state take its ARN as well as its id (API reference: KeyId)."""
    for name in ("disable_key", "enable_key", "cancel_key_deletion", "schedule_key_deletion"):

        @moto.around(KmsBackend, name)
        def change(original: Method, self: Any, key_id: str, *args: Any, **kwargs: Any) -> Any:
            return original(self, self.describe_key(key_id).id, *args, **kwargs)


def keys_of_services_are_managed_by_aws(moto: Moto) -> None:
    """DescribeKey says whose a key is; a service's own cannot be deleted.

    KMS Developer Guide, concepts (AWS managed keys); what ScheduleKeyDeletion of one answers is an assumption.
    """

    @moto.around(KmsBackend, "describe_key")
    def describe(original: Method, self: Any, key_id: str) -> Any:
        key = original(self, key_id)
        if any(alias.startswith("alias/aws/") for alias in key.aliases):
            key.key_manager = "AWS"
        return key

    @moto.around(KmsBackend, "schedule_key_deletion")
    def schedule(original: Method, self: Any, key_id: str, *args: Any, **kwargs: Any) -> Any:
        if self.describe_key(key_id).key_manager == "AWS":
            message = f"{key_id} is an AWS managed key, which cannot be deleted."
            raise JsonRESTError("AccessDeniedException", message)
        return original(self, key_id, *args, **kwargs)


def disabled_keys_do_nothing(moto: Moto) -> None:
    """A key that is disabled or waits for its deletion neither encrypts nor decrypts.

    KMS Developer Guide, key-state: the table of operations; KMSInvalidStateException in each one's API reference.
    """

    def refuse(key: Any) -> None:
        if key.key_state != "Enabled":
            state = "pending deletion" if key.key_state == "PendingDeletion" else "disabled"
            code = "DisabledException" if state == "disabled" else "KMSInvalidStateException"
            raise JsonRESTError(code, f"{key.arn} is {state}.")

    for name in ("encrypt", "generate_data_key", "create_grant"):

        @moto.around(KmsBackend, name)
        def use(original: Method, self: Any, key_id: str, *args: Any, **kwargs: Any) -> Any:
            refuse(self.describe_key(key_id))
            return original(self, key_id, *args, **kwargs)

    @moto.around(KmsBackend, "decrypt")
    def decrypt(original: Method, self: Any, ciphertext_blob: bytes, *args: Any, **kwargs: Any) -> Any:
        plaintext, arn = original(self, ciphertext_blob, *args, **kwargs)
        refuse(self.describe_key(arn))
        return plaintext, arn


def secrets_need_their_key(moto: Moto) -> None:
    """A secret cannot be read or written while its key is of no use.

    Secrets Manager API reference: DecryptionFailure of GetSecretValue, EncryptionFailure of the others.
    """

    def check(backend: Any, key: str | None, code: str, verb: str) -> None:
        if key and not is_enabled(backend, key):
            message = f"Secrets Manager can't {verb} the protected secret text using the provided KMS key."
            raise JsonRESTError(code, message)

    @moto.around(SecretsManagerBackend, "get_secret_value")
    def read(original: Method, self: Any, secret_id: str, *args: Any, **kwargs: Any) -> Any:
        if secret := self.secrets.get(secret_id):
            check(self, secret.kms_key_id, "DecryptionFailure", "decrypt")
        return original(self, secret_id, *args, **kwargs)

    @moto.around(SecretsManagerBackend, "put_secret_value")
    def write(original: Method, self: Any, secret_id: str, *args: Any, **kwargs: Any) -> Any:
        if secret := self.secrets.get(secret_id):
            check(self, secret.kms_key_id, "EncryptionFailure", "encrypt")
        return original(self, secret_id, *args, **kwargs)

    @moto.around(SecretsManagerBackend, "create_secret")
    def create(original: Method, self: Any, *args: Any, **kwargs: Any) -> Any:
        check(self, kwargs.get("kms_key_id"), "EncryptionFailure", "encrypt")
        return original(self, *args, **kwargs)


def instances_need_their_keys(moto: Moto) -> None:
    """CreateDBInstance wants a key that is enabled (API reference: KMSKeyNotAccessibleFault)."""

    @moto.around(RDSBackend, "create_db_instance")
    def create(original: Method, self: Any, db_kwargs: Any) -> Any:
        if db_kwargs.get("storage_encrypted"):
            db_kwargs["kms_key_id"] = storage_key(self, db_kwargs.get("kms_key_id"))
        secret_key = db_kwargs.get("master_user_secret_kms_key_id")
        if secret_key and not is_enabled(self, secret_key):
            raise KMSKeyNotAccessibleFault(secret_key)
        return original(self, db_kwargs)


def _key(backend: Any, key: str) -> Any:
    region = key.split(":")[3] if key.startswith("arn:") else backend.region_name
    account = key.split(":")[4] if key.startswith("arn:") else backend.account_id
    return kms_backends[account][region].describe_key(key)
