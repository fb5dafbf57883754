"""A real PostgreSQL with TLS, a relay in front of it that can fail, and a Secrets Manager that checks signatures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lambda_postgres
import pytest
from lambda_postgres import Keeper, Settings
from lambda_postgres.log import Log

from local.certificates import Certificates
from local.loop import LoopThread
from local.postgres.server import PostgresServer
from local.rds_proxy.listener import ProxyListener, ProxySettings
from local.rds_proxy.pool import PoolSettings, Secret
from local.rds_proxy.server_connection import Target
from tests.local.data_plane import SmallDirectory

from .support import (
    FUNCTION,
    FUNCTION_KEY,
    HOST,
    READER,
    SECRET_ARN,
    Clock,
    Relay,
    SecretsManager,
    set_password,
    start_server,
    terminate_backends,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


PROXY_HOST = "app.proxy-abcdefghijkl.eu-central-1.rds.amazonaws.com"
PREFIX = "arn:aws:rds-db:eu-central-1:123456789012:dbuser:prx-0123456789abcdef0"


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def shared_server(certificates: Certificates) -> Iterator[PostgresServer]:
    server = start_server("library", certificates)
    yield server
    server.stop()


@pytest.fixture
def server(shared_server: PostgresServer, secrets: SecretsManager) -> Iterator[PostgresServer]:
    """Lend the shared server with nothing left of an earlier test."""
    set_password(shared_server, secrets.password)
    with shared_server.administrator("app") as cursor:
        cursor.execute("TRUNCATE ledger")
    yield shared_server
    terminate_backends(shared_server)


@pytest.fixture
def terminate(server: PostgresServer) -> Callable[[], int]:
    return lambda: terminate_backends(server)


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> Iterator[SecretsManager]:
    manager = SecretsManager()
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", manager.url)
    for name, value in zip(
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"), FUNCTION_KEY, strict=True
    ):
        monkeypatch.setenv(name, value)
    yield manager
    manager.stop()


@pytest.fixture
def relay(server: PostgresServer) -> Iterator[Relay]:
    relay = Relay(server.port)
    yield relay
    relay.close()


@pytest.fixture(scope="module")
def pair(certificates: Certificates) -> Iterator[list[PostgresServer]]:
    """Run a primary and its standby; a failover changes their places."""
    servers = [start_server("writer", certificates)]
    try:
        servers.append(
            PostgresServer.start_standby(
                servers[0], name="reader", host_name=READER, other_host_names=[HOST], certificates=certificates
            )
        )
        yield servers
    finally:
        for server in servers:
            server.stop()


@pytest.fixture
def standby(pair: list[PostgresServer], server: PostgresServer) -> Iterator[PostgresServer]:
    """Lend the second of the pair; a file that asks for it has the first of them as its shared_server."""
    standby = pair[1]
    standby.catch_up(server)
    yield standby
    if not standby.running:
        standby.resume(max_connections=server.max_connections)
    terminate_backends(standby)


@pytest.fixture
def both(settings: Settings, standby: PostgresServer) -> Settings:
    """Settings of a function with a reader."""
    return settings._replace(reader_host=READER, reader_port=standby.port)


@pytest.fixture
def keepers(clock: Clock) -> Iterator[Callable[[Settings], Keeper]]:
    """Make keepers that are closed at the end."""
    made: list[Keeper] = []

    def make(settings: Settings) -> Keeper:
        made.append(Keeper(settings, log=Log(metrics=False), clock=clock))
        return made[-1]

    yield make
    for keeper in made:
        keeper.close()


@pytest.fixture
def settings(
    server: PostgresServer, secrets: SecretsManager, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Settings of a function that logs in with the password in its secret, straight to the server."""
    assert secrets
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")
    return Settings(
        host=HOST,
        port=server.port,
        database="app",
        user="app",
        ca_file=str(certificates.ca_file("rds")),
        auth="secret",
        region="eu-central-1",
        secret_arn=SECRET_ARN,
        retry_seconds=5,
    )


@pytest.fixture
def public(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set the environment variables of a function; forget the keeper that it makes."""
    for variable, value in {
        "PGHOST": settings.host,
        "PGPORT": str(settings.port),
        "PGDATABASE": settings.database,
        "PGUSER": settings.user,
        "PGSSLROOTCERT": settings.ca_file,
        "DB_AUTH": settings.auth,
        "DB_SECRET_ARN": SECRET_ARN,
        "AWS_REGION": settings.region,
    }.items():
        monkeypatch.setenv(variable, value)
    keepers = lambda_postgres._keeper  # a test may put another in its place
    keepers.cache_clear()
    yield
    if keepers.cache_info().currsize:
        keepers().close()
    keepers.cache_clear()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keeper(settings: Settings, clock: Clock) -> Iterator[Keeper]:
    keeper = Keeper(settings, log=Log(), clock=clock)
    yield keeper
    keeper.close()


@pytest.fixture
def proxy(server: PostgresServer, certificates: Certificates, secrets: SecretsManager) -> Iterator[ProxyListener]:
    thread = LoopThread()
    pool = PoolSettings(lambda _: Secret("app", secrets.password), max_connections_percent=10, borrow_timeout_seconds=1)
    proxy = ProxyListener(
        thread.loop,
        name="app",
        host_name=PROXY_HOST,
        certificate=certificates.host("proxy", PROXY_HOST),
        directory=SmallDirectory({f"{PREFIX}/app"}, (FUNCTION,)),
        resource_prefix=PREFIX,
        settings=ProxySettings(pool),
    )
    proxy.register(Target(HOST, server.port, certificates.ca_file("rds"), server.max_connections))
    proxy.start()
    yield proxy
    proxy.stop()
    thread.stop()


@pytest.fixture
def proxied(settings: Settings, proxy: ProxyListener, certificates: Certificates) -> Settings:
    """Settings that lead to the proxy: the token is signed for its name, its authority is another."""
    return settings._replace(
        host=PROXY_HOST,
        port=proxy.port,
        ca_file=str(certificates.ca_file("proxy")),
        auth="iam",
        secret_arn=None,
        retry_seconds=0,
    )
