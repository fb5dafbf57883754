"""Who may log in, how, and what they may do."""

import contextlib
import json
import re
import traceback
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2 import OperationalError
from psycopg2.errors import InsufficientPrivilege, QueryCanceled, UndefinedTable

from .conftest import on_every_version

ROOT = Path(__file__).parents[3]


def members_of_rds_iam(target: Any) -> list[str]:
    rows = target.inspect(
        "SELECT holder.rolname FROM pg_auth_members JOIN pg_roles holder ON holder.oid = member"
        " WHERE roleid = 'rds_iam'::regrole AND NOT rolcreaterole"
    )
    return [name for (name,) in rows]


def further(**users: dict[str, Any]) -> dict[str, str]:
    return {"FURTHER_USERS": json.dumps(users)}


@on_every_version
def test_application_user_has_no_power_of_its_own(target: Any) -> None:
    target.invoke()

    attributes = target.inspect(
        "SELECT rolcanlogin, rolinherit, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls"
        " FROM pg_roles WHERE rolname = %s",
        target.user,
    )
    assert attributes == [(True, False, False, False, False, False, False)]
    owned = "SELECT count(*) FROM pg_shdepend WHERE refobjid = %s::regrole AND deptype = 'o'"
    assert target.inspect(owned, target.user) == [(0,)]


@on_every_version
def test_application_user_reads_and_writes_but_makes_nothing(target: Any) -> None:
    target.invoke()

    target.query("INSERT INTO users (name) VALUES ('new'); UPDATE users SET name = 'other' WHERE name = 'new'")
    target.query("DELETE FROM users WHERE name = 'other'")
    for statement in (
        "CREATE TABLE mine ()",
        "CREATE TABLE public.mine ()",
        "TRUNCATE users",
        "DROP TABLE users",
        f"SELECT * FROM bootstrap.{target.schema}",
        f"SET ROLE {target.schema}_owner",
    ):
        with pytest.raises(InsufficientPrivilege):
            target.query(statement)


def test_public_is_closed(target: Any) -> None:
    target.invoke()

    acl = "SELECT count(*) FROM pg_namespace, aclexplode(nspacl) WHERE nspname = 'public' AND grantee = 0"
    assert target.inspect(acl) == [(0,)]


def test_what_the_master_user_may_not_change_is_told(target: Any) -> None:
    """PostgreSQL only warns of it."""
    target.inspect("ALTER SCHEMA public OWNER TO rdsadmin")
    with pytest.raises(Exception, match=r"^The master user may not close schema public\.$") as refusal:
        target.invoke()
    assert type(refusal.value).__name__ == "BootstrapError"
    assert target.inspect("SELECT 1 FROM pg_roles WHERE rolname = %s", target.user) == []


@on_every_version
def test_new_tables_and_sequences_are_reachable_at_once(target: Any) -> None:
    target.invoke()
    target.write("0002_orders.sql", "CREATE TABLE orders (id serial, what text); CREATE VIEW open AS TABLE orders;")

    assert target.invoke()["changes"] == []
    target.query("INSERT INTO orders (what) VALUES ('tea')")
    assert target.query("SELECT * FROM open") == [(1, "tea")]


def test_what_a_migration_revoked_stays_revoked(target: Any) -> None:
    target.write("0002_audit.sql", f"CREATE TABLE audit (what text); REVOKE DELETE ON audit FROM {target.user};")
    target.invoke()
    target.invoke()

    with pytest.raises(InsufficientPrivilege):
        target.query("DELETE FROM audit")


@on_every_version
def test_settings_are_the_roles_own(target: Any) -> None:
    target.invoke(APPLICATION_SETTINGS='{"statement_timeout": "200ms", "work_mem": "5MB"}')

    with pytest.raises(QueryCanceled):
        target.query("SELECT pg_sleep(5)")
    shown = [
        target.query(f"SHOW {name}")[0][0]
        for name in ("lock_timeout", "idle_in_transaction_session_timeout", "work_mem", "search_path")
    ]
    assert shown == ["10s", "1min", "5MB", target.schema]

    changed = "idle_in_transaction_session_timeout, lock_timeout, %ssearch_path, statement_timeout"
    assert target.invoke(APPLICATION_SETTINGS="{}")["changes"] == [
        f"set the settings of {target.user}: {changed % ''}",
        f"set the settings of {target.iam_user}: {changed % 'role, '}",
    ]
    assert target.query("SHOW work_mem") != [("5MB",)]


@pytest.mark.parametrize(
    "settings",
    [
        {"timezone": "Europe/Berlin"},
        {"TimeZone": "utc", "DateStyle": "ISO, DMY", "IntervalStyle": "iso_8601", "Work_Mem": "5MB"},
        {"temp_tablespaces": "pg_default, pg_default", "statement_timeout": "5000"},
        {"plan_cache_mode": "force_custom_plan"},
    ],
)
def test_settings_are_compared_as_the_server_keeps_them(target: Any, settings: dict[str, str]) -> None:
    target.invoke(APPLICATION_SETTINGS=json.dumps(settings))

    assert target.invoke()["changes"] == []
    assert target.invoke(APPLICATION_SETTINGS="{}")["changes"] != []


@on_every_version
def test_a_connection_limit_holds_each_login_role_and_can_be_lifted(target: Any) -> None:
    target.invoke()
    limited = target.invoke(APPLICATION_CONNECTION_LIMIT="1")
    assert limited["changes"] == [f"allow {user} 1 connections" for user in (target.user, target.iam_user)]
    assert target.invoke()["changes"] == []
    with contextlib.closing(target.connect()):
        with pytest.raises(OperationalError, match="too many connections for role"):
            target.connect()
        assert target.query_by_token("SELECT current_user") == [(target.user,)]  # a role of its own logs in
        assert target.invoke()["passwords"] == []  # though the user's password cannot be tried to the end
        target.rotate(target.begin_rotation())
    assert target.invoke(APPLICATION_CONNECTION_LIMIT="-1")["changes"][0] == (
        f"allow {target.user} any number of connections"
    )
    with contextlib.closing(target.connect()):
        target.connect().close()


def test_a_limit_that_is_none_is_refused(target: Any) -> None:
    with pytest.raises(Exception, match="APPLICATION_CONNECTION_LIMIT is malformed: 0 must be at least 1"):
        target.invoke(APPLICATION_CONNECTION_LIMIT="0")


def test_search_path_may_name_several_schemas(target: Any) -> None:
    path = json.dumps({"search_path": f'{target.schema}, "Other", public'})
    target.invoke(APPLICATION_SETTINGS=path)

    assert target.query("SHOW search_path") == [(f'{target.schema}, "Other", public',)]
    assert target.invoke()["changes"] == []


@on_every_version
def test_a_working_password_is_kept_and_a_broken_one_mended(target: Any) -> None:
    target.invoke()
    password = target.password()
    target.inspect(f"ALTER ROLE {target.user} PASSWORD 'something else'")

    assert target.invoke()["passwords"] == [target.user]
    assert target.password() == password
    target.connect().close()


def test_a_secret_of_another_user_is_not_used(target: Any) -> None:
    target.secrets_manager.put_secret_value(
        SecretId=target.secret, SecretString='{"username": "someone", "password": "known to someone"}'
    )
    target.invoke()

    assert target.password() != "known to someone"
    target.connect().close()


@on_every_version
def test_functions_log_in_by_password_or_by_iam_and_are_one_user(target: Any) -> None:
    target.invoke()

    assert target.query("SELECT current_user, session_user") == [(target.user, target.user)]
    assert target.query_by_token("SELECT current_user, session_user") == [(target.user, target.iam_user)]
    settings = "SELECT name, setting FROM pg_settings WHERE name ~ 'timeout|search_path' ORDER BY name"
    assert target.query_by_token(settings) == target.query(settings)
    target.query_by_token("INSERT INTO users (name) VALUES ('by token')")
    with pytest.raises(InsufficientPrivilege):
        target.query_by_token("CREATE TABLE mine ()")


@on_every_version
def test_who_acts_as_another_role_has_no_privilege_of_its_own(target: Any) -> None:
    person = f"{target.user}_person"
    target.invoke(**further(**{person: {"access": "migrate", "auth": "iam"}}))

    own = (
        f"SELECT has_schema_privilege(%s, '{target.schema}', 'USAGE, CREATE'),"
        f" has_table_privilege(%s, '{target.schema}.users', 'SELECT, INSERT, UPDATE, DELETE')"
    )
    for name in (target.iam_user, person):
        assert target.inspect(own, name, name) == [(False, False)]
        assert target.query_by_token("SELECT count(*) FROM users", name) == [(3,)]


@on_every_version
def test_who_logs_in_by_iam_has_no_password_and_who_has_one_no_iam(target: Any) -> None:
    """The instance takes no password from a member of rds_iam, and the proxy has nothing else."""
    target.invoke()

    members = members_of_rds_iam(target)
    assert target.iam_user in members
    assert target.user not in members
    passwords = "SELECT rolname, rolpassword IS NOT NULL FROM pg_authid WHERE rolname ~ %s ORDER BY rolname"
    assert target.inspect(passwords, f"^{target.user}") == [(target.user, True), (target.iam_user, False)]


def test_where_the_instance_takes_no_tokens_nobody_logs_in_by_iam(target: Any) -> None:
    target.invoke()

    assert target.invoke(APPLICATION_IAM_USER="")["changes"] == [f"drop user {target.iam_user}"]
    assert target.iam_user not in members_of_rds_iam(target)
    target.connect().close()


@on_every_version
def test_a_person_changes_from_iam_to_a_password_and_back(target: Any) -> None:
    person, secret = f"{target.user}_grace", target.make_secret()
    by_iam = further(**{person: {"access": "read", "auth": "iam"}})
    by_password = further(**{person: {"access": "read", "auth": "password", "secret_arn": secret}})
    target.invoke(**by_iam)
    assert target.query_by_token("SELECT count(*) FROM users", person) == [(3,)]

    target.invoke(**by_password)
    assert person not in members_of_rds_iam(target)
    target.connect(person, target.password(secret)).close()

    target.invoke(**by_iam)
    assert person in members_of_rds_iam(target)
    with pytest.raises(psycopg2.OperationalError):
        target.connect(person, target.password(secret))


@on_every_version
def test_a_reader_only_reads(target: Any) -> None:
    secret = target.make_secret()
    reader = f"{target.user}_reader"
    target.invoke(**further(**{reader: {"access": "read", "auth": "password", "secret_arn": secret}}))

    login = {"user": reader, "password": target.password(secret)}
    assert len(target.query("SELECT * FROM users", **login)) == 3
    with pytest.raises(InsufficientPrivilege):
        target.query("DELETE FROM users", **login)


@on_every_version
def test_what_a_migrating_person_makes_belongs_to_the_owner(target: Any) -> None:
    secret = target.make_secret()
    person = f"{target.user}_ada.lovelace"
    target.invoke(**further(**{person: {"access": "migrate", "auth": "password", "secret_arn": secret}}))

    target.query("CREATE TABLE notes (note text)", user=person, password=target.password(secret))
    assert target.query("SELECT * FROM notes") == []
    owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'notes'"
    assert target.inspect(owner) == [(f"{target.schema}_owner",)]


@on_every_version
def test_a_change_of_access_takes_the_old_privileges_away(target: Any) -> None:
    secret = target.make_secret()
    person = f"{target.user}_person"
    for access in ("migrate", "read", "migrate", "read"):
        target.invoke(**further(**{person: {"access": access, "auth": "password", "secret_arn": secret}}))

    login = {"user": person, "password": target.password(secret)}
    target.query("SELECT * FROM users", **login)
    with pytest.raises(InsufficientPrivilege):
        target.query("CREATE TABLE notes ()", **login)


@on_every_version
def test_a_user_no_longer_named_is_dropped_and_its_tables_kept(target: Any) -> None:
    secret = target.make_secret()
    person = f"{target.user}_gone"
    target.invoke(**further(**{person: {"access": "migrate", "auth": "password", "secret_arn": secret}}))
    target.inspect(
        f'CREATE TABLE {target.schema}.left_over (); ALTER TABLE {target.schema}.left_over OWNER TO "{person}"'
    )

    assert target.invoke(FURTHER_USERS="{}")["changes"] == [f"drop user {person}"]
    assert target.inspect("SELECT 1 FROM pg_roles WHERE rolname = %s", person) == []
    target.inspect(f"TABLE {target.schema}.left_over")
    assert target.invoke()["changes"] == []


def test_master_user_is_never_made_an_application_user(target: Any) -> None:
    with pytest.raises(Exception, match="cannot be an application user"):
        target.invoke(APPLICATION_USER="app_master")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PGHOST", "", "PGHOST is not set"),
        ("PGPORT", "none", "PGPORT is malformed"),
        ("APPLICATION_IAM_USER", "App", "APPLICATION_IAM_USER is malformed"),
        ("APPLICATION_SCHEMA", "", "APPLICATION_SCHEMA is not set"),
        ("APPLICATION_SCHEMA", "My Schema", "APPLICATION_SCHEMA is malformed"),
        ("APPLICATION_SETTINGS", '{"a; b": "c"}', "APPLICATION_SETTINGS is malformed"),
        ("APPLICATION_SETTINGS", '{"TimeZone": "utc", "timezone": "utc"}', "timezone is given twice"),
        ("APPLICATION_SETTINGS", '{"Role": "app_master"}', "role cannot be set"),
        ("PGCONNECT_TIMEOUT", "soon", "PGCONNECT_TIMEOUT is malformed"),
        ("FURTHER_USERS", "[]", "FURTHER_USERS is malformed"),
        ("FURTHER_USERS", '{"ada": {"access": "read", "auth": "ldap"}}', "'ldap' must be one of iam, password"),
        ("FURTHER_USERS", '{"ada": {"access": "write", "auth": "iam"}}', "must be read or migrate"),
        ("FURTHER_USERS", '{"ada": {"access": "read", "auth": "password"}}', "needs a secret_arn"),
    ],
)
def test_a_wrong_variable_is_named(target: Any, name: str, value: str, words: str) -> None:
    with pytest.raises(Exception, match=words) as refusal:
        target.invoke(**{name: value})
    assert type(refusal.value).__name__ == "SettingsError"


@on_every_version
def test_a_role_that_owns_is_no_user(target: Any) -> None:
    with pytest.raises(Exception, match="that role owns schema"):
        target.invoke(APPLICATION_USER=f"{target.schema}_owner")


def test_who_the_application_logs_in_as_is_no_further_user(target: Any) -> None:
    for user in (target.user, target.iam_user):
        with pytest.raises(Exception, match=f"must not name '{user}', which the application logs in as"):
            target.invoke(**further(**{user: {"access": "read", "auth": "iam"}}))


def test_a_role_that_rotation_would_drop_is_no_user(target: Any) -> None:
    further = json.dumps({f"{target.user}_next": {"access": "read", "auth": "iam"}})
    with pytest.raises(Exception, match="rotation makes and drops such roles"):
        target.invoke(FURTHER_USERS=further)


@pytest.mark.parametrize("name", ["rds_superuser", "rds", "rdsadmin", "pg_monitor", "postgres", "public", "user"])
def test_a_name_that_postgresql_or_rds_reserves_is_no_user(target: Any, name: str) -> None:
    with pytest.raises(Exception, match=f"No user may be called '{name}': PostgreSQL or RDS reserves"):
        target.invoke(FURTHER_USERS=json.dumps({name: {"access": "read", "auth": "iam"}}))


def test_an_application_user_whose_user_for_tokens_is_rds_iam_is_refused(target: Any) -> None:
    with pytest.raises(Exception, match="PostgreSQL or RDS reserves"):
        target.invoke(APPLICATION_USER="rds", APPLICATION_IAM_USER="rds_iam")


def test_a_schema_whose_owner_is_a_reserved_name_is_refused(target: Any) -> None:
    with pytest.raises(Exception, match="No schema may be called 'rds'"):
        target.invoke(APPLICATION_SCHEMA="rds")


def test_the_module_reserves_the_same_names() -> None:
    [pattern] = re.findall(r'reserved_users = "\^\((.*)\)\$"', (ROOT / "modules" / "bootstrap" / "main.tf").read_text())
    source = (ROOT / "lambda" / "bootstrap" / "settings.py").read_text()
    [lines] = re.findall(r"_RESERVED_NAME = re.compile\((.*?)\n\)", source, re.DOTALL)
    assert "".join(re.findall(r'r"(.*)"', lines)) == pattern


def test_a_malformed_secret_is_refused_without_showing_it(target: Any, capsys: pytest.CaptureFixture[str]) -> None:
    target.secrets_manager.put_secret_value(SecretId=target.secret, SecretString='{"password": "hidden"')

    with pytest.raises(Exception, match=f"The value of {target.secret} is not") as refusal:
        target.invoke()
    assert type(refusal.value).__name__ == "SecretError"
    assert "hidden" not in "".join(traceback.format_exception(refusal.value)) + capsys.readouterr().out


def test_plan_lists_and_changes_nothing(target: Any) -> None:
    planned = target.invoke({"action": "plan"})

    assert planned["migrations"] == ["0001_users.sql"]
    assert planned["passwords"] == [target.user]
    with pytest.raises(UndefinedTable):
        target.inspect(f"TABLE {target.schema}.users")
    applied = target.invoke()
    assert {name: planned[name] for name in applied} == applied
    assert target.invoke({"action": "plan"}) == {
        "application_user": target.user,
        "migrations": [],
        "changes": [],
        "passwords": [],
        "statements": [],
        "remarks": [],
    }


def test_an_unknown_action_names_the_known_ones(target: Any) -> None:
    with pytest.raises(Exception, match='"apply"'):
        target.invoke({"action": "aply"})
