"""What a cold start pays for: psycopg2 and a little of the standard library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LAYER = Path(__file__).parents[3] / "lambda" / "layer"
RARELY_USED = [
    "lambda_postgres.readers",
    "ssl",
    pytest.param("hashlib", marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="SHA-256 is only there")),
    "hmac",
    "http.client",
    "urllib.request",
    "dataclasses",
    "inspect",
    "asyncio",
    "random",
    "botocore",
    "boto3",
]


def run(code):
    return subprocess.run([sys.executable, "-c", code], cwd=LAYER, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("module", RARELY_USED)
def test_importing_the_library_does_not_import(module):
    assert run(f"import sys, lambda_postgres; print({module!r} in sys.modules)") == "False\n"


def test_ssl_can_be_imported_afterwards_and_psycopg2_before():
    assert run("import lambda_postgres, ssl; print(ssl.create_default_context() is not None)") == "True\n"
    assert run("import psycopg2, lambda_postgres, ssl; print(ssl.OPENSSL_VERSION != '')") == "True\n"
