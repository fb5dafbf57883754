"""Invoke a Lambda function and print its answer: python -m tools.invoke ARN EVENT. Fails when the function does.

A function that is not ready, or throttled, is invoked again: only after an answer which says that nothing began.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tools.pipe import quietly

# Longer than any function may run (15 minutes), and never a second invocation of work that may have been done.
PATIENT = Config(read_timeout=910, retries={"max_attempts": 0})

READY_SECONDS = 600  # an idle function takes minutes to get its network interfaces back
THROTTLED_SECONDS = 120
POLL_SECONDS = 5.0

# By Lambda's API reference (Invoke, errors) the function's code was not reached.
NOT_READY = {
    "CodeArtifactUserPendingException",
    "EC2ThrottledException",
    "ENINotReadyException",
    "ResourceConflictException",
    "ResourceNotReadyException",
    "SnapStartNotReadyException",
}
THROTTLED = "TooManyRequestsException"


class NotInvokedError(Exception):
    """The function was not reached in time; the message says why."""


def main(arn: str, event: str) -> str | None:
    """Print the answer of the function to this event; return what went wrong, if anything."""
    try:
        json.loads(event)
    except ValueError as error:
        return f"EVENT must be JSON: {error}"
    try:
        client = boto3.client("lambda", region_name=arn.split(":")[3], config=PATIENT)
        response = invoke(client, arn, event)
    except (BotoCoreError, ClientError, NotInvokedError) as error:
        return f"{arn} was not invoked: {error}"
    answer = json.load(response["Payload"])
    print(json.dumps(_readable(answer), indent=2))
    if "FunctionError" in response:
        return f"{arn} failed ({response['FunctionError']})."
    return None


def invoke(
    client: Any,
    arn: str,
    event: str,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Any:
    """Invoke once, as soon as the function is ready and not throttled."""
    ready_by = throttled_until = None
    pause = 1.0
    while True:
        try:
            return client.invoke(FunctionName=arn, Payload=event.encode())
        except ClientError as error:
            code, now = error.response["Error"]["Code"], clock()
            if code == THROTTLED:
                throttled_until = throttled_until or now + THROTTLED_SECONDS
                if now + pause > throttled_until:
                    raise NotInvokedError(_throttled(error.response)) from error
                _say(f"{_throttled(error.response)} Trying again in {pause:g} s.")
                sleep(pause)
                pause = min(pause * 2, 20.0)
            elif code in NOT_READY:
                ready_by = ready_by or now + READY_SECONDS
                _await_active(client, arn, ready_by, clock, sleep)
            else:
                raise


def _await_active(
    client: Any, arn: str, deadline: float, clock: Callable[[], float], sleep: Callable[[float], None]
) -> None:
    """Wait until the function may be ready, at least one pause."""
    told = ""
    while clock() < deadline:
        sleep(POLL_SECONDS)
        found = client.get_function_configuration(FunctionName=arn)
        state, reason = found.get("State", "Active"), found.get("StateReason", "")
        if state == "Failed":
            raise NotInvokedError(f"its state is Failed: {reason}")
        if state == "Active" and found.get("LastUpdateStatus") != "InProgress":
            return
        if told != state:
            told = state
            _say(
                f"{arn} is {state}: {reason or 'Lambda is preparing it.'} Waiting up to {READY_SECONDS // 60} minutes."
            )
    raise NotInvokedError(f"it was not ready within {READY_SECONDS // 60} minutes. Try again, or look at its state.")


def _throttled(response: Any) -> str:
    if str(response.get("Reason", "")).startswith("Reserved"):
        return "All of the function's reserved concurrency is in use."
    return "The account's concurrency is in use."


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _readable(answer: Any) -> Any:
    """An API Gateway style answer holds its body as JSON text: show what it says."""
    if isinstance(answer, dict) and isinstance(answer.get("body"), str):
        try:
            return {**answer, "body": json.loads(answer["body"])}
        except ValueError:
            pass
    return answer


if __name__ == "__main__":
    quietly(main, *sys.argv[1:3])
