"""AWS Signature Version 4, as much of it as a database login needs: botocore's takes 190 ms to import, this 6."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from hashlib import sha256

else:
    try:
        # The interpreter's own: hashlib and hmac load OpenSSL, 3 ms of a cold start, and psycopg2 brings another.
        from _sha2 import sha256
    except ImportError:  # before Python 3.12
        from hashlib import sha256

_ALGORITHM = "AWS4-HMAC-SHA256"
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))
_TOKEN_LIFETIME_SECONDS = 900  # what RDS accepts


class Credentials:
    """An AWS key; its repr shows only which one."""

    __slots__ = ("access_key_id", "secret_access_key", "session_token")

    def __init__(self, access_key_id: str, secret_access_key: str, session_token: str | None = None) -> None:
        self.access_key_id = access_key_id
        self.secret_access_key = secret_access_key
        self.session_token = session_token

    def __repr__(self) -> str:
        return f"Credentials({self.access_key_id!r})"


def database_token(host: str, port: int, user: str, *, region: str, credentials: Credentials, now: float) -> str:
    """Sign the IAM token that logs user in to host; no AWS call is made."""
    timestamp, scope = _scope(now, region, "rds-db")
    parameters = {
        "Action": "connect",
        "DBUser": user,
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": f"{credentials.access_key_id}/{scope}",
        "X-Amz-Date": timestamp,
        "X-Amz-Expires": str(_TOKEN_LIFETIME_SECONDS),
        "X-Amz-SignedHeaders": "host",
    }
    if credentials.session_token:
        parameters["X-Amz-Security-Token"] = credentials.session_token
    query = [f"{name}={_quote(value)}" for name, value in parameters.items()]

    # The signed host is that of a browser's Host header: lower case, and without https' own port.
    signed_host = host.lower() if port == 443 else f"{host.lower()}:{port}"
    request = "\n".join(("GET", "/", "&".join(sorted(query)), f"host:{signed_host}", "", "host", _hash("")))
    signature = _sign(request, timestamp, scope, credentials.secret_access_key)
    return f"{host}:{port}/?{'&'.join(query)}&X-Amz-Signature={signature}"


def authorization(
    headers: Mapping[str, str], body: str, *, service: str, region: str, credentials: Credentials, now: float
) -> dict[str, str]:
    """Return the headers that sign a POST to `/` with these (lower-case) headers and this body."""
    timestamp, scope = _scope(now, region, service)
    added = {"x-amz-date": timestamp}
    if credentials.session_token:
        added["x-amz-security-token"] = credentials.session_token
    signed = sorted({**headers, **added}.items())
    names = ";".join(name for name, _ in signed)
    request = "\n".join(("POST", "/", "", *(f"{name}:{value}" for name, value in signed), "", names, _hash(body)))
    signature = _sign(request, timestamp, scope, credentials.secret_access_key)
    credential = f"Credential={credentials.access_key_id}/{scope}"
    return {**added, "authorization": f"{_ALGORITHM} {credential}, SignedHeaders={names}, Signature={signature}"}


def _scope(now: float, region: str, service: str) -> tuple[str, str]:
    timestamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    return timestamp, f"{timestamp[:8]}/{region}/{service}/aws4_request"


def _sign(request: str, timestamp: str, scope: str, secret_access_key: str) -> str:
    key = f"AWS4{secret_access_key}".encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    text = f"{_ALGORITHM}\n{timestamp}\n{scope}\n{_hash(request)}"
    return _hmac(key, text).hex()


def _hmac(key: bytes, text: str) -> bytes:
    """HMAC-SHA256 (RFC 2104) for keys of any length."""
    block = (sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    inner = sha256(block.translate(_INNER) + text.encode()).digest()
    return sha256(block.translate(_OUTER) + inner).digest()


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _quote(text: str) -> str:
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in text.encode())
