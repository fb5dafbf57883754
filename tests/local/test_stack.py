"""What takes time on AWS, and what outlives an instance, on the stack as a whole."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.stack import Stack
from tests.waiting import await_that

from .deployment import OUTPUT, USER, Deployment


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stack")


@pytest.fixture(scope="module")
def stack(folder: Path) -> Iterator[Stack]:
    if not (OUTPUT / "bootstrap.zip").exists():
        pytest.fail("Run make package first.")
    with Stack(folder, target_delay_seconds=1) as stack:
        yield stack


@pytest.fixture(scope="module")
def deployment(stack: Stack, folder: Path) -> Deployment:
    """A database with the application's users, and one invocation of its bootstrap function."""
    deployment = Deployment(stack, folder, "app")
    deployment.apply()
    return deployment


def health(deployment: Deployment) -> dict[str, str]:
    targets = deployment.client("rds").describe_db_proxy_targets(DBProxyName=deployment.name)["Targets"]
    return targets[0]["TargetHealth"] if targets else {}


def settled(deployment: Deployment) -> list[tuple[str | None, str | None]]:
    """Every health that the target shows until it is available, or half a minute is over."""
    seen: list[tuple[str | None, str | None]] = []
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        now = health(deployment)
        if not seen or seen[-1] != (now.get("State"), now.get("Reason")):
            seen.append((now.get("State"), now.get("Reason")))
        if now.get("State") == "AVAILABLE":
            break
        time.sleep(0.05)
    return seen


def register_again(deployment: Deployment) -> None:
    target = {"DBProxyName": deployment.name, "DBInstanceIdentifiers": [deployment.name]}
    deployment.client("rds").deregister_db_proxy_targets(**target)
    deployment.client("rds").register_db_proxy_targets(**target)


def test_until_its_target_is_available_a_proxy_has_no_connection_to_lend(
    stack: Stack, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack.proxies, "target_delay_seconds", 3600)
    function = deployment.make_function("through", {**deployment.make_proxy(), "PGCONNECT_TIMEOUT": "2"})
    with pytest.raises(RuntimeError, match="timeout expired"):
        deployment.invoke(function)


def test_a_target_passes_through_the_states_of_aws_and_needs_no_client_to(
    stack: Stack, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack.proxies, "target_delay_seconds", 5)  # a busy machine shall not miss one
    register_again(deployment)
    assert settled(deployment) == [
        ("REGISTERING", None),
        ("UNAVAILABLE", "PENDING_PROXY_CAPACITY"),
        ("AVAILABLE", None),
    ]
    assert deployment.invoke("through")["statusCode"] == 200


def test_a_target_says_why_it_is_not_available(deployment: Deployment) -> None:
    """Without a client: the proxy tries its secrets by itself."""
    secrets = deployment.client("secretsmanager")
    right = secrets.get_secret_value(SecretId=deployment.secret)["SecretString"]
    wrong = f'{{"username": "{USER}", "password": "not-the-password"}}'
    secrets.put_secret_value(SecretId=deployment.secret, SecretString=wrong)
    register_again(deployment)
    await_that(lambda: health(deployment).get("Reason") == "AUTH_FAILURE", seconds=30)
    assert "password authentication failed" in health(deployment)["Description"]
    secrets.put_secret_value(SecretId=deployment.secret, SecretString=right)
    assert settled(deployment)[-1] == ("AVAILABLE", None)


def test_a_snapshot_and_its_copy_hold_the_data(stack: Stack, deployment: Deployment) -> None:
    rds: Any = deployment.client("rds")

    def rows(name: str) -> list[tuple[Any, ...]]:
        with stack.databases.servers[name].administrator("app") as cursor:
            cursor.execute("SELECT what FROM kept")
            return list(cursor.fetchall())

    with stack.databases.servers["app"].administrator("app") as cursor:
        cursor.execute("CREATE TABLE kept AS SELECT 'before' AS what")
    rds.create_db_snapshot(DBInstanceIdentifier="app", DBSnapshotIdentifier="first")
    with stack.databases.servers["app"].administrator("app") as cursor:
        cursor.execute("UPDATE kept SET what = 'after'")
    rds.copy_db_snapshot(SourceDBSnapshotIdentifier="first", TargetDBSnapshotIdentifier="second")
    rds.delete_db_snapshot(DBSnapshotIdentifier="first")
    rds.restore_db_instance_from_db_snapshot(DBInstanceIdentifier="again", DBSnapshotIdentifier="second")
    assert rows("again") == [("before",)]
    assert rows("app") == [("after",)]
