"""What an owner made never runs with more than the owner's rights.

A person whose access is migrate acts as the schema's owner, and can leave functions, triggers, defaults and operators
behind for the bootstrap function to run into.
"""

import json
from collections.abc import Callable
from typing import Any

import psycopg2
import pytest

from .conftest import on_every_version

pytestmark = on_every_version

# What a trap tries, in every way that a session may change whom it acts as.
_TRAP = """
CREATE TABLE seen (trap text, way text, who name, session name);
GRANT USAGE ON SCHEMA {schema} TO PUBLIC;
GRANT INSERT ON seen TO PUBLIC;
CREATE FUNCTION trap(trap text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    way text;
    make text;
BEGIN
    FOREACH way IN ARRAY ARRAY['SELECT 1', 'RESET ROLE', 'SET ROLE NONE', 'SET ROLE app_master', 'RESET ALL',
                               'SET SESSION AUTHORIZATION app_master', 'RESET SESSION AUTHORIZATION'] LOOP
        BEGIN
            EXECUTE way;
            INSERT INTO {schema}.seen VALUES (trap, way, current_user, session_user);
        EXCEPTION WHEN OTHERS THEN
            NULL;
        END;
        FOREACH make IN ARRAY ARRAY['CREATE ROLE {schema}_thief LOGIN', 'ALTER ROLE {user} CREATEROLE',
                                    'GRANT app_master TO {user}', 'DELETE FROM bootstrap.{schema}'] LOOP
            BEGIN
                EXECUTE way;
                EXECUTE make;
                INSERT INTO {schema}.seen VALUES (trap, make, 'a success', session_user);
            EXCEPTION WHEN OTHERS THEN
                NULL;
            END;
        END LOOP;
    END LOOP;
    RETURN true;
END $$;
"""

# What a person leaves behind, and a migration that runs into it.
_TRAPS = {
    "trigger": (
        "CREATE TABLE a (id int);"
        "CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM {schema}.trap(tg_argv[0]); RETURN NEW; END $$;"
        "CREATE TRIGGER fire BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION fire('trigger')",
        "INSERT INTO a VALUES (1);",
    ),
    "deferred trigger": (
        "CREATE TABLE b (id int);"
        "CREATE CONSTRAINT TRIGGER fire AFTER INSERT ON b DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION fire('deferred trigger')",
        "INSERT INTO b VALUES (1);",
    ),
    "default": ("CREATE TABLE c (id int, flag boolean DEFAULT trap('default'))", "INSERT INTO c VALUES (1);"),
    "operator": (
        "CREATE TABLE d AS SELECT 1::bigint AS id;"
        "CREATE FUNCTION same(bigint, integer) RETURNS boolean LANGUAGE sql AS $$ SELECT {schema}.trap('operator') $$;"
        "CREATE OPERATOR {schema}.= (LEFTARG = bigint, RIGHTARG = integer, FUNCTION = {schema}.same)",
        "SET search_path = {schema}, pg_catalog; DELETE FROM d WHERE id = 1;",
    ),
    "view": ("CREATE VIEW peek AS SELECT trap('view') AS flag", "CREATE TABLE copied AS SELECT * FROM peek;"),
    "row security": (
        "CREATE TABLE e AS SELECT 1 AS id; ALTER TABLE e ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
        "CREATE POLICY p ON e USING (trap('row security'))",
        "DELETE FROM e;",
    ),
    "outside a transaction": (
        "CREATE TABLE f (flag boolean DEFAULT trap('outside a transaction'), id int)",
        "-- transaction: none\nINSERT INTO f (id) VALUES (1);",
    ),
    "migration itself": ("SELECT 1", "SELECT trap('migration itself');"),
}


@pytest.fixture
def person(target: Any) -> Callable[[str], object]:
    """Return a function that runs statements as a person does whose access is migrate."""
    name, secret = f"{target.user}_person", target.make_secret()
    target.invoke(FURTHER_USERS=json.dumps({name: {"access": "migrate", "auth": "password", "secret_arn": secret}}))
    password = target.password(secret)
    return lambda statements: target.query(statements.replace("%", "%%"), user=name, password=password)


def test_a_migration_springs_no_trap_with_the_master_s_rights(target: Any, person: Callable[[str], object]) -> None:
    names = {"schema": target.schema, "user": f"{target.user}_person"}
    person(_TRAP.format(**names))
    for number, (prepared, migration) in enumerate(_TRAPS.values(), start=2):
        person(prepared.format(**names))
        target.write(f"{number:04}_more.sql", migration.format(**names))
    target.invoke()

    seen = target.inspect(f"SELECT trap, way, who, session FROM {target.schema}.seen")
    assert {trap for trap, *_ in seen} == set(_TRAPS), "a trap was not sprung"
    owner, deployer = f"{target.schema}_owner", f"{target.schema}_deploy"
    assert [row for row in seen if row[2] not in (owner, deployer) or row[3] != deployer] == []
    assert target.inspect("SELECT rolname FROM pg_roles WHERE rolname ~ 'thief'") == []


@pytest.mark.parametrize("schema", ["app_master", "public"])
def test_no_name_of_the_master_s_session_leads_to_an_owner_s_function(
    target: Any, person: Callable[[str], object], schema: str
) -> None:
    """A better match of the arguments' types would win over pg_catalog, were its schema on the search_path."""
    if schema == "public":
        target.inspect(f"GRANT CREATE, USAGE ON SCHEMA public TO {target.schema}_owner")
    else:
        person(f"CREATE SCHEMA {schema}")
    note = f"INSERT INTO {target.schema}.seen VALUES (current_user, session_user)"
    person(
        f"CREATE TABLE seen (who name, session name); GRANT INSERT ON seen TO PUBLIC;"
        f"GRANT USAGE ON SCHEMA {schema}, {target.schema} TO PUBLIC;"
        f"CREATE FUNCTION {schema}.hashtextextended(text, integer) RETURNS bigint LANGUAGE plpgsql AS"
        f" $$ BEGIN {note}; RETURN 1; END $$;"
        f"CREATE FUNCTION {schema}.same(name, text) RETURNS boolean LANGUAGE plpgsql AS"
        f" $$ BEGIN {note}; RETURN false; END $$;"
        f"CREATE OPERATOR {schema}.= (LEFTARG = name, RIGHTARG = text, FUNCTION = {schema}.same)"
    )
    target.write("0002_more.sql", "SELECT 1;")
    target.invoke(APPLICATION_SETTINGS='{"work_mem": "5MB"}')
    target.rotate(target.begin_rotation())
    target.invoke({"action": "plan"})

    assert target.inspect(f"SELECT * FROM {target.schema}.seen WHERE session = 'app_master'") == []


def test_the_login_of_migrations_is_nobody_s_between_them(target: Any) -> None:
    target.invoke()

    role = "SELECT rolcanlogin, rolpassword, rolsuper, rolcreaterole, rolinherit FROM pg_authid WHERE rolname = %s"
    assert target.inspect(role, f"{target.schema}_deploy") == [(False, None, False, False, False)]


def test_an_owner_cannot_change_what_was_recorded(target: Any, person: Callable[[str], object]) -> None:
    for statement in (
        f"DELETE FROM bootstrap.{target.schema}",
        f"UPDATE bootstrap.{target.schema} SET checksum = ''",
        f"ALTER TABLE bootstrap.{target.schema} RENAME TO other",
        f"CREATE RULE r AS ON INSERT TO bootstrap.{target.schema} DO INSTEAD NOTHING",
        "CREATE TABLE bootstrap.mine ()",
    ):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            person(statement)
    with pytest.raises(psycopg2.errors.UniqueViolation):
        person(f"INSERT INTO bootstrap.{target.schema} VALUES ('0001_users.sql', 'another')")
