"""Passwords are rotated while functions are at work.

What goes on meanwhile: warm functions in the real runtime, each environment with its connection; and the library in
this process, connecting anew all the time, as cold starts do.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from lambda_postgres import Keeper

from local.stack import ROOT, Stack
from tests import plans

from .deployment import OUTPUT, USER, Counts, Deployment, Load

ROTATIONS = 20

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stack")


@pytest.fixture(scope="module")
def stack(folder: Path) -> Iterator[Stack]:
    if not (OUTPUT / "bootstrap.zip").exists():
        pytest.fail("Run make package first.")
    with Stack(folder) as stack:
        yield stack


@pytest.fixture
def deployment(stack: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    deployment = Deployment(stack, folder, f"app{next(_numbers)}")
    for name, value in deployment.environment().items():
        monkeypatch.setenv(name, value)
    return deployment


def read(keeper: Keeper) -> None:
    """One unit of work that the library may repeat: a query on a new connection."""

    def users(connection):
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM users")
            assert cursor.fetchone() == (3,)

    keeper.run_transaction(users, read_only=True)
    keeper.close()


def test_rotation(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    """20 rotations: warm functions keep their connections, and new logins get in, by secret and through the proxy."""
    deployment.apply()
    proxied = deployment.make_proxy()
    load, counts = Load(), Counts()
    keepers = {
        "secret": [deployment.keeper(deployment.by_secret(), counts) for _ in range(2)],
        "proxy": [deployment.keeper(proxied | {"PGAPPNAME": "new"}, counts) for _ in range(2)],
    }
    for name, those in keepers.items():
        for keeper in those:
            load.add(f"new connection, {name}", lambda keeper=keeper: read(keeper))
    for name, variables in (("secret", deployment.by_secret()), ("proxy", proxied)):
        function = deployment.make_function(f"rotation-{name}", variables)
        load.add(f"warm function, {name}", lambda function=function: deployment.invoke(function), threads=2)
    functions = "SELECT pid FROM pg_stat_activity WHERE application_name = 'rotation-secret' ORDER BY pid"
    with load.going_on():
        while len(deployment.query(functions)) < 2 or len(load.done) < 4:
            assert not load.failures
        warm = deployment.query(functions)
        versions = set()
        for _ in range(ROTATIONS):
            versions.add(deployment.rotate())
            # So that the pool has to log in again, with what the secret holds now.
            deployment.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'new'")

    assert load.failures == []
    assert len(versions) == ROTATIONS
    assert deployment.query(functions) == warm, "a rotation broke the connections of warm functions"
    retried = (
        deployment.refused_logins() - 2 * ROTATIONS
    )  # the bootstrap function tries each password before it sets it
    assert retried >= ROTATIONS, "no login met a password that had just changed"
    assert deployment.query(f"SELECT FROM pg_roles WHERE rolname = '{USER}_next'") == []
    with capsys.disabled():
        print(f"\n  {ROTATIONS} rotations; work done: {dict(load.done)}; failed: {len(load.failures)}")
        print(f"  logins refused and tried again at once: {retried}; {dict(counts.events)}")


def test_a_failed_migration_is_the_error_of_terraform_apply(deployment: Deployment, tmp_path: Path) -> None:
    deployment.apply()
    package = tmp_path / "bootstrap.zip"
    shutil.copy(OUTPUT / "bootstrap.zip", package)
    with zipfile.ZipFile(package, "a") as archive:
        archive.writestr("bootstrap/migrations/9999_broken.sql", "SELECT 1;\nSELECT 1 FROM nowhere;\n")
    deployment.client("lambda").update_function_code(FunctionName=deployment.bootstrap, ZipFile=package.read_bytes())
    invocation = {"function_name": deployment.bootstrap, "input": '{"action": "apply"}'}
    root = {"provider": {"aws": {}}, "resource": {"aws_lambda_invocation": {"apply": invocation}}}
    (tmp_path / "main.tf.json").write_text(json.dumps(root))
    for command in (["init", f"-plugin-dir={plans.installed_provider()}"], ["apply", "-auto-approve"]):
        done = subprocess.run(
            ["terraform", *command, "-input=false", "-no-color"],
            cwd=tmp_path, env=deployment.stack.environment(), text=True, capture_output=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert "9999_broken.sql:2" in done.stderr
    assert deployment.query("SELECT name FROM bootstrap.app") == [("0001_users.sql",)]


def test_psql_opens_where_the_function_connects(deployment: Deployment, folder: Path) -> None:
    deployment.apply()
    ways = {"through the proxy": deployment.make_proxy(), "by secret": deployment.by_secret()}
    for number, variables in enumerate(ways.values()):
        function = deployment.make_function(f"psql-{number}", variables)
        done = psql(deployment, function, "SELECT current_user, count(*) FROM users", LOCAL_STACK=str(folder))
        assert (done.stdout.splitlines()[-1], done.stderr, done.returncode) == ("app|3", "", 0)


def test_psql_tells_how_on_aws(deployment: Deployment) -> None:
    signs = psql(deployment, deployment.make_function("tells-iam", deployment.direct), "")
    assert f"aws rds generate-db-auth-token --region us-east-1 --hostname {deployment.direct['PGHOST']}" in signs.stdout
    assert "sslmode=verify-full sslrootcert=rds-global-bundle.pem" in signs.stdout
    reads = psql(deployment, deployment.make_function("tells-secret", deployment.by_secret()), "")
    assert f"get-secret-value --region us-east-1 --secret-id {deployment.secret}" in reads.stdout


def test_psql_says_that_the_stack_does_not_lead_there(deployment: Deployment, tmp_path: Path) -> None:
    (tmp_path / "endpoints.json").write_text("{}")
    done = psql(deployment, deployment.make_function("lost", deployment.direct), "", LOCAL_STACK=str(tmp_path))
    assert done.returncode == 1
    assert "does not lead to the database" in done.stderr


def psql(deployment: Deployment, function: str, statement: str, **environment: str) -> subprocess.CompletedProcess[str]:
    arn = deployment.client("lambda").get_function_configuration(FunctionName=function)["FunctionArn"]
    keys = {name: value for name, value in deployment.stack.variables().items() if name != "LOCAL_STACK"}
    return subprocess.run(
        [sys.executable, "-m", "tools.psql", arn],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            **keys,
            "PSQLRC": os.devnull,
            **environment,
        },
        input=f"\\t on\n\\a\n{statement};\n",
        text=True,
        capture_output=True,
        check=False,
    )
