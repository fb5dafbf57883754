"""An index made CONCURRENTLY stands valid where the statement names it, or the file is not recorded."""

import threading
import time
from typing import Any

import pytest
from bootstrap import indexes, migrator

CONCURRENTLY = "-- transaction: none\nCREATE INDEX CONCURRENTLY IF NOT EXISTS users_name ON users (name);"


def test_a_marked_file_runs_outside_a_transaction(target: Any) -> None:
    target.write("0002_index.sql", CONCURRENTLY)

    assert target.invoke()["migrations"] == ["0001_users.sql", "0002_index.sql"]
    valid = "SELECT indisvalid, pg_get_userbyid(relowner) FROM pg_index JOIN pg_class ON oid = indexrelid"
    assert target.inspect(f"{valid} WHERE relname = 'users_name'") == [(True, f"{target.schema}_owner")]


def test_an_index_left_unfinished_is_made_anew(target: Any, capsys: pytest.CaptureFixture[str]) -> None:
    target.write("0002_other.sql", CONCURRENTLY.replace("users_name", "other"))
    target.invoke()
    assert "dropped" not in capsys.readouterr().out, "there was none"
    leave_unfinished(target, "users_name")
    target.write("0003_index.sql", CONCURRENTLY)

    target.invoke()
    assert '"event": "unfinished index dropped", "index": "users_name"' in capsys.readouterr().out
    index = "SELECT indisvalid FROM pg_index JOIN pg_class ON oid = indexrelid WHERE relname = 'users_name'"
    assert target.inspect(index) == [(True,)]


def test_an_index_that_is_not_valid_after_its_statement_is_not_recorded(
    target: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when another session begins to make it after the look, and IF NOT EXISTS keeps what that one has left."""
    target.invoke()
    leave_unfinished(target, "users_name")
    target.write("0002_index.sql", CONCURRENTLY)
    with monkeypatch.context() as patch:
        patch.setattr(migrator, "clear_the_way", lambda *_: False)
        with pytest.raises(Exception, match=r"0002_index\.sql:2: The index 'users_name' is not valid after") as refusal:
            target.invoke()
    assert type(refusal.value).__name__ == "MigrationError"

    assert target.invoke()["migrations"] == ["0002_index.sql"]


@pytest.mark.parametrize(
    ("statement", "name", "table"),
    [
        ("CREATE INDEX CONCURRENTLY users_name ON users (name)", "users_name", ("users",)),
        (
            "create unique index concurrently if not exists Users_Name on only App . Users(name)",
            "users_name",
            ("app", "users"),
        ),
        ('CREATE INDEX /* a */ CONCURRENTLY "Users ""Name""" ON "my.app"."T"(name)', 'Users "Name"', ("my.app", "T")),
        ('CREATE INDEX CONCURRENTLY "on" ON t (a)', "on", ("t",)),
        (f"CREATE INDEX CONCURRENTLY {'a' * 70} ON t (a)", "a" * 63, ("t",)),
        ("CREATE INDEX CONCURRENTLY ON t (a)", "", ("t",)),
    ],
)
def test_what_a_statement_names(statement: str, name: str, table: tuple[str, ...]) -> None:
    assert indexes.concurrent_index(statement) == indexes.ConcurrentIndex(name, table)


@pytest.mark.parametrize(
    "statement", ["CREATE INDEX a ON t (b)", "CREATE TABLE t (a text)", "CREATE INDEX CONCURRENTLY"]
)
def test_other_statements_name_none(statement: str) -> None:
    assert indexes.concurrent_index(statement) is None


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        ('CREATE INDEX CONCURRENTLY IF NOT EXISTS "Users Name" ON users (name)', '"Users Name"'),
        ("CREATE INDEX CONCURRENTLY IF NOT EXISTS Users_NAME ON users (name)", "users_name"),
        ("CREATE INDEX CONCURRENTLY IF NOT EXISTS users_name ON {schema}.users (name)", "users_name"),
    ],
)
def test_an_unfinished_index_is_found_by_the_name_that_the_statement_really_gives(
    target: Any, statement: str, index: str
) -> None:
    target.invoke()
    leave_unfinished(target, index)
    target.write("0002_index.sql", f"-- transaction: none\n{statement.format(schema=target.schema)};")

    target.invoke()
    assert target.inspect(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = %s::regclass", f"{target.schema}.{index}"
    ) == [(True,)]


def test_an_unfinished_index_that_the_file_only_mentions_is_left_alone(target: Any) -> None:
    target.invoke()
    leave_unfinished(target, "name")
    target.write("0002_index.sql", CONCURRENTLY)

    target.invoke()
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = %s::regclass"
    assert target.inspect(valid, f"{target.schema}.name") == [(False,)]


def test_an_index_that_another_session_is_building_is_not_dropped(target: Any) -> None:
    target.invoke()
    target.write("0002_index.sql", CONCURRENTLY)
    building = f"SET ROLE {target.schema}_owner; SET search_path = {target.schema}"

    def build() -> None:
        with target.server.administrator(target.database) as cursor:
            cursor.execute(building)
            cursor.execute("CREATE INDEX CONCURRENTLY users_name ON users (name)")

    with target.server.administrator(target.database) as reader:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")  # which the builder waits for
        reader.execute(f"SELECT count(*) FROM {target.schema}.users")
        builder = threading.Thread(target=build)
        builder.start()
        unfinished = (
            "SELECT 1 FROM pg_class JOIN pg_index ON oid = indexrelid WHERE relname = 'users_name' AND NOT indisvalid"
        )
        while not target.inspect(unfinished):
            assert builder.is_alive()
            time.sleep(0.02)
        with pytest.raises(
            Exception, match=r"0002_index\.sql:2: The index 'users_name' is being built by another"
        ) as refusal:
            target.invoke()
        assert type(refusal.value).__name__ == "MigrationError"
        reader.execute("COMMIT")
    builder.join(30)

    assert target.invoke()["migrations"] == ["0002_index.sql"]


def test_a_name_that_another_table_has_taken_is_an_error(target: Any) -> None:
    target.write("0002_more.sql", "CREATE TABLE more (name text); CREATE INDEX users_name ON more (name);")
    target.write("0003_index.sql", CONCURRENTLY)

    with pytest.raises(Exception, match=r"0003_index\.sql:2: The index 'users_name' is on another table"):
        target.invoke()


def leave_unfinished(target: Any, index: str) -> None:
    """Leave what an interrupted CREATE INDEX CONCURRENTLY leaves."""
    target.inspect(f"CREATE INDEX {index} ON {target.schema}.users (name)")
    target.inspect("UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass", f"{target.schema}.{index}")
