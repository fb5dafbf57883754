"""Invoke a Lambda function and print its answer: invoke.py ARN EVENT. Fails when the function does."""

import json
import sys
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

# Longer than any function may run (15 minutes), and never a second invocation of work that may have been done.
PATIENT = Config(read_timeout=910, retries={"max_attempts": 0})


def main(arn: str, event: str) -> str | None:
    """Print the answer of the function to this event; return what went wrong, if anything."""
    try:
        json.loads(event)
    except ValueError as error:
        return f"EVENT must be JSON: {error}"
    try:
        client = boto3.client("lambda", region_name=arn.split(":")[3], config=PATIENT)
        response = client.invoke(FunctionName=arn, Payload=event.encode())
    except (BotoCoreError, ClientError) as error:
        return f"{arn} was not invoked: {error}"
    answer = json.load(response["Payload"])
    print(json.dumps(_readable(answer), indent=2))
    if "FunctionError" in response:
        return f"{arn} failed ({response['FunctionError']})."
    return None


def _readable(answer: Any) -> Any:
    """An API Gateway style answer holds its body as JSON text: show what it says."""
    if isinstance(answer, dict) and isinstance(answer.get("body"), str):
        try:
            return {**answer, "body": json.loads(answer["body"])}
        except ValueError:
            pass
    return answer


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
