"""Requests as events of payload 2.0, and a function's answers as responses.

API Gateway Developer Guide, "Create AWS Lambda proxy integrations for HTTP APIs".
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

from local.api_gateway.api import HttpApi, Route

# What is passed on as text, beside text/*. Anything else comes in base64, forms and bodies without a type too. The
# guide names no list; somebody has tried it: ministackorg/ministack#766.
_TEXT = ("application/json", "application/javascript", "application/xml")


class AnswerError(Exception):
    """The function's answer is not of the form that payload 2.0 has."""


@dataclass(frozen=True)
class Request:
    """A request as it came, its headers in lower case."""

    id: str
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    source_ip: str
    protocol: str
    at: float = field(default_factory=time.time)

    @property
    def time(self) -> str:
        return time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(self.at))


@dataclass(frozen=True)
class Response:
    """What the client gets."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def message(cls, status: int, message: str, *headers: tuple[str, str]) -> Response:
        """Return one of API Gateway's own answers."""
        body = json.dumps({"message": message}, separators=(",", ":")).encode()
        return cls(status, body, (("content-type", "application/json"), *headers))


def event_of(
    api: HttpApi, route: Route, request: Request, variables: Mapping[str, str], authorizer: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return what the function gets. What a request has not is left out, as API Gateway does."""
    headers = {name: value for name, value in request.headers.items() if name != "cookie"}
    headers |= {
        "host": api.domain_name,
        "x-amzn-trace-id": f"Root=1-{int(request.at):08x}-{request.id.replace('-', '')[:24]}",
        "x-forwarded-for": request.source_ip,
        "x-forwarded-port": "443",
        "x-forwarded-proto": "https",
    }
    context: dict[str, Any] = {
        "accountId": api.account,
        "apiId": api.id,
        "domainName": api.domain_name,
        "domainPrefix": api.id,
        "http": {
            "method": request.method,
            "path": unquote(request.path),
            "protocol": request.protocol,
            "sourceIp": request.source_ip,
            "userAgent": request.headers.get("user-agent", ""),
        },
        "requestId": request.id,
        "routeKey": route.key,
        "stage": "$default",
        "time": request.time,
        "timeEpoch": int(request.at * 1000),
    }
    if authorizer is not None:
        context["authorizer"] = dict(authorizer)
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": route.key,
        "rawPath": unquote(request.path),
        "rawQueryString": request.query,
        "headers": headers,
        "requestContext": context,
        "isBase64Encoded": False,
    }
    if cookies := request.headers.get("cookie"):
        event["cookies"] = [cookie.strip() for cookie in cookies.split(";") if cookie.strip()]
    if query := _query(request.query):
        event["queryStringParameters"] = query
    if variables:
        event["pathParameters"] = dict(variables)
    if request.body:
        event["isBase64Encoded"], event["body"] = _body(request)
    return event


def response_of(payload: bytes) -> Response:
    """Return the response that a function's answer means; AnswerError when it means none."""
    try:
        answer = json.loads(payload)
    except ValueError as error:
        raise AnswerError("The answer is not JSON.") from error
    if not isinstance(answer, dict) or "statusCode" not in answer:
        body = answer if isinstance(answer, str) else json.dumps(answer)
        return Response(200, body.encode(), (("content-type", "application/json"),))
    headers = answer.get("headers") or {}
    cookies = answer.get("cookies") or []
    text = answer.get("body")
    try:
        status = int(answer["statusCode"])
    except (TypeError, ValueError):
        status = 0
    if not (100 <= status <= 599 and isinstance(headers, dict) and isinstance(cookies, list)):
        raise AnswerError("statusCode, headers or cookies are of another type.")
    if text is None:
        content = b""
    elif not isinstance(text, str):
        raise AnswerError("The body is not a string.")
    elif answer.get("isBase64Encoded"):
        try:
            content = base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise AnswerError("The body is not base64.") from error
    else:
        content = text.encode()
    named = {str(name).lower(): str(value) for name, value in headers.items()}
    named.setdefault("content-type", "text/plain;charset=UTF-8")
    named.pop("content-length", None)
    return Response(status, content, (*named.items(), *(("set-cookie", str(cookie)) for cookie in cookies)))


def _query(query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


def _body(request: Request) -> tuple[bool, str]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("text/") or kind in _TEXT:
        try:
            return False, request.body.decode()
        except UnicodeDecodeError:
            pass
    return True, base64.b64encode(request.body).decode()
