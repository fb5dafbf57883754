"""Secrets Manager: versions and rotation."""

from __future__ import annotations

from typing import Any

from moto.secretsmanager.models import SecretsManagerBackend

from local.aws.moto import Method, Moto


def correct(moto: Moto) -> None:
    """Apply the corrections of this room."""
    rotation_can_be_repeated(moto)
    current_is_where_its_label_is(moto)
    rotation_that_waits_is_only_tested(moto)


def rotation_can_be_repeated(moto: Moto) -> None:
    """RotateSecret works again when AWSPENDING stands at the current version, and keeps the function it was given.

    It turns rotation on before the function is invoked (Secrets Manager API reference: RotateSecret, RotationEnabled).
    """

    @moto.around(SecretsManagerBackend, "rotate_secret")
    def rotate(original: Method, self: Any, secret_id: str, **given: Any) -> Any:
        if secret := self.secrets.get(secret_id):
            for version in list(secret.versions.values()):
                if {"AWSCURRENT", "AWSPENDING"} <= set(version["version_stages"]):
                    version["version_stages"].remove("AWSPENDING")
            given["rotation_lambda_arn"] = given.get("rotation_lambda_arn") or secret.rotation_lambda_arn or None
            secret.rotation_enabled = True  # before the first step, which may ask
        return original(self, secret_id, **given)


def current_is_where_its_label_is(moto: Moto) -> None:
    """What GetSecretValue returns by default, and what PutSecretValue supersedes, is the version with AWSCURRENT."""

    @moto.around(SecretsManagerBackend, "update_secret_version_stage")
    def move(original: Method, self: Any, secret_id: str, **given: Any) -> Any:
        moved = original(self, secret_id, **given)
        if given["version_stage"] == "AWSCURRENT" and given["move_to_version_id"]:
            self.secrets[secret_id].set_default_version_id(given["move_to_version_id"])
        return moved


def rotation_that_waits_is_only_tested(moto: Moto) -> None:
    """RotateSecret with RotateImmediately=false tests the function with a copy of the value, and then removes that."""

    @moto.around(SecretsManagerBackend, "rotate_secret")
    def rotate(original: Method, self: Any, secret_id: str, **given: Any) -> Any:
        if given.get("rotate_immediately", True):
            return original(self, secret_id, **given)
        secret = self.secrets[secret_id]
        before = dict(secret.versions)
        current = before[secret.default_version_id]
        secret.secret_string, secret.secret_binary = current.get("secret_string"), current.get("secret_binary")
        try:
            return original(self, secret_id, **given)
        finally:
            secret.versions = before
