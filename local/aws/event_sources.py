"""Queues that functions are fed from: a poller for each event source mapping, which works as Lambda's.

Lambda Developer Guide, "Using Lambda with Amazon SQS", "Handling errors for an SQS event source in Lambda" and
"Configuring scaling behavior for SQS event source mappings".
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from moto.awslambda.exceptions import LambdaClientError
from moto.awslambda_simple.models import lambda_simple_backends
from moto.kms.models import kms_backends
from moto.sqs.exceptions import QueueDoesNotExist, ReceiptHandleIsInvalid
from moto.sqs.models import sqs_backends

from local.aws.functions import Functions
from local.aws.iam import role_allows
from local.lambda_runtime.function import RuntimeStoppedError, TooManyRequestsError

_AT_ONCE = 5  # without a maximum: where Lambda begins. That it takes up to 300 more a minute is not emulated
_MOST_AT_ONCE = 1000
_ONE_POLL = 10  # messages that ReceiveMessage returns at most
_LOOK_SECONDS = 0.25  # a message that becomes visible again tells nobody
_LONGEST_BACKOFF = 1.0

_log = logging.getLogger(__name__)


class EventSources:
    """The pollers of one account. A message that failed comes again after `minute_seconds` / 60 of its timeout."""

    def __init__(self, functions: Functions, minute_seconds: float) -> None:
        self._functions = functions
        self._scale = minute_seconds / 60
        self._pollers: dict[str, _Poller] = {}

    def open(self, mapping: Any) -> None:
        self._pollers[mapping.uuid] = _Poller(mapping, self._functions, self._scale)

    def close(self, uuid: str) -> None:
        if poller := self._pollers.pop(uuid, None):
            poller.stop()

    def stop(self) -> None:
        for uuid in list(self._pollers):
            self.close(uuid)


def failed_of(payload: bytes, message_ids: Iterable[str]) -> set[str]:
    """Return the ids of messages that an answer names as failed; all of them where it is of another form."""
    known = set(message_ids)
    try:
        answer = json.loads(payload or b"null")
        named = (answer or {}).get("batchItemFailures") or []
        failed = {item["itemIdentifier"] for item in named}
    except (AttributeError, KeyError, TypeError, ValueError):
        return known
    return failed if failed <= known else known


def record_of(message: Any, queue_arn: str) -> dict[str, Any]:
    """Return a message as a function gets it."""
    record = {
        "messageId": message.id,
        "receiptHandle": message.receipt_handle,
        "body": message.body,
        "attributes": {
            "ApproximateReceiveCount": str(message.approximate_receive_count),
            "SentTimestamp": str(message.sent_timestamp),
            "SenderId": message.sender_id,
            "ApproximateFirstReceiveTimestamp": str(message.approximate_first_receive_timestamp),
        },
        "messageAttributes": {name: _attribute(value) for name, value in message.message_attributes.items()},
        "md5OfBody": message.body_md5,
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": queue_arn.split(":")[3],
    }
    if message.message_attributes:
        record["md5OfMessageAttributes"] = message.attribute_md5
    return record


def _attribute(value: dict[str, Any]) -> dict[str, Any]:
    kind = "binaryValue" if value["DataType"].startswith("Binary") else "stringValue"
    content = value.get("BinaryValue", value.get("StringValue"))
    text = content.decode() if isinstance(content, bytes) else content
    return {kind: text, "stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}


class _Poller:
    """Reads one queue, and has at most so many batches worked on at once as the mapping says."""

    def __init__(self, mapping: Any, functions: Functions, scale: float) -> None:
        self._mapping = mapping
        self._functions = functions
        self._scale = scale
        _, _, _, self._region, self._account, self._queue_name = mapping.event_source_arn.split(":", 5)
        self._stopped = threading.Event()
        self._changed = threading.Condition()
        self._working = 0
        self._batches = ThreadPoolExecutor(_MOST_AT_ONCE, thread_name_prefix="batch")
        threading.Thread(target=self._poll, name="poller", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()
        self._batches.shutdown(wait=False, cancel_futures=True)

    @property
    def _limit(self) -> int:
        return int((self._mapping.scaling_config or {}).get("MaximumConcurrency") or _AT_ONCE)

    @property
    def _queue(self) -> Any:
        return sqs_backends[self._account][self._region].get_queue(self._queue_name)

    def _poll(self) -> None:
        while not self._stopped.is_set():
            try:
                self._poll_once(self._queue)
            except (QueueDoesNotExist, LambdaClientError):
                self._stopped.wait(_LOOK_SECONDS)  # one of the two is gone, and may come again
            except RuntimeError:
                if not self._stopped.is_set():  # else no batch is taken any more
                    raise

    def _poll_once(self, queue: Any) -> None:
        """Take a batch once there is one and a place for it: what waits for a place stays in the queue."""
        self._await(self._changed, lambda: self._working < self._limit)
        self._await(queue._messages_lock, lambda: bool(queue.messages))
        if self._working >= self._limit or not queue.messages:
            return
        if not (self._mapping.enabled and self._may("sqs:ReceiveMessage") and self._may_decrypt(queue)):
            self._stopped.wait(_LOOK_SECONDS)
        elif not self._stopped.is_set() and (batch := self._gather(queue)):
            with self._changed:
                self._working += 1
            self._batches.submit(self._work, queue, batch, time.time())

    @staticmethod
    def _await(condition: threading.Condition, ready: Callable[[], bool]) -> None:
        with condition:
            condition.wait_for(ready, timeout=_LOOK_SECONDS)

    def _gather(self, queue: Any) -> list[Any]:
        """Receive a batch: what one poll brings, or with a window what comes until it is over or the batch full."""
        size, window = int(self._mapping.batch_size), float(self._mapping.max_batch_window or 0)
        batch: list[Any] = []
        until = time.monotonic() + window
        while len(batch) < size and not self._stopped.is_set():
            batch += self._receive(queue, min(_ONE_POLL, size - len(batch)))
            if not batch or time.monotonic() >= until:
                break
            self._await(queue._messages_lock, lambda: bool(queue.messages))
        return batch

    def _receive(self, queue: Any, count: int) -> list[Any]:
        backend = sqs_backends[self._account][self._region]
        found: list[Any] = backend.receive_message(queue.name, count, 0, int(queue.visibility_timeout), ["All"])
        return found

    def _work(self, queue: Any, batch: list[Any], received_at: float) -> None:
        try:
            failed = self._invoke(queue, batch, received_at)
            for message in batch:
                if message.id not in failed and self._may("sqs:DeleteMessage"):
                    self._delete(message)
                else:
                    self._show_again(queue, message, received_at)
        except Exception:
            _log.exception("A batch of %s failed", self._queue_name)
        finally:
            with self._changed:
                self._working -= 1
                self._changed.notify_all()

    def _invoke(self, queue: Any, batch: list[Any], received_at: float) -> set[str]:
        """Run the function; while it is throttled, again until the messages are visible to others."""
        event = {"Records": [record_of(message, queue.queue_arn) for message in batch]}
        everything, pause = {message.id for message in batch}, 0.05
        backend = lambda_simple_backends[self._account][self._region]
        while time.time() < received_at + queue.visibility_timeout and not self._stopped.is_set():
            try:
                arn = self._mapping.function_arn
                _, invocation = self._functions.invoke(backend, arn, None, json.dumps(event).encode())
            except TooManyRequestsError:
                self._stopped.wait(pause)
                pause = min(2 * pause, _LONGEST_BACKOFF)
                continue
            except (LambdaClientError, RuntimeStoppedError):
                break
            if invocation.function_error is not None:
                break
            reports = "ReportBatchItemFailures" in (self._mapping.function_response_types or [])
            return failed_of(invocation.payload, everything) if reports else set()
        return everything

    def _delete(self, message: Any) -> None:
        with suppress(QueueDoesNotExist, ReceiptHandleIsInvalid):  # it is gone
            sqs_backends[self._account][self._region].delete_message(self._queue_name, message.receipt_handle)

    def _show_again(self, queue: Any, message: Any, received_at: float) -> None:
        """Let a message be visible after its timeout, which is as much shorter as a minute of this account is."""
        visible_at = 1000 * (received_at + self._scale * queue.visibility_timeout)
        for held in list(queue._messages):
            if held.had_receipt_handle(message.receipt_handle):
                held.visible_at = min(held.visible_at, visible_at)

    def _may(self, action: str, resource: str | None = None, **context: str) -> bool:
        function = lambda_simple_backends[self._account][self._region].get_function(self._mapping.function_arn)
        return role_allows(function.role, action, resource or self._mapping.event_source_arn, context)

    def _may_decrypt(self, queue: Any) -> bool:
        """A queue under a customer's key needs the key as well; SQS asks KMS for it in the function's name."""
        if not queue.kms_master_key_id or queue.kms_master_key_id == "alias/aws/sqs":
            return True
        key: str = kms_backends[self._account][self._region].describe_key(queue.kms_master_key_id).arn
        return self._may("kms:Decrypt", key, **{"kms:ViaService": f"sqs.{self._region}.amazonaws.com"})
