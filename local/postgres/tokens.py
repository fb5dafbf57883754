"""Check an IAM token as RDS does: the signature, what was signed, and what the signer may do.

The check of Signature Version 4 is written from its specification, apart from the library's signer: each tests the
other.
"""

import datetime
import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote

from ..credentials import Credentials, Directory

ACTION = "rds-db:connect"

_SERVICE = "rds-db"
_ALGORITHM = "AWS4-HMAC-SHA256"
_LONGEST_LIFETIME = datetime.timedelta(minutes=15)
_CLOCK_SKEW = datetime.timedelta(minutes=5)
_EMPTY_PAYLOAD = hashlib.sha256(b"").hexdigest()
_REQUIRED = {
    "Action",
    "DBUser",
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
}
_OPTIONAL = {"X-Amz-Security-Token"}


class TokenRefused(Exception):  # noqa: N818 (an answer, not a fault)
    """Why a token is not accepted: for the log, since the client only learns that it is not."""


def verify(
    token: str,
    *,
    directory: Directory,
    host: str,
    port: int,
    user: str,
    resource_prefix: str,
    now: datetime.datetime,
) -> Credentials:
    """Return the credentials that signed this token for this very endpoint and user; else raise TokenRefused.

    `resource_prefix` is what the policy's resource has before the user: `arn:…:dbuser:prx-0123`.
    """
    endpoint, query = _split(token)
    if endpoint != f"{host}:{port}":
        raise TokenRefused(f"signed for {endpoint}, not for {host}:{port}")
    region = resource_prefix.split(":")[3]
    access_key_id, scope = _check_request(query, user=user, region=region)
    _check_time(query, scope, now)

    credentials = directory.credentials_of(access_key_id)
    if credentials is None:
        raise TokenRefused(f"no credentials {access_key_id}")
    if credentials.expires_at is not None and credentials.expires_at <= now:
        raise TokenRefused(f"credentials {access_key_id} expired at {credentials.expires_at:%H:%M:%S}")
    session_token = query.get("X-Amz-Security-Token", "")
    if not hmac.compare_digest(session_token.encode(), (credentials.session_token or "").encode()):
        raise TokenRefused(f"not the session token of {access_key_id}")
    expected = _signature(query, endpoint=endpoint, scope=scope, secret=credentials.secret_access_key)
    if not hmac.compare_digest(expected.encode(), query["X-Amz-Signature"].encode()):
        raise TokenRefused(f"the signature is not that of {access_key_id}")

    resource = f"{resource_prefix}/{user}"
    if not directory.allows(credentials, ACTION, resource):
        raise TokenRefused(f"{credentials.principal_arn} is not allowed {ACTION} on {resource}")
    return credentials


def sign(credentials: Credentials, *, host: str, port: int, user: str, region: str, now: datetime.datetime) -> str:
    """Return a token of these credentials, as the SDKs of AWS make one."""
    date = f"{now:%Y%m%dT%H%M%SZ}"
    scope = f"{date[:8]}/{region}/{_SERVICE}/aws4_request"
    query = {
        "Action": "connect",
        "DBUser": user,
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": f"{credentials.access_key_id}/{scope}",
        "X-Amz-Date": date,
        "X-Amz-Expires": str(int(_LONGEST_LIFETIME.total_seconds())),
        "X-Amz-SignedHeaders": "host",
    }
    if credentials.session_token:
        query["X-Amz-Security-Token"] = credentials.session_token
    endpoint = f"{host}:{port}"
    query["X-Amz-Signature"] = _signature(query, endpoint=endpoint, scope=scope, secret=credentials.secret_access_key)
    return f"{endpoint}/?" + "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in query.items())


def _split(token: str) -> tuple[str, dict[str, str]]:
    match = re.fullmatch(r"([^/?]+)/\?([\x21-\x7e]+)", token)
    if match is None:
        raise TokenRefused("not a token")
    try:
        pairs = parse_qsl(match[2], keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError as error:
        raise TokenRefused("not a token: its query is malformed") from error
    query = dict(pairs)
    if len(query) != len(pairs) or not _REQUIRED <= query.keys() <= _REQUIRED | _OPTIONAL:
        raise TokenRefused("not a token: its parameters are others than a token's")
    return match[1], query


def _check_request(query: Mapping[str, str], *, user: str, region: str) -> tuple[str, str]:
    """Check what was asked for; return the access key and the scope it was signed in."""
    if (query["Action"], query["X-Amz-Algorithm"], query["X-Amz-SignedHeaders"]) != ("connect", _ALGORITHM, "host"):
        raise TokenRefused("signed for another action, or in another way")
    if query["DBUser"] != user:
        raise TokenRefused(f"signed for user {query['DBUser']!r}, not for {user!r}")
    access_key_id, _, scope = query["X-Amz-Credential"].partition("/")
    if scope.split("/")[1:] != [region, _SERVICE, "aws4_request"]:
        raise TokenRefused(f"signed for {scope!r}, not for {_SERVICE} in {region}")
    return access_key_id, scope


def _check_time(query: Mapping[str, str], scope: str, now: datetime.datetime) -> None:
    date = query["X-Amz-Date"]
    try:
        signed_at = datetime.datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
        lifetime = datetime.timedelta(seconds=int(query["X-Amz-Expires"]))
    except (ValueError, OverflowError) as error:
        raise TokenRefused("not a token: its date or lifetime is malformed") from error
    if scope.partition("/")[0] != date[:8]:
        raise TokenRefused("its date and its scope differ")
    if not datetime.timedelta(0) < lifetime <= _LONGEST_LIFETIME:
        raise TokenRefused(f"its lifetime is {lifetime}, more than {_LONGEST_LIFETIME} or none")
    if signed_at > now + _CLOCK_SKEW:
        raise TokenRefused(f"signed in the future, at {date}")
    if now >= signed_at + lifetime:
        raise TokenRefused(f"expired: signed at {date}")


def _signature(query: Mapping[str, str], *, endpoint: str, scope: str, secret: str) -> str:
    signed = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in query.items()
        if name != "X-Amz-Signature"
    )
    canonical_request = "\n".join(
        ("GET", "/", "&".join("=".join(pair) for pair in signed), f"host:{endpoint}", "", "host", _EMPTY_PAYLOAD)
    )
    digest = hashlib.sha256(canonical_request.encode()).hexdigest()
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, "\n".join((_ALGORITHM, query["X-Amz-Date"], scope, digest)).encode(), "sha256").hex()
