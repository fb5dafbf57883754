"""The function as Lambda runs it: whole processes, of which two may run at once and any may be killed."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[3] / "lambda" / "bootstrap"
INVOKE = "import json; from bootstrap import handler; print(json.dumps(handler.handler({'action': 'apply'}, None)))"


@pytest.fixture
def unpacked(target: Any, tmp_path: Path) -> Path:
    return unpack(target, tmp_path / "task")


def unpack(target: Any, folder: Path) -> Path:
    """Unpack the function as its zip is, with the test's migrations."""
    shutil.copytree(FOLDER, folder / "bootstrap", ignore=shutil.ignore_patterns("migrations", "__pycache__"))
    (folder / "bootstrap" / "migrations").symlink_to(target.migrations)
    return folder


def start(target: Any, unpacked: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", INVOKE],
        cwd=unpacked,
        env=os.environ | target.environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_invocations_at_once_apply_everything_once(target: Any, unpacked: Path) -> None:
    target.write("0002_slow.sql", "CREATE TABLE slow (); SELECT pg_sleep(0.2);")
    target.write("0003_index.sql", "-- transaction: none\nCREATE INDEX CONCURRENTLY users_name ON users (name);")
    invocations = [start(target, unpacked) for _ in range(3)]
    answers = [json.loads(invocation.communicate(timeout=60)[0].splitlines()[-1]) for invocation in invocations]

    assert [invocation.returncode for invocation in invocations] == [0, 0, 0]
    ran = sorted(name for answer in answers for name in answer["migrations"])
    assert ran == ["0001_users.sql", "0002_slow.sql", "0003_index.sql"]
    assert [answer["passwords"] for answer in answers].count([target.user]) == 1
    assert len(target.query("SELECT * FROM users")) == 3


def test_two_applications_of_a_database_may_begin_at_once(target: Any, neighbour: Any, tmp_path: Path) -> None:
    both = [start(one, unpack(one, tmp_path / one.user)) for one in (target, neighbour)]
    answers = [json.loads(invocation.communicate(timeout=60)[0].splitlines()[-1]) for invocation in both]

    assert [answer["migrations"] for answer in answers] == [["0001_users.sql"], ["0001_orders.sql"]]
    for one in (target, neighbour):
        assert one.invoke() == {"application_user": one.user, "migrations": [], "changes": [], "passwords": []}


def test_a_killed_process_holds_nothing_up(target: Any, unpacked: Path) -> None:
    target.write("0002_slow.sql", "CREATE TABLE slow (); SELECT pg_sleep(60);")
    killed = start(target, unpacked)
    sleeping = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
    while not target.inspect(sleeping):
        assert killed.poll() is None
    killed.kill()
    killed.communicate()
    target.write("0002_slow.sql", "CREATE TABLE slow ();")

    began = time.monotonic()
    assert target.invoke()["migrations"] == ["0002_slow.sql"]
    assert time.monotonic() - began < 30  # not the minute that the statement would still have slept
