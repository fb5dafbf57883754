"""Payments, each made once: a key in, or a question about them. Every answer says which server gave it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lambda_postgres import run_transaction, warm

if TYPE_CHECKING:
    from collections.abc import Mapping

warm()

_MOST_KEYS = 20_000  # of 40 characters: 1 MB of the 6 that an answer may have


def main(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Make the payment of `key`, or tell what is known: with `prefix` how often each such key was paid.

    A reader tells it, which may be late; with `fresh` the writer does.
    """
    if event == {"lambda_postgres": "diagnose"}:  # sent by make doctor where DB_DIAGNOSE says that these lines are here
        from diagnosis import diagnose  # noqa: PLC0415

        return diagnose()
    if "key" in event:
        return pay(str(event["key"]), int(event.get("cents", 100)), context)
    return tell(event.get("prefix"), context, fresh=bool(event.get("fresh")))


def pay(key: str, cents: int, context: Any) -> dict[str, Any]:
    """Make a payment once for each key, however often the request comes: after a failover the caller sends it again."""

    def work(conn: Any) -> dict[str, Any]:
        with conn.cursor() as cursor:
            # Of two requests at once the second waits here for the first one's COMMIT.
            cursor.execute("INSERT INTO payment_keys (key) VALUES (%s) ON CONFLICT (key) DO NOTHING", (key,))
            made = cursor.rowcount == 1
            if made:
                cursor.execute("INSERT INTO payments (key, cents) VALUES (%s, %s)", (key, cents))
            return {"key": key, "made": made, "answered_by": _who(cursor)}

    return run_transaction(work, context)


def tell(prefix: str | None, context: Any, *, fresh: bool) -> dict[str, Any]:
    """Count payments on a reader, or where they must be `fresh` on the writer."""

    def work(conn: Any) -> dict[str, Any]:
        with conn.cursor() as cursor:
            cursor.execute("SELECT count(*), coalesce(sum(cents), 0) FROM payments")
            payments, cents = cursor.fetchone()
            answer = {"payments": payments, "cents": int(cents), "answered_by": _who(cursor)}
            if prefix is not None:
                counted = "SELECT key, count(*) FROM payments WHERE starts_with(key, %s) GROUP BY key LIMIT %s"
                cursor.execute(counted, (prefix, _MOST_KEYS))
                answer["keys"] = dict(cursor.fetchall())
            return answer

    return run_transaction(work, context, read_only=not fresh)


def _who(cursor: Any) -> str:
    cursor.execute("SELECT pg_is_in_recovery()")
    return "reader" if cursor.fetchone()[0] else "writer"
