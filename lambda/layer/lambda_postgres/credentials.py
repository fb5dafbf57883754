"""The function's AWS credentials: from the environment, or from the endpoint that SnapStart gives instead."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .errors import NotConfigured
from .signature import Credentials

if TYPE_CHECKING:
    from collections.abc import Mapping


def current(environ: Mapping[str, str] = os.environ) -> Credentials:
    """Return the credentials of this moment: they are read for each connection, so they are never stale."""
    access_key_id = environ.get("AWS_ACCESS_KEY_ID")
    secret_access_key = environ.get("AWS_SECRET_ACCESS_KEY")
    if access_key_id and secret_access_key:
        for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            value = environ.get(variable, "")
            if not (value.isascii() and value.isprintable()):
                raise NotConfigured(f"{variable} holds characters that no key has")
        return Credentials(access_key_id, secret_access_key, environ.get("AWS_SESSION_TOKEN") or None)
    if "AWS_CONTAINER_CREDENTIALS_FULL_URI" in environ:
        from . import aws  # noqa: PLC0415  only SnapStart needs it

        return Credentials(*aws.container_keys(environ))
    raise NotConfigured("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set: there is nothing to sign with")
