"""The AWS keys that clients of the stand-in sign their tokens with: given in the environment, or made up."""

import datetime
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from ..credentials import Credentials
from ..postgres import tokens

ACCOUNT = "000000000000"
PROXY_ID = "prx-standin"


class KeysError(Exception):
    """Keys that are given, but not whole."""


@dataclass(frozen=True)
class Keys:
    """One pair of keys, whose holder may connect as anyone; the region that tokens are signed for."""

    credentials: Credentials
    region: str
    made_up: bool

    @property
    def resource_prefix(self) -> str:
        return f"arn:aws:rds-db:{self.region}:{ACCOUNT}:dbuser:{PROXY_ID}"

    def credentials_of(self, access_key_id: str) -> Credentials | None:
        return self.credentials if access_key_id == self.credentials.access_key_id else None

    def allows(self, credentials: Credentials, action: str, resource: str) -> bool:
        return credentials == self.credentials and action == tokens.ACTION and resource.startswith(self.resource_prefix)

    def token(self, *, host: str, port: int, user: str) -> str:
        """Sign a token, which opens the stand-in for the next 15 minutes."""
        now = datetime.datetime.now(datetime.UTC)
        return tokens.sign(self.credentials, host=host, port=port, user=user, region=self.region, now=now)

    def environment(self) -> dict[str, str]:
        """Return the environment variables with which every AWS SDK signs with these keys."""
        found = {
            "AWS_ACCESS_KEY_ID": self.credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.credentials.secret_access_key,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
        }
        if self.credentials.session_token:
            found["AWS_SESSION_TOKEN"] = self.credentials.session_token
        return found


def keys_of(environ: Mapping[str, str]) -> Keys:
    """Return the keys of the environment variables that AWS's tools read; new ones if there are none."""
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    key_id, secret = environ.get("AWS_ACCESS_KEY_ID", ""), environ.get("AWS_SECRET_ACCESS_KEY", "")
    if bool(key_id) != bool(secret):
        raise KeysError("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together: set both, or neither.")
    session_token = (environ.get("AWS_SESSION_TOKEN") or None) if key_id else None
    credentials = Credentials(
        access_key_id=key_id or "AKIA" + secrets.token_hex(8).upper(),
        secret_access_key=secret or secrets.token_hex(20),
        session_token=session_token,
        expires_at=None,
        principal_arn=f"arn:aws:iam::{ACCOUNT}:user/standin",
    )
    return Keys(credentials, region, made_up=not key_id)
