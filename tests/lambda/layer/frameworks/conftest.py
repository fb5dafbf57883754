"""The optional modules, found where /opt/python holds them: beside the library's own."""

from __future__ import annotations

from pathlib import Path

import lambda_postgres
import pytest

FOLDER = Path(__file__).parents[4] / "lambda" / "frameworks" / "lambda_postgres"

if str(FOLDER) not in lambda_postgres.__path__:
    lambda_postgres.__path__.append(str(FOLDER))


@pytest.fixture(autouse=True)
def unchanged(request):
    """Give the users their names back: the server is shared with every other test."""
    server = request.getfixturevalue("server") if "server" in request.fixturenames else None
    yield
    if server is not None:
        with server.administrator("app") as cursor:
            cursor.execute("UPDATE users SET name = 'user ' || id")
