"""Wherever the function dies, running it again leads to the same database.

A cut point is a statement sent or a call to Secrets Manager answered. At it the server ends every session of the
function, as it does when the function's process is gone, and the invocation is over.
"""

import json
from collections.abc import Callable
from typing import Any

import psycopg2
import pytest
from bootstrap import secret_store
from psycopg2 import extensions

MIGRATIONS = {
    "0002_orders.sql": "CREATE TABLE orders (id serial, what text);\nINSERT INTO orders (what) VALUES ('tea');",
    "0003_index.sql": "-- transaction: none\nCREATE INDEX CONCURRENTLY IF NOT EXISTS orders_what ON orders (what);",
    "0004_column.sql": "ALTER TABLE orders ADD COLUMN price numeric;\nUPDATE orders SET price = 1;",
}


class CutShort(BaseException):
    """The process is gone."""


class Axe:
    """Count what the function does, and end it after so many."""

    def __init__(self, target: Any, after: int | None) -> None:
        self._target = target
        self._after = after
        self.count = 0

    def step(self, **_: object) -> None:
        self.count += 1
        if self.count == self._after:
            self._target.inspect(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'bootstrap'"
            )
            raise CutShort

    def cursor_factory(self) -> type[extensions.cursor]:
        axe = self

        class Cursor(extensions.cursor):
            def execute(self, *arguments: Any) -> None:
                super().execute(*arguments)
                if not (self.statusmessage or "").startswith("SELECT"):  # which leaves nothing that could differ
                    axe.step()

        return Cursor


@pytest.fixture
def swing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, int | None, Callable[[], object]], int]:
    """Return a function that runs a call up to a cut point, and tells how many it passed."""
    connect = psycopg2.connect
    events = secret_store.secrets_manager().meta.events

    def swing(target: Any, after: int | None, call: Callable[[], object]) -> int:
        axe = Axe(target, after)
        monkeypatch.setattr(psycopg2, "connect", lambda **given: connect(cursor_factory=axe.cursor_factory(), **given))
        events.register("after-call.secrets-manager", axe.step, unique_id="axe")
        try:
            call()
        except CutShort:
            assert after is not None
        else:
            assert after is None or axe.count < after
        finally:
            events.unregister("after-call.secrets-manager", unique_id="axe")
            monkeypatch.undo()
        return axe.count

    return swing


def start_over(target: Any) -> None:
    """Remove all that apply made: quicker than another database."""
    owner = f"{target.schema}_owner"
    target.inspect(f"DROP SCHEMA {target.schema}, bootstrap CASCADE; DROP OWNED BY {owner}")
    target.inspect(f"DROP ROLE {owner}, {target.schema}_deploy, {target.user}, {target.iam_user}")
    target.inspect("GRANT USAGE ON SCHEMA public TO PUBLIC")
    target.secret = target.environment["APPLICATION_SECRET_ARN"] = target.make_secret()


OBJECTS = {
    "columns": "SELECT table_name, column_name, data_type FROM information_schema.columns"
    " WHERE table_schema NOT IN ('pg_catalog', 'information_schema')",
    "relations": "SELECT relname, relkind, relacl::text, pg_get_userbyid(relowner) FROM pg_class"
    " WHERE relnamespace::regnamespace::text !~ '^(pg_|information_schema)'",
    "indexes": "SELECT indexrelid::regclass::text, indisvalid FROM pg_index JOIN pg_class ON oid = indexrelid"
    " WHERE relnamespace::regnamespace::text !~ '^(pg_|information_schema)'",
    "defaults": "SELECT defaclobjtype, defaclacl::text FROM pg_default_acl",
    "schemas": "SELECT nspname, nspacl::text FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema)'",
    "roles": "SELECT rolname, rolcanlogin, rolinherit, rolcreatedb, rolcreaterole, setconfig,"
    " shobj_description(pg_roles.oid, 'pg_authid') FROM pg_roles"
    " LEFT JOIN pg_db_role_setting ON setrole = pg_roles.oid",
    "members": "SELECT roleid::regrole::text, member::regrole::text, admin_option FROM pg_auth_members",
    "database": "SELECT datacl::text FROM pg_database WHERE datname = current_database()",
}


def portrait(target: Any) -> dict[str, list[str]]:
    """Describe all that apply makes."""
    found = {}
    with target.server.administrator(target.database) as cursor:
        for name, query in OBJECTS.items():
            cursor.execute(query)
            found[name] = sorted(map(repr, cursor.fetchall()))
    found["ledger"] = target.inspect(f"SELECT name, checksum FROM bootstrap.{target.schema}")
    found["rows"] = target.query("SELECT users.id, name, what, price FROM users, orders ORDER BY 1")
    return found


def test_apply_cut_short_anywhere_and_run_again(target: Any, swing: Callable[..., int]) -> None:
    for name, text in MIGRATIONS.items():
        target.write(name, text)
    cut_points = swing(target, None, target.invoke)
    expected = portrait(target)
    assert cut_points >= 30

    for after in range(1, cut_points + 1):
        start_over(target)
        swing(target, after, target.invoke)
        target.invoke()
        assert portrait(target) == expected, f"cut after {after} of {cut_points}"


def test_rotation_cut_short_anywhere_and_run_again(target: Any, swing: Callable[..., int]) -> None:
    target.invoke()
    cut_points = swing(target, None, lambda: target.rotate(target.begin_rotation()))

    for after in range(1, cut_points + 1):
        version = target.begin_rotation()
        swing(target, after, lambda version=version: target.rotate(version))
        target.rotate(version)
        target.connect().close()
    assert target.inspect("SELECT 1 FROM pg_roles WHERE rolname = %s", f"{target.user}_next") == []


def test_a_change_from_iam_to_a_password_cut_short_anywhere(target: Any, swing: Callable[..., int]) -> None:
    person, secret = f"{target.user}_reader", target.make_secret()

    def invoke(auth: str) -> object:
        users = {person: {"access": "read", "auth": auth, "secret_arn": secret}}
        return target.invoke(FURTHER_USERS=json.dumps(users))

    invoke("iam")
    cut_points = swing(target, None, lambda: invoke("password"))

    for after in range(1, cut_points + 1):
        invoke("iam")
        swing(target, after, lambda: invoke("password"))
        target.invoke()
        target.connect(person, target.password(secret)).close()
