"""What to log in with: an IAM token, or the password in a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import credentials, signature
from .errors import CannotConnect, LoginRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    from .settings import Settings

    class Logins(Protocol):
        """Where logins come from."""

        hint: str

        def candidates(self) -> Iterator[Login]:
            """Give what may log in, the likeliest first."""


_SECRET_KEPT_SECONDS = 3600
_SECRET_AWAY_SECONDS = 60  # after which Secrets Manager is asked again


class Login:
    """A user and the password to show; the repr has only the user."""

    __slots__ = ("password", "user")

    def __init__(self, user: str, password: str) -> None:
        self.user = user
        self.password = password

    def __repr__(self) -> str:
        return f"Login({self.user!r})"


class TokenLogins:
    """Sign a token for each connection: it matters only while connecting."""

    hint = (
        "check that the role's policy allows rds-db:connect on the resource id of exactly this host and on this user, "
        "that the user has rds_iam (only where the function connects to the instance itself), and the clock"
    )

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock

    def candidates(self) -> Iterator[Login]:
        """Give what may log in, the likeliest first; the next is asked for only when the server refused the last."""
        settings = self._settings
        yield Login(
            settings.user,
            signature.database_token(
                settings.host,
                settings.port,
                settings.user,
                region=settings.region,
                credentials=credentials.current(),
                now=self._clock(),
            ),
        )


class SecretLogins:
    """Read the secret once an hour, and at once when its password is refused."""

    hint = "check that the secret holds this user's password"

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._kept: Login | None = None
        self._kept_at = 0.0

    def candidates(self) -> Iterator[Login]:
        """Give what may log in, the likeliest first; the next is asked for only when the server refused the last."""
        kept, age = self._kept, self._clock() - self._kept_at
        tried: list[Login] = []
        if kept and 0 <= age < _SECRET_KEPT_SECONDS:
            tried.append(kept)
            yield kept
        # A rotation changes the password in the database before it moves AWSCURRENT: in between, AWSPENDING is right.
        # One that is cut while it ends may have moved the label although the database kept the password: AWSPREVIOUS.
        for stage in ("AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"):
            login = self._read(stage, None if tried else kept)
            if login is None or any(login.password == other.password for other in tried):
                continue
            tried.append(login)
            yield login

    def _read(self, stage: str, old: Login | None) -> Login | None:
        from . import aws  # noqa: PLC0415  HTTP and TLS: not for a function that logs in with tokens

        now = self._clock()
        try:
            found = aws.secret_login(self._settings, credentials.current(), stage=stage, now=now)
        except LoginRefused:
            if stage == "AWSCURRENT":
                raise
            return None  # the server's refusal says more
        except CannotConnect as error:
            if old is None or not error.transient:
                raise
            self._kept_at = now - _SECRET_KEPT_SECONDS + _SECRET_AWAY_SECONDS
            return old
        login = Login(*found) if found else None
        if stage == "AWSCURRENT":
            self._kept, self._kept_at = login, now
        return login
