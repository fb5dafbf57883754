"""The users API as its clients have it: signed requests to its endpoint, messages to its queue."""

from __future__ import annotations

import json
import time
import urllib.parse
from http.client import HTTPConnection
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local.stack import REGION, Stack

MESSAGES = ("Katherine Johnson", "", "Dorothy Vaughan")  # nobody has an empty name


class Client:
    """Somebody with the stack's own key."""

    def __init__(self, stack: Stack, endpoint: str) -> None:
        self._url = endpoint
        self._key = stack.control_plane.administrator

    def ask(
        self, method: str, target: str, body: object = None, *, sign: bool = True, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        content = None if body is None else json.dumps(body).encode()
        given = {name.replace("_", "-"): text for name, text in headers.items()}
        if content is not None:
            given["content-type"] = "application/json"
        request = AWSRequest(method, f"{self._url}{target}", data=content, headers=given)
        if sign:
            keys = Credentials(self._key.access_key_id, self._key.secret_access_key)
            SigV4Auth(keys, "execute-api", REGION).add_auth(request)
        connection = HTTPConnection(urllib.parse.urlsplit(self._url).netloc, timeout=40)
        try:
            connection.request(method, target, content, dict(request.headers.items()))
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def names(self) -> set[str]:
        status, body = self.ask("GET", "/users")
        assert status == 200, body
        return {user["name"] for user in body["users"]}

    def latencies_ms(self, requests: int) -> list[float]:
        """How long warm requests took, in ascending order."""
        took = []
        for _ in range(requests):
            began = time.monotonic()
            assert self.ask("GET", "/users")[0] == 200
            took.append(1000 * (time.monotonic() - began))
        return sorted(took)


def send(stack: Stack, queue_url: str) -> None:
    """Send MESSAGES in one call."""
    entries = [{"Id": str(n), "MessageBody": json.dumps({"name": name})} for n, name in enumerate(MESSAGES)]
    stack.client("sqs").send_message_batch(QueueUrl=queue_url, Entries=entries)


def count(stack: Stack, queue: str) -> int:
    """How many messages a queue holds, seen or not."""
    sqs, names = stack.client("sqs"), ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    return sum(map(int, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()))


def access_log(stack: Stack, group: str) -> list[dict[str, str]]:
    events = stack.client("logs").filter_log_events(logGroupName=group)["events"]
    return [json.loads(event["message"]) for event in events]
