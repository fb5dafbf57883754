"""What is wrong in the environment is named."""

# ruff: noqa: S105  an ARN is no password

from __future__ import annotations

import pytest
from lambda_postgres import NotConfigured, Settings


@pytest.fixture
def environ(tmp_path):
    roots = tmp_path / "roots.pem"
    roots.write_text("roots")
    return {
        "PGHOST": "app.abc.eu-central-1.rds.amazonaws.com",
        "PGPORT": "5433",
        "PGDATABASE": "app",
        "PGUSER": "writer",
        "PGSSLROOTCERT": str(roots),
        "DB_AUTH": "iam",
        "AWS_REGION": "eu-central-1",
    }


def test_settings_are_read_from_libpqs_own_names(environ):
    settings = Settings.from_environment(environ)
    assert settings.host == environ["PGHOST"]
    assert settings.port == 5433
    assert settings.database == "app"
    assert settings.user == "writer"
    assert settings.ca_file == environ["PGSSLROOTCERT"]
    assert settings.region == "eu-central-1"
    assert settings.application_name == "lambda_postgres"


def test_port_has_a_default(environ):
    del environ["PGPORT"]
    assert Settings.from_environment(environ).port == 5432


def test_a_reader_is_read_where_it_is_set(environ):
    alone = Settings.from_environment({**environ, "PGHOST_READER": ""})
    assert (alone.reader_host, alone.reader_fallback) == (None, False)
    assert alone.target == f"{alone.host}:5433/app as writer"
    both = Settings.from_environment({**environ, "PGHOST_READER": "ro", "DB_READER_FALLBACK": "writer"})
    assert (both.reader_host, both.reader_port, both.reader_fallback) == ("ro", 5433, True)
    assert both.target.startswith(f"writer {both.host}:5433")
    assert Settings.from_environment({**environ, "PGPORT_READER": "5434"}).reader_port == 5434
    for variable, value in {"PGPORT_READER": "0", "DB_READER_FALLBACK": "yes", "PGHOST_READER": " ro"}.items():
        with pytest.raises(NotConfigured, match=variable):
            Settings.from_environment({**environ, variable: value})


def test_application_name_is_the_functions_own(environ):
    environ["AWS_LAMBDA_FUNCTION_NAME"] = "app-dev"
    assert Settings.from_environment(environ).application_name == "app-dev"
    environ["PGAPPNAME"] = "given"
    assert Settings.from_environment(environ).application_name == "given"


def test_secret_is_read_in_secret_mode_only(environ):
    environ["DB_SECRET_ARN"] = "arn:aws:secretsmanager:eu-central-1:1:secret:app"
    assert Settings.from_environment(environ).secret_arn is None
    environ["DB_AUTH"] = "secret"
    assert Settings.from_environment(environ).secret_arn == environ["DB_SECRET_ARN"]


def test_secret_mode_wants_a_secret(environ):
    with pytest.raises(NotConfigured, match="DB_SECRET_ARN is not set"):
        Settings.from_environment({**environ, "DB_AUTH": "secret"})


@pytest.mark.parametrize("variable", ["PGHOST", "PGDATABASE", "PGUSER", "PGSSLROOTCERT", "DB_AUTH", "AWS_REGION"])
@pytest.mark.parametrize("value", [None, ""])
def test_missing_variable_is_named(environ, variable, value):
    del environ[variable]
    if value is not None:
        environ[variable] = value
    with pytest.raises(NotConfigured, match=f"^{variable} is not set"):
        Settings.from_environment(environ)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PGHOST", " host"),
        ("PGUSER", "app\n"),
        ("PGPORT", "0"),
        ("PGPORT", "65536"),
        ("PGPORT", "54a2"),
        ("PGPORT", "-1"),
        ("PGPORT", "²"),
        ("PGSSLROOTCERT", "/nowhere/roots.pem"),
        ("DB_AUTH", "password"),
        ("PGCONNECT_TIMEOUT", "1"),
        ("DB_MAX_IDLE_SECONDS", "0"),
        ("DB_RETRY_SECONDS", "1000"),
    ],
)
def test_malformed_variable_is_named(environ, variable, value):
    with pytest.raises(NotConfigured, match=f"^{variable} "):
        Settings.from_environment({**environ, variable: value})


@pytest.mark.parametrize("variable", ["PGOPTIONS", "PGGEQO"])
def test_what_the_proxy_refuses_is_refused_everywhere(environ, variable):
    with pytest.raises(NotConfigured, match=f"{variable} must not be set"):
        Settings.from_environment({**environ, variable: "x"})


@pytest.mark.parametrize(
    ("variable", "refused", "allowed"),
    [
        ("PGDATESTYLE", "German", "ISO, MDY"),
        ("PGDATESTYLE", "SQL", "iso"),
        ("PGCLIENTENCODING", "LATIN1", "UTF8"),
        ("PGCLIENTENCODING", "auto", "utf-8"),
        ("PGSERVICE", "app", ""),
        ("PGSSLNEGOTIATION", "direct", "postgres"),
    ],
)
def test_what_would_make_a_driver_send_set_or_overrule_the_settings_is_refused(environ, variable, refused, allowed):
    with pytest.raises(NotConfigured, match=f"{variable} must not be '{refused}': .*leave it unset"):
        Settings.from_environment({**environ, variable: refused})
    assert Settings.from_environment({**environ, variable: allowed})


def test_settings_cannot_be_changed(environ):
    settings = Settings.from_environment(environ)
    with pytest.raises(AttributeError):
        settings.host = "other"
