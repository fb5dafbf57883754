"""Nobody calls the control plane but who holds its key or a role's session: what strangers tried, one by one."""

import datetime
import http.client
import json
import os
import subprocess
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from lambda_postgres import signature
from lambda_postgres.credentials import Credentials
from moto.sts.models import sts_backends

from local.aws.control_plane import ControlPlane
from tests.local.account import Account, allow

LIST = "secretsmanager.ListSecrets"
NOBODY = 65534


def send(
    plane: ControlPlane, headers: Mapping[str, str], body: str = "{}", *, method: str = "POST", path: str = "/"
) -> tuple[int, dict[str, Any], Mapping[str, str]]:
    """Send a request as it is given; return status, answer and headers."""
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(plane.url).port, timeout=10)
    connection.request(method, path, body, dict(headers))
    answer = connection.getresponse()
    content = answer.read()
    return answer.status, json.loads(content) if content.startswith(b"{") else {}, dict(answer.headers)


def signed(
    plane: ControlPlane, body: str = "{}", *, key: Credentials | None = None, age: float = 0, **more: str
) -> Any:
    """Sign a call to Secrets Manager by the library's signer; tests change what it gives."""
    administrator = plane.administrator
    key = key or Credentials(administrator.access_key_id, administrator.secret_access_key, None)
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "host": urlsplit(plane.url).netloc,
        "x-amz-target": LIST,
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    now = time.time() - age
    return headers | signature.authorization(
        headers, body, service="secretsmanager", region="us-east-1", credentials=key, now=now
    )


def test_the_stack_s_own_key_is_let_in(plane):
    assert send(plane, signed(plane))[0] == 200


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, ""),
        ({"content-type": "application/x-www-form-urlencoded"}, "Action=ListRoles&Version=2010-05-08"),
        ({"content-type": "text/plain", "x-amz-target": LIST}, "{}"),
        ({"authorization": "AWS test:signature"}, "{}"),
        ({"authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/iam/aws4_request"}, "{}"),
    ],
)
def test_an_unsigned_request_is_refused(plane, headers, body):
    status, answer, _ = send(plane, headers, body)
    assert (status, answer.get("__type", "XML")) in [(403, "MissingAuthenticationTokenException"), (403, "XML")]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "http://127.0.0.1:8000"])
def test_a_web_page_is_refused_even_with_the_key(plane, origin):
    status, answer, headers = send(plane, signed(plane) | {"Origin": origin})
    assert (status, answer["message"]) == (403, "A request with an Origin header comes from a web page.")
    assert [name for name in headers if name.lower().startswith("access-control")] == []
    preflight = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    assert send(plane, preflight, "", method="OPTIONS")[0] == 403


@pytest.mark.parametrize("name", ["evil.example", "localhost", "127.0.0.1.nip.io", "[::1]", "127.0.0.2"])
def test_a_name_that_leads_here_is_refused_even_with_the_key(plane, name):
    """DNS rebinding: the browser believes that it still talks to the page's own server."""
    host = f"{name}:{urlsplit(plane.url).port}"
    assert send(plane, signed(plane, host=host))[0] == 403
    status, answer, _ = send(plane, {"Host": host}, "", method="GET")
    assert (status, "The Host header must be 127.0.0.1:" in answer["message"]) == (403, True)


def test_the_key_s_id_alone_opens_nothing(plane):
    guess = Credentials(plane.administrator.access_key_id, "guess", None)
    assert send(plane, signed(plane, key=guess))[1]["__type"] == "SignatureDoesNotMatch"
    for key in ("test", "local", "AKIAIOSFODNN7EXAMPLE"):
        refused = send(plane, signed(plane, key=Credentials(key, key, None)))
        assert (refused[0], refused[1]["__type"]) == (403, "UnrecognizedClientException")


def test_what_was_signed_is_what_is_called(plane):
    headers = signed(plane)
    assert send(plane, headers, '{"MaxResults": 1}')[1]["__type"] == "SignatureDoesNotMatch"
    assert send(plane, headers, path="/?Action=x")[1]["__type"] == "SignatureDoesNotMatch"
    assert send(plane, headers, path="/moto-api/reset")[0] == 403
    assert send(plane, headers, method="PUT")[1]["__type"] == "SignatureDoesNotMatch"
    other = headers | {"x-amz-target": "secretsmanager.GetSecretValue"}
    assert send(plane, other)[1]["__type"] == "SignatureDoesNotMatch"
    other = headers | {"authorization": headers["authorization"].replace("/secretsmanager/", "/iam/")}
    assert send(plane, other)[1]["__type"] == "SignatureDoesNotMatch"


@pytest.mark.parametrize("age", [3600, -3600])
def test_a_request_of_another_hour_is_refused(plane, age):
    assert send(plane, signed(plane, age=age))[1]["__type"] == "SignatureDoesNotMatch"


def test_a_session_is_let_in_until_it_expires_and_only_with_its_token(plane, account):
    session = account.assume(account.role("visitor", allow("secretsmanager:ListSecrets", "*")))
    keys = [session._credentials[f"aws_{name}"] for name in ("access_key_id", "secret_access_key", "session_token")]
    assert send(plane, signed(plane, key=Credentials(*keys)))[0] == 200
    for token in (None, "another"):
        refused = send(plane, signed(plane, key=Credentials(keys[0], keys[1], token)))
        assert refused[1]["__type"] == "UnrecognizedClientException"
    role = sts_backends["123456789012"]["aws"].get_assumed_role_from_access_key(keys[0])
    role.expiration = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) - datetime.timedelta(seconds=1)
    assert send(plane, signed(plane, key=Credentials(*keys)))[1]["__type"] == "ExpiredTokenException"


def test_a_header_of_moto_s_changes_no_account(plane):
    account = Account.of(plane)
    account.sts.meta.events.register(
        "before-sign.sts.GetCallerIdentity", lambda request, **_: request.headers.add_header("x-moto-account-id", "1")
    )
    assert account.sts.get_caller_identity()["Account"] == "123456789012"


@pytest.mark.parametrize(
    ("service", "call"),
    [("cloudformation", "list_stacks"), ("s3", "list_buckets"), ("batch", "describe_job_queues")],
)
def test_a_service_that_the_stack_does_not_need_is_not_there(account, service, call):
    with pytest.raises(ClientError) as refusal:
        getattr(getattr(account, service), call)()
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


@pytest.mark.parametrize("path", ["/moto-api/", "/moto-api/data.json", "/latest/meta-data/", "/favicon.ico"])
def test_what_is_no_aws_api_is_not_there(plane, path):
    assert send(plane, {}, "", method="GET", path=path)[0] == 403


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_of_the_machine_is_refused(plane):
    port = urlsplit(plane.url).port
    body = "Action=ListRoles&Version=2010-05-08"
    request = (
        f"POST / HTTP/1.1\\r\\nHost: 127.0.0.1:{port}\\r\\nContent-Type: application/x-www-form-urlencoded\\r\\n"
        f"Authorization: AWS4-HMAC-SHA256 Credential={plane.administrator.access_key_id}/20260101/us-east-1/iam/"
        f"aws4_request, SignedHeaders=host;x-amz-date, Signature={'0' * 64}\\r\\n"
        f"Content-Length: {len(body)}\\r\\n\\r\\n{body}"
    )
    script = f"exec 3<>/dev/tcp/127.0.0.1/{port}; printf '{request}' >&3; cat <&3"
    tried = subprocess.run(
        ["bash", "-c", script], user=NOBODY, group=NOBODY, extra_groups=[], cwd="/",
        text=True, capture_output=True, check=False, timeout=20,
    )  # fmt: skip
    assert tried.stdout.startswith("HTTP/1.0 403") or tried.stdout.startswith("HTTP/1.1 403"), tried
