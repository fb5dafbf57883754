"""Where an event goes that a function failed on: to its dead letter queue, if the function's role may send there."""

from __future__ import annotations

from typing import Any

from moto.backends import get_backend

from local.aws.iam import role_allows


class DeadLetterError(Exception):
    """Why an event could not be sent."""


def send(function: Any, payload: bytes, *, request_id: str, error: str) -> bool:
    """Send an event to the queue of a function, with the attributes that Lambda adds; False when it has none.

    Lambda Developer Guide, "Adding a dead-letter queue": RequestID, ErrorCode and ErrorMessage, and the permission
    sqs:SendMessage of the function's role. The queue's key is not asked.
    """
    target: str | None = function.__dict__.get("kept", {}).get("DeadLetterConfig", {}).get("TargetArn")
    if not target:
        return False
    _, _, service, region, account, name = target.split(":", 5)
    if service != "sqs":
        raise DeadLetterError(f"The local stack has no dead letters for {service}.")
    if not role_allows(function.role, "sqs:SendMessage", target):
        raise DeadLetterError(f"{function.role} is not authorized to perform sqs:SendMessage on {target}")
    backend = get_backend("sqs")[account][region]
    if name not in backend.queues:
        raise DeadLetterError(f"{target} does not exist")
    attributes = {
        "RequestID": {"DataType": "String", "StringValue": request_id},
        "ErrorCode": {"DataType": "Number", "StringValue": "200"},
        "ErrorMessage": {"DataType": "String", "StringValue": error[:1024] or "-"},
    }
    backend.send_message(name, payload.decode(), message_attributes=attributes)
    return True
