"""The sample function with SQLAlchemy: an event in, the first users out."""

from __future__ import annotations

import json
from typing import Any

from lambda_postgres import warm

warm()  # connects while SQLAlchemy is imported

import sqlalchemy as sa  # noqa: E402
from lambda_postgres.sqlalchemy import engine, invocation  # noqa: E402

db = engine()
users = sa.table("users", sa.column("id"), sa.column("name"), sa.column("created_at"))
FIRST = sa.select(users).order_by(users.c.id).limit(10)


def handler(_event: object, context: Any) -> dict[str, Any]:
    """Answer an API Gateway request with the first ten users."""
    with invocation(context), db.connect() as conn:
        found = [
            {"id": row.id, "name": row.name, "created_at": row.created_at.isoformat()} for row in conn.execute(FIRST)
        ]
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(found)}
