"""local/aws/corrections/secrets.py: as AWS documents it, where stock moto does not yet."""

import json

from local.lambda_runtime.function import FunctionVersion, Invocation
from tests.local.account import Account


def test_rotation_can_be_repeated_and_keeps_its_function(aws):
    aws.function("rotation")
    arn = getattr(aws, "lambda").get_function_configuration(FunctionName="rotation")["FunctionArn"]
    secrets = aws.secretsmanager
    secrets.create_secret(Name="rotated-twice", SecretString="1")
    secrets.rotate_secret(SecretId="rotated-twice", RotationLambdaARN=arn)
    versions = secrets.describe_secret(SecretId="rotated-twice")["VersionIdsToStages"]
    pending = next(version for version, stages in versions.items() if "AWSPENDING" in stages)
    current = next(version for version, stages in versions.items() if "AWSCURRENT" in stages)
    if pending != current:
        secrets.update_secret_version_stage(
            SecretId="rotated-twice", VersionStage="AWSCURRENT", RemoveFromVersionId=current, MoveToVersionId=pending
        )
    secrets.rotate_secret(SecretId="rotated-twice")
    assert secrets.describe_secret(SecretId="rotated-twice")["RotationLambdaARN"] == arn


def secret_with_a_pending_version(aws: Account, name: str) -> tuple[str, str]:
    """Make a secret; return the versions that hold its current and its pending value."""
    current = aws.secretsmanager.create_secret(Name=name, SecretString="old")["VersionId"]
    pending = aws.secretsmanager.put_secret_value(SecretId=name, SecretString="new", VersionStages=["AWSPENDING"])
    return current, pending["VersionId"]


def test_default_value_follows_the_current_label(aws):
    current, pending = secret_with_a_pending_version(aws, "moved")
    aws.secretsmanager.update_secret_version_stage(
        SecretId="moved", VersionStage="AWSCURRENT", RemoveFromVersionId=current, MoveToVersionId=pending
    )
    assert aws.secretsmanager.get_secret_value(SecretId="moved")["SecretString"] == "new"


def test_one_version_is_current_after_the_label_was_moved_and_a_value_put(aws):
    current, pending = secret_with_a_pending_version(aws, "superseded")
    aws.secretsmanager.update_secret_version_stage(
        SecretId="superseded", VersionStage="AWSCURRENT", RemoveFromVersionId=current, MoveToVersionId=pending
    )
    newest = aws.secretsmanager.put_secret_value(SecretId="superseded", SecretString="newest")["VersionId"]
    stages = aws.secretsmanager.describe_secret(SecretId="superseded")["VersionIdsToStages"]
    assert [version for version, labels in stages.items() if "AWSCURRENT" in labels] == [newest]


def test_rotation_that_waits_leaves_no_pending_version(aws):
    aws.function("waiting")
    arn = getattr(aws, "lambda").get_function_configuration(FunctionName="waiting")["FunctionArn"]
    secret = {"SecretId": "waiting"}
    aws.secretsmanager.create_secret(Name="waiting")
    aws.secretsmanager.put_secret_value(**secret, SecretString="1")
    aws.secretsmanager.rotate_secret(**secret, RotationLambdaARN=arn, RotateImmediately=False)
    assert list(aws.secretsmanager.describe_secret(**secret)["VersionIdsToStages"].values()) == [["AWSCURRENT"]]
    assert aws.secretsmanager.get_secret_value(**secret)["SecretString"] == "1"


def test_rotation_that_waits_is_tested_with_the_current_value(account, events):
    seen = []

    def test(_: FunctionVersion, payload: bytes) -> Invocation:
        version = json.loads(payload)["ClientRequestToken"]
        value = account.secretsmanager.get_secret_value(SecretId="tried", VersionId=version, VersionStage="AWSPENDING")
        seen.append((json.loads(payload)["Step"], value["SecretString"]))
        return Invocation("1", b"null", None, "")

    events.answer = test
    arn = account.function("tried")["FunctionArn"]
    account.secretsmanager.create_secret(Name="tried")
    account.secretsmanager.put_secret_value(SecretId="tried", SecretString="1")
    account.secretsmanager.rotate_secret(SecretId="tried", RotationLambdaARN=arn, RotateImmediately=False)
    assert seen == [("testSecret", "1")]
