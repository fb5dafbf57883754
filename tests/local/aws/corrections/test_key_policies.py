"""local/aws/corrections/key_policies.py: as AWS documents it, where stock moto does not yet."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

ACCOUNT = "123456789012"
ROOT = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
LOGS = {"Service": "logs.us-east-1.amazonaws.com"}
USE = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"]
LOCKED_OUT = "MalformedPolicyDocumentException.*will not allow you to update the key policy"


def statement(principal: object, action: object, **more: object) -> dict[str, Any]:
    return {"Effect": "Allow", "Principal": principal, "Action": action, "Resource": "*", **more}


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


OWNED = statement(ROOT, "kms:*")


@pytest.mark.parametrize(
    "locking_out",
    [
        [statement(ROOT, "kms:Describe*")],
        [statement({"AWS": f"arn:aws:iam::{ACCOUNT}:user/another"}, "kms:*")],
        [statement(LOGS, "kms:*")],
        [{**OWNED, "Resource": "arn:aws:kms:us-east-1:123456789012:key/another"}],
        [OWNED, {**statement(ROOT, "kms:PutKeyPolicy"), "Effect": "Deny"}],
    ],
)
def test_no_policy_may_lock_the_account_out_of_its_key(aws, locking_out):
    with pytest.raises(ClientError, match=LOCKED_OUT):
        aws.kms.create_key(Policy=policy(*locking_out))


def test_no_later_policy_may_either_unless_that_is_wanted(aws):
    key = aws.kms.create_key(Policy=policy(OWNED))["KeyMetadata"]["KeyId"]
    change = {"KeyId": key, "PolicyName": "default", "Policy": policy(statement(ROOT, "kms:Describe*"))}
    with pytest.raises(ClientError, match=LOCKED_OUT):
        aws.kms.put_key_policy(**change)
    aws.kms.put_key_policy(**change, BypassPolicyLockoutSafetyCheck=True)


def for_groups(pattern: str) -> dict[str, Any]:
    arn = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:{pattern}"
    return {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": arn}}


@pytest.mark.parametrize(
    "for_logs",
    [
        None,
        statement({"Service": "logs.eu-west-1.amazonaws.com"}, USE),
        statement(LOGS, [action for action in USE if action != "kms:GenerateDataKey*"]),
        statement(LOGS, USE, Condition=for_groups("/other/*")),
    ],
)
def test_log_group_refuses_a_key_that_logs_may_not_use(aws, for_logs):
    key = aws.kms.create_key(Policy=policy(OWNED, *([for_logs] if for_logs else [])))["KeyMetadata"]["Arn"]
    with pytest.raises(ClientError, match="does not exist or is not allowed to be used with Arn"):
        aws.logs.create_log_group(logGroupName="/app/refused", kmsKeyId=key)


def test_log_group_takes_a_key_that_logs_may_use(account):
    key = account.kms.create_key(Policy=policy(OWNED, statement(LOGS, USE, Condition=for_groups("/app/*"))))
    account.logs.create_log_group(logGroupName="/app/taken", kmsKeyId=key["KeyMetadata"]["Arn"])


def test_log_group_refuses_a_key_that_is_disabled_or_unknown(aws):
    key = aws.kms.create_key(Policy=policy(OWNED, statement(LOGS, USE)))["KeyMetadata"]["Arn"]
    aws.kms.disable_key(KeyId=key.rsplit("/", 1)[-1])
    for wrong in (key, key[:-12] + "000000000000"):
        with pytest.raises(ClientError, match="does not exist or is not allowed to be used with Arn"):
            aws.logs.create_log_group(logGroupName="/app/disabled", kmsKeyId=wrong)
