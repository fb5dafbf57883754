"""KMS: who may use a key, and who stays in charge of it."""

from __future__ import annotations

import json
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.kms.models import kms_backends
from moto.kms.responses import KmsResponse
from moto.logs.models import LogsBackend

from local.aws import iam_policies
from local.aws.moto import Method, Moto

# CloudWatch Logs User Guide, "Encrypt log data in CloudWatch Logs using AWS KMS". Which of them CreateLogGroup tries
# is not said. DescribeKey is on the guide's list too, but knows no encryption context to hold a condition against.
NEEDED_BY_LOGS = ("Encrypt", "Decrypt", "ReEncryptFrom", "ReEncryptTo", "GenerateDataKey")


def correct(moto: Moto) -> None:
    """Apply the corrections of this room."""
    keys_stay_under_their_account(moto)
    log_groups_need_a_key_that_logs_may_use(moto)


def keys_stay_under_their_account(moto: Moto) -> None:
    """CreateKey and PutKeyPolicy refuse a policy under which the caller could not change it again.

    KMS API Reference, CreateKey and PutKeyPolicy: BypassPolicyLockoutSafetyCheck. The caller here is an administrator
    of the account: it may what the policy leaves to the account.
    """

    def guard(original: Method, self: Any) -> Any:
        policy, key_id = self._get_param("Policy"), self._get_param("KeyId")
        backend = self.kms_backend
        key = f"key/{key_id}" if key_id else "key/new"
        arn = f"arn:{backend.partition}:kms:{backend.region_name}:{backend.account_id}:{key.replace('key/arn:', '')}"
        if (
            policy
            and not self._get_param("BypassPolicyLockoutSafetyCheck")
            and not iam_policies.permits(json.loads(policy), iam_policies.account(arn), "kms:PutKeyPolicy", arn)
        ):
            message = "The new key policy will not allow you to update the key policy in the future."
            raise JsonRESTError("MalformedPolicyDocumentException", message)
        return original(self)

    for name in ("create_key", "put_key_policy"):
        moto.around(KmsResponse, name)(guard)


def log_groups_need_a_key_that_logs_may_use(moto: Moto) -> None:
    """CreateLogGroup tries its key, as the service of the region and for the group's own ARN.

    The guide named above has the policy; the message is that of hashicorp/terraform-provider-aws#29282.
    """

    @moto.around(LogsBackend, "create_log_group")
    def create(original: Method, self: Any, log_group_name: str, tags: Any, **given: Any) -> Any:
        if key_arn := given.get("kmsKeyId"):
            arn = f"arn:{self.partition}:logs:{self.region_name}:{self.account_id}:log-group:{log_group_name}"
            if not usable(key_arn, arn, self.region_name):
                message = f"The specified KMS key does not exist or is not allowed to be used with Arn '{arn}'"
                raise JsonRESTError("AccessDeniedException", message)
        return original(self, log_group_name, tags, **given)

    def usable(key_arn: str, group_arn: str, region: str) -> bool:
        _, _, _, key_region, account, _ = key_arn.split(":", 5)
        key = kms_backends[account][key_region].keys.get(key_arn.rsplit("/", 1)[-1])
        if key is None or not key.enabled:
            return False
        who = {"Service": (f"logs.{region}.amazonaws.com",)}
        context = {"kms:EncryptionContext:aws:logs:arn": group_arn}
        policy = json.loads(key.policy)
        return all(iam_policies.permits(policy, who, f"kms:{action}", key_arn, context) for action in NEEDED_BY_LOGS)
