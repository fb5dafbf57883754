"""What to log in with: an IAM token, or the password in a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import credentials, signature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .settings import Settings

_SECRET_KEPT_SECONDS = 3600


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
        tried: list[Login] = []
        if self._kept and 0 <= self._clock() - self._kept_at < _SECRET_KEPT_SECONDS:
            tried.append(self._kept)
            yield self._kept
        from . import aws  # noqa: PLC0415  HTTP and TLS: not for a function that logs in with tokens

        # A rotation changes the password in the database before it moves AWSCURRENT: in between, AWSPENDING is right.
        for stage in ("AWSCURRENT", "AWSPENDING"):
            login = aws.secret_login(self._settings, stage=stage, now=self._clock())
            if login is None or any(login.password == other.password for other in tried):
                continue
            if stage == "AWSCURRENT":
                self._kept, self._kept_at = login, self._clock()
            tried.append(login)
            yield login
