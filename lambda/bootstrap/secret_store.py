"""Credentials in Secrets Manager: {"username": …, "password": …}, as RDS Proxy reads them."""

import json
import secrets
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import boto3
from botocore.config import Config

from .errors import SecretError


@dataclass(frozen=True)
class Login:
    username: str
    password: str = field(repr=False)


def new_login(username: str) -> Login:
    """Make a password of 256 random bits, in letters that no quoting and no SASLprep changes."""
    return Login(username, secrets.token_urlsafe(32))


@cache
def secrets_manager() -> Any:
    """Make the client once: doing so takes longer than most of what the function does with it."""
    return boto3.client(
        "secretsmanager", config=Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard"})
    )


class SecretStore:
    """Read, write and restage secret values."""

    def __init__(self) -> None:
        self._client = secrets_manager()

    def current(self, arn: str) -> Login | None:
        """Return the login in use, or None while the secret has no value."""
        return self._get(arn, VersionStage="AWSCURRENT")

    def labelled(self, arn: str, version: str, label: str) -> Login | None:
        """Return the login of a version that has the label, or None while it has no value."""
        return self._get(arn, VersionId=version, VersionStage=label)

    def put_current(self, arn: str, login: Login) -> None:
        self._client.put_secret_value(SecretId=arn, SecretString=_encode(login))

    def put_pending(self, arn: str, version: str, login: Login) -> None:
        self._client.put_secret_value(
            SecretId=arn,
            ClientRequestToken=version,
            SecretString=_encode(login),
            VersionStages=["AWSPENDING"],
        )

    def rotation(self, arn: str) -> tuple[bool, dict[str, list[str]]]:
        """Return whether the secret is being rotated at all, and each version's staging labels."""
        secret = self._client.describe_secret(SecretId=arn)
        return secret.get("RotationEnabled", False), secret.get("VersionIdsToStages", {})

    def make_current(self, arn: str, version: str) -> None:
        """Move AWSCURRENT to a version; AWSPENDING is left to Secrets Manager."""
        _, versions = self.rotation(arn)
        holder = next((name for name, stages in versions.items() if "AWSCURRENT" in stages), None)
        if holder == version:
            return
        move = {"RemoveFromVersionId": holder} if holder else {}
        self._client.update_secret_version_stage(
            SecretId=arn, VersionStage="AWSCURRENT", MoveToVersionId=version, **move
        )

    def _get(self, arn: str, **version: str) -> Login | None:
        try:
            text = self._client.get_secret_value(SecretId=arn, **version)["SecretString"]
        except self._client.exceptions.ResourceNotFoundException:
            return None
        try:
            value = json.loads(text)
            return Login(value["username"], value["password"])
        except (ValueError, KeyError, TypeError):
            # Without its cause, which would carry the value.
            raise SecretError(f'The value of {arn} is not {{"username": …, "password": …}}.') from None


def _encode(login: Login) -> str:
    return json.dumps({"username": login.username, "password": login.password})
