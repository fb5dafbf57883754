"""Ask a client for an IAM token, and hold it against the endpoint that it came to."""

import asyncio
import datetime
import logging
from collections.abc import Callable

from ..credentials import Directory
from . import tokens, wire

log = logging.getLogger(__name__)


def now() -> datetime.datetime:
    """Return the time by this machine's clock."""
    return datetime.datetime.now(datetime.UTC)


class TokenLogin:
    """How clients of one endpoint log in with a token; `name` is what the log calls it.

    `resource_prefix` is the endpoint's own in policies: `arn:…:dbuser:db-0123` of an instance, `…:prx-0123` of a proxy.
    """

    def __init__(
        self,
        *,
        name: str,
        host_name: str,
        directory: Directory,
        resource_prefix: str,
        clock: Callable[[], datetime.datetime],
    ) -> None:
        self._name = name
        self._host_name = host_name
        self._directory = directory
        self._resource_prefix = resource_prefix
        self._clock = clock

    async def accepts(self, client: wire.Connection, *, user: str, port: int) -> bool:
        """Tell whether the client has a token for this user; why not is for the log alone."""
        client.write(wire.authentication(wire.AUTHENTICATION_CLEARTEXT))
        token = await wire.read_password(client)
        try:
            await asyncio.to_thread(self._verify, token, user, port)
        except tokens.TokenRefused as refusal:
            log.warning("%s: token of user %s refused: %s", self._name, user, refusal)
            return False
        return True

    def _verify(self, token: str, user: str, port: int) -> None:
        tokens.verify(
            token,
            directory=self._directory,
            host=self._host_name,
            port=port,
            user=user,
            resource_prefix=self._resource_prefix,
            now=self._clock(),
        )
