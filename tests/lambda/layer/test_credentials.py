"""Credentials come from the environment, or from the endpoint that Lambda gives with SnapStart."""

from __future__ import annotations

import http.server
import json
import threading

import pytest
from lambda_postgres import NotConfigured
from lambda_postgres.credentials import Credentials, current


@pytest.fixture
def endpoint():
    """Answer as the container credentials endpoint does, to the right authorization only."""
    answer = {"AccessKeyId": "AK", "SecretAccessKey": "canary", "Token": "token", "Expiration": "2026-01-01T00:00:00Z"}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            granted = self.headers["Authorization"] == "of-this-environment" and self.path == "/credentials?v=1"
            body = json.dumps(answer if granted else {"code": "AccessDenied", "canary": "canary"}).encode()
            self.send_response(200 if granted else 403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{server.server_address[1]}/credentials?v=1",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "of-this-environment",
    }
    server.shutdown()
    server.server_close()


def parts(credentials):
    return credentials.access_key_id, credentials.secret_access_key, credentials.session_token


@pytest.mark.parametrize("token", ["token", None, ""])
def test_the_environments_credentials_come_first(endpoint, token):
    environ = {**endpoint, "AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "SK"}
    if token is not None:
        environ["AWS_SESSION_TOKEN"] = token
    assert parts(current(environ)) == ("AK", "SK", token or None)


def test_snapstarts_endpoint_is_asked_when_the_environment_has_none(endpoint):
    assert parts(current(endpoint)) == ("AK", "canary", "token")


def test_an_endpoint_that_refuses_is_named_and_its_answer_kept_out(endpoint):
    del endpoint["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
    with pytest.raises(
        NotConfigured, match="AWS_CONTAINER_CREDENTIALS_FULL_URI gave no credentials: HTTP status 403"
    ) as caught:
        current(endpoint)
    assert "canary" not in str(caught.value)


def test_an_endpoint_that_does_not_answer_is_named():
    with pytest.raises(NotConfigured, match="gave no credentials: no answer"):
        current({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/"})


def test_no_credentials_at_all_are_named():
    with pytest.raises(NotConfigured, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set"):
        current({})


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
@pytest.mark.parametrize("value", ["canary\n", "canary\udc80", "canaryé"])
def test_a_malformed_key_is_named_without_its_value(variable, value):
    environ = {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "SK", "AWS_SESSION_TOKEN": "token"}
    with pytest.raises(NotConfigured, match=f"^{variable} holds characters that no key has$"):
        current({**environ, variable: value})


def test_the_repr_shows_only_which_key_it_is():
    assert repr(Credentials("AK", "canary", "canary")) == "Credentials('AK')"
