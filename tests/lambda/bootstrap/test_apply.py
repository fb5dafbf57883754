"""What `apply` leaves behind: a schema, and users who can log in and do just what they should."""

import json
from typing import Any

import psycopg2
import pytest

from .conftest import on_every_version

pytestmark = on_every_version


def test_application_reads_users_without_naming_the_schema(target: Any) -> None:
    answer = target.invoke()

    assert answer["application_user"] == target.user
    assert answer["migrations"] == ["0001_users.sql"]
    rows = target.query("SELECT id, name, created_at FROM users ORDER BY id LIMIT 10")
    assert [row[1] for row in rows] == ["Ada Lovelace", "Grace Hopper", "Edgar F. Codd"]


def test_second_apply_does_nothing(target: Any) -> None:
    target.invoke()
    password = target.password()

    assert target.invoke() == {"application_user": target.user, "migrations": [], "changes": [], "passwords": []}
    assert target.password() == password


def test_no_password_in_answer_or_logs(target: Any, capsys: pytest.CaptureFixture[str]) -> None:
    answer = target.invoke()

    output = capsys.readouterr().out
    assert all(isinstance(json.loads(line), dict) for line in output.splitlines())
    assert target.password() not in output + json.dumps(answer) + target.server.log_file.read_text()
    assert "SCRAM-SHA-256$" in target.server.log_file.read_text()  # the verifier is what the server was sent


def test_after_a_rotation_only_the_new_password_works(target: Any) -> None:
    target.invoke()
    old = target.password()
    target.rotate(target.begin_rotation())

    assert target.password() != old
    assert target.query("SELECT current_user") == [(target.user,)]
    with pytest.raises(psycopg2.OperationalError):
        target.connect(password=old)
    assert target.invoke()["passwords"] == []
