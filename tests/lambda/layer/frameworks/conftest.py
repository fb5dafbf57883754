"""The optional modules, found where /opt/python holds them: beside the library's own."""

from __future__ import annotations

from pathlib import Path

import lambda_postgres

FOLDER = Path(__file__).parents[4] / "lambda" / "frameworks" / "lambda_postgres"

if str(FOLDER) not in lambda_postgres.__path__:
    lambda_postgres.__path__.append(str(FOLDER))
