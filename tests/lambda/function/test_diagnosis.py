"""What the sample function tells make doctor, against a real server."""

from __future__ import annotations

import importlib.util
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import psycopg2
import pytest

from local.certificates import Certificates
from local.postgres.server import PostgresServer

FOLDER = Path(__file__).parents[3] / "lambda" / "function"
HOST = "app.abcdefghijkl.us-east-1.rds.amazonaws.com"
PASSWORD = "whatever"  # noqa: S105
KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def server(certificates: Certificates) -> Iterator[PostgresServer]:
    server = PostgresServer.start(
        name="diagnosed",
        host_name=HOST,
        certificates=certificates,
        max_connections=20,
        master_user="app",
        master_password=PASSWORD,
        database="app",
    )
    yield server
    server.stop()


@pytest.fixture
def diagnosis(server: PostgresServer, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    given = {
        "PGHOST": HOST,
        "PGHOSTADDR": "127.0.0.1",
        "PGPORT": str(server.port),
        "PGDATABASE": "app",
        "PGUSER": "app",
        "PGSSLROOTCERT": str(certificates.ca_file("rds")),
        "DB_AUTH": "iam",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": KEY,
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return load("diagnosis")


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def told(diagnosis: ModuleType) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(diagnosis.diagnose()))  # as Lambda sends it
    assert KEY not in json.dumps(found)
    assert "X-Amz-Signature" not in json.dumps(found)
    return found


def test_each_step_tells_what_it_found(diagnosis: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server knows no tokens: the master's password stands in for one."""
    from lambda_postgres import signature  # noqa: PLC0415

    monkeypatch.setattr(signature, "database_token", lambda *_, **__: PASSWORD)
    found = told(diagnosis)
    assert "failed" not in found
    assert found["address"] == "127.0.0.1"
    assert found["query"][0] == "app"
    assert [["commonName", "Local stand-in for the RDS authority"]] in found["certificate"]["issuer"]


def test_a_token_that_is_refused_is_told_with_the_server_s_words(diagnosis: ModuleType) -> None:
    found = told(diagnosis)
    assert (found["failed"], found["error"]) == ("login", "LoginRefused")
    assert "password authentication failed" in found["reason"]
    assert found["certificate"]["notAfter"]


@pytest.mark.parametrize(
    ("given", "step", "reason"),
    [
        (("DB_AUTH", "none"), "settings", "DB_AUTH must be"),
        (("PGHOSTADDR", "no-such-host.invalid"), "address", ""),
        (("PGPORT", "1"), "server", "refused"),
        (("PGHOST", "another.us-east-1.rds.amazonaws.com"), "certificate", "Hostname mismatch"),
    ],
)
def test_the_step_at_which_the_way_ends_is_told(
    diagnosis: ModuleType, monkeypatch: pytest.MonkeyPatch, given: tuple[str, str], step: str, reason: str
) -> None:
    monkeypatch.setenv(*given)
    found = told(diagnosis)
    assert found["failed"] == step
    assert reason in found["reason"]


def test_an_authority_that_is_not_trusted_is_told(
    diagnosis: ModuleType, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSSLROOTCERT", str(certificates.ca_file("proxy")))
    found = told(diagnosis)
    assert (found["failed"], found["error"]) == ("certificate", "SSLCertVerificationError")


def test_a_server_that_never_answers_ends_the_way_in_time(
    diagnosis: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        monkeypatch.setenv("PGPORT", str(mute.getsockname()[1]))
        monkeypatch.setattr(diagnosis, "_SECONDS", 0.2)
        found = told(diagnosis)
    assert (found["failed"], found["reason"]) == ("server", "timed out")


def test_a_query_that_fails_after_the_login_is_a_step_of_its_own(
    diagnosis: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = mock.MagicMock()
    error = psycopg2.OperationalError("Timed-out waiting to acquire database connection.\n")
    cut.cursor.return_value.__enter__.return_value.execute.side_effect = error
    monkeypatch.setattr(diagnosis, "try_logins", lambda *_, **__: cut)
    found = told(diagnosis)
    assert (found["failed"], found["reason"]) == ("query", "Timed-out waiting to acquire database connection.")
