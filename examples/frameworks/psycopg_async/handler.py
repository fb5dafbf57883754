"""The sample function with psycopg 3 and asyncio: an event in, the first users and their number out."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from lambda_postgres.psycopg_async import transaction, warm
from psycopg.rows import dict_row

warm()


def handler(_event: object, context: Any) -> dict[str, Any]:
    """Answer an API Gateway request, in a loop of its own; the connection outlives it."""
    return asyncio.run(_answer(context))


async def _answer(context: Any) -> dict[str, Any]:
    async with transaction(context, read_only=True) as conn, conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute("SELECT id, name, created_at FROM users ORDER BY id LIMIT 10")
        found = [{**row, "created_at": row["created_at"].isoformat()} async for row in cursor]
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(found)}
