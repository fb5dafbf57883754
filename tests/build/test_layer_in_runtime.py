"""The layer as Lambda's runtime meets it: nothing but its folder on the path, and a server that wants TLS."""

import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.certificates import Certificates
from local.postgres.server import PostgresServer
from tests.build.project import RUNTIME

pytestmark = pytest.mark.skipif(
    (sys.implementation.cache_tag, sys.platform, platform.machine()) != ("cpython-313", "linux", "x86_64"),
    reason="the layer of x86_64 runs on Python 3.13 on such a Linux alone",
)

HOST = "app-dev.abcdefghijkl.us-east-1.rds.amazonaws.com"
PASSWORD = "only-for-this-test"  # noqa: S105
CONNECT = """
import json, os, sys
import psycopg2, psycopg2.extras, lambda_postgres
with psycopg2.connect("") as connection, connection.cursor() as cursor:
    cursor.execute("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    print(json.dumps([psycopg2.__file__, lambda_postgres.__file__, psycopg2.__libpq_version__, *cursor.fetchone()]))
"""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def server(certificates: Certificates) -> Iterator[PostgresServer]:
    server = PostgresServer.start(
        name="app-dev",
        host_name=HOST,
        certificates=certificates,
        max_connections=10,
        master_user="app_master",
        master_password=PASSWORD,
        database="app",
    )
    yield server
    server.stop()


def connect(layers: Path, server: PostgresServer, ca_file: Path | str) -> subprocess.CompletedProcess[str]:
    environment: dict[str, Any] = {
        "PYTHONPATH": layers / "x86_64" / "python",
        "PGHOST": HOST,
        "PGHOSTADDR": "127.0.0.1",
        "PGPORT": str(server.port),
        "PGDATABASE": "app",
        "PGUSER": "app_master",
        "PGPASSWORD": PASSWORD,
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": ca_file,
    }
    return subprocess.run([RUNTIME, "-c", CONNECT], env=environment, capture_output=True, text=True, check=False)


def test_connects_with_tls(layers: Path, server: PostgresServer, certificates: Certificates) -> None:
    done = connect(layers, server, certificates.ca_file("rds"))
    assert done.returncode == 0, done.stderr
    psycopg2_file, library_file, libpq, encrypted, protocol = json.loads(done.stdout)
    assert psycopg2_file.startswith(str(layers))
    assert library_file.startswith(str(layers))
    assert libpq >= 170000
    assert (encrypted, protocol) == (True, "TLSv1.3")


def test_the_shipped_roots_refuse_any_other_server(layers: Path, server: PostgresServer) -> None:
    done = connect(layers, server, layers / "x86_64" / "certificates" / "rds-us-east-1.pem")
    assert "certificate verify failed" in done.stderr
