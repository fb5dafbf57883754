"""Passwords are rotated while functions are at work.

What goes on meanwhile: warm functions in the real runtime, each environment with its connection; and the library in
this process, connecting anew all the time, as cold starts do.
"""

from __future__ import annotations

import pytest
from lambda_postgres import Keeper

from .deployment import USER, Counts, Deployment, Load

ROTATIONS = 20
PATIENT = {"PGCONNECT_TIMEOUT": "30"}  # a connection that takes long on a busy machine is none that a rotation broke


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
    proxied = deployment.make_proxy()
    load, counts = Load(), Counts()
    keepers = {
        "secret": [deployment.keeper(deployment.by_secret() | PATIENT, counts) for _ in range(2)],
        "proxy": [deployment.keeper(proxied | {"PGAPPNAME": "new"} | PATIENT, counts) for _ in range(2)],
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
