"""What a client of an RDS instance meets: TLS, and an IAM token for each member of rds_iam.

PostgreSQL itself says who is a member: behind the private socket its pg_hba.conf trusts them, so AuthenticationOk as
its very first answer means "the token decides". All else, SCRAM included, is between the client and the server.
"""

import asyncio
import datetime
from collections.abc import Callable
from pathlib import Path

from local.certificates import HostCertificate
from local.credentials import Directory
from local.postgres import wire
from local.postgres.token_login import TokenLogin, now


class InstanceListener(wire.Listener):
    """Listen where the endpoint of an instance leads to, or one of a cluster.

    `socket_path` says for each connection which server is behind it. `resource_prefix` is the instance's own in
    policies: `arn:…:dbuser:db-0123`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        host_name: str,
        certificate: HostCertificate,
        socket_path: Callable[[], Path],
        directory: Directory,
        resource_prefix: str,
        force_ssl: bool = True,
        clock: Callable[[], datetime.datetime] = now,
    ) -> None:
        super().__init__(loop, certificate)
        self.host_name = host_name
        self._socket_path = socket_path
        self.force_ssl = force_ssl
        self.iam_authentication = True
        self._token_login = TokenLogin(
            name=host_name,
            host_name=host_name,
            directory=directory,
            resource_prefix=resource_prefix,
            clock=clock,
        )

    async def _serve(self, client: wire.Connection) -> None:
        async with asyncio.timeout(wire.AUTHENTICATION_TIMEOUT_SECONDS):
            startup = await self._startup(client)
            if isinstance(startup, wire.CancelRequest):
                await self._cancel(client, startup)
                return
            if self.force_ssl and not startup.encrypted:
                client.refuse("28000", _no_entry(startup))  # what rds.force_ssl does in pg_hba.conf
                return
            server = await self._connect()
            try:
                if not await self._authenticate(client, server, startup):
                    server.close()
                    return
            except BaseException:
                server.abort()
                raise
        client.pair(server)
        client.relay(server.write, server.close)
        server.relay(client.write, client.close)

    async def _authenticate(self, client: wire.Connection, server: wire.Connection, startup: wire.Startup) -> bool:
        """Tell whether the two may talk to each other from here on."""
        server.write(startup.raw)
        kind, payload = await server.read_message()
        if kind == b"R" and wire.authentication_kind(payload) == wire.AUTHENTICATION_OK:
            user = startup.parameters["user"]
            if not startup.encrypted:
                client.refuse("28000", _no_entry(startup))
                return False
            if not self.iam_authentication:  # then pg_hba.conf asks every user for a password, and a token is none
                client.refuse("28P01", f'password authentication failed for user "{user}"')
                return False
            if not await self._token_login.accepts(client, user=user, port=self.port):
                client.refuse("28000", f'PAM authentication failed for user "{user}"')
                return False
        client.write(wire.message(kind, payload))
        return True

    async def _cancel(self, client: wire.Connection, request: wire.CancelRequest) -> None:
        server = await self._connect()
        server.write(request.raw)
        server.close()
        client.close()

    async def _connect(self) -> wire.Connection:
        _, connection = await self._loop.create_unix_connection(wire.Connection, str(self._socket_path()))
        return connection


def _no_entry(startup: wire.Startup) -> str:
    user = startup.parameters.get("user", "")
    database = startup.parameters.get("database", user)
    encryption = "SSL encryption" if startup.encrypted else "no encryption"
    return f'no pg_hba.conf entry for host "127.0.0.1", user "{user}", database "{database}", {encryption}'
