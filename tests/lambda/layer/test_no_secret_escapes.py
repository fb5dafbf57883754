"""No token, password or key is in a message, a repr, a traceback's locals or a log line."""

# ruff: noqa: PLR0917, S105  what a test needs; loans; passwords of test servers

from __future__ import annotations

import json
import signal
import socket
import traceback
from contextlib import nullcontext

import pytest
from lambda_postgres import CannotConnect, Error, Keeper, signature
from lambda_postgres import credentials as credentials_module
from lambda_postgres.log import Log

from .support import set_password


def spoil_password(secrets, server, **_):
    secrets.pending = "canary-pending"
    set_password(server, "another")


def spoil_database(settings, **_):
    return settings._replace(database="none")


def spoil_certificates(settings, certificates, **_):
    return settings._replace(ca_file=str(certificates.ca_file("proxy")))


def spoil_secret(secrets, **_):
    secrets.answer = (200, b'{"SecretString": "{\\"password\\": canary-broken"}')


def spoil_secrets_manager(secrets, **_):
    secrets.answer = (400, {"__type": "AccessDeniedException", "Message": "canary-message"})


def spoil_endpoint(monkeypatch, **_):
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:1")


def spoil_token(settings, **_):
    return settings._replace(auth="iam", secret_arn=None)


def spoil_token_and_server(settings, **_):
    return settings._replace(auth="iam", secret_arn=None, port=1)


def spoil_credentials(monkeypatch, **_):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")


def spoil_container_credentials(monkeypatch, **_):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "canary-authorization")


def spoil_secret_with_half_a_character(secrets, **_):
    secrets.answer = (200, b'{"SecretString": "{\\"username\\": \\"app\\", \\"password\\": \\"canary\\\\ud800\\"}"}')


def spoil_user_in_secret(secrets, **_):
    secrets.answer = (200, b'{"SecretString": "{\\"username\\": \\"\\\\udfff\\", \\"password\\": \\"canary\\"}"}')


def spoil_secret_access_key(settings, monkeypatch, **_):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary\udc80")
    return settings._replace(auth="iam", secret_arn=None)


def spoil_session_token(monkeypatch, **_):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "canary\nx: y")


def spoil_container_authorization(monkeypatch, **_):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "canary\n")


def spoil_the_library(settings, monkeypatch, **_):
    def explode(*_, credentials, **__):
        raise ValueError(credentials.secret_access_key)

    monkeypatch.setattr(signature, "database_token", explode)
    return settings._replace(auth="iam", secret_arn=None)


SPOILERS = [
    spoil_secret_with_half_a_character,
    spoil_user_in_secret,
    spoil_secret_access_key,
    spoil_session_token,
    spoil_container_authorization,
    spoil_the_library,
    spoil_credentials,
    spoil_container_credentials,
    spoil_password,
    spoil_database,
    spoil_certificates,
    spoil_secret,
    spoil_secrets_manager,
    spoil_endpoint,
    spoil_token,
    spoil_token_and_server,
]


@pytest.mark.parametrize("spoil", SPOILERS, ids=[spoil.__name__ for spoil in SPOILERS])
def test_nothing_that_a_failure_leaves_behind_holds_a_secret(
    spoil, settings, secrets, server, certificates, monkeypatch, capsys, caplog
):
    caplog.set_level(0)
    changed = spoil(
        settings=settings, secrets=secrets, server=server, certificates=certificates, monkeypatch=monkeypatch
    )
    keeper = Keeper((changed or settings)._replace(retry_seconds=0), log=Log(level="TRACE"))
    keeper.warm()
    with pytest.raises(Error) as caught, keeper.connection():
        pass

    found = "".join(everything_about(caught.value)) + "".join(everything_about(keeper._earlier_error))
    output = capsys.readouterr()
    for text in (found, caplog.text, output.out, output.err, repr(keeper), repr(keeper._logins)):
        assert "canary" not in text
        assert "X-Amz-Signature" not in text
        assert "Signature=" not in text


class Alarm(Exception):  # noqa: N818
    """The time is up."""


@pytest.mark.parametrize("auth", ["iam", "secret"])
@pytest.mark.parametrize("how", ["connection", "connect", "warm"])
def test_a_signal_while_connecting_leaves_no_secret_in_the_traceback(settings, how, auth):
    def ring(*_):
        raise Alarm

    with socket.create_server(("127.0.0.1", 0)) as mute:
        keeper = Keeper(settings._replace(port=mute.getsockname()[1], auth=auth))
        old = signal.signal(signal.SIGALRM, ring)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            if how == "warm":
                keeper.warm()
            with (
                pytest.raises(Alarm) as caught,
                nullcontext(keeper.connect()) if how == "connect" else keeper.connection(),
            ):
                pass
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
        found = "".join(everything_about(caught.value))
    keeper.close()
    assert "canary" not in found
    assert "Signature=" not in found


def test_an_error_that_nobody_foresaw_names_its_kind_and_place(settings, monkeypatch):
    changed = spoil_the_library(settings, monkeypatch)
    with pytest.raises(CannotConnect, match=r"ValueError in explode \(.*test_no_secret_escapes.py\)"):
        Keeper(changed).connect()


def test_the_connection_lent_does_not_show_its_password(keeper):
    with keeper.connection() as conn:
        assert "canary" not in repr(conn)
        assert "canary" not in conn.dsn
        assert "canary" not in json.dumps(conn.info.dsn_parameters)
    assert "canary" not in repr(keeper._logins._kept)


def test_the_search_for_secrets_finds_them(monkeypatch):
    """Or the tests above would prove nothing."""

    def explode():
        password = "canary"
        raise ValueError(password[:0])

    monkeypatch.setattr(credentials_module, "current", explode)
    with pytest.raises(ValueError, match=r"^$") as caught:
        credentials_module.current()
    assert "canary" in "".join(everything_about(caught.value))


def everything_about(error, seen=None):
    """Yield the messages and all locals in the tracebacks of an error, its causes and contexts, as a reporter would.

    The frames of the tests themselves, which hold the secrets, are left out, and so is everything below pytest.
    """
    seen = seen if seen is not None else set()
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    yield from traceback.format_exception_only(error)
    yield repr(error)
    yield repr(vars(error))
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name.startswith("test_"):
            continue
        for value in frame.f_locals.values():
            yield repr(value)
    yield from everything_about(error.__cause__, seen)
    yield from everything_about(error.__context__, seen)
