"""An existing schema: plan lists what apply would do, changes nothing, and apply does just that and loses nothing."""

from collections.abc import Callable
from typing import Any

import psycopg2
import pytest
from bootstrap.errors import BootstrapError, RoleError
from psycopg2 import extensions

from .conftest import on_every_version

pytestmark = on_every_version

# As a person left it: tables of two owners, with rows, keys, rules and code of every kind that has an owner.
_LEGACY = """
CREATE ROLE {legacy} LOGIN; CREATE ROLE {clerk} LOGIN; CREATE ROLE {reader} LOGIN;
GRANT {legacy}, {clerk} TO app_master WITH ADMIN OPTION;
CREATE SCHEMA {schema} AUTHORIZATION {legacy};
GRANT CREATE, USAGE ON SCHEMA {schema} TO {clerk}; GRANT USAGE ON SCHEMA {schema} TO {reader};
CREATE EXTENSION citext SCHEMA {schema}; CREATE EXTENSION pg_stat_statements SCHEMA {schema};
CREATE SCHEMA {other} AUTHORIZATION {legacy};
CREATE FOREIGN DATA WRAPPER far; CREATE SERVER far FOREIGN DATA WRAPPER far;
GRANT USAGE ON FOREIGN SERVER far TO {legacy};
CREATE USER MAPPING FOR {legacy} SERVER far; GRANT {clerk} TO {legacy};
SET ROLE {legacy};
SET search_path = {schema};
CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE TYPE pair AS (a int, b int);
CREATE DOMAIN word AS text CHECK (value <> '');
CREATE TYPE span AS RANGE (subtype = int);
CREATE TABLE customers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name citext, m mood DEFAULT 'good', s span);
CREATE TABLE "Odd ""name" (id serial PRIMARY KEY, p pair, w word DEFAULT 'w');
CREATE TABLE parts (at date NOT NULL, what text) PARTITION BY RANGE (at);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE SEQUENCE numbers; CREATE STATISTICS spread (dependencies) ON id, name FROM customers;
CREATE TABLE {other}.prices AS SELECT 1 AS price;
CREATE VIEW beyond AS SELECT price FROM {other}.prices; CREATE VIEW within AS SELECT name FROM customers;
CREATE VIEW through AS SELECT price FROM beyond;
CREATE TABLE ruled (price int); CREATE RULE more AS ON INSERT TO ruled DO ALSO INSERT INTO {other}.prices VALUES (2);
CREATE FOREIGN TABLE far (price int) SERVER far; CREATE VIEW afar AS SELECT price FROM far;
CREATE MATERIALIZED VIEW kept AS SELECT count(*) FROM customers;
CREATE FUNCTION total(word) RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM {schema}.customers';
CREATE PROCEDURE tidy() LANGUAGE sql AS 'DELETE FROM {schema}.parts WHERE false';
CREATE AGGREGATE most (int) (sfunc = int4larger, stype = int);
CREATE AGGREGATE lines (*) (sfunc = int8inc, stype = int8, initcond = '0');
CREATE FUNCTION alike(pair, pair) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR === (LEFTARG = pair, RIGHTARG = pair, FUNCTION = alike);
CREATE COLLATION plain FROM "C"; CREATE TEXT SEARCH CONFIGURATION search (COPY = pg_catalog.simple);
CREATE TEXT SEARCH DICTIONARY words (TEMPLATE = simple);
INSERT INTO customers (name) VALUES ('Ada'), ('Grace'); INSERT INTO parts VALUES ('2026-06-01', 'x');
INSERT INTO "Odd ""name" DEFAULT VALUES;
GRANT SELECT ON customers TO {reader};
ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT ON TABLES TO {reader};
GRANT REFERENCES ON customers TO {clerk};
SET ROLE {clerk};
CREATE TABLE {schema}.notes (id int, customer bigint REFERENCES {schema}.customers ON DELETE CASCADE);
RESET ROLE;
CREATE TABLE public.used_by_others (); GRANT SELECT ON public.used_by_others TO {reader};
"""

# All that a person could see of the database and its roles, without what counts its use.
_PORTRAIT = """
SELECT 'role', oid::text, row(rolname, rolsuper, rolinherit, rolcanlogin, rolcreaterole, rolconnlimit, rolpassword,
    rolvaliduntil, shobj_description(oid, 'pg_authid'))::text FROM pg_authid WHERE rolname !~ '^pg_'
UNION ALL SELECT 'member', roleid || ' ' || member || ' ' || grantor, admin_option::text FROM pg_auth_members
UNION ALL SELECT 'setting', setrole || ' ' || setdatabase, setconfig::text FROM pg_db_role_setting
UNION ALL SELECT 'schema', nspname, nspowner || ' ' || coalesce(nspacl::text, '') FROM pg_namespace
UNION ALL SELECT 'database', datname, datdba || ' ' || coalesce(datacl::text, '') FROM pg_database
UNION ALL SELECT 'default', oid::text, row(defaclrole, defaclnamespace, defaclobjtype, defaclacl)::text
    FROM pg_default_acl
UNION ALL SELECT 'relation', oid::text, row(relname, relowner, relacl, relkind, relfilenode)::text FROM pg_class
    WHERE relnamespace NOT IN ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace)
UNION ALL SELECT 'function', oid::text, row(proname, proowner, proacl, prosrc)::text FROM pg_proc WHERE oid > 16383
UNION ALL SELECT 'type', oid::text, row(typname, typowner)::text FROM pg_type WHERE oid > 16383
UNION ALL SELECT 'operator', oid::text, row(oprname, oprowner)::text FROM pg_operator WHERE oid > 16383
UNION ALL SELECT 'constraint', oid::text, pg_get_constraintdef(oid) FROM pg_constraint WHERE oid > 16383
UNION ALL SELECT 'extension', extname, extowner::text FROM pg_extension
ORDER BY 1, 2
"""
_PLAN = {"action": "plan"}
_ADOPT = {"APPLICATION_ADOPT": "1"}


class Legacy:
    """The target's database as somebody else has used it."""

    def __init__(self, target: Any) -> None:
        names = ("legacy", "clerk", "reader", "other")
        self.names = {name: f"{target.schema}_{name}" for name in names} | {"schema": target.schema}
        self.target = target
        target.inspect(_LEGACY.format(**self.names).replace("%", "%%"))

    def inspect(self, statement: str) -> list[tuple[Any, ...]]:
        return list(self.target.inspect(statement.format(**self.names)))

    def as_role(self, role: str, statement: str) -> Any:
        with self.target.server.administrator(self.target.database) as cursor:
            cursor.execute(f"SET SESSION AUTHORIZATION {self.names[role]}")
            cursor.execute(statement.format(**self.names))
            return cursor.fetchall() if cursor.description is not None else None

    def rows(self) -> list[tuple[Any, ...]]:
        tables = ("customers", '"Odd ""name"', "parts", "notes", "within", "beyond", "kept")
        return [self.inspect(f"SELECT * FROM {{schema}}.{table}") for table in tables]


@pytest.fixture
def legacy(target: Any) -> Legacy:
    return Legacy(target)


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that the handler executes itself, as text."""
    from bootstrap import handler  # noqa: PLC0415

    seen: list[str] = []
    exclusive = handler.exclusive

    class Watched(extensions.cursor):
        def execute(self, query: Any, arguments: Any = None) -> None:
            if not isinstance(query, str):
                seen.append(query.as_string(self))
            super().execute(query, arguments)

    def watched(connection: Any, *locks: str) -> Any:
        connection.cursor_factory = Watched
        return exclusive(connection, *locks)

    monkeypatch.setattr(handler, "exclusive", watched)
    return seen


def test_plan_says_why_it_is_refused_and_what_adoption_would_do_and_touches_nothing(
    target: Any, legacy: Legacy
) -> None:
    before = target.inspect(_PORTRAIT)
    planned = target.invoke(_PLAN)
    assert target.inspect(_PORTRAIT) == before

    assert f"Schema '{target.schema}' exists and belongs to '{legacy.names['legacy']}'" in planned["refused"]
    with pytest.raises(Exception, match="set application"):
        target.invoke()
    assert target.inspect(_PORTRAIT) == before
    assert target.invoke(_PLAN, **_ADOPT) == {name: what for name, what in planned.items() if name != "refused"}
    assert target.inspect(_PORTRAIT) == before
    owner, who = f"{target.schema}_owner", legacy.names["legacy"]
    for thing in (
        "table {}.customers",
        'table {}."Odd ""name"',
        "schema {}",
        "type {}.mood",
        "statistics object {}.spread",
    ):
        assert f"give {thing.format(target.schema)} from {who} to {owner}" in planned["changes"]
    assert f"give table {target.schema}.notes from {legacy.names['clerk']} to {owner}" in planned["changes"]
    assert not [what for what in planned["changes"] if "citext" in what or "pg_stat" in what or "_id_seq" in what]


def test_apply_does_what_plan_said_and_nothing_else(target: Any, legacy: Legacy, executed: list[str]) -> None:
    planned, rows = target.invoke(_PLAN, **_ADOPT), legacy.rows()
    applied = target.invoke()
    assert {name: planned[name] for name in applied} == applied
    said, rest = executed[: len(planned["statements"])], executed[len(planned["statements"]) :]
    assert said == planned["statements"]
    logins = (f'ALTER ROLE "{target.user}" PASSWORD ', f'ALTER ROLE "{target.schema}_deploy" ')
    assert all(statement.startswith((*logins, "SELECT ")) for statement in rest), rest

    assert legacy.rows() == rows
    owners = "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = '{schema}'::regnamespace"
    owners += " AND relname NOT IN ('afar', 'beyond', 'ruled', 'through')"
    assert {owner for (owner,) in legacy.inspect(owners)} == {f"{target.schema}_owner", "rdsadmin"}  # extensions'
    again = target.invoke(_PLAN)
    assert {name: again[name] for name in ("changes", "statements", "migrations")} == {
        "changes": [], "statements": [], "migrations": [],
    }  # fmt: skip
    after = target.inspect(_PORTRAIT)
    target.invoke()
    assert target.inspect(_PORTRAIT) == after


def test_the_application_reaches_what_was_there_and_everybody_else_still_does(target: Any, legacy: Legacy) -> None:
    target.invoke(**_ADOPT)

    target.query("INSERT INTO customers (name) VALUES ('Edgar')")
    assert target.query("SELECT count(*) FROM customers") == [(3,)]
    for statement in (
        "SELECT * FROM beyond",
        "DELETE FROM beyond",
        "SELECT * FROM through",
        "INSERT INTO ruled VALUES (1)",
    ):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):  # or it would reach the other schema
            target.query(statement)
    legacy.as_role("legacy", "INSERT INTO {schema}.ruled VALUES (1)")
    assert legacy.as_role("legacy", "SELECT * FROM {schema}.through") == [(1,), (2,)]
    assert legacy.as_role("reader", "SELECT count(*) FROM {schema}.customers") == [(3,)]
    legacy.as_role("legacy", "ALTER TABLE {schema}.customers ADD email text")
    legacy.as_role("legacy", "INSERT INTO {schema}.parts VALUES ('2026-07-01', 'y')")
    legacy.as_role("clerk", "INSERT INTO {schema}.notes VALUES (1, 1)")
    legacy.as_role("legacy", "DELETE FROM {schema}.customers WHERE id = 1")
    assert legacy.inspect("SELECT * FROM {schema}.notes") == []
    assert legacy.as_role("reader", "SELECT * FROM public.used_by_others") == []
    temporary = "SELECT 1 FROM pg_auth_members JOIN pg_roles m ON m.oid = member WHERE m.rolname = 'app_master'"
    temporary += " AND roleid = '{legacy}'::regrole"
    assert len(legacy.inspect(temporary)) == 1, "the membership of the hand-over was left, or the person's was taken"


def test_remarks_name_what_stays(target: Any, legacy: Legacy) -> None:
    remarks = target.invoke(_PLAN)["remarks"]
    clerk, owner = legacy.names["clerk"], f"{target.schema}_owner"
    stays = f"stays {legacy.names['legacy']}'s, with whose rights it runs: change it and grant on it as "
    assert remarks == [
        f"function {target.schema}.total({target.schema}.word) {stays}{legacy.names['legacy']}",
        f"table {target.schema}.ruled {stays}{legacy.names['legacy']}",
        f"view {target.schema}.afar {stays}{legacy.names['legacy']}",
        f"view {target.schema}.beyond {stays}{legacy.names['legacy']}",
        f"view {target.schema}.through {stays}{legacy.names['legacy']}",
        f"{clerk} may create in schema {target.schema}: whoever does acts as {owner} from the next apply on",
        f"default privileges of {legacy.names['legacy']} are for what {legacy.names['legacy']} makes: what a migration"
        " makes needs grants of its own",
        "schema public stays open to everyone: 1 objects that others may use stand in it",
    ]


def test_what_is_made_there_later_by_somebody_else_is_adopted_with_its_grants(target: Any, legacy: Legacy) -> None:
    target.invoke(**_ADOPT)
    legacy.as_role("legacy", "CREATE TABLE {schema}.late (id serial)")
    planned = target.invoke(_PLAN)
    assert [what for what in planned["changes"] if "late" in what]
    assert target.invoke()["changes"] == planned["changes"]
    target.query("INSERT INTO late DEFAULT VALUES")
    assert target.invoke()["changes"] == []


def test_a_superuser_s_table_is_named_and_nothing_is_touched(target: Any, legacy: Legacy) -> None:
    legacy.inspect("CREATE TABLE {schema}.audit ()")
    before = target.inspect(_PORTRAIT)
    for event in (_PLAN, None):
        with pytest.raises(Exception, match=f"table {target.schema}.audit of 'rdsadmin'"):
            target.invoke(event, **_ADOPT)
    assert target.inspect(_PORTRAIT) == before


def test_a_master_who_may_not_act_for_the_owner_joins_it_for_the_hand_over_alone(
    target: Any, legacy: Legacy, executed: list[str]
) -> None:
    """Plan reads no more than apply: not the table that is an extension's, which is out of reach once apply is done."""
    if target.server.version < 16:
        legacy.inspect("REVOKE {legacy} FROM app_master")
    else:
        legacy.inspect(
            "GRANT {legacy} TO app_master WITH INHERIT FALSE, SET FALSE; SET ROLE app_master;"
            "GRANT {legacy} TO app_master WITH INHERIT FALSE, SET TRUE"  # as CREATE ROLE may, createrole_self_grant
        )
    legacy.as_role("legacy", "CREATE TABLE {schema}.of_citext (id serial)")
    legacy.inspect("ALTER EXTENSION citext ADD TABLE {schema}.of_citext")
    memberships = (
        "SELECT to_jsonb(pg_auth_members) - 'oid' FROM pg_auth_members JOIN pg_roles master ON member = master.oid"
    )
    memberships += " WHERE rolname = 'app_master' AND roleid = '{legacy}'::regrole ORDER BY 1"
    before, planned = legacy.inspect(memberships), target.invoke(_PLAN, **_ADOPT)
    assert target.invoke()["changes"] == planned["changes"]
    assert executed[: len(planned["statements"])] == planned["statements"]
    assert legacy.inspect(memberships) == before


def test_an_owner_who_is_a_member_of_the_master_is_refused_by_name(target: Any, legacy: Legacy) -> None:
    if target.server.version >= 16:
        pytest.skip("the master is granted no role by CREATEROLE alone")
    legacy.inspect("REVOKE {legacy} FROM app_master; GRANT app_master TO {legacy}")
    with pytest.raises(RoleError, match=f"cannot act for .* schema {target.schema} of '{legacy.names['legacy']}'"):
        target.invoke(_PLAN, **_ADOPT)


@pytest.mark.usefixtures("legacy")
def test_a_table_that_is_in_use_stops_the_adoption_rather_than_everyone(
    target: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bootstrap import handler  # noqa: PLC0415

    monkeypatch.setattr(handler, "LOCK_TIMEOUT", "100ms")
    before = target.inspect(_PORTRAIT)
    with target.server.administrator(target.database) as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"LOCK TABLE {target.schema}.notes")
        cursor.execute("SET idle_in_transaction_session_timeout = '10s'")  # lest the test hang where nothing times out
        target.invoke(_PLAN, **_ADOPT)
        with pytest.raises(BootstrapError, match=r"give table .*\.notes .*lock timeout. Nothing was changed"):
            target.invoke()
    assert target.inspect(_PORTRAIT) == before


def test_plan_bears_that_something_is_dropped_meanwhile(
    target: Any, legacy: Legacy, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bootstrap import handler  # noqa: PLC0415

    read = handler.applied_migrations

    def dropped_after(*arguments: Any) -> dict[str, str]:
        found: dict[str, str] = read(*arguments)  # the transaction has its snapshot
        legacy.inspect("DROP TABLE {schema}.notes")
        return found

    monkeypatch.setattr(handler, "applied_migrations", dropped_after)
    assert not [what for what in target.invoke(_PLAN, **_ADOPT)["changes"] if "notes" in what]


def test_a_login_role_of_the_application_s_name_is_refused_and_keeps_all(target: Any, legacy: Legacy) -> None:
    legacy.inspect(f"CREATE ROLE {target.user} LOGIN CREATEDB")
    before = target.inspect(_PORTRAIT)
    for event in (_PLAN, None):
        with pytest.raises(Exception, match=f"Role '{target.user}' exists and was not made by this bootstrap"):
            target.invoke(event, **_ADOPT)
    assert target.inspect(_PORTRAIT) == before


def test_an_adoption_that_is_cut_short_leaves_everything_as_it_was(
    target: Any, legacy: Legacy, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bootstrap import preparation  # noqa: PLC0415

    def fails(*_: object) -> Callable[[], None]:
        raise psycopg2.OperationalError("cut short")

    before = target.inspect(_PORTRAIT)
    with monkeypatch.context() as patch:
        patch.setattr(preparation, "claim", fails)
        with pytest.raises(psycopg2.OperationalError):
            target.invoke(**_ADOPT)
    assert target.inspect(_PORTRAIT) == before
    assert (
        f"give schema {target.schema} from {legacy.names['legacy']} to {target.schema}_owner"
        in target.invoke()["changes"]
    )
