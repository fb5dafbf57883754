"""What Lambda is told to run, as whom, and what came of it."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import datetime

_LOG_TAIL_BYTES = 4096


@dataclass(frozen=True)
class Archive:
    """A zip, known by its digest."""

    sha256: str
    content: bytes = field(repr=False, compare=False)

    @classmethod
    def of(cls, content: bytes) -> Archive:
        return cls(hashlib.sha256(content).hexdigest(), content)


@dataclass(frozen=True)
class FunctionVersion:
    """What one version of a function is made of; environments are shared only between equal ones."""

    name: str
    version: str
    arn: str
    handler: str
    runtime: str
    timeout_seconds: int
    memory_mb: int
    role_arn: str
    log_group: str
    package: Archive
    layers: tuple[Archive, ...] = ()
    variables: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    security_group_ids: tuple[str, ...] = ()

    @property
    def region(self) -> str:
        return self.arn.split(":")[3]


@dataclass(frozen=True)
class RoleCredentials:
    """The keys of a session of the function's role."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True)
class Invocation:
    """The outcome of one invocation. `function_error` is None or what X-Amz-Function-Error says."""

    request_id: str
    payload: bytes
    function_error: str | None
    log: str
    duration_ms: float = 0.0  # without init

    @property
    def log_tail(self) -> str:
        """The last 4 KB of the log, as X-Amz-Log-Result has them."""
        return base64.b64encode(self.log.encode()[-_LOG_TAIL_BYTES:]).decode()


class TooManyRequestsError(Exception):
    """The function has no concurrency left."""

    def __init__(self, reason: str) -> None:
        super().__init__("Rate Exceeded.")
        self.reason = reason


class RuntimeStoppedError(Exception):
    """The runtime is stopped, or was while the function ran."""
