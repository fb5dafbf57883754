"""Where a URL leads, read as libpq reads it, and what is said of one that cannot be followed."""

import re
from pathlib import Path

import pytest

from local.rds_proxy.backend import Backend, BackendError, read_url
from local.rds_proxy.options import parse

ROOT = Path(__file__).parents[3]


def place(backend: Backend) -> tuple[str, str, str, str]:
    return backend.place, backend.user, backend.password, backend.database


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://app:pw@db.example.com:6000/shop", ("db.example.com:6000", "app", "pw", "shop")),
        ("postgres://app:p%40%2F%3A@h", ("h:5432", "app", "p@/:", "app")),
        ("postgresql+psycopg://app:@h/shop", ("h:5432", "app", "", "shop")),
        ("postgresql://app:a#b@h/shop", ("h:5432", "app", "a#b", "shop")),
        ("postgresql://[::1]:6000/a%20b?user=app", ("::1:6000", "app", "env", "a b")),
        ("postgresql:///shop?host=/run/x&port=6000&user=u", ("/run/x/.s.PGSQL.6000", "u", "env", "shop")),
        ("postgresql://u@%2Frun%2Fx/shop", ("/run/x/.s.PGSQL.5432", "u", "env", "shop")),
        ("postgresql://", ("env.example.com:7000", "env_user", "env", "env_db")),
    ],
)
def test_a_url_is_read_as_libpq_does(url: str, expected: tuple[str, str, str, str]) -> None:
    environ = {"PGUSER": "env_user", "PGPASSWORD": "env", "PGDATABASE": "env_db"}
    if url == "postgresql://":
        environ |= {"PGHOST": "env.example.com", "PGPORT": "7000"}
    found = read_url(url, environ)
    assert place(found)[:3] == expected[:3]
    assert found.database == (expected[3] if url != "postgres://app:p%40%2F%3A@h" else "env_db")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://h/x", "must begin with postgresql://"),
        ("app:pw@h", "must begin with postgresql://"),
        ("postgresql://app:hidden/pw@h/x", "%2F"),
        ("postgresql://app:hidden@h:70000/x", "from 1 to 65535"),
        ("postgresql://app:hidden@::1/x", "in brackets"),
        ("postgresql://app:hidden@a,b/x", "several hosts"),
        ("postgresql://app:hidden@h/x?sslmode=always", "sslmode must be one of disable, allow"),
        (
            "postgresql://app:hidden@h/x?sslmode=verify-full&sslrootcert=/none.pem",
            "/none.pem cannot be used: No such file",
        ),
        ("postgresql://app:hidden@h/x?sslcert=c.pem", "parameter sslcert is not supported"),
        ("postgresql://app:hidden@h/x?a&b", "name=value"),
    ],
)
def test_a_url_that_cannot_be_followed_is_refused_without_its_password(url: str, message: str) -> None:
    with pytest.raises(BackendError, match=message) as refused:
        read_url(url, {})
    assert "hidden" not in str(refused.value)


def test_require_with_an_authority_verifies_and_system_means_the_systems_own() -> None:
    missing = "postgresql://u@h/x?sslmode=require&sslrootcert=/none.pem"
    with pytest.raises(BackendError, match="sslmode=verify-ca"):
        read_url(missing, {})
    context = read_url("postgresql://u@h/x?sslmode=verify-full&sslrootcert=system", {}).target.tls()
    assert context is not None
    assert context.check_hostname
    assert read_url("postgresql://u@h/x", {"PGSSLMODE": "disable"}).target.tls() is None


def test_a_password_file_counts_unless_others_may_read_it(tmp_path: Path) -> None:
    file = tmp_path / "pgpass"
    file.write_text("# h:5432:x:u:comment\nother:*:*:*:no\nh:5432:*:u:a\\:b\\\\c\n*:*:*:*:last\n")
    environ = {"PGPASSFILE": str(file)}
    file.chmod(0o600)
    assert read_url("postgresql://u@h/x", environ).password == "a:b\\c"  # noqa: S105
    assert read_url("postgresql://v@h/x", environ).password == "last"  # noqa: S105
    file.chmod(0o644)
    assert read_url("postgresql://u@h/x", environ).password == ""


def test_what_the_url_says_to_the_client_is_kept_and_secrets_are_in_no_repr() -> None:
    backend = read_url("postgresql+asyncpg://u:hidden@h/x?application_name=a%20b", {})
    assert "hidden" not in repr(backend)
    url = backend.url(host="localhost", port=6432, ca_file=Path("/ca.pem"), password="p@")  # noqa: S106
    assert url == "postgresql+asyncpg://u:p%40@localhost:6432/x?application_name=a%20b"
    plain = read_url("postgresql://u@h/x", {}).url(host="localhost", port=6432, ca_file=Path("/ca.pem"))
    assert plain == "postgresql://u@localhost:6432/x?sslmode=verify-full&sslrootcert=/ca.pem"


# Options


def test_without_options_everything_is_as_rds_has_it() -> None:
    options = parse(["postgresql://"])
    assert (options.max_connections_percent, options.max_idle_connections_percent) == (100, 50)
    assert (options.connection_borrow_timeout, options.idle_client_timeout) == (120, 1800)
    assert (options.require_tls, options.iam_auth, options.init_query) == (False, "DISABLED", "")
    assert options.client_password_auth_type == "POSTGRES_SCRAM_SHA_256"  # noqa: S105
    assert parse(["--max-connections-percent", "9"]).max_idle_connections_percent == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--max-connections-percent 0", "--max-connections-percent: must be a whole number from 1 to 100, not '0'"),
        ("--max-connections-percent 101", "from 1 to 100"),
        ("--max-connections-percent 5.5", "from 1 to 100"),
        ("--max-idle-connections-percent 20", "needs --max-connections-percent"),
        ("--max-connections-percent 10 --max-idle-connections-percent 11", "which is 10, not 11"),
        ("--borrow-timeout 301", "from 0 to 300"),
        ("--connection-borrow-timeout -1", "expected one argument|from 0 to 300"),
        ("--idle-client-timeout 28801", "from 1 to 28800"),
        ("--iam-auth ENABLED", "SQL Server only"),
        ("--client-password-auth-type MYSQL_NATIVE_PASSWORD", "POSTGRES_SCRAM_SHA_256 or POSTGRES_MD5"),
        ("--session-pinning-filters EXCLUDE_VARIABLE_SETS", "no session pinning filters for PostgreSQL"),
        ("--max-conn 10", "unrecognized arguments"),
        ("--secrets /none.json", "/none.json: No such file"),
        ("--watch --", "a command must follow"),
    ],
)
def test_a_wrong_option_is_refused_with_its_rule(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        parse(arguments.split())
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert said.count("\n") == 1
    assert re.search(message, said), said


def test_secrets_have_the_form_of_secrets_manager(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "secrets.json"
    file.write_text('{"username": "other", "password": "hidden", "engine": "postgres"}')
    assert [secret.username for secret in parse(["--secrets", str(file)]).secrets] == ["other"]
    for content in ('[{"username": "other"}]', '["hidden"]', "hidden", str([{"username": "a", "password": "b"}] * 200)):
        file.write_text(content.replace("'", '"'))
        with pytest.raises(SystemExit):
            parse(["--secrets", str(file)])
        assert "hidden" not in capsys.readouterr().err


def test_the_page_names_every_option_and_its_example_is_understood(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"])
    known = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out)) - {"--help"}
    page = (ROOT / "docs" / "proxy.md").read_text()
    assert known == set(re.findall(r"--[a-z][a-z-]+", page.partition("\n## What RDS Proxy does")[0]))
    job = (ROOT / "examples" / "pinning-in-ci" / "pins.yml").read_text()
    line = next(line for line in job.splitlines() if "run: rds-proxy-standin" in line)
    options = parse(line.partition("rds-proxy-standin ")[2].split())
    assert options.fail_on_pin
    assert options.command == ["pytest", "tests/"]
