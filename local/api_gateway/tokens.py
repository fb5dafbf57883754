"""JSON Web Tokens of an issuer, checked as an HTTP API's JWT authorizer checks them.

API Gateway Developer Guide, "Control access to HTTP APIs with JWT authorizers": only RSA, keys by kid from the issuer's
jwks_uri and kept for two hours, then iss, aud or client_id, exp, nbf, iat, and one of the route's scopes.
"""

from __future__ import annotations

import base64
import binascii
import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from local.api_gateway.api import Jwt

_HASHES: dict[str, Callable[[], hashes.HashAlgorithm]] = {
    "RS256": hashes.SHA256,
    "RS384": hashes.SHA384,
    "RS512": hashes.SHA512,
}
_FETCH_SECONDS = 1.5  # the guide's limit for the keys of an issuer
_KEPT_SECONDS = 2 * 3600
_LARGEST_DOCUMENT = 1024 * 1024


class IssuerError(Exception):
    """The issuer's documents cannot be read."""


class TokenRefused(Exception):  # noqa: N818 (an answer, not a fault)
    """Why a token is not accepted; `error` is the code of RFC 6750, empty where there was no token."""

    def __init__(self, reason: str, error: str = "invalid_token") -> None:
        super().__init__(reason)
        self.error = error


class Issuers:
    """The keys of issuers, kept for a while."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: dict[str, tuple[float, dict[str, RSAPublicKey]]] = {}

    def check(self, issuer: str) -> None:
        """Read an issuer's documents, as CreateAuthorizer does; IssuerError when that fails."""
        _keys_of(issuer)

    def claims(self, authorization: str, wanted: Jwt) -> dict[str, Any]:
        """Return the claims of a request's token; TokenRefused says why it is not accepted."""
        token = authorization[7:] if authorization[:7].lower() == "bearer " else authorization
        if not token:
            raise TokenRefused("no token", error="")
        header, claims, signed, signature = _parts(token)
        if header.get("alg") not in _HASHES:
            raise TokenRefused("only algorithms of RSA are supported")
        key = self._key(wanted.issuer, str(header.get("kid")))
        try:
            key.verify(signature, signed, padding.PKCS1v15(), _HASHES[header["alg"]]())
        except InvalidSignature as error:
            raise TokenRefused("the signature does not match") from error
        _check(claims, wanted)
        return claims

    def _key(self, issuer: str, kid: str) -> RSAPublicKey:
        with self._lock:
            until, keys = self._keys.get(issuer, (0.0, {}))
            if time.monotonic() >= until or kid not in keys:
                try:
                    keys = _keys_of(issuer)
                except IssuerError as error:
                    raise TokenRefused("the keys of the issuer cannot be read") from error
                self._keys[issuer] = (time.monotonic() + _KEPT_SECONDS, keys)
        if kid not in keys:
            raise TokenRefused("the issuer has no key of this kid")
        return keys[kid]


def scopes_of(claims: Mapping[str, Any]) -> list[str]:
    """Return a token's scopes: a list, or words in a text."""
    given = claims.get("scope", claims.get("scp", []))
    return given.split() if isinstance(given, str) else [str(one) for one in given]


def as_text(value: Any) -> str:
    """Return a claim as events have them: every value is a text, a list is [one two]."""
    if isinstance(value, list):
        return f"[{' '.join(as_text(one) for one in value)}]"
    return value if isinstance(value, str) else json.dumps(value)


def _parts(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    try:
        header, claims, signature = token.split(".")
        parsed = json.loads(_decoded(header)), json.loads(_decoded(claims))
    except (ValueError, binascii.Error) as error:
        raise TokenRefused("the token is malformed") from error
    if not all(isinstance(part, dict) for part in parsed):
        raise TokenRefused("the token is malformed")
    return *parsed, f"{header}.{claims}".encode(), _decoded(signature)


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _check(claims: Mapping[str, Any], wanted: Jwt) -> None:
    now = time.time()
    if claims.get("iss") != wanted.issuer:
        raise TokenRefused("the issuer is another")
    audience = claims.get("aud", claims.get("client_id"))
    if not {*(audience if isinstance(audience, list) else [audience])} & {*wanted.audiences}:
        raise TokenRefused("the token has an invalid audience")
    try:
        if not float(claims["exp"]) > now:
            raise TokenRefused("the token has expired")
        if float(claims.get("nbf", 0)) > now or float(claims.get("iat", 0)) > now:
            raise TokenRefused("the token is not valid yet")
    except (KeyError, TypeError, ValueError) as error:
        raise TokenRefused("exp, nbf or iat is no time") from error
    if wanted.scopes and not {*scopes_of(claims)} & {*wanted.scopes}:
        raise TokenRefused("the token has none of the route's scopes", error="insufficient_scope")


def _keys_of(issuer: str) -> dict[str, RSAPublicKey]:
    discovery = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    found = _document(discovery)
    try:
        if found["issuer"] != issuer:
            raise IssuerError(f"{discovery} is of the issuer {found['issuer']}")
        keys = _document(str(found["jwks_uri"]))["keys"]
        return {
            key["kid"]: RSAPublicNumbers(_number(key["e"]), _number(key["n"])).public_key()
            for key in keys
            if key["kty"] == "RSA"
        }
    except (KeyError, TypeError, ValueError) as error:
        raise IssuerError(f"{discovery}, or what it leads to, is of another form: {error!r}") from error


def _document(url: str) -> Any:
    """Read a JSON document over verified TLS."""
    if not url.startswith("https://"):
        raise IssuerError(f"{url} is no https URL")
    try:
        context = ssl.create_default_context()
        with urllib.request.urlopen(url, timeout=_FETCH_SECONDS, context=context) as answer:  # noqa: S310 (https)
            return json.loads(answer.read(_LARGEST_DOCUMENT))
    except (OSError, ValueError) as error:
        raise IssuerError(f"{url}: {error}") from error


def _number(text: str) -> int:
    return int.from_bytes(_decoded(text))
