"""Users from a queue: each message is the body of POST /users. One batch of SQS in, the messages that failed out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app import Refused, create_user, log, name_in
from lambda_postgres import Error

if TYPE_CHECKING:
    from collections.abc import Mapping

_SPARE_MS = 6000  # for one more message: the proxy lets it wait 5 s for a connection


def main(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Create a user for each message; name those that failed, which SQS delivers again and at last keeps aside.

    SQS may deliver a message twice, so its id is the key of the request. Without a connection the rest of the batch
    would only wait for one, too: it is given back untried.
    """
    failed: list[str] = []
    given_up = False
    for record in event["Records"]:
        message = record["messageId"]
        given_up = given_up or context.get_remaining_time_in_millis() < _SPARE_MS
        if given_up:
            failed.append(message)
            continue
        try:
            status, user = create_user(name_in(record), f"message:{message}", context)
        except Refused as refused:
            failed.append(message)
            log("ERROR", "refused", message=message, reason=str(refused))
        except Error as error:
            failed.append(message)
            given_up = True
            log("ERROR", type(error).__name__, message=message, reason=str(error))
        else:
            log("INFO", "message", message=message, user=user["id"], made=status == 201)
    return {"batchItemFailures": [{"itemIdentifier": message} for message in failed]}
