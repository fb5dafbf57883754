"""One bootstrap is one application: several share a database, and none touches what it did not make."""

import json
from typing import Any

import pytest

from .conftest import on_every_version


def refused(target: Any, words: str, **environment: str) -> None:
    with pytest.raises(Exception, match=words) as refusal:
        target.invoke(**environment)
    assert type(refusal.value).__name__ in ("RoleError", "SchemaTakenError")


@on_every_version
def test_two_applications_live_side_by_side(target: Any, neighbour: Any) -> None:
    assert target.invoke()["migrations"] == ["0001_users.sql"]
    assert neighbour.invoke()["migrations"] == ["0001_orders.sql"]
    nothing = {"migrations": [], "changes": [], "passwords": []}
    for one in (target, neighbour, target):
        assert one.invoke() == {"application_user": one.user} | nothing

    assert target.query("SELECT count(*) FROM users") == [(3,)]
    assert neighbour.query("SELECT count(*) FROM orders") == [(0,)]
    for one, table in ((neighbour, f"{target.schema}.users"), (target, f"{neighbour.schema}.orders")):
        with pytest.raises(Exception, match="permission denied for schema"):
            one.query(f"SELECT * FROM {table}")
        with pytest.raises(Exception, match="permission denied for schema"):
            one.query_by_token(f"SELECT * FROM {table}")


def test_a_user_of_another_application_is_refused_by_name(target: Any, neighbour: Any) -> None:
    target.invoke()
    neighbour.environment["APPLICATION_USER"] = target.user

    refused(neighbour, f"Role '{target.user}' exists and was not made by this bootstrap")
    target.connect().close()
    assert neighbour.inspect("SELECT 1 FROM pg_namespace WHERE nspname = %s", neighbour.schema) == []


@on_every_version
def test_a_role_that_a_person_made_is_never_adopted(target: Any) -> None:
    target.inspect(f"CREATE ROLE {target.user} LOGIN CREATEDB PASSWORD 'a person''s'")
    refused(target, "To hand the role over")
    assert target.inspect("SELECT rolcreatedb FROM pg_roles WHERE rolname = %s", target.user) == [(True,)]

    with pytest.raises(Exception, match="was not made by this bootstrap") as refusal:
        target.invoke()
    target.inspect(str(refusal.value).partition("whoever made it: ")[2])
    target.invoke()
    target.connect().close()


@on_every_version
def test_a_further_user_that_a_person_made_is_neither_adopted_nor_dropped(target: Any) -> None:
    person = f"{target.user}_person"
    target.inspect(f"CREATE ROLE {person} LOGIN")
    refused(target, f"Role '{person}' exists", FURTHER_USERS=json.dumps({person: {"access": "read", "auth": "iam"}}))
    target.invoke(FURTHER_USERS="{}")

    assert target.inspect("SELECT 1 FROM pg_roles WHERE rolname = %s", person) == [(1,)]


def test_a_stand_in_that_a_person_made_is_not_given_a_password(target: Any) -> None:
    target.invoke()
    target.inspect(f"CREATE ROLE {target.user}_next LOGIN")
    with pytest.raises(Exception, match="_next' exists and was not made by a rotation"):
        target.rotate(target.begin_rotation())
    target.inspect(f"DROP ROLE {target.user}_next")


def test_a_schema_that_a_person_made_is_refused(target: Any) -> None:
    target.inspect(f"CREATE SCHEMA {target.schema}")

    refused(target, f"Schema '{target.schema}' exists and belongs to 'rdsadmin'")
    assert target.inspect("SELECT 1 FROM pg_roles WHERE rolname = %s", target.user) == []


def test_a_schema_called_bootstrap_that_a_person_made_is_refused(target: Any) -> None:
    target.inspect("CREATE SCHEMA bootstrap")

    refused(target, "The schema 'bootstrap' exists and is not the master user's")


def test_another_schema_for_the_same_user_is_refused_and_nothing_is_lost(target: Any) -> None:
    target.invoke()

    refused(target, f"Role '{target.user}' exists", APPLICATION_SCHEMA=f"{target.schema}_b")
    assert target.query("SELECT count(*) FROM users") == [(3,)]
    assert target.inspect("SELECT 1 FROM pg_namespace WHERE nspname = %s", f"{target.schema}_b") == []


def test_another_name_for_the_application_s_user_is_refused_and_nothing_is_lost(target: Any) -> None:
    target.invoke()

    refused(target, f"application.user was '{target.user}' and is now", APPLICATION_USER=f"{target.user}_b")
    assert target.query("SELECT count(*) FROM users") == [(3,)]


def test_what_the_last_version_marked_the_next_one_knows(target: Any) -> None:
    """The mark is kept in the database: under other words every role there would be refused as somebody else's."""
    target.invoke()
    mark = f"of schema {target.schema} in database {target.database}, made by its bootstrap function"
    written = "SELECT rolname, shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = ANY (%s)"
    marks = {target.user: "application", target.iam_user: "application by IAM", f"{target.schema}_owner": "owner"}
    assert dict(target.inspect(written, list(marks))) == {role: f"{kind} {mark}" for role, kind in marks.items()}


def test_the_same_schema_and_user_of_another_function_are_refused_and_the_first_one_s_password_stays(
    target: Any, neighbour: Any
) -> None:
    target.invoke()
    password = target.password()
    neighbour.environment |= {
        name: target.environment[name] for name in ("APPLICATION_USER", "APPLICATION_IAM_USER", "APPLICATION_SCHEMA")
    }

    words = f"Schema '{target.schema}' is of the bootstrap function '{target.schema}-bootstrap', and this is"
    refused(neighbour, words)
    with pytest.raises(Exception, match="choose another application"):
        neighbour.invoke({"action": "plan"})
    assert target.password() == password
    assert target.query("SELECT count(*) FROM users") == [(3,)]
    assert target.invoke()["passwords"] == []


@on_every_version
def test_the_schema_of_a_function_that_is_gone_can_be_handed_over(target: Any) -> None:
    target.invoke()
    with pytest.raises(Exception, match="gone for good") as refusal:
        target.invoke(AWS_LAMBDA_FUNCTION_NAME="successor")
    target.inspect(str(refusal.value).partition("as the master user: ")[2])
    assert target.invoke()["migrations"] == []
    refused(target, "is of the bootstrap function 'successor'", AWS_LAMBDA_FUNCTION_NAME="another")


def test_a_database_restored_to_another_instance_belongs_to_who_comes_first_there(target: Any) -> None:
    """There every function has another name, and every secret is new."""
    target.invoke()
    target.inspect(f"COMMENT ON TABLE bootstrap.{target.schema} IS '{target.schema}-bootstrap at where.it.was.before'")
    target.environment["APPLICATION_SECRET_ARN"] = target.secret = target.make_secret()
    assert target.invoke(AWS_LAMBDA_FUNCTION_NAME="restored")["passwords"] == [target.user]
    assert target.query("SELECT count(*) FROM users") == [(3,)]


def test_an_application_cannot_change_whose_its_schema_is(target: Any) -> None:
    target.write("0002_claim.sql", f"COMMENT ON TABLE bootstrap.{target.schema} IS NULL;")
    with pytest.raises(Exception, match="must be owner of table"):
        target.invoke()


def test_a_rotation_of_one_leaves_the_other_s_sessions_password_and_rows_alone(target: Any, neighbour: Any) -> None:
    target.invoke()
    neighbour.invoke()
    password, session = neighbour.password(), neighbour.connect()
    target.rotate(target.begin_rotation())

    with session, session.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM orders")
        assert cursor.fetchone() == (0,)
    session.close()
    assert neighbour.password() == password
    neighbour.connect().close()
    assert neighbour.invoke() == {"application_user": neighbour.user, "migrations": [], "changes": [], "passwords": []}
    with pytest.raises(Exception, match="is the secret of none of the users"):
        neighbour.rotate(target.begin_rotation(), secret=target.secret)
