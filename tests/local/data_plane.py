"""What the tests of the data plane share: a directory, tokens by botocore, and connections as a client makes them."""

import dataclasses
import datetime
import functools
from pathlib import Path
from typing import Any

import boto3
import psycopg2
import psycopg2.extensions

from local.certificates import Certificates
from local.credentials import Credentials
from local.postgres.server import PostgresServer

ROLE = Credentials(
    access_key_id="ASIAEXAMPLE",
    secret_access_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",  # noqa: S106 (AWS's own example)
    session_token="IQoJb3JpZ2luX2VjEXAMPLE//+==",  # noqa: S106
    expires_at=datetime.datetime(2099, 1, 1, tzinfo=datetime.UTC),
    principal_arn="arn:aws:sts::123456789012:assumed-role/app/session",
)
MASTER_USER = "app_master"
MASTER_PASSWORD = 'it\'s a "password"'  # noqa: S105
REGION = "us-east-1"


@dataclasses.dataclass
class SmallDirectory:
    """Keys, one role's session as a rule, and the resources that their holder may connect to."""

    allowed: set[str]
    credentials: tuple[Credentials, ...] = (ROLE,)

    def credentials_of(self, access_key_id: str) -> Credentials | None:
        return next((known for known in self.credentials if known.access_key_id == access_key_id), None)

    def allows(self, credentials: Credentials, action: str, resource: str) -> bool:
        return credentials in self.credentials and action == "rds-db:connect" and resource in self.allowed


def start_server(certificates: Certificates, **settings: Any) -> PostgresServer:
    defaults: dict[str, Any] = {
        "name": "app",
        "host_name": "app.abcdefghijkl.us-east-1.rds.amazonaws.com",
        "certificates": certificates,
        "max_connections": 30,
        "master_user": MASTER_USER,
        "master_password": MASTER_PASSWORD,
        "database": "app",
    }
    return PostgresServer.start(**defaults | settings)


def token(host: str, port: int, user: str, credentials: Credentials = ROLE) -> str:
    """Make a token as users do, with boto3's own signer."""
    return str(_client(credentials).generate_db_auth_token(host, port, user))


@functools.cache
def _client(credentials: Credentials) -> Any:
    session = boto3.Session(
        aws_access_key_id=credentials.access_key_id,
        aws_secret_access_key=credentials.secret_access_key,
        aws_session_token=credentials.session_token,
        region_name=REGION,
    )
    return session.client("rds")


class Connection(psycopg2.extensions.connection):
    """In autocommit from the start; `with` closes it, and begins no transaction."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.autocommit = True

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def connect(host: str, port: int, ca_file: Path, **settings: Any) -> Any:
    """Connect as the library does: to the real-looking name at a local address, verified in full."""
    defaults: dict[str, Any] = {
        "host": host,
        "hostaddr": "127.0.0.1",
        "port": port,
        "dbname": "app",
        "sslmode": "verify-full",
        "sslrootcert": str(ca_file),
        "connect_timeout": 10,
        "connection_factory": Connection,
    }
    return psycopg2.connect(**defaults | settings)


def value(connection: Any, statement: str) -> Any:
    """Return the first value of the first row."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]
