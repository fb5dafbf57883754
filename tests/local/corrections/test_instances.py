"""local/corrections/instances.py: as AWS documents it, where stock moto does not yet."""

import json


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
