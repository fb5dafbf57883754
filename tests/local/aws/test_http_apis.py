"""HTTP APIs of the control plane, asked by real HTTP requests. The function is the test's own."""

import base64
import http.server
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from moto.cloudwatch.models import cloudwatch_backends

from local.aws.cloudwatch.alarms import store_of
from local.aws.cloudwatch.series import Metric
from local.certificates import Certificates
from local.lambda_runtime.function import Invocation, TooManyRequestsError
from tests.local.account import REGION, Account, Recorder, allow
from tests.local.fronts import ACCOUNT, Api
from tests.modules.cloudwatch import TABLE


@pytest.fixture(autouse=True)
def function(events: Recorder) -> Recorder:
    """A function that answers with its event."""
    events.answer = lambda _, payload: Invocation("f-1", payload, None, "")
    return events


@pytest.fixture(scope="module")
def public(account: Account) -> Api:
    return Api(account, "public").permit().route().logged()


def test_a_request_reaches_the_function_as_an_event_of_payload_2(public: Api, function: Recorder) -> None:
    status, headers, event = public.ask(
        "POST", "/caf%C3%A9?a=1&a=2", b"{}", X_Case="Kept", content_type="application/json"
    )
    assert status == 200
    assert (event["version"], event["rawPath"], event["queryStringParameters"]) == ("2.0", "/café", {"a": "1,2"})
    assert (event["headers"]["x-case"], event["body"]) == ("Kept", "{}")
    assert event["requestContext"]["http"]["sourceIp"] == "127.0.0.1"
    assert event["requestContext"]["requestId"] == headers["apigw-requestid"]
    [(_, (version, reserved, arn))] = function.seen
    assert (version.version, reserved, arn) == ("1", None, public.alias)


def test_the_endpoint_answers_by_its_name_on_aws_too_and_by_no_other(public: Api) -> None:
    assert public.ask(host=f"{public.id}.execute-api.{REGION}.amazonaws.com")[0] == 200
    assert public.ask(host="rebound.example.com")[0] == 403


def test_an_error_of_the_function_is_told_to_the_log_and_not_to_the_client(public: Api, function: Recorder) -> None:
    function.answer = lambda *_: Invocation("f-2", b'{"errorMessage": "private"}', "Unhandled", "")
    assert public.ask()[::2] == (500, {"message": "Internal Server Error"})
    assert public.lines()[-1]["error"].startswith("The Lambda function returned the following error: Unhandled.")


def test_an_answer_of_another_form_is_an_error(public: Api, function: Recorder) -> None:
    function.answer = lambda *_: Invocation("f-3", b'{"statusCode": 200, "body": {}}', None, "")
    assert public.ask()[0] == 500


def test_a_function_without_concurrency_is_an_error_too(public: Api, function: Recorder) -> None:
    def throttled(*_: Any) -> Invocation:
        raise TooManyRequestsError("ReservedFunctionConcurrentInvocationLimitExceeded")

    function.answer = throttled
    assert public.ask()[0] == 500
    assert "ReservedFunctionConcurrentInvocationLimitExceeded" in public.lines()[-1]["error"]


def test_a_function_longer_than_the_integration_is_not_waited_for(account: Account, function: Recorder) -> None:
    api = Api(account, "slow").permit().route().stage()
    api.client.update_integration(ApiId=api.id, IntegrationId=api.integration, TimeoutInMillis=50)
    ended = threading.Event()

    def slow(*_: Any) -> Invocation:
        ended.wait(5)
        return Invocation("f-4", b"{}", None, "")

    function.answer = slow
    assert api.ask()[::2] == (503, {"message": "Service Unavailable"})
    ended.set()


@pytest.mark.parametrize("source_arn", [None, "prod/*", "*/GET/other"])
def test_an_api_that_the_alias_does_not_permit_answers_500(account: Account, source_arn: str | None) -> None:
    api = Api(account, f"stranger-{len(str(source_arn))}").route("GET /users").logged()
    if source_arn:
        api.permit(source_arn)
    assert api.ask(target="/users")[::2] == (500, {"message": "Internal Server Error"})
    assert "doesn't have permissions to call the integration" in api.lines()[0]["error"]


def test_a_permission_for_one_route_is_for_that_route(account: Account) -> None:
    api = Api(account, "narrow").permit("*/GET/users").route("GET /users").route("POST /users").stage()
    assert (api.ask(target="/users")[0], api.ask("POST", "/users")[0]) == (200, 500)


def test_a_path_without_a_route_is_not_found(account: Account) -> None:
    api = Api(account, "one-route").permit().route("GET /users/{id}").logged()
    assert api.ask(target="/users/7")[2]["pathParameters"] == {"id": "7"}
    assert api.ask(target="/users")[::2] == (404, {"message": "Not Found"})
    assert [line["status"] for line in api.lines()] == ["200", "404"]


def test_more_than_the_burst_is_throttled_until_the_rate_has_refilled_it(account: Account) -> None:
    settings = {"ThrottlingRateLimit": 0.01, "ThrottlingBurstLimit": 3}
    api = Api(account, "busy").permit().route().stage(DefaultRouteSettings=settings)
    assert [api.ask()[0] for _ in range(5)] == [200, 200, 200, 429, 429]
    wider = {"ThrottlingRateLimit": 1000, "ThrottlingBurstLimit": 10}
    api.client.update_stage(ApiId=api.id, StageName="$default", DefaultRouteSettings=wider)
    assert [api.ask()[0] for _ in range(5)] == [200] * 5


def test_a_web_page_may_call_where_cors_names_it(account: Account) -> None:
    api = Api(account, "pages").permit().route().stage()
    cors = {"AllowOrigins": ["https://www.example.com"], "AllowMethods": ["GET"], "AllowHeaders": ["x-a"], "MaxAge": 5}
    api.client.update_api(ApiId=api.id, CorsConfiguration=cors)
    preflight = {"origin": "https://www.example.com", "access_control_request_method": "GET"}
    status, headers, _ = api.ask("OPTIONS", **preflight)
    assert (status, headers["access-control-allow-origin"]) == (204, "https://www.example.com")
    assert (headers["access-control-allow-methods"], headers["access-control-max-age"]) == ("GET", "5")
    assert "access-control-allow-origin" not in api.ask("OPTIONS", **preflight | {"origin": "https://other.example"})[1]
    assert api.ask(origin="https://www.example.com")[1]["access-control-allow-origin"] == "https://www.example.com"


def test_each_answer_is_counted_as_cloudwatch_has_it(account: Account, function: Recorder) -> None:
    api = Api(account, "counted").permit().route("GET /users").stage()
    api.ask(target="/users")
    api.ask(target="/none")
    function.answer = lambda *_: Invocation("f-5", b"", "Unhandled", "")
    api.ask(target="/users")
    store = store_of(cloudwatch_backends[ACCOUNT][REGION])
    found = {one: store.window(one, 0, 2**40) for one in store.metrics() if dict(one.dimensions).get("ApiId") == api.id}
    sets = [{"ApiId": api.id}, {"ApiId": api.id, "Stage": "$default"}]
    expected = {"Count": (3, 3), "4xx": (3, 1), "5xx": (3, 1), "Latency": (3, None), "IntegrationLatency": (2, None)}
    assert found.keys() == {Metric.of("AWS/ApiGateway", name, dimensions) for name in expected for dimensions in sets}
    for metric, values in found.items():
        count, total = expected[metric.name]
        assert values.count == count, metric
        assert total is None or values.total == total, metric
        known = TABLE["metrics"]["AWS/ApiGateway"][metric.name]
        assert store.unit(metric) == known["unit"]
        assert [name for name, _ in metric.dimensions] in [TABLE["dimension_sets"][name] for name in known["sets"]]


# --- signed requests ---


@pytest.fixture(scope="module")
def signed(account: Account) -> Api:
    return Api(account, "signed").permit().route(AuthorizationType="AWS_IAM").logged()


def keys_of(account: Account, name: str, *statements: dict[str, Any]) -> Any:
    role = account.role(name, *statements)
    return account.sts.assume_role(RoleArn=role, RoleSessionName="caller")["Credentials"]


def test_a_request_without_a_signature_is_refused(signed: Api, function: Recorder) -> None:
    assert signed.ask()[::2] == (403, {"message": "Forbidden"})
    assert function.seen == []
    assert signed.lines()[-1]["refused"].startswith("The request is not signed")


def test_who_may_invoke_the_api_is_let_in_and_named(signed: Api, account: Account) -> None:
    arn = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{signed.id}/$default/GET/*"
    keys = keys_of(account, "may-invoke", allow("execute-api:Invoke", arn))
    status, _, event = signed.ask_signed(keys, target="/users")
    assert status == 200
    caller = event["requestContext"]["authorizer"]["iam"]
    assert caller["userArn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/may-invoke/caller"
    assert signed.lines()[-1]["who"] == caller["userArn"]


def test_who_may_not_invoke_the_api_is_refused(signed: Api, account: Account) -> None:
    other = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{signed.id}/$default/POST/*"
    assert signed.ask_signed(keys_of(account, "may-post", allow("execute-api:Invoke", other)))[0] == 403


def test_a_signature_for_another_service_or_of_another_key_is_refused(signed: Api, account: Account) -> None:
    keys = keys_of(account, "may-all", allow("*", "*"))
    assert signed.ask_signed(keys)[0] == 200
    assert signed.ask_signed(keys, service="lambda")[0] == 403
    assert signed.ask_signed(keys | {"SecretAccessKey": "x" * 40})[0] == 403


# --- tokens ---


class Issuer:
    """An issuer of tokens on loopback, with TLS."""

    def __init__(self, folder: Path) -> None:
        self.key = rsa.generate_private_key(65537, 2048)
        certificates = Certificates(folder)
        files = certificates.host("rds", "issuer.local", "127.0.0.1")
        self.ca_file = certificates.ca_file("rds")
        self.asked = 0
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.1,), daemon=True).start()

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                numbers = issuer.key.public_key().public_numbers()
                key = {"kid": "one", "kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
                documents = {
                    "/.well-known/openid-configuration": {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"},
                    "/keys": {"keys": [{"kid": "ec", "kty": "EC"}, key]},
                }
                issuer.asked += self.path == "/keys"
                self.send_response(200 if self.path in documents else 404)
                self.end_headers()
                self.wfile.write(json.dumps(documents.get(self.path)).encode())

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

    def token(
        self, *, kid: str = "one", key: rsa.RSAPrivateKey | None = None, alg: str = "RS256", **claims: Any
    ) -> str:
        now = time.time()
        given = {"iss": self.url, "aud": "users", "exp": now + 60, "iat": now - 1, "sub": "ada", "scope": "read write"}
        claims = {name: value for name, value in (given | claims).items() if value is not None}
        signed = f"{encoded(json.dumps({'alg': alg, 'kid': kid}))}.{encoded(json.dumps(claims))}"
        signature = (key or self.key).sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{encoded(signature)}"


def encoded(content: str | bytes) -> str:
    return base64.urlsafe_b64encode(content.encode() if isinstance(content, str) else content).decode().rstrip("=")


def number(value: int) -> str:
    return encoded(value.to_bytes((value.bit_length() + 7) // 8))


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    issuer = Issuer(tmp_path_factory.mktemp("issuer"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(issuer.ca_file))
        patch.setenv("no_proxy", "127.0.0.1")
        yield issuer
    issuer.server.shutdown()
    issuer.server.server_close()


@pytest.fixture(scope="module")
def tokens(account: Account, issuer: Issuer) -> Api:
    api = Api(account, "tokens").permit()
    authorizer = api.client.create_authorizer(
        ApiId=api.id,
        AuthorizerType="JWT",
        Name="jwt",
        IdentitySource=["$request.header.Authorization"],
        JwtConfiguration={"Issuer": issuer.url, "Audience": ["users", "others"]},
    )["AuthorizerId"]
    given = {"AuthorizationType": "JWT", "AuthorizerId": authorizer}
    return api.route(**given).route("POST /users", AuthorizationScopes=["write", "admin"], **given).logged()


def test_a_token_of_the_issuer_is_let_in_and_its_claims_are_passed_on(tokens: Api, issuer: Issuer) -> None:
    status, _, event = tokens.ask(authorization=f"Bearer {issuer.token(groups=['a', 'b'], admin=True)}")
    assert status == 200
    jwt = event["requestContext"]["authorizer"]["jwt"]
    assert (jwt["claims"]["sub"], jwt["claims"]["groups"], jwt["claims"]["admin"]) == ("ada", "[a b]", "true")
    assert jwt["scopes"] is None
    assert tokens.lines()[-1]["sub"] == "ada"


def test_a_token_may_come_without_bearer_and_with_client_id_in_the_place_of_aud(tokens: Api, issuer: Issuer) -> None:
    assert tokens.ask(authorization=issuer.token(aud=None, client_id="others"))[0] == 200


STRANGER = rsa.generate_private_key(65537, 2048)
WRONG: dict[str, Callable[[Issuer], str]] = {
    "none": lambda _: "",
    "malformed": lambda _: "Bearer a.b",
    "another key": lambda issuer: issuer.token(key=STRANGER),
    "another kid": lambda issuer: issuer.token(kid="two"),
    "another algorithm": lambda issuer: issuer.token(alg="HS256"),
    "another issuer": lambda issuer: issuer.token(iss="https://other.example"),
    "another audience": lambda issuer: issuer.token(aud=["elsewhere"]),
    "expired": lambda issuer: issuer.token(exp=time.time() - 1),
    "without end": lambda issuer: issuer.token(exp=None),
    "not yet": lambda issuer: issuer.token(nbf=time.time() + 60),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_token_is_refused(tokens: Api, issuer: Issuer, function: Recorder, case: str) -> None:
    token = WRONG[case](issuer)
    status, headers, body = tokens.ask(authorization=token) if token else tokens.ask()
    assert (status, body) == (401, {"message": "Unauthorized"})
    assert headers["www-authenticate"].startswith("Bearer")
    assert function.seen == []


def test_a_route_with_scopes_takes_a_token_with_one_of_them(tokens: Api, issuer: Issuer) -> None:
    status, _, event = tokens.ask("POST", "/users", authorization=f"Bearer {issuer.token()}")
    assert (status, event["requestContext"]["authorizer"]["jwt"]["scopes"]) == (200, ["write"])
    status, headers, body = tokens.ask("POST", "/users", authorization=f"Bearer {issuer.token(scope='read')}")
    assert (status, body) == (403, {"message": "Forbidden"})
    assert "insufficient_scope" in headers["www-authenticate"]


def test_the_keys_of_an_issuer_are_kept(tokens: Api, issuer: Issuer) -> None:
    tokens.ask(authorization=f"Bearer {issuer.token()}")
    before = issuer.asked
    for _ in range(3):
        assert tokens.ask(authorization=f"Bearer {issuer.token()}")[0] == 200
    assert issuer.asked == before


# --- the life of an API ---


def test_an_api_that_is_deleted_answers_no_more(account: Account) -> None:
    api = Api(account, "gone").permit().route().stage()
    assert api.ask()[0] == 200
    api.client.delete_api(ApiId=api.id)
    with pytest.raises(ConnectionRefusedError):
        api.ask()


@pytest.mark.usefixtures("without_proxy")
def test_an_issuer_that_does_not_answer_is_refused(account: Account) -> None:
    api = Api(account, "no-issuer")
    with pytest.raises(ClientError, match="Issuer must have a valid discovery endpoint"):
        api.client.create_authorizer(
            ApiId=api.id,
            AuthorizerType="JWT",
            Name="jwt",
            IdentitySource=["$request.header.Authorization"],
            JwtConfiguration={"Issuer": "https://127.0.0.1:1", "Audience": ["users"]},
        )


@pytest.fixture
def without_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


# --- what stock moto does not refuse ---


def test_a_stage_can_be_changed(aws: Account) -> None:
    client = aws.apigatewayv2
    api = client.create_api(Name="stages", ProtocolType="HTTP")["ApiId"]
    client.create_stage(ApiId=api, StageName="$default")
    client.update_stage(ApiId=api, StageName="$default", DefaultRouteSettings={"ThrottlingBurstLimit": 7})
    found = client.get_stage(ApiId=api, StageName="$default")
    assert found["DefaultRouteSettings"]["ThrottlingBurstLimit"] == 7


def test_an_integration_s_timeout_is_at_most_30_seconds(aws: Account) -> None:
    client = aws.apigatewayv2
    api = client.create_api(Name="timeouts", ProtocolType="HTTP")["ApiId"]
    given = {"ApiId": api, "IntegrationType": "AWS_PROXY", "IntegrationUri": "arn"}
    client.create_integration(**given, TimeoutInMillis=30000)
    with pytest.raises(ClientError, match="BadRequestException"):
        client.create_integration(**given, TimeoutInMillis=30001)


def test_a_route_with_tokens_needs_an_authorizer_and_a_key_of_its_own(aws: Account) -> None:
    client = aws.apigatewayv2
    api = client.create_api(Name="routes", ProtocolType="HTTP")["ApiId"]
    with pytest.raises(ClientError, match="requires a valid JWT authorizer"):
        client.create_route(ApiId=api, RouteKey="GET /a", AuthorizationType="JWT")
    client.create_route(ApiId=api, RouteKey="GET /a")
    with pytest.raises(ClientError, match="Route with key GET /a already exists"):
        client.create_route(ApiId=api, RouteKey="GET /a")
