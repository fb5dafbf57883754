"""Each file once, whole or not at all, in order; what does not fit is named."""

import contextlib
import threading
from typing import Any

import pytest
from bootstrap import migration_files, migrator


def refused(target: Any, kind: str, words: str) -> None:
    with pytest.raises(Exception, match=words) as refusal:
        target.invoke()
    assert type(refusal.value).__name__ == kind


def applied(target: Any) -> list[str]:
    return [name for (name,) in target.inspect(f"SELECT name FROM bootstrap.{target.schema} ORDER BY name")]


def test_a_changed_file_is_refused_before_anything_runs(target: Any) -> None:
    target.invoke()
    target.write("0001_users.sql", "CREATE TABLE people ();")
    target.write("0002_more.sql", "CREATE TABLE more ();")
    target.environment["APPLICATION_SETTINGS"] = '{"work_mem": "5MB"}'

    refused(target, "HistoryError", r"0001_users\.sql was applied, and its file has changed")
    assert applied(target) == ["0001_users.sql"]
    assert target.query("SHOW work_mem") != [("5MB",)]


def test_a_missing_file_is_refused(target: Any) -> None:
    target.invoke()
    (target.migrations / "0001_users.sql").unlink()

    refused(target, "HistoryError", r"0001_users\.sql was applied, and its file is missing")


def test_a_file_before_the_last_applied_is_refused(target: Any) -> None:
    target.write("0003_later.sql", "CREATE TABLE later ();")
    target.invoke()
    target.write("0002_earlier.sql", "CREATE TABLE earlier ();")

    refused(target, "HistoryError", r"0002_earlier\.sql is new, but 0003_later\.sql was applied")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("2_short.sql", "", "2_short.sql is not named like"),
        ("0001_again.sql", "", "0001_again.sql and 0001_users.sql have the same number"),
        ("0002_open.sql", "SELECT 1;\nSELECT 'a", r"0002_open\.sql:2: The quotation ' does not end"),
        ("0002_commit.sql", "SELECT 1;\n\ncommit;", r"0002_commit\.sql:3: .* must not contain COMMIT"),
        ("0002_marked.sql", "-- transaction: off\n", r"0002_marked\.sql:1: the only marker"),
        ("0002_psql.sql", "SELECT 1;\n\\echo done\n", r"0002_psql\.sql:2: A backslash begins a command of psql"),
        (
            "0002_copy.sql",
            "\nCOPY users FROM STDIN;\n1\tAda\n",
            r"0002_copy\.sql:2: COPY cannot use the client's input",
        ),
        ("0002_mark.sql", "\ufeffSELECT 1;", r"0002_mark\.sql:1: the file begins with a byte order mark"),
        ("0002_crlf.sql", "SELECT 1;\nSELECT 2;\r\n", r"0002_crlf\.sql:2: the file has CRLF line ends"),
        ("0002_latin.sql", b"SELECT 1;\n\nSELECT 'gr\xfc\xdfe';", r"0002_latin\.sql:3: the file is not UTF-8"),
        ("0002_utf16.sql", "SELECT 1;".encode("utf-16"), r"0002_utf16\.sql:1: the file is not UTF-8"),
        (
            "0002_index.sql",
            "-- transaction: none\nCREATE INDEX CONCURRENTLY ON users (name);",
            r"0002_index\.sql:2: CREATE INDEX CONCURRENTLY must name its index",
        ),
    ],
)
def test_a_file_that_could_not_run_whole_is_refused(target: Any, name: str, text: str | bytes, words: str) -> None:
    (target.migrations / name).write_bytes(text if isinstance(text, bytes) else text.encode())

    refused(target, "HistoryError", words)
    assert target.inspect("SELECT to_regclass(%s)", f"bootstrap.{target.schema}") == [(None,)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("CREATE TABLE more ();\nSELECT 1,\n  2 / 0;", r"0002_more\.sql:2: division by zero"),
        ("CREATE TABLE more ();\nSELECT 1,\n  nothing;", r'0002_more\.sql:3: column "nothing" does not exist'),
        ("CREATE TABLE more ();\n\nSELEC 1;", r'0002_more\.sql:3: syntax error at or near "SELEC"'),
        ("CREATE TABLE more ();\nVACUUM;", r"0002_more\.sql:2: VACUUM cannot run .* \(put `-- transaction: none`"),
        (
            "CREATE TABLE more ();\nSET ROLE NONE; SELECT pg_terminate_backend(pg_backend_pid());",
            r"0002_more\.sql:2: (terminating connection|SSL connection has been closed)",
        ),
    ],
)
def test_a_failure_names_its_line_and_leaves_the_last_good_version(target: Any, text: str, words: str) -> None:
    target.write("0002_more.sql", text)

    refused(target, "MigrationError", words)
    assert applied(target) == ["0001_users.sql"]
    assert target.inspect("SELECT to_regclass(%s)", f"{target.schema}.more") == [(None,)]
    assert len(target.query("SELECT * FROM users")) == 3

    target.write("0002_more.sql", "CREATE TABLE more ();")
    assert target.invoke()["migrations"] == ["0002_more.sql"]


def test_percent_signs_are_sent_as_they_are(target: Any) -> None:
    target.write("0002_more.sql", "CREATE VIEW a AS SELECT * FROM users WHERE name LIKE 'Ada%s';")

    assert target.invoke()["migrations"] == ["0001_users.sql", "0002_more.sql"]


def test_a_set_in_one_file_does_not_reach_the_next(target: Any) -> None:
    target.write("0002_set.sql", "SET search_path = pg_catalog; SET ROLE NONE; SELECT set_config('a.b', 'c', false);")
    target.write("0003_next.sql", "CREATE TABLE next AS SELECT current_setting('a.b', true) AS value;")
    target.invoke()

    assert target.query("SELECT coalesce(value, '') FROM next") == [("",)]
    owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'next'"
    assert target.inspect(owner) == [(f"{target.schema}_owner",)]


def test_a_trusted_extension_needs_no_superuser(target: Any) -> None:
    target.write("0002_extension.sql", "CREATE EXTENSION pgcrypto;")
    if not target.inspect("SELECT 1 FROM pg_available_extensions WHERE name = 'pgcrypto'"):
        pytest.skip("this PostgreSQL comes without extensions")

    target.invoke()
    assert target.query("SELECT length(digest('a', 'sha256'))") == [(32,)]


def test_a_lock_that_is_not_to_be_had_fails_instead_of_stopping_traffic(
    target: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrator, "LOCK_TIMEOUT", "100ms")
    target.invoke()
    target.write("0002_column.sql", "ALTER TABLE users ADD COLUMN email text;")
    with contextlib.closing(target.connect()) as reader, reader.cursor() as cursor:
        cursor.execute("BEGIN; SELECT * FROM users")
        refused(target, "MigrationError", r"0002_column\.sql:1: canceling statement due to lock timeout")

    assert target.invoke()["migrations"] == ["0002_column.sql"]


def test_a_session_whose_client_is_lost_on_the_way_ends_within_a_minute(target: Any) -> None:
    """And with it the lock that the next invocation waits for: the server asks whether the client is still there."""
    names = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")
    shown = ", ".join(f"current_setting('{name}') AS {name}" for name in names)
    target.write("0002_settings.sql", f"CREATE TABLE settings AS SELECT {shown};")
    target.invoke()

    [(idle, interval, count, unacknowledged)] = target.query("SELECT * FROM settings")
    assert int(idle) + int(interval) * int(count) <= 60
    assert unacknowledged == "60000"


def test_an_invocation_waits_for_the_one_before_it(target: Any, capsys: pytest.CaptureFixture[str]) -> None:
    target.invoke()
    target.write("0002_more.sql", "CREATE TABLE more ();")
    answers: list[Any] = []
    with target.server.administrator(target.database) as cursor:
        cursor.execute(
            "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"bootstrap migrations {target.schema}"]
        )
        waiting = threading.Thread(target=lambda: answers.append(target.invoke()))
        waiting.start()
        said = ""
        while "waiting for another invocation" not in said and waiting.is_alive():
            waiting.join(0.1)
            said += capsys.readouterr().out
        waiting.join(0.3)  # in which it could say so again
        assert waiting.is_alive()
        cursor.execute("COMMIT")
    waiting.join(30)
    assert answers[0]["migrations"] == ["0002_more.sql"]
    assert (said + capsys.readouterr().out).count("waiting for another invocation") == 1


def test_a_file_that_was_applied_costs_a_checksum(target: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    target.invoke()
    monkeypatch.setattr(migration_files, "split", lambda _: pytest.fail("it was read as SQL"))

    assert target.invoke()["migrations"] == []


def test_a_migration_that_a_person_ran_is_recorded(target: Any) -> None:
    target.invoke()
    target.write("0002_large.sql", "SELECT 1 / 0; -- stands for what takes hours")
    target.write("0003_next.sql", "CREATE TABLE next ();")

    assert target.invoke({"action": "record", "file": "0002_large.sql"}) == {"recorded": "0002_large.sql"}
    assert target.invoke()["migrations"] == ["0003_next.sql"]


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("0003_next.sql", "0003_next.sql cannot be recorded as applied: the next is 0002_large.sql"),
        ("0001_users.sql", "0001_users.sql cannot be recorded"),
        ("0004_none.sql", "0004_none.sql cannot be recorded"),
    ],
)
def test_only_the_next_migration_can_be_recorded(target: Any, file: str, words: str) -> None:
    target.invoke()
    target.write("0002_large.sql", "SELECT 1;")
    target.write("0003_next.sql", "SELECT 1;")

    with pytest.raises(Exception, match=words) as refusal:
        target.invoke({"action": "record", "file": file})
    assert type(refusal.value).__name__ == "HistoryError"
    assert applied(target) == ["0001_users.sql"]
