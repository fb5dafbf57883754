"""The two calls over HTTP that some logins need, on the standard library: boto3 takes 160 ms more to start."""

from __future__ import annotations

import json
import os
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Any, TypeGuard
from urllib.parse import urlsplit

from . import signature
from .errors import CannotConnect, LoginRefused, NotConfigured

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .settings import Settings
    from .signature import Credentials

_LOCAL_TIMEOUT_SECONDS = 2


def secret_login(settings: Settings, credentials: Credentials, *, stage: str, now: float) -> tuple[str, str] | None:
    """Return user and password of one version of the secret; None when there is no version at that stage."""
    arn = settings.secret_arn or ""
    partition, region = _parse_arn(arn)
    url = (
        os.environ.get("AWS_ENDPOINT_URL_SECRETS_MANAGER")
        or os.environ.get("AWS_ENDPOINT_URL")
        or f"https://secretsmanager.{region}.amazonaws.com{'.cn' if partition == 'aws-cn' else ''}"
    )
    body = json.dumps({"SecretId": arn, "VersionStage": stage})
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "host": urlsplit(url).netloc.lower(),
        "x-amz-target": "secretsmanager.GetSecretValue",
    }
    headers |= signature.authorization(
        headers, body, service="secretsmanager", region=region, credentials=credentials, now=now
    )
    status, answer = _request("POST", url, headers, body=body, timeout=settings.connect_timeout_seconds)
    if status == 200:
        secret = _parse(answer.get("SecretString"))
        user, password = secret.get("username", settings.user), secret.get("password")
        if _is_login_text(user) and _is_login_text(password):
            return user, password
        raise LoginRefused(settings.target, f"{arn} must hold JSON with username and password")

    error = str(answer.get("__type", f"HTTP status {status}")).rpartition("#")[2]
    if error == "ResourceNotFoundException" and stage != "AWSCURRENT":
        return None
    cause = f"GetSecretValue on {arn}: {error}"
    if status == 0 or status >= 500 or "Throttling" in error:
        raise CannotConnect(settings.target, cause, transient=True)
    raise LoginRefused(
        settings.target,
        f"{cause}; check that the role may secretsmanager:GetSecretValue on it and kms:Decrypt with its key",
    )


def container_keys(environ: Mapping[str, str]) -> tuple[str, str, str]:
    """Ask the endpoint that AWS_CONTAINER_CREDENTIALS_FULL_URI names for key, secret and session token."""
    url = environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
    headers = {}
    if token := environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN"):
        headers["authorization"] = token
    status, answer = _request("GET", url, headers, timeout=_LOCAL_TIMEOUT_SECONDS)
    try:
        return answer["AccessKeyId"], answer["SecretAccessKey"], answer["Token"]
    except KeyError:
        found = "no answer" if status == 0 else f"HTTP status {status}"
    raise NotConfigured(f"AWS_CONTAINER_CREDENTIALS_FULL_URI gave no credentials: {found}")


def _request(
    method: str, url: str, headers: Mapping[str, str], *, timeout: float, body: str | None = None
) -> tuple[int, dict[str, Any]]:
    """Return status and JSON; status 0 when there was no answer. Nothing raised here could show what was sent."""
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    http = kind(parts.netloc, timeout=timeout)
    try:
        http.request(method, f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}", body, dict(headers))
        response = http.getresponse()
        return response.status, _parse(response.read())
    except (OSError, HTTPException, ValueError) as error:  # ValueError: a header's value, which its text would show
        return 0, {"__type": f"{type(error).__name__} from {parts.netloc}"}
    finally:
        http.close()


def _parse(text: str | bytes | None) -> dict[str, Any]:
    """Read a JSON object; {} for anything else, since json's own error would carry the text."""
    try:
        value = json.loads(text or "")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _is_login_text(value: object) -> TypeGuard[str]:
    """Tell whether libpq can send it: where it cannot, psycopg2's own error would hold the password."""
    return isinstance(value, str) and value != "" and "\0" not in value and _is_unicode(value)


def _is_unicode(value: str) -> bool:
    """Tell whether it can be encoded: JSON may hold half of a surrogate pair."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _parse_arn(arn: str) -> tuple[str, str]:
    match arn.split(":"):
        case ["arn", partition, "secretsmanager", region, _, "secret", *_] if region:
            return partition, region
    raise NotConfigured(f"DB_SECRET_ARN must be the ARN of a secret, not {arn!r}")
