"""Users over an HTTP API: create, list and rename them. One event of API Gateway (payload 2.0) in, one answer out."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from typing import TYPE_CHECKING, Any

from lambda_postgres import ConnectionLost, Error, connection, run_transaction, warm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

warm()

Answer = tuple[int, dict[str, Any]]

_PAGE = 50
_KEY = re.compile(r"[\x21-\x7e]{1,64}")
_LARGEST_ID = 2**63 - 1


class Refused(Exception):  # noqa: N818  an answer, not a fault
    """The request is wrong; the caller is told why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def main(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Answer one request, and log it in one line. An answer that may help to try again says so with Retry-After."""
    began = time.monotonic()
    request = event.get("requestContext", {})
    http = request.get("http", {})
    method, path = str(http.get("method", "")), str(event.get("rawPath", ""))
    headers = {"content-type": "application/json"}
    try:
        status, body = _answer(method, path, event, context)
    except Refused as refused:
        status, body = refused.status, {"error": str(refused)}
    except Error as error:
        unknown = isinstance(error, ConnectionLost) and error.committed is None
        status, body = 503, {"error": "may have been done" if unknown else "was not done"}
        headers["retry-after"] = "1"
        log("ERROR", type(error).__name__, reason=str(error))
    took = round((time.monotonic() - began) * 1000, 1)
    log("INFO", "request", id=request.get("requestId"), method=method, path=path, status=status, milliseconds=took)
    return {"statusCode": status, "headers": headers, "body": json.dumps(body)}


def create_user(name: str, key: str, context: Any) -> Answer:
    """Make a user once for each key, however often the request comes: after a timeout the client sends it again."""
    wanted = hashlib.sha256(name.encode()).hexdigest()

    def work(conn: Any) -> Answer:
        with conn.cursor() as cursor:
            # Of two requests at once the second waits here for the first one's COMMIT.
            claim = "INSERT INTO user_requests (key, wanted) VALUES (%s, %s) ON CONFLICT (key) DO NOTHING"
            cursor.execute(claim, (key, wanted))
            if cursor.rowcount:
                cursor.execute("INSERT INTO users (name) VALUES (%s) RETURNING id, name, created_at", (name,))
                user = _user(cursor.fetchone())
                cursor.execute("UPDATE user_requests SET user_id = %s WHERE key = %s", (user["id"], key))
                return 201, user
            known = (
                "SELECT users.id, name, users.created_at, wanted FROM users"
                " JOIN user_requests ON user_id = users.id WHERE key = %s"
            )
            cursor.execute(known, (key,))
            *row, wanted_then = cursor.fetchone()
            if wanted_then != wanted:
                raise Refused(422, "this idempotency-key belongs to another request")
            return 200, _user(row)

    return run_transaction(work, context)


def name_in(event: Mapping[str, Any]) -> str:
    """Return the name that the body of a request or message asks for."""
    text = event.get("body") or ""
    try:
        body = json.loads(base64.b64decode(text, validate=True) if event.get("isBase64Encoded") else text)
    except ValueError as error:
        raise Refused(400, "the body must be JSON") from error
    name = body.get("name") if isinstance(body, dict) and body.keys() == {"name"} else None
    if not isinstance(name, str) or not name.strip() or len(name) > 200 or not name.isprintable():
        raise Refused(400, 'the body must be {"name": …} with 1 to 200 printable characters')
    return name.strip()


def log(level: str, event: str, **fields: Any) -> None:
    """Write one line of JSON."""
    print(json.dumps({"level": level, "event": event, **fields}), flush=True)


def _answer(method: str, path: str, event: Mapping[str, Any], context: Any) -> Answer:
    found = re.fullmatch(r"/users(?:/(\d{1,19}))?", path, re.ASCII)
    if not found or (found[1] and int(found[1]) > _LARGEST_ID):
        raise Refused(404, "there is only /users and /users/{id}")
    routes: Mapping[str, Callable[[], Answer]] = (
        {"PATCH": lambda: _rename(int(found[1]), name_in(event), context)}
        if found[1]
        else {
            "GET": lambda: _list(_after(event), context),
            "POST": lambda: create_user(name_in(event), _idempotency_key(event), context),
        }
    )
    if method not in routes:
        raise Refused(405, f"{path} takes {', '.join(routes)}")
    return routes[method]()


def _list(after: int, context: Any) -> Answer:
    with connection(context) as conn, conn.cursor() as cursor:
        query = "SELECT id, name, created_at FROM users WHERE id > %s ORDER BY id LIMIT %s"
        cursor.execute(query, (after, _PAGE + 1))
        users = [_user(row) for row in cursor]
    return 200, {"users": users[:_PAGE], "next": users[_PAGE - 1]["id"] if len(users) > _PAGE else None}


def _rename(user_id: int, name: str, context: Any) -> Answer:
    def work(conn: Any) -> Answer:
        with conn.cursor() as cursor:
            change = "UPDATE users SET name = %s WHERE id = %s RETURNING id, name, created_at"
            cursor.execute(change, (name, user_id))
            row = cursor.fetchone()
        if row is None:
            raise Refused(404, f"there is no user {user_id}")
        return 200, _user(row)

    return run_transaction(work, context)


def _idempotency_key(event: Mapping[str, Any]) -> str:
    key = str((event.get("headers") or {}).get("idempotency-key", ""))
    if not _KEY.fullmatch(key):
        raise Refused(400, "the header idempotency-key must have 1 to 64 visible ASCII characters")
    return key


def _after(event: Mapping[str, Any]) -> int:
    text = str((event.get("queryStringParameters") or {}).get("after", "0"))
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise Refused(400, "after must be the id of a user")
    return int(text)


def _user(row: Any) -> dict[str, Any]:
    return {"id": row[0], "name": row[1], "created_at": row[2].isoformat()}
