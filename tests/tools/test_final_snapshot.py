import json

import pytest

from tools.final_snapshot import main, report

FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:app:live"


def final_snapshot(account, name, **storage):
    account.instance(name, **storage)
    account.rds.delete_db_instance(DBInstanceIdentifier=name, FinalDBSnapshotIdentifier=f"{name}-final")
    return f"{name}-final"


def test_it_names_the_snapshot_the_key_and_the_command_to_restore(account):
    snapshot = final_snapshot(account, "app-prod", StorageEncrypted=True)
    said = report("prod", account.rds, account.kms, snapshot)
    key = account.kms.describe_key(KeyId="alias/aws/rds")["KeyMetadata"]["Arn"]
    assert "app-prod-final (20 GiB) is available" in said
    assert f"Its key {key} is the account's own for RDS" in said
    assert "\n    TF_VAR_restore_from_snapshot=app-prod-final make deploy ENV=prod\n" in said
    assert "delete-db-snapshot --region us-east-1 --db-snapshot-identifier app-prod-final" in said


def test_the_snapshot_of_a_cluster_is_found_too(account):
    account.cluster("app-aurora")
    account.rds.delete_db_cluster(DBClusterIdentifier="app-aurora", FinalDBSnapshotIdentifier="aurora-final")
    said = report("prod", account.rds, account.kms, "aurora-final")
    assert said.startswith("The final snapshot aurora-final (")
    assert "TF_VAR_restore_from_snapshot=aurora-final make deploy ENV=prod" in said
    assert "delete-db-cluster-snapshot --region us-east-1 --db-cluster-snapshot-identifier aurora-final" in said


def test_a_key_of_the_user_is_to_be_kept(account):
    key = account.kms.create_key()["KeyMetadata"]["Arn"]
    snapshot = final_snapshot(account, "kept", StorageEncrypted=True, KmsKeyId=key)
    assert f"Its key is {key}: keep it as long as the snapshot." in report("prod", account.rds, account.kms, snapshot)


def test_a_key_that_waits_for_its_deletion_is_saved_first(account):
    key = account.kms.create_key()["KeyMetadata"]["Arn"]
    snapshot = final_snapshot(account, "doomed", StorageEncrypted=True, KmsKeyId=key)
    account.kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    said = report("prod", account.rds, account.kms, snapshot)
    assert said.index(f"cancel-key-deletion --region us-east-1 --key-id {key}") < said.index("make deploy")
    assert said.index(f"enable-key --region us-east-1 --key-id {key}") < said.index("make deploy")


def test_a_snapshot_that_was_not_taken_is_not_promised(account):
    assert report("prod", account.rds, account.kms, "never") == "No final snapshot never was taken."


@pytest.mark.parametrize("outputs", ["{}", json.dumps({"function_arn": {"value": FUNCTION}}), ""])
def test_without_a_final_snapshot_nothing_is_said_or_asked(outputs, monkeypatch, capsys):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert main("dev", outputs) is None
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("led_here")
def test_outputs_lead_to_the_snapshot(account, capsys):
    snapshot = final_snapshot(account, "led", StorageEncrypted=True)
    outputs = {"final_snapshot": {"value": snapshot}, "function_arn": {"value": FUNCTION}}
    assert main("prod", json.dumps(outputs)) is None
    assert "The final snapshot led-final" in capsys.readouterr().out
    assert main("prod", json.dumps({"final_snapshot": {"value": snapshot}})) is None  # deployed in part
    assert "The final snapshot led-final" in capsys.readouterr().out
