"""The sample function: an event in, the first users out."""

from __future__ import annotations

import json
from typing import Any

from lambda_postgres import connection, warm

warm()


def handler(event: object, context: Any) -> dict[str, Any]:
    """Answer an API Gateway request with the first ten users."""
    if event == {"lambda_postgres": "diagnose"}:  # sent by make doctor where DB_DIAGNOSE says that these lines are here
        from diagnosis import diagnose  # noqa: PLC0415

        return diagnose()
    with connection(context) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT id, name, created_at FROM users ORDER BY id LIMIT 10")
        users = [{"id": key, "name": name, "created_at": created.isoformat()} for key, name, created in cursor]
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(users)}
