"""The stand-in as its users meet it: a command before a PostgreSQL that was there already."""

import ast
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg2
import pytest

from local.certificates import Certificates
from local.postgres import wire
from local.postgres.server import PostgresServer
from local.rds_proxy.command import main
from local.rds_proxy.pin_log import PinLog
from local.rds_proxy.pinning import NAMED
from local.rds_proxy.session import Pin
from local.rds_proxy.watch import Output
from tests.local import data_plane
from tests.local.data_plane import value
from tests.waiting import await_that

ROOT = Path(__file__).parents[3]
USERS = {"by_scram": "pw/1", "by_md5": "pw 2", "by_clear": "pw:3", "by_trust": ""}
QUERY = """
import psycopg2, sys
connection = psycopg2.connect("")
connection.autocommit = True
for statement in sys.argv[1:]:
    connection.cursor().execute(statement)
"""


class Foreign:
    """A server that knows nothing of the project: users who log in each in another way."""

    def __init__(self, server: PostgresServer, certificates: Certificates) -> None:
        self.server = server
        self.certificates = certificates
        with server.administrator() as cursor:
            for user, password in USERS.items():
                kind = "md5" if user == "by_md5" else "scram-sha-256"
                cursor.execute(f"SET password_encryption = '{kind}'; CREATE ROLE {user} LOGIN PASSWORD '{password}'")
            cursor.execute("SHOW hba_file")
            hba = Path(cursor.fetchone()[0])  # type: ignore[index]
            ways = {"by_scram": "scram-sha-256", "by_md5": "md5", "by_clear": "password", "by_trust": "trust"}
            lines = [f"{place} {user} {where} {way}" for user, way in ways.items() for place, where in PLACES]
            hba.write_text("\n".join([*lines, hba.read_text()]))
            cursor.execute("SELECT pg_reload_conf()")

    def url(self, user: str = "by_scram", host: str = "127.0.0.1", **query: str) -> str:
        login = quote(user, safe="") + ":" + quote(USERS[user], safe="")
        parameters = "&".join(f"{name}={quote(text)}" for name, text in query.items())
        return f"postgresql://{login}@{quote(host, safe='')}:{self.server.port}/app?{parameters}".rstrip("?")


PLACES = (("local all", ""), ("host all", "127.0.0.1/32"))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foreign]:
    certificates = Certificates(tmp_path_factory.mktemp("certificates"))
    server = data_plane.start_server(certificates, host_name="127.0.0.1")
    yield Foreign(server, certificates)
    server.stop()


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("PG", "AWS_")) or name == "DATABASE_URL":
            monkeypatch.delenv(name)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))


def wrapped(*statements: str) -> list[str]:
    return ["--", sys.executable, "-c", QUERY, *statements]


# The server


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("place", ["socket", "plain", "verified"])
def test_every_way_to_log_in_at_a_server_will_do(foreign: Foreign, user: str, place: str) -> None:
    if place == "socket":
        url = foreign.url(user, host=str(foreign.server.socket_folder))
    elif place == "plain":
        url = foreign.url(user, sslmode="disable")
    else:
        url = foreign.url(user, sslmode="verify-full", sslrootcert=str(foreign.certificates.ca_file("rds")))
    encrypted = "(SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid())"
    expected = f"current_user = '{user}' AND {encrypted} = {place == 'verified'}"
    assert main([url, *wrapped(f"DO $$ BEGIN ASSERT {expected}; END $$")]) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"password": "hidden"}, r'refused the login: password authentication failed for user "by_scram" \(28P01\)'),
        ({"password": ""}, "asks user by_scram for a password, and none is given"),
        ({"database": "none"}, r'refused the login: database "none" does not exist \(3D000\)'),
        ({"query": "sslmode=verify-full&sslrootcert={proxy}"}, r"TLS .* failed \(sslmode=verify-full\)"),
        ({"port": "1"}, "cannot be reached"),
    ],
)
def test_a_server_that_cannot_be_used_is_one_line(
    foreign: Foreign, changes: dict[str, str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    given = {"password": "pw%2F1", "port": str(foreign.server.port), "database": "app", "query": ""} | changes
    query = given["query"].format(proxy=foreign.certificates.ca_file("proxy"))
    url = f"postgresql://by_scram:{given['password']}@127.0.0.1:{given['port']}/{given['database']}?{query}".rstrip("?")
    assert main([url, *wrapped("SELECT 1")]) == 3
    said = capfd.readouterr()
    assert re.search(message, said.err), said.err
    assert said.err.count("\n") == 1
    assert "hidden" not in said.err + said.out


def test_a_server_without_tls_will_do_unless_tls_is_required(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_answer_without_tls, args=(listener, 2), daemon=True).start()
        url = f"postgresql://app@127.0.0.1:{listener.getsockname()[1]}/app"
        assert main([f"{url}?sslmode=require", "--", "true"]) == 3
        assert "the server does not offer TLS" in capfd.readouterr().err
        assert main([url, "--", "true"]) == 0


def _answer_without_tls(listener: socket.socket, connections: int) -> None:
    for _ in range(connections):
        client, _ = listener.accept()
        with client:
            client.recv(8)
            client.sendall(b"N")
            if client.recv(1000):
                client.sendall(wire.authentication(0) + wire.ready_for_query(b"I"))
                client.recv(1000)
                row = b"\0\1\0\0\0\x0250"
                client.sendall(wire.message(b"D", row) + wire.ready_for_query(b"I"))


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request",
        b"NHTTP/1.1 400 Bad Request",
        b"",
        b"S not TLS",
        b"NR\xff\xff\xff\xff",
        b"NR\0\0\0\x05\0",
        b"NR\0\0\0\x09\0\0\0\x0bx",  # SCRAM's middle without its begin
        b"NR\0\0\0\x08\0\0\0\x07",  # GSS
        b"NR\0\0\0\x08\0\0\0\0Z\0\0\0\x05IZ\0\0\0\x05I",  # no row
    ],
)
def test_what_is_no_server_is_one_line(answer: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def speak() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(8)
                client.sendall(answer)
                client.shutdown(socket.SHUT_WR)
                while client.recv(1000):
                    pass

        threading.Thread(target=speak, daemon=True).start()
        assert main([f"postgresql://app:pw@127.0.0.1:{listener.getsockname()[1]}/app", "--", "true"]) == 3
    said = capfd.readouterr().err
    assert said.startswith("rds-proxy-standin: ")
    assert said.count("\n") == 1


# The command that is wrapped


def test_a_command_finds_the_way_through_and_none_past(foreign: Foreign, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOSTADDR", "192.0.2.1")
    monkeypatch.setenv("DATABASE_URL", foreign.url())
    script = (
        "import os, psycopg2\n"
        "direct, own = int(os.environ['DIRECT']), int(os.environ['PGPORT'])\n"
        "for way in ('', os.environ['DATABASE_URL']):\n"
        "    connection = psycopg2.connect(way)\n"
        "    assert connection.info.port == own != direct and connection.info.ssl_in_use, way\n"
        "    assert os.environ['PGSSLMODE'] == 'verify-full'\n"
    )
    monkeypatch.setenv("DIRECT", str(foreign.server.port))
    assert main(["--require-tls", "--", sys.executable, "-c", script]) == 0


@pytest.mark.parametrize(
    ("options", "statements", "status"),
    [
        (["--fail-on-pin"], ["SELECT 1"], 0),
        (["--fail-on-pin"], ["SET timezone = 'UTC'"], 1),
        ([], ["SET timezone = 'UTC'"], 0),
    ],
)
def test_the_exit_status_tells_of_pins(
    foreign: Foreign, options: list[str], statements: list[str], status: int
) -> None:
    assert main([foreign.url(), *options, *wrapped(*statements)]) == status


def test_a_command_that_never_came_through_proves_nothing(foreign: Foreign, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([foreign.url(), "--fail-on-pin", "--", "true"]) == 1
    assert "No client logged in through the stand-in" in capfd.readouterr().err


def test_the_commands_own_failure_comes_first(foreign: Foreign) -> None:
    assert main([foreign.url(), "--fail-on-pin", "--", "sh", "-c", "exit 7"]) == 7
    assert main([foreign.url(), "--", "sh", "-c", "kill -9 $$"]) == 137
    assert main([foreign.url(), "--", "/none/such"]) == 127


def test_the_report_names_each_statement_and_what_to_write_instead(
    foreign: Foreign, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGAPPNAME", "shop\x1b[2J")
    report = tmp_path / "pins.json"
    statements = ["SET timezone = 'Asia/Tokyo'", "SET timezone = 'UTC'", "SELECT pg_advisory_lock(4711)"]
    options = ["--fail-on-pin", "--report", str(report)]
    assert main([foreign.url(), *options, *wrapped(*statements)]) == 1
    said = capfd.readouterr()
    for expected in ("SET timezone = ?", "ALTER ROLE … SET …", "pg_advisory_xact_lock(…)", "shop?[2J"):
        assert expected in said.err
    content = json.loads(report.read_text())
    assert (content["clients"], content["pinned_sessions"]) == (1, 1)
    assert [(pin["statement"], pin["times"], pin["sessions_pinned"]) for pin in content["pins"]] == [
        ("SET timezone = ?", 2, 1),
        ("SELECT pg_advisory_lock(?)", 1, 0),
    ]
    assert not re.search(r"Tokyo|4711|\x1b|pw/1", said.err + said.out + report.read_text())


def test_a_report_that_cannot_be_written_is_told_at_once(foreign: Foreign, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([foreign.url(), "--report", "/none/pins.json", "--", "false"]) == 3
    assert "/none/pins.json cannot be written" in capfd.readouterr().err


def test_given_keys_sign_and_are_never_shown(
    foreign: Foreign, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "AKIAGIVEN", "AWS_SECRET_ACCESS_KEY": "hidden/1", "AWS_SESSION_TOKEN": "hidden+2"}
    for name, text in keys.items():
        monkeypatch.setenv(name, text)
    script = (
        "import boto3, os, psycopg2\n"
        "psycopg2.connect('')\n"
        "rds = boto3.client('rds')\n"
        "for host, opens in (('localhost', True), ('127.0.0.1', False)):\n"
        "    token = rds.generate_db_auth_token(host, int(os.environ['PGPORT']), 'by_scram')\n"
        "    try:\n"
        "        psycopg2.connect('', password=token)\n"
        "    except psycopg2.OperationalError as error:\n"
        "        assert 'IAM authentication failed for user by_scram' in str(error) and not opens\n"
        "    else:\n"
        "        assert opens\n"
    )
    assert main([foreign.url(), "--iam-auth", "REQUIRED", "--", sys.executable, "-c", script]) == 0
    said = capfd.readouterr()
    assert "hidden" not in said.err + said.out
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert main([foreign.url(), "--iam-auth", "REQUIRED", "--", "true"]) == 3


# The command that stays


class Running:
    """The stand-in as a process of its own; what it says is read as it comes."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "local.rds_proxy", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.introduction = "".join(self.process.stdout.readline() for _ in range(4))
        self.url = self._said("connection")
        self.ca_file = Path(self._said("CA file"))

    def _said(self, label: str) -> str:
        found = re.search(rf"^  {label} +(\S+)", self.introduction, re.MULTILINE)
        assert found, self.introduction + self.process.communicate()[1]
        return found[1]

    def end(self, number: int) -> str:
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        return out + err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_everything_and_is_no_failure(foreign: Foreign, number: int) -> None:
    running = Running(foreign.url(), "--port", "0", "--watch")
    connection = psycopg2.connect(running.url, password=USERS["by_scram"])
    assert value(connection, "SELECT 1") == 1
    said = running.end(number)
    assert running.process.returncode == 0
    assert "Traceback" not in said
    assert not running.ca_file.exists()
    with pytest.raises(psycopg2.OperationalError):
        value(connection, "SELECT 1")
    with foreign.server.administrator() as cursor:

        def left() -> bool:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'by_scram'")
            return cursor.fetchone() == (0,)

        await_that(left)


def test_it_serves_on_when_the_reader_of_its_lines_leaves(foreign: Foreign) -> None:
    running = Running(foreign.url(), "--port", "0", "--watch")
    assert running.process.stdout is not None
    running.process.stdout.close()
    connection = psycopg2.connect(running.url, password=USERS["by_scram"])
    for _ in range(2):
        with connection, connection.cursor() as cursor:
            cursor.execute("SET timezone = 'UTC'; SELECT pg_sleep(1)")
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(20) == 0
    assert running.process.stderr is not None
    assert running.process.stderr.read() == ""


def test_a_reader_that_does_not_read_keeps_nobody_waiting() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        output = Output(stream)
        began = time.monotonic()
        for _ in range(20_000):
            output.write("x" * 100)
        assert time.monotonic() - began < 5
        os.close(reading)  # now it leaves altogether
        output.close()
        output.write("unheard")


def test_a_pin_is_shown_as_it_happens_with_reason_statement_application_and_client(foreign: Foreign) -> None:
    running = Running(foreign.url(), "--port", "0", "--watch")
    assert running.process.stdout is not None
    with psycopg2.connect(running.url, password=USERS["by_scram"], application_name="shop") as connection:
        connection.cursor().execute("LISTEN orders")
        lines = iter(running.process.stdout.readline, "")
        line = next(line for line in lines if "LISTEN" in line)
    assert re.fullmatch(r'\d\d:\d\d:\d\d  pinned  127\.0\.0\.1:\d+  shop  LISTEN: "LISTEN orders"\n', line)
    running.end(signal.SIGINT)


def test_a_port_in_use_is_one_line(foreign: Foreign, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([foreign.url(), "--port", str(foreign.server.port)]) == 3
    said = capfd.readouterr()
    assert f"Port {foreign.server.port} is in use: choose another with --port" in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


# The package


def test_the_package_holds_all_that_it_imports_and_only_that() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    shipped = project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    files = {
        path for name in shipped for path in ([ROOT / name] if name.endswith(".py") else (ROOT / name).glob("*.py"))
    }
    declared = {re.split(r"[<>=]", dependency)[0] for dependency in project["project"]["dependencies"]}
    needed, imported = set(), set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                needed |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                needed.add((node.module or "").partition(".")[0])
            elif isinstance(node, ast.ImportFrom):
                folder = file.parents[node.level - 1].joinpath(*(node.module or "").split("."))
                named = {folder / f"{alias.name}.py" for alias in node.names} if folder.is_dir() else set()
                imported |= {path for path in named if path.exists()} or {folder.with_suffix(".py")}
    assert imported <= files
    assert {path for path in files if path.stem not in ("__init__", "__main__", "command")} == imported - {
        ROOT / "local" / "rds_proxy" / "command.py"
    }
    assert needed - set(sys.stdlib_module_names) == declared


def test_named_statements_may_be_left_out_and_statements_without_end_are_only_counted() -> None:
    def pin(reason: str, statement: str) -> Pin:
        return Pin(reason, statement, "app", "app", "", "127.0.0.1:1", session=1, first=True, time=0)

    log = PinLog(ignore_named=True)
    log(pin(NAMED, "SELECT 1"))
    assert log.entries == []
    for number in range(1005):
        log(pin("LISTEN", f"LISTEN c{number}"))
    assert len(log.entries) == 1000
    assert log.beyond == 5
    assert "and 5 pins by further statements" in log.table()
