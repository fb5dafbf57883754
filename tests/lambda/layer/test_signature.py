"""Our signatures are botocore's, byte for byte."""

# ruff: noqa: PLR0917, S105, S106  what hypothesis gives; made-up keys

from __future__ import annotations

import datetime
from unittest import mock

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.session
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lambda_postgres.credentials import Credentials
from lambda_postgres.signature import authorization, database_token

KNOWN = {
    "host": "app-proxy.proxy-abcdefghijkl.us-east-1.rds.amazonaws.com",
    "port": 5432,
    "user": "app_user",
    "region": "us-east-1",
    "now": datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC).timestamp(),
}
KEY = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
KNOWN_TOKEN = (
    "app-proxy.proxy-abcdefghijkl.us-east-1.rds.amazonaws.com:5432/?Action=connect&DBUser=app_user"
    "&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20260102%2Fus-east-1%2Frds-db%2Faws4_request"
    "&X-Amz-Date=20260102T030405Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host"
)

words = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=20).map(lambda word: f"a{word}b")
hosts = st.lists(words, min_size=1, max_size=4).map(".".join)
ports = st.integers(1, 65535)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
keys = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=16, max_size=20)
secrets = st.text("ABCabc0123/+=", min_size=1, max_size=80)  # beyond the 64 bytes of a block, too
tokens = st.none() | st.text("ABCabc012/+=", min_size=1, max_size=400)
regions = st.sampled_from(["us-east-1", "eu-central-1", "ap-southeast-4", "cn-north-1", "us-gov-west-1"])
times = st.datetimes(datetime.datetime(2020, 1, 1), datetime.datetime(2060, 1, 1))


def test_token_without_session_token_is_the_known_one():
    signature = "7591dad29441964f331a0932275e6e2e7dd6ad4b3f3f352834f5cc768a9f48c6"
    assert database_token(**KNOWN, credentials=Credentials(*KEY)) == f"{KNOWN_TOKEN}&X-Amz-Signature={signature}"


def test_token_with_session_token_is_the_known_one():
    token = database_token(**KNOWN, credentials=Credentials(*KEY, "IQoJb3JpZ2luX2VjEXAMPLE//+=="))
    assert token == (
        f"{KNOWN_TOKEN}&X-Amz-Security-Token=IQoJb3JpZ2luX2VjEXAMPLE%2F%2F%2B%3D%3D"
        "&X-Amz-Signature=3586cb23d84c78019e69471fc9c921bdfa5eb9d7b292918ad52119c97f8dc491"
    )


def test_user_is_percent_encoded():
    token = database_token(**{**KNOWN, "user": "app user+x/@y"}, credentials=Credentials(*KEY))
    assert "&DBUser=app%20user%2Bx%2F%40y&" in token


@settings(max_examples=300, deadline=None)
@given(hosts, ports, texts, regions, keys, secrets, tokens, times)
@example("db", 443, "app", "us-east-1", "A" * 16, "s", None, datetime.datetime(2026, 1, 1))
@example("DB.Example", 5432, "app", "us-east-1", "A" * 16, "s", "t", datetime.datetime(2026, 1, 1))
def test_token_equals_botocores(host, port, user, region, key, secret, token, when):
    with mock.patch("botocore.auth.get_current_datetime", return_value=when):
        expected = _client(region, key, secret, token).generate_db_auth_token(host, port, user, region)
    now = when.replace(tzinfo=datetime.UTC).timestamp()
    ours = database_token(host, port, user, region=region, credentials=Credentials(key, secret, token), now=now)
    assert ours == expected


@settings(max_examples=200, deadline=None)
@given(hosts, texts, regions, keys, secrets, tokens, times)
def test_request_signature_equals_botocores(host, body, region, key, secret, token, when):
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "host": host,
        "x-amz-target": "secretsmanager.GetSecretValue",
    }
    with mock.patch("botocore.auth.get_current_datetime", return_value=when):
        request = botocore.awsrequest.AWSRequest("POST", f"https://{host}/", headers, body.encode())
        credentials = botocore.credentials.Credentials(key, secret, token)
        botocore.auth.SigV4Auth(credentials, "secretsmanager", region).add_auth(request)
    ours = authorization(
        headers,
        body,
        service="secretsmanager",
        region=region,
        credentials=Credentials(key, secret, token),
        now=when.replace(tzinfo=datetime.UTC).timestamp(),
    )
    assert ours["authorization"] == request.headers["Authorization"]
    assert ours["x-amz-date"] == request.headers["X-Amz-Date"]
    assert ours.get("x-amz-security-token") == request.headers.get("X-Amz-Security-Token")


_clients = {}


def _client(region, key, secret, token):
    """Lend one client per region: making one takes 100 ms."""
    if region not in _clients:
        _clients[region] = botocore.session.Session().create_client(
            "rds", region, aws_access_key_id="none", aws_secret_access_key="none"
        )
    client = _clients[region]
    client._request_signer._credentials = botocore.credentials.Credentials(key, secret, token)
    return client
