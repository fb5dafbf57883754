"""RDS instances and their master secrets."""

from __future__ import annotations

import json
import string
from typing import Any

from moto.rds.models import (
    DBInstance,
    MasterUserSecret,
)

from local.corrections.moto import Method, Moto, random_id


def correct(moto: Moto) -> None:
    """Apply the corrections of this room."""
    instances_have_a_resource_id_of_their_own(moto)
    instances_keep_what_they_were_given(moto)
    master_secrets_hold_the_given_user(moto)


def instances_have_a_resource_id_of_their_own(moto: Moto) -> None:
    """DbiResourceId is unique in a region: policies for rds-db:connect name it."""

    @moto.around(DBInstance, "__init__")
    def create(original: Method, self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.dbi_resource_id = f"db-{random_id(26, string.ascii_uppercase + string.digits)}"


def instances_keep_what_they_were_given(moto: Moto) -> None:
    """DescribeDBInstances returns every setting of CreateDBInstance; the default authority is rds-ca-rsa2048-g1."""
    kept = {
        "performance_insights_kms_key_id": None,
        "performance_insights_retention_period": None,
        "database_insights_mode": "standard",
        "engine_lifecycle_support": "open-source-rds-extended-support",
        "enable_performance_insights": False,
        "content": None,
    }

    @moto.around(DBInstance, "__init__")
    def create(original: Method, self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **{"ca_certificate_identifier": "rds-ca-rsa2048-g1", **kwargs})
        for name, default in kept.items():
            setattr(self, name, kwargs.get(name, default))
        if self.enable_performance_insights and self.performance_insights_retention_period is None:
            self.performance_insights_retention_period = 7

    moto.set(DBInstance, "performance_insights_enabled", property(lambda self: self.enable_performance_insights))


def master_secrets_hold_the_given_user(moto: Moto) -> None:
    """The secret that RDS manages holds the instance's master user name and a random password of 28 characters."""

    def credentials(secret: Any) -> str:
        password = random_id(28, string.ascii_letters + string.digits)
        return json.dumps({"username": secret.resource.master_username, "password": password})

    moto.set(MasterUserSecret, "_generate_secret_string", credentials)

    @moto.around(MasterUserSecret, "rotate_secret")
    def rotate(_: Method, self: Any) -> None:
        self._status = "rotating"
        self.secretsmanager.put_secret_value(
            self.secret.arn,
            secret_string=credentials(self),
            secret_binary=None,
            client_request_token=None,
            version_stages=["AWSCURRENT"],
        )
