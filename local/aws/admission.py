"""Who may call the control plane: requests signed with its own key or with a role's session, and nobody else.

A port on 127.0.0.1 is open to every user of the machine, and to every web page in this user's browser. So each request
is checked as AWS checks it (Signature Version 4, written from its specification) before moto sees it, and what only a
browser would send is refused before that.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import json
import re
import secrets
import string
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl, quote
from xml.sax.saxutils import escape

from local.credentials import Credentials

# The services that the modules and the tools use, by the names that requests are signed for. moto has 200 more, some of
# which run code or fetch addresses.
SERVICES = frozenset(
    {
        "apigateway",
        "application-autoscaling",
        "ec2",
        "events",
        "iam",
        "kms",
        "lambda",
        "logs",
        "monitoring",
        "rds",
        "secretsmanager",
        "sns",
        "sqs",
        "ssm",
        "sts",
        "tagging",
    }
)

LARGEST_BODY_BYTES = 128 * 1024 * 1024  # the largest zip that Lambda takes is 50 MB, in base64
CLOCK_SKEW = datetime.timedelta(minutes=5)  # AWS: within five minutes of the time stamp, for most services

_ALGORITHM = "AWS4-HMAC-SHA256"
_AUTHORIZATION = re.compile(
    rf"{_ALGORITHM} Credential=(?P<key>\w+)/"
    r"(?P<scope>(?P<date>\d{8})/[a-z0-9-]+/(?P<service>[a-z0-9-]+)/aws4_request),"
    r" ?SignedHeaders=(?P<headers>[a-z0-9;-]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
_NOT_AWS = ("/moto-api", "/latest/", "/favicon.ico")  # what moto answers there is no AWS API
_DRAINED_BYTES = 1024 * 1024

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Refused(Exception):  # noqa: N818 (an answer, not a fault)
    """Why a request is not let in, as AWS would say it where AWS would."""

    def __init__(self, code: str, message: str, status: str = "403 Forbidden") -> None:
        super().__init__(message)
        self.code = code
        self.status = status


@dataclass(frozen=True)
class Admission:
    """A WSGI application in front of another. `credentials` finds a key pair by its id."""

    application: Application
    host: str
    credentials: Callable[[str], Credentials | None]

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            self._check(environ)
        except Refused as refused:
            return _answer(environ, start_response, refused)
        environ.pop("HTTP_X_MOTO_ACCOUNT_ID", None)  # the caller's account is that of its key
        return self.application(environ, start_response)

    def _check(self, environ: dict[str, Any]) -> None:
        """Check first what costs least: a stranger's body is not even read."""
        if environ.get("HTTP_HOST") != self.host:
            raise Refused("AccessDeniedException", f"The Host header must be {self.host}: a name may lead anywhere.")
        if "HTTP_ORIGIN" in environ:
            raise Refused("AccessDeniedException", "A request with an Origin header comes from a web page.")
        if environ["PATH_INFO"].startswith(_NOT_AWS):
            raise Refused("AccessDeniedException", f"The local stack does not have {environ['PATH_INFO']}.")
        _, service = signer(environ, self.credentials)
        if service not in SERVICES:
            message = f"The local stack does not have {service}: see SERVICES in local/aws/admission.py."
            raise Refused("NotImplemented", message, "501 Not Implemented")  # SDKs do not try that again


def signer(environ: dict[str, Any], credentials_by_id: Callable[[str], Credentials | None]) -> tuple[Credentials, str]:
    """Return who signed a request and for which service; Refused when nobody did, or not as AWS wants it."""
    given = _AUTHORIZATION.fullmatch(environ.get("HTTP_AUTHORIZATION", ""))
    if given is None:
        raise Refused("MissingAuthenticationTokenException", f"The request is not signed by {_ALGORITHM}.")
    credentials = credentials_by_id(given["key"])
    token = environ.get("HTTP_X_AMZ_SECURITY_TOKEN", "")
    if credentials is None or not hmac.compare_digest(token.encode(), (credentials.session_token or "").encode()):
        raise Refused("UnrecognizedClientException", "The security token included in the request is invalid.")
    if credentials.expires_at is not None and credentials.expires_at <= datetime.datetime.now(datetime.UTC):
        raise Refused("ExpiredTokenException", "The security token included in the request is expired")
    _check_time(environ, given["date"])
    body = _read_body(environ)
    expected = _signature(environ, given, body, credentials.secret_access_key)
    if not hmac.compare_digest(expected, given["signature"]):
        raise Refused("SignatureDoesNotMatch", "The signature is not that of the access key.")
    return credentials, given["service"]


def new_key(principal_arn: str) -> Credentials:
    """Make a long-lived key pair of the form that AWS's have."""
    letters = string.ascii_uppercase + "234567"
    access_key_id = "AKIA" + "".join(secrets.choice(letters) for _ in range(16))
    return Credentials(access_key_id, secrets.token_urlsafe(30), None, None, principal_arn)


def failure(service: str, content_type: str, code: str, message: str) -> tuple[str, bytes]:
    """Return an error as a service's clients read it: content type and body."""
    if "x-www-form-urlencoded" not in content_type:
        return "application/json", json.dumps({"__type": code, "message": message}).encode()
    error = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    ec2 = f"<Response><Errors>{error}</Errors></Response>"
    return "text/xml", (ec2 if service == "ec2" else f"<ErrorResponse>{error}</ErrorResponse>").encode()


def _answer(environ: dict[str, Any], start_response: Callable[..., Any], refused: Refused) -> list[bytes]:
    # A connection that is closed with unread input is reset, and the client may lose the answer.
    environ["wsgi.input"].read(min(_length(environ), _DRAINED_BYTES))
    given = _AUTHORIZATION.fullmatch(environ.get("HTTP_AUTHORIZATION", ""))
    service = given["service"] if given else ""
    content_type, body = failure(service, environ.get("CONTENT_TYPE", ""), refused.code, str(refused))
    headers = [("Content-Type", content_type), ("Content-Length", str(len(body))), ("x-amzn-errortype", refused.code)]
    start_response(refused.status, headers)
    return [body]


def _check_time(environ: Mapping[str, Any], day: str) -> None:
    date = environ.get("HTTP_X_AMZ_DATE", "")
    try:
        signed_at = datetime.datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
    except ValueError:
        raise Refused("IncompleteSignatureException", "X-Amz-Date must be like 20260131T235959Z.") from None
    now = datetime.datetime.now(datetime.UTC)
    if abs(now - signed_at) > CLOCK_SKEW or not date.startswith(day):
        raise Refused("SignatureDoesNotMatch", f"Signature expired: {date} is not within 5 minutes of {now:%H:%M:%S}.")


def _length(environ: Mapping[str, Any]) -> int:
    length = str(environ.get("CONTENT_LENGTH") or "0")
    return int(length) if length.isascii() and length.isdigit() else 0


def _read_body(environ: dict[str, Any]) -> bytes:
    """Read the body and put it back for the application."""
    if "HTTP_TRANSFER_ENCODING" in environ:
        raise Refused("AccessDeniedException", "A request must say its length.")
    if _length(environ) > LARGEST_BODY_BYTES:
        raise Refused("RequestEntityTooLargeException", f"A body has at most {LARGEST_BODY_BYTES} bytes.")
    body: bytes = environ["wsgi.input"].read(_length(environ))
    environ["wsgi.input"] = BytesIO(body)
    return body


def _signature(environ: Mapping[str, Any], given: re.Match[str], body: bytes, secret: str) -> str:
    """Sign the request as its sender should have."""
    names = given["headers"].split(";")
    if "host" not in names or "x-amz-date" not in names:
        raise Refused("IncompleteSignatureException", "The signed headers must include host and x-amz-date.")
    path, _, query = str(environ["REQUEST_URI"]).partition("?")
    parameters = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in parse_qsl(query, keep_blank_values=True, errors="surrogateescape")
    )
    canonical_request = "\n".join(
        (
            environ["REQUEST_METHOD"],
            quote(path, safe="/-_.~"),  # of every service but S3 the path is encoded twice
            "&".join("=".join(parameter) for parameter in parameters),
            *(f"{name}:{_header(environ, name)}" for name in names),
            "",
            given["headers"],
            hashlib.sha256(body).hexdigest(),
        )
    )
    digest = hashlib.sha256(canonical_request.encode()).hexdigest()
    key = f"AWS4{secret}".encode()
    for part in given["scope"].split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = "\n".join((_ALGORITHM, environ["HTTP_X_AMZ_DATE"], given["scope"], digest))
    return hmac.digest(key, text.encode(), "sha256").hex()


def _header(environ: Mapping[str, Any], name: str) -> str:
    variable = name.upper().replace("-", "_")
    value = environ.get(variable if name in {"content-type", "content-length"} else f"HTTP_{variable}", "")
    return " ".join(str(value).split())
