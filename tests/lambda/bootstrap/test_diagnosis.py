"""What the function tells make doctor: each part by itself, nothing changed, no secret shown."""

import json
from typing import Any

import pytest

DIAGNOSE = {"action": "diagnose"}


def diagnosed(target: Any, **environment: str) -> Any:
    answer = target.invoke(DIAGNOSE, **environment)
    assert answer == json.loads(json.dumps(answer)), "Lambda could not send it"
    return answer


def test_a_whole_database_has_nothing_to_tell(target: Any) -> None:
    target.invoke()
    found = diagnosed(target)
    assert found["users"] == {
        target.user: {"auth": "password", "rds_iam": False, "login": None},
        target.iam_user: {"auth": "iam", "rds_iam": True},
    }
    assert found["changes"] == []
    assert found["migrations"]["pending"] == []
    assert found["migrations"]["last"][0] == "0001_users.sql"
    assert found["server"]["max_connections"] == 40
    assert 0 < found["server"]["connections"] < 40
    assert found["server"]["reserved"]["superuser_reserved_connections"] == 3
    assert "password_method" not in found["server"]  # RDS's own parameter, which no other server has
    assert "failed" not in found


def test_before_the_first_apply_all_is_pending_and_nothing_is_made(target: Any) -> None:
    found = diagnosed(target)
    assert found["migrations"] == {"applied": 0, "last": None, "pending": ["0001_users.sql"]}
    assert f"make user {target.user}" in found["changes"]
    assert found["users"][target.user]["rds_iam"] is None
    assert "no value" in found["users"][target.user]["secret"]
    assert target.inspect("SELECT rolname FROM pg_roles WHERE rolname = %s", target.user) == []


@pytest.mark.parametrize(
    ("value", "part", "reason"),
    [
        ({"username": "{user}", "password": "another"}, "login", "password authentication failed"),
        ({"username": "somebody", "password": "else"}, "secret", "it holds the login of 'somebody'"),
        ("no JSON", "secret", "SecretError"),
        ({"username": "{user}", "password": "nul\0"}, "login", "ValueError"),
    ],
)
def test_a_secret_that_lets_nobody_in_is_told_without_what_it_holds(
    target: Any, value: Any, part: str, reason: str
) -> None:
    target.invoke()
    text = value if isinstance(value, str) else json.dumps(value).replace("{user}", target.user)
    target.secrets_manager.put_secret_value(SecretId=target.secret, SecretString=text)
    found = diagnosed(target)
    assert reason in found["users"][target.user][part]
    assert all(word not in json.dumps(found) for word in ("another", "else", "no JSON", "nul"))


def test_a_user_who_is_to_show_a_password_but_must_show_a_token_is_told(target: Any) -> None:
    target.invoke()
    with target.server.administrator() as cursor:
        cursor.execute(f"GRANT rds_iam TO {target.user}")
    found = diagnosed(target)["users"][target.user]
    assert found["rds_iam"] is True
    assert found["login"]


def test_a_user_whose_token_is_not_taken_is_told(target: Any) -> None:
    target.invoke()
    master = target.password(target.master_secret)
    target.query(f"REVOKE rds_iam FROM {target.iam_user}", user="app_master", password=master)
    assert diagnosed(target)["users"][target.iam_user] == {"auth": "iam", "rds_iam": False}


def test_a_history_that_does_not_fit_hides_no_other_part(target: Any) -> None:
    target.invoke()
    target.write("0001_users.sql", "SELECT 1;")
    found = diagnosed(target)
    assert "has changed since" in found["migrations"]["reason"]
    assert found["users"][target.user]["login"] is None
    assert found["changes"] == []


@pytest.mark.parametrize(
    ("given", "step"), [({"PGHOSTADDR": "127.0.0.1", "PGPORT": "1"}, "connection"), ({}, "secret")]
)
def test_where_the_way_ends_is_told(target: Any, given: dict[str, str], step: str) -> None:
    found = diagnosed(target, **given or {"MASTER_SECRET_ARN": target.make_secret()})
    assert found["failed"] == step
    assert found["reason"]
