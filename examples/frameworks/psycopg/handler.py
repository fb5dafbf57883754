"""The sample function with psycopg 3: an event in, the first users out."""

from __future__ import annotations

import json
from typing import Any

from lambda_postgres.psycopg import connection, warm
from psycopg.rows import dict_row

warm()


def handler(_event: object, context: Any) -> dict[str, Any]:
    """Answer an API Gateway request with the first ten users."""
    with connection(context) as conn, conn.cursor(row_factory=dict_row) as cursor:
        cursor.execute("SELECT id, name, created_at FROM users ORDER BY id LIMIT 10")
        found = [{**row, "created_at": row["created_at"].isoformat()} for row in cursor]
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(found)}
