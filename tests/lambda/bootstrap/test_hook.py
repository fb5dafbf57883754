"""Alembic's and Django's migrations in the place of SQL files: the same promises, with the real packages."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bootstrap.errors import HistoryError, MigrationError

from .conftest import FOLDER, MASTER

EXAMPLES = Path(__file__).parents[3] / "examples" / "migrations"
INVOKE = """
import json, sys
from bootstrap import handler
for event in sys.argv[1:]:
    try:
        answer = handler.handler(json.loads(event), None)
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
"""
APPLY, PLAN = {"action": "apply"}, {"action": "plan"}

ALEMBIC = """
from alembic import op

revision = "{name}"
down_revision = "{previous}"

def upgrade():
    {body}
"""
DJANGO = """
from django.db import migrations

class Migration(migrations.Migration):
    atomic = {atomic}
    dependencies = [("shop", "{previous}")]
    operations = [{body}]
"""


@dataclass(frozen=True)
class Tool:
    """One tool, in a copy of its example that a test may add to."""

    name: str
    target: Any
    task: Path

    @property
    def table(self) -> str:
        return {"alembic": "orders", "django": "shop_order"}[self.name]

    @property
    def history(self) -> str:
        return {"alembic": "alembic_version", "django": "django_migrations"}[self.name]

    @property
    def revisions(self) -> list[str]:
        if self.name == "alembic":
            return ["0001_orders", "0002_price"]
        types = ["contenttypes.0001_initial", "contenttypes.0002_remove_content_type_name"]
        return [*types, "shop.0001_initial", "shop.0002_order_price"]

    def called(self, name: str) -> str:
        """Return how the function names a revision that was added."""
        return name if self.name == "alembic" else f"shop.{name}"

    def write(self, name: str, previous: str, *statements: str, atomic: bool = True) -> None:
        folder = self.target.migrations
        if self.name == "alembic":
            body = "\n    ".join(f"op.execute({statement!r})" for statement in statements)
            path, text = folder / "versions" / f"{name}.py", ALEMBIC
        else:
            body = ", ".join(f"migrations.RunSQL({statement!r})" for statement in statements)
            path, text = folder / "shop" / "migrations" / f"{name}.py", DJANGO
        path.write_text(text.format(name=name, previous=previous, body=body, atomic=atomic))

    def start(self, *events: dict[str, str]) -> subprocess.Popen[str]:
        """Start a process that invokes the function with each event, as Lambda reuses one."""
        return subprocess.Popen(
            [sys.executable, "-B", "-c", INVOKE, *map(json.dumps, events)],
            cwd=self.task,
            env=os.environ | self.target.environment,
            stdout=subprocess.PIPE,
            text=True,
        )

    def invoke(self, *events: dict[str, str]) -> list[dict[str, Any]]:
        """Invoke the function in one process; in this one, unless the tool can be set up only once in it."""
        if self.name == "django":
            return answers(self.start(*events))
        return [self._invoke(event) for event in events]

    def _invoke(self, event: dict[str, str]) -> dict[str, Any]:
        try:
            return dict(self.target.invoke(event))
        except MigrationError as error:
            return {"error": f"MigrationError: {error}"}


def answers(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    assert MASTER["password"] not in output
    return [answer for line in output.splitlines() if "event" not in (answer := json.loads(line))]


@pytest.fixture(params=["alembic", "django"])
def tool(request: pytest.FixtureRequest, target: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    monkeypatch.setattr(sys, "path", [*sys.path])
    task = tmp_path / "task"
    shutil.copytree(FOLDER, task / "bootstrap", ignore=shutil.ignore_patterns("migrations", "__pycache__"))
    target.migrations = task / "bootstrap" / "migrations"
    shutil.copytree(EXAMPLES / request.param, target.migrations, ignore=shutil.ignore_patterns("__pycache__"))
    return Tool(request.param, target, task)


@pytest.fixture
def hook(target: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return what writes a migrate.py, for an invocation in this process."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    shutil.rmtree(target.migrations)
    target.migrations.mkdir()
    return (target.migrations / "migrate.py").write_text


def ledger(target: Any) -> list[str]:
    return [name for (name,) in target.inspect(f"SELECT name FROM bootstrap.{target.schema} ORDER BY applied_at")]


def test_a_tool_s_revisions_are_applied_as_files_are(tool: Tool) -> None:
    """The plan and both applies are one process, which Lambda may use again."""
    target, last = tool.target, tool.revisions[-1].rpartition(".")[2]
    tool.write("0003_broken", last, "CREATE TABLE half ()", "SELECT 1 / 0")
    broken = tool.called("0003_broken")

    plan, failed, left = tool.invoke(PLAN, APPLY, PLAN)
    assert plan["migrations"] == [*tool.revisions, broken]
    assert f"make schema {target.schema}" in plan["changes"]
    assert failed == {"error": f"MigrationError: {broken}: division by zero"}
    assert (left["migrations"], left["changes"], left["statements"]) == ([broken], [], [])
    assert ledger(target) == tool.revisions
    assert target.inspect("SELECT to_regclass(%s)", f"{target.schema}.half") == [(None,)]

    tool.write("0003_broken", last, "CREATE TABLE half ()")
    applied, again, diagnosed = tool.invoke(APPLY, APPLY, {"action": "diagnose"})
    assert (applied["migrations"], again["migrations"]) == ([broken], [])
    assert ledger(target) == [*tool.revisions, broken]
    found = diagnosed["migrations"]
    assert (found["applied"], found["last"][0], found["pending"]) == (len(tool.revisions) + 1, broken, [])

    owners = target.inspect(
        "SELECT DISTINCT nspname, pg_get_userbyid(relowner) FROM pg_class JOIN pg_namespace ON pg_namespace.oid ="
        " relnamespace WHERE relkind IN ('r', 'S') AND nspname !~ '^(pg_|information_schema|bootstrap)'"
    )
    assert owners == [(target.schema, f"{target.schema}_owner")]
    made = target.query(f"INSERT INTO {tool.table} (what, price) VALUES ('tea', 2) RETURNING what, price::int")
    assert made == [("tea", 2)]
    assert len(target.query(f"SELECT * FROM {tool.history}")) == (1 if tool.name == "alembic" else 5)


def test_one_that_waits_takes_over_from_one_that_is_killed(tool: Tool) -> None:
    """The record is lost too, as where a schema is adopted: what the tool itself has applied does not run again."""
    target, last = tool.target, tool.revisions[-1].rpartition(".")[2]
    slow = "SELECT pg_sleep(60) WHERE NOT EXISTS (SELECT FROM pg_class WHERE relname = 'killed')"
    tool.write("0003_slow", last, "CREATE TABLE slow ()", slow)
    killed = tool.start(APPLY)
    sleeping = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
    while not target.inspect(sleeping):
        assert killed.poll() is None
        time.sleep(0.1)
    waiting = tool.start(APPLY)
    assert waiting.stdout is not None
    assert any("waiting for another invocation" in line for line in waiting.stdout)
    assert ledger(target) == tool.revisions

    target.inspect(f"CREATE TABLE public.killed (); DELETE FROM bootstrap.{target.schema}")
    killed.kill()
    killed.communicate()
    [answer] = answers(waiting)
    assert answer["migrations"] == ledger(target) == [*tool.revisions, tool.called("0003_slow")]


@pytest.mark.parametrize("tool", ["alembic"], indirect=True)
def test_what_runs_outside_a_transaction_is_refused_and_keeps_nothing(tool: Tool) -> None:
    path = tool.target.migrations / "versions" / "0003_index.py"
    body = "op.execute('CREATE TABLE half ()')\n    with op.get_context().autocommit_block():\n        pass"
    path.write_text(ALEMBIC.format(name="0003_index", previous="0002_price", body=body))
    with pytest.raises(MigrationError, match="0003_index: a revision is one transaction"):
        tool.target.invoke()
    assert tool.target.inspect("SELECT to_regclass(%s)", f"{tool.target.schema}.half") == [(None,)]

    tool.write("0003_index", "0002_price", "CREATE INDEX CONCURRENTLY what ON orders (what)")
    with pytest.raises(MigrationError, match="0003_index: CREATE INDEX CONCURRENTLY cannot run inside a transaction"):
        tool.target.invoke()
    tool.write("0003_index", "0002_price", "COMMIT")
    with pytest.raises(MigrationError, match="0003_index: a statement ended its transaction"):
        tool.target.invoke()
    assert ledger(tool.target) == tool.revisions


def test_a_hook_gets_the_login_of_migrations_and_never_the_master_s(
    target: Any, hook: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    hook(
        "import os\n"
        "def revisions(): return ['one']\n"
        "def upgrade(connection, revision):\n"
        "    cursor = connection.cursor()\n"
        "    cursor.execute('CREATE TABLE seen AS SELECT session_user::text, current_user::text,'\n"
        "        \" current_setting('search_path'), %s AS password\", [connection.info.password])\n"
        "    connection.commit()\n"
        "    cursor.execute('CREATE TABLE undone ()')\n"
        "    connection.rollback()\n"
    )
    assert target.invoke()["migrations"] == ["one"]
    [(session, current, path, password)] = target.query("SELECT * FROM seen")
    assert (session, current, path) == (f"{target.schema}_deploy", f"{target.schema}_owner", target.schema)
    assert password not in (MASTER["password"], target.password())
    assert password not in capsys.readouterr().out
    deployer = "SELECT rolcanlogin, rolpassword FROM pg_authid WHERE rolname = %s"
    assert target.inspect(deployer, session) == [(False, None)]
    assert target.inspect("SELECT to_regclass(%s)", f"{target.schema}.undone") == [(None,)]


def test_what_a_tool_commits_is_kept_only_with_its_record(target: Any, hook: Callable[[str], None]) -> None:
    hook(
        "def revisions(): return ['one']\n"
        "def upgrade(connection, revision):\n"
        "    connection.cursor().execute('CREATE TABLE kept ()')\n"
        "    connection.commit()\n"
        "    raise SystemExit('no more')\n"
    )
    with pytest.raises(MigrationError, match=r"^one: SystemExit: no more$"):
        target.invoke()
    assert target.inspect("SELECT to_regclass(%s)", f"{target.schema}.kept") == [(None,)]
    assert ledger(target) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nothing_of_that_name", "migrate.py cannot be imported: ModuleNotFoundError: No module named"),
        ("def revisions(): return ['one']", "migrate.py has no function upgrade."),
        ("upgrade = print\ndef revisions(): return 1 / 0", "migrate.py cannot list its revisions: ZeroDivisionError"),
        ("upgrade = print\ndef revisions(): return ()", "migrate.py lists no revisions."),
        ("upgrade = print\ndef revisions(): return 'one', 'one'", "migrate.py lists one twice."),
    ],
)
def test_a_hook_that_cannot_list_its_revisions_is_refused(
    target: Any, hook: Callable[[str], None], text: str, said: str
) -> None:
    hook(text)
    with pytest.raises(HistoryError, match=re.escape(said)):
        target.invoke()
    assert target.inspect("SELECT 1 FROM pg_namespace WHERE nspname = %s", target.schema) == []


def test_nothing_of_a_tool_is_imported_where_there_is_none() -> None:
    code = (
        "import sys; from bootstrap import handler; files = handler.read_migrations(handler.MIGRATIONS);"
        " sys.exit({'alembic', 'django', 'sqlalchemy'} & {*sys.modules} or len(files) != 1)"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", code], cwd=FOLDER.parent, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
