"""One HTTP API on a port of this machine.

A request goes the way that it goes on AWS: preflight, route, throttle, authorization, function, access log. In which
order AWS throttles and authorizes is not documented.
"""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any, Protocol
from wsgiref.types import StartResponse

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from local.api_gateway.api import AccessLog, Cors, HttpApi, Route, find_route
from local.api_gateway.events import AnswerError, Request, Response, event_of, response_of
from local.api_gateway.throttling import Buckets
from local.api_gateway.tokens import Issuers, TokenRefused, as_text, scopes_of

_LARGEST_BODY_BYTES = 10 * 1024 * 1024  # API Gateway Developer Guide, "Quotas for HTTP APIs"
_LINE_BREAKS = re.compile(r"[\r\n]+")

Environ = dict[str, Any]


class SignatureRefused(Exception):  # noqa: N818 (an answer, not a fault)
    """Why a signed request is not let in."""


class IntegrationError(Exception):
    """Why a function did not answer; the access log says it, the client gets 500, or `status`."""

    def __init__(self, reason: str, status: int = 500) -> None:
        super().__init__(reason)
        self.status = status


class Account(Protocol):
    """What a gateway needs of the account that it stands in."""

    def api(self) -> HttpApi | None:
        """Return the API as it is now; None before it has a stage."""

    def caller(self, environ: Environ, arn: str) -> Mapping[str, Any]:
        """Return who signed a request and may do it, as requestContext.authorizer.iam has it; or SignatureRefused."""

    def invoke(self, route: Route, source_arn: str, event: Mapping[str, Any]) -> tuple[str, bytes]:
        """Return a request id and an answer; IntegrationError where there is none, in time or at all."""

    def answered(self, status: int, latency_ms: int, integration_ms: int | None) -> None:
        """Count a request that was answered; `integration_ms` is None where the function was not asked."""

    def write_log(self, log: AccessLog, line: str) -> None: ...


@dataclass
class _Passage:
    """A request on its way: what the access log will say of it."""

    request: Request
    route_key: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    integration_ms: int | None = None


class Gateway:
    """Answer the requests of one API on 127.0.0.1 until stopped."""

    def __init__(self, account: Account, issuers: Issuers) -> None:
        self._account = account
        self._issuers = issuers
        self._buckets = Buckets()
        self._server: BaseWSGIServer = make_server(
            "127.0.0.1", 0, self._answer, threaded=True, request_handler=_RequestHandler
        )
        self._hosts: set[str] = {f"127.0.0.1:{self._server.port}", f"localhost:{self._server.port}"}
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="gateway", daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        api, began = self._account.api(), time.monotonic()
        passage = _Passage(_request(environ))
        if api is None:
            response = Response.message(404, "Not Found")
        elif environ.get("HTTP_HOST", "") not in {*self._hosts, api.domain_name}:  # a name may lead anywhere
            response = Response.message(403, "Forbidden")
        else:
            response = self._respond(api, environ, passage)
            latency_ms = int((time.monotonic() - began) * 1000)
            self._account.answered(response.status, latency_ms, passage.integration_ms)
            if api.access_log is not None:
                self._write_line(api, api.access_log, passage, response, latency_ms)
        body = b"" if passage.request.method == "HEAD" else response.body
        headers = [*response.headers, ("apigw-requestid", passage.request.id), ("content-length", str(len(body)))]
        start_response(f"{response.status} ", headers)
        return [body]

    def _respond(self, api: HttpApi, environ: Environ, passage: _Passage) -> Response:
        request = passage.request
        origin = request.headers.get("origin")
        if api.cors and origin and request.method == "OPTIONS" and "access-control-request-method" in request.headers:
            return Response(204, b"", _preflight(api.cors, origin))
        response = self._pass_on(api, environ, passage)
        if api.cors is None or origin is None:
            return response
        # "API Gateway ignores CORS headers returned from your backend integration."
        kept = tuple(header for header in response.headers if not header[0].startswith("access-control-"))
        return replace(response, headers=(*kept, *_for_page(api.cors, origin)))

    def _pass_on(self, api: HttpApi, environ: Environ, passage: _Passage) -> Response:
        request = passage.request
        found = find_route(api.routes, request.method, request.path)
        if found is None:
            passage.variables["error.message"] = "Not Found"
            return Response.message(404, "Not Found")
        route, variables = found
        passage.route_key = route.key
        bucket, throttle = (route.key, route.throttle) if route.throttle else ("", api.throttle)
        if not self._buckets.take(bucket, throttle):
            passage.variables["error.message"] = "Too Many Requests"
            return Response.message(429, "Too Many Requests")
        if len(request.body) > _LARGEST_BODY_BYTES:
            passage.variables["error.message"] = "Request Entity Too Large"
            return Response.message(413, "Request Entity Too Large", ("connection", "close"))  # the rest is not read
        try:
            authorizer = self._authorize(api, route, environ, passage)
        except SignatureRefused as refused:
            passage.variables |= {"error.message": "Forbidden", "authorizer.error": str(refused)}
            return Response.message(403, "Forbidden")
        except TokenRefused as refused:
            status, message = (403, "Forbidden") if refused.error == "insufficient_scope" else (401, "Unauthorized")
            passage.variables |= {"error.message": message, "authorizer.error": str(refused)}
            details = f' error="{refused.error}" error_description="{refused}"' if refused.error else ""
            return Response.message(status, message, ("www-authenticate", f"Bearer{details}"))
        return self._integrate(api, route, passage, event_of(api, route, request, variables, authorizer))

    def _authorize(self, api: HttpApi, route: Route, environ: Environ, passage: _Passage) -> Mapping[str, Any] | None:
        """Return requestContext.authorizer; None where nobody is asked."""
        request = passage.request
        if route.authorization == "AWS_IAM":
            caller = self._account.caller(environ, api.arn(request.method, request.path))
            passage.variables |= {"identity.userArn": caller["userArn"], "identity.accountId": caller["accountId"]}
            return {"iam": caller}
        if route.authorization == "JWT":
            assert route.jwt is not None
            claims = self._issuers.claims(request.headers.get("authorization", ""), route.jwt)
            texts = {name: as_text(value) for name, value in claims.items()}
            passage.variables |= {f"authorizer.claims.{name}": text for name, text in texts.items()}
            scopes = [scope for scope in scopes_of(claims) if scope in route.jwt.scopes]
            return {"jwt": {"claims": texts, "scopes": scopes or None}}
        return None

    def _integrate(self, api: HttpApi, route: Route, passage: _Passage, event: Mapping[str, Any]) -> Response:
        began = time.monotonic()
        try:
            passage.variables["integration.requestId"], answer = self._account.invoke(
                route, api.source_arn(route), event
            )
            passage.variables["integration.integrationStatus"] = "200"
            response = response_of(answer)
        except (AnswerError, IntegrationError) as error:
            status = getattr(error, "status", 500)
            message = {503: "Service Unavailable"}.get(status, "Internal Server Error")
            passage.variables |= {"integration.error": str(error), "error.message": message}
            response = Response.message(status, message)
        else:
            passage.variables["integration.status"] = str(response.status)
        passage.integration_ms = int((time.monotonic() - began) * 1000)
        return response

    def _write_line(self, api: HttpApi, log: AccessLog, passage: _Passage, response: Response, latency_ms: int) -> None:
        request = passage.request
        values = passage.variables | {
            "accountId": api.account,
            "apiId": api.id,
            "domainName": api.domain_name,
            "domainPrefix": api.id,
            "extendedRequestId": request.id,
            "httpMethod": request.method,
            "identity.sourceIp": request.source_ip,
            "identity.userAgent": request.headers.get("user-agent", ""),
            "integration.latency": "" if passage.integration_ms is None else str(passage.integration_ms),
            "path": request.path,
            "protocol": request.protocol,
            "requestId": request.id,
            "requestTime": request.time,
            "requestTimeEpoch": str(int(request.at)),
            "responseLatency": str(latency_ms),
            "responseLength": str(len(response.body)),
            "routeKey": passage.route_key,
            "stage": "$default",
            "status": str(response.status),
        }
        for long, short in _SAME.items():
            values[long] = values.get(short, "")
        line = re.sub(r"\$context\.([A-Za-z0-9_.]+)", lambda found: values.get(found[1]) or "-", log.format)
        self._account.write_log(log, _LINE_BREAKS.sub(" ", line))


# "Customize HTTP API access logs": two names of one value.
_SAME = {
    "awsEndpointRequestId": "integration.requestId",
    "integrationErrorMessage": "integration.error",
    "integrationLatency": "integration.latency",
    "integrationStatus": "integration.integrationStatus",
}


class _RequestHandler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept

    def log_request(self, *_: Any) -> None:
        """Stay silent: the access log has it."""


def _request(environ: Environ) -> Request:
    body = _read_body(environ)
    names = [name for name in environ if name.startswith("HTTP_")]
    headers = {name[5:].replace("_", "-").lower(): str(environ[name]) for name in names}
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            headers[name.replace("_", "-").lower()] = str(environ[name])
    path, _, query = str(environ["REQUEST_URI"]).partition("?")
    return Request(
        id=str(uuid.uuid4()),
        method=environ["REQUEST_METHOD"],
        path=path or "/",
        query=query,
        headers=headers,
        body=body,
        source_ip=environ["REMOTE_ADDR"],
        protocol=environ["SERVER_PROTOCOL"],
    )


def _read_body(environ: Environ) -> bytes:
    """Read the body, at most one byte more than is taken, and put it back for the check of a signature."""
    stream, length = environ["wsgi.input"], str(environ.get("CONTENT_LENGTH") or "0")
    given = int(length) if length.isascii() and length.isdigit() else 0
    chunked = environ.pop("HTTP_TRANSFER_ENCODING", None) is not None
    body: bytes = stream.read(_LARGEST_BODY_BYTES + 1 if chunked else min(given, _LARGEST_BODY_BYTES + 1))
    environ["wsgi.input"] = BytesIO(body)
    if chunked:
        environ["CONTENT_LENGTH"] = str(len(body))
    return body


def _preflight(cors: Cors, origin: str) -> tuple[tuple[str, str], ...]:
    if not cors.allows(origin):
        return ()
    answer = [
        *_for_page(cors, origin),
        ("access-control-allow-methods", ",".join(cors.methods)),
        ("access-control-allow-headers", ",".join(cors.headers)),
    ]
    if cors.max_age_seconds is not None:
        answer.append(("access-control-max-age", str(cors.max_age_seconds)))
    return tuple(answer)


def _for_page(cors: Cors, origin: str) -> Iterable[tuple[str, str]]:
    if cors.allows(origin):
        yield "access-control-allow-origin", "*" if "*" in cors.origins else origin
        if cors.credentials:
            yield "access-control-allow-credentials", "true"
        if cors.expose_headers:
            yield "access-control-expose-headers", ",".join(cors.expose_headers)
