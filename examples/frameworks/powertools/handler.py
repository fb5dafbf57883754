"""The sample function with Powertools for AWS Lambda: routes, structured log and metrics beside the library's own."""

from __future__ import annotations

from typing import Any

from lambda_postgres import ConnectionLost, Error, connection, run_transaction, warm

warm()  # connects while Powertools is imported

from aws_lambda_powertools import Logger, Metrics  # noqa: E402
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response, content_types  # noqa: E402
from aws_lambda_powertools.logging import correlation_paths  # noqa: E402
from aws_lambda_powertools.metrics import MetricUnit  # noqa: E402

logger = Logger()
metrics = Metrics()
app = APIGatewayHttpResolver()


@app.get("/users")
def first_users() -> list[dict[str, Any]]:
    """Give the first ten users."""
    with connection(app.lambda_context) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT id, name, created_at FROM users ORDER BY id LIMIT 10")
        found = [{"id": key, "name": name, "created_at": created.isoformat()} for key, name, created in cursor]
    metrics.add_metric(name="UsersListed", unit=MetricUnit.Count, value=len(found))
    logger.info("users listed", count=len(found))
    return found


@app.patch("/users/<user>")
def rename(user: str) -> dict[str, Any]:
    """Give a user the name in the body."""

    def work(conn: Any) -> int:
        with conn.cursor() as cursor:
            cursor.execute("UPDATE users SET name = %s WHERE id = %s", (app.current_event.json_body["name"], int(user)))
            return int(cursor.rowcount)

    return {"renamed": run_transaction(work, app.lambda_context)}


@app.exception_handler(Error)
def unavailable(error: Error) -> Response[str]:
    """Answer for the database; the log of this request says why, and under which correlation id."""
    logger.exception("the database did not answer")
    unknown = isinstance(error, ConnectionLost) and error.committed is None
    told = '{"error": "may have been done"}' if unknown else '{"error": "was not done"}'
    return Response(
        status_code=503, content_type=content_types.APPLICATION_JSON, headers={"retry-after": "1"}, body=told
    )


@logger.inject_lambda_context(correlation_id_path=correlation_paths.API_GATEWAY_HTTP)
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer an event of API Gateway (payload 2.0)."""
    return app.resolve(event, context)
