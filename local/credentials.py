"""The AWS keys of the account on this machine, and what a listener asks about their holder."""

import datetime
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Credentials:
    """A key pair that the account has issued, long-lived or for a role's session."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(repr=False)
    expires_at: datetime.datetime | None
    principal_arn: str


class Directory(Protocol):
    """What the account knows of its principals."""

    def credentials_of(self, access_key_id: str) -> Credentials | None:
        """Return the credentials of this key, None when there is none."""

    def allows(self, credentials: Credentials, action: str, resource: str) -> bool:
        """Tell whether the principal's policies allow this."""
