"""Tokens of botocore's own signer are accepted, and nothing else is."""

import datetime
from dataclasses import replace
from typing import Any
from unittest import mock

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Keys

from local.credentials import Credentials
from local.postgres.tokens import TokenRefused, verify
from tests.local.data_plane import SmallDirectory

HOST = "app-proxy.proxy-abcdefghijkl.us-east-1.rds.amazonaws.com"
PORT = 5432
USER = "app_user"
PREFIX = "arn:aws:rds-db:us-east-1:123456789012:dbuser:prx-0123456789abcdef0"
NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
SECOND = datetime.timedelta(seconds=1)

LONG_LIVED = Credentials(
    access_key_id="AKIDEXAMPLE",
    secret_access_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",  # noqa: S106 (AWS's own example)
    session_token=None,
    expires_at=None,
    principal_arn="arn:aws:iam::123456789012:user/someone",
)
SESSION = replace(
    LONG_LIVED,
    access_key_id="ASIAEXAMPLE",
    session_token="IQoJb3JpZ2luX2VjEXAMPLE//+==",  # noqa: S106
    expires_at=NOW + datetime.timedelta(hours=1),
    principal_arn="arn:aws:sts::123456789012:assumed-role/app/session",
)
OTHER = "another"
# Both from the fact sheet: an implementation that is neither botocore's nor this project's made them.
KNOWN = (
    "app-proxy.proxy-abcdefghijkl.us-east-1.rds.amazonaws.com:5432/?Action=connect&DBUser=app_user"
    "&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20260102%2Fus-east-1%2Frds-db%2Faws4_request"
    "&X-Amz-Date=20260102T030405Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host"
)
KNOWN_TOKEN = KNOWN + "&X-Amz-Signature=7591dad29441964f331a0932275e6e2e7dd6ad4b3f3f352834f5cc768a9f48c6"
KNOWN_SESSION_TOKEN = (
    KNOWN + "&X-Amz-Security-Token=IQoJb3JpZ2luX2VjEXAMPLE%2F%2F%2B%3D%3D"
    "&X-Amz-Signature=3586cb23d84c78019e69471fc9c921bdfa5eb9d7b292918ad52119c97f8dc491"
)


def one_user(user: str = USER, credentials: tuple[Credentials, ...] = (LONG_LIVED, SESSION)) -> SmallDirectory:
    """Make a directory in which everyone may connect as `user`, and nothing else."""
    return SmallDirectory({f"{PREFIX}/{user}"}, credentials)


def signed(
    credentials: Credentials = SESSION,
    *,
    host: str = f"{HOST}:{PORT}",
    user: str = USER,
    region: str = "us-east-1",
    service: str = "rds-db",
    action: str = "connect",
    expires: int = 900,
    at: datetime.datetime = NOW,
) -> str:
    """Sign as botocore's generate_db_auth_token does, with every part open to change."""
    request = AWSRequest("GET", f"https://{host}/", params={"Action": action, "DBUser": user})
    keys = Keys(credentials.access_key_id, credentials.secret_access_key, credentials.session_token)
    with mock.patch("botocore.auth.get_current_datetime", return_value=at.replace(tzinfo=None)):
        botocore.auth.SigV4QueryAuth(keys, service, region, expires=expires).add_auth(request)
    return str(request.url).removeprefix("https://")


def check(token: str, **changes: Any) -> Credentials:
    settings: dict[str, Any] = {
        "directory": one_user(),
        "host": HOST,
        "port": PORT,
        "user": USER,
        "resource_prefix": PREFIX,
        "now": NOW,
    }
    return verify(token, **settings | changes)


@pytest.mark.parametrize("credentials", [LONG_LIVED, SESSION])
def test_what_botocore_signs_is_accepted(credentials: Credentials) -> None:
    assert check(signed(credentials)) == credentials


def test_known_answers_are_accepted() -> None:
    assert check(KNOWN_TOKEN) == LONG_LIVED
    session = replace(LONG_LIVED, session_token=SESSION.session_token)
    assert check(KNOWN_SESSION_TOKEN, directory=one_user(credentials=(session,))) == session


@pytest.mark.parametrize("user", ["app user+x/@y", "Ünïcode~-_.", "a&DBUser=b"])
def test_a_user_of_any_characters_is_accepted(user: str) -> None:
    assert check(signed(user=user), directory=one_user(user), user=user) == SESSION


def test_the_order_of_the_query_does_not_matter() -> None:
    endpoint, _, query = signed().partition("?")
    assert check(f"{endpoint}?{'&'.join(reversed(query.split('&')))}") == SESSION


def test_it_lives_fifteen_minutes() -> None:
    assert check(signed(), now=NOW + 900 * SECOND - SECOND) == SESSION
    with pytest.raises(TokenRefused, match="expired: signed at 20260102T030405Z"):
        check(signed(), now=NOW + 900 * SECOND)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"host": f"other.us-east-1.rds.amazonaws.com:{PORT}"}, "signed for other"),
        ({"host": f"{HOST}:5433"}, f"signed for {HOST}:5433, not for {HOST}:5432"),
        ({"host": HOST}, f"signed for {HOST}, not"),
        ({"user": "App_User"}, "signed for user 'App_User', not for 'app_user'"),
        ({"region": "eu-west-1"}, "not for rds-db in us-east-1"),
        ({"service": "rds"}, "not for rds-db"),
        ({"action": "delete"}, "another action"),
        ({"expires": 901}, "lifetime"),
        ({"expires": 0}, "lifetime"),
        ({"at": NOW + 301 * SECOND}, "in the future"),
        ({"credentials": replace(SESSION, access_key_id="ASIAUNKNOWN")}, "no credentials ASIAUNKNOWN"),
        ({"credentials": replace(SESSION, secret_access_key=OTHER)}, "the signature is not that of ASIAEXAMPLE"),
        ({"credentials": replace(SESSION, session_token=OTHER)}, "session token"),
        ({"credentials": replace(SESSION, session_token=None)}, "session token"),
        ({"credentials": replace(LONG_LIVED, session_token=OTHER)}, "session token"),
    ],
)
def test_a_token_for_something_else_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(TokenRefused, match=reason):
        check(signed(**changes))


def test_the_credential_must_outlive_the_token() -> None:
    expired = replace(SESSION, expires_at=NOW)
    with pytest.raises(TokenRefused, match="expired at 03:04:05"):
        check(signed(), directory=one_user(credentials=(expired,)))


@pytest.mark.parametrize("prefix", [PREFIX.replace("prx-", "db-"), PREFIX.replace("123456789012", "210987654321")])
def test_a_policy_on_another_resource_does_not_help(prefix: str) -> None:
    with pytest.raises(TokenRefused, match=f"is not allowed rds-db:connect on {prefix}/{USER}"):
        check(signed(), resource_prefix=prefix)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a password",
        KNOWN_TOKEN + "&X-Amz-Expires=900",
        KNOWN_TOKEN + "&Extra=1",
        KNOWN_TOKEN.replace("&X-Amz-SignedHeaders=host", ""),
        KNOWN_TOKEN.replace("X-Amz-Expires=900", "X-Amz-Expires=soon"),
        KNOWN_TOKEN.replace("X-Amz-Date=2026", "X-Amz-Date=x"),
        KNOWN_TOKEN.replace("DBUser=app_user", "DBUser=%FF"),
        "https://" + KNOWN_TOKEN,
    ],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(TokenRefused, match="not a token"):
        check(token)


def test_every_change_of_a_character_is_refused() -> None:
    token = signed()
    for position in range(len(token)):
        changed = token[:position] + ("x" if token[position] != "x" else "y") + token[position + 1 :]
        with pytest.raises(TokenRefused):
            check(changed)


def test_reasons_and_reprs_hold_no_secret() -> None:
    token = signed(replace(SESSION, secret_access_key=OTHER))
    with pytest.raises(TokenRefused) as refusal:
        check(token)
    told = str(refusal.value) + repr(SESSION)
    assert SESSION.secret_access_key not in told
    assert str(SESSION.session_token) not in told
    assert token[-64:] not in told
