"""The server's side of SCRAM-SHA-256, for a password in clear.

scramp has one, but refuses the empty user name that libpq sends.
"""

import hashlib
import hmac
import secrets
from base64 import b64decode, b64encode

_ITERATIONS = 4096  # as RDS Proxy: fixed


class ScramError(Exception):
    """The client does not know the password, or does not speak SCRAM."""


class ScramServer:
    """Take the client's two messages in turn; answer each."""

    def __init__(self, password: str) -> None:
        self._salt = secrets.token_bytes(16)
        self._salted = hashlib.pbkdf2_hmac("sha256", password.encode(), self._salt, _ITERATIONS)
        self._header = self._client_first = self._server_first = self._nonce = ""

    def first(self, message: str) -> str:
        flag, _, rest = message.partition(",")
        authorization, _, self._client_first = rest.partition(",")
        if flag not in ("n", "y"):
            raise ScramError("channel binding was not offered")
        self._header = f"{flag},{authorization},"
        self._nonce = _attributes(self._client_first)["r"] + secrets.token_urlsafe(18)
        self._server_first = f"r={self._nonce},s={b64encode(self._salt).decode()},i={_ITERATIONS}"
        return self._server_first

    def final(self, message: str) -> str:
        without_proof, _, proof = message.rpartition(",p=")
        attributes = _attributes(without_proof)
        if attributes.get("r") != self._nonce or attributes.get("c") != b64encode(self._header.encode()).decode():
            raise ScramError("not an answer to this server's message")
        exchange = f"{self._client_first},{self._server_first},{without_proof}".encode()
        client_key = hmac.digest(self._salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client_key).digest(), exchange, "sha256")
        try:
            shown = bytes(a ^ b for a, b in zip(b64decode(proof, validate=True), signature, strict=True))
        except ValueError as error:
            raise ScramError("malformed proof") from error
        if not hmac.compare_digest(shown, client_key):
            raise ScramError("wrong password")
        server_key = hmac.digest(self._salted, b"Server Key", "sha256")
        return "v=" + b64encode(hmac.digest(server_key, exchange, "sha256")).decode()


def _attributes(message: str) -> dict[str, str]:
    pairs = [attribute.partition("=") for attribute in message.split(",")]
    attributes = {name: value for name, _, value in pairs}
    if "r" not in attributes:
        raise ScramError("malformed message")
    return attributes
