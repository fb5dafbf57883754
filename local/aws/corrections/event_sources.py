"""Event source mappings of queues: what Lambda refuses, and what it describes.

Sources: the Lambda Developer Guide (LDG), the API reference as botocore's service model carries it, and for error texts
the issues named beside them.
"""

from __future__ import annotations

import json
from typing import Any

from moto.awslambda.exceptions import InvalidParameterValueException
from moto.awslambda.models import EventSourceMapping, LambdaBackend
from moto.sqs.models import Queue, sqs_backends

from local.aws.corrections.functions import ConflictError
from local.aws.iam import role_allows
from local.aws.moto import Method, Moto

_POLLS = ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")


def correct(moto: Moto) -> None:
    """Apply the corrections of this room."""
    mappings_are_of_the_alias_that_was_given(moto)
    mappings_are_described_without_what_they_have_not(moto)
    mappings_are_refused(moto)
    queues_hand_over_to_pollers(moto)
    queues_describe_their_redrive_policy_as_it_was_given(moto)


def mappings_are_of_the_alias_that_was_given(moto: Moto) -> None:
    """FunctionArn is that of the alias or version that the name ends with; moto resolves an alias to its version."""

    def qualified(backend: Any, name: str) -> str:
        base = ":".join(backend.get_function(name).function_arn.split(":")[:7])
        qualifier = name.split(":")[7] if name.count(":") == 7 else name.split(":")[1] if name.count(":") == 1 else ""
        return f"{base}:{qualifier}" if qualifier else base

    @moto.around(LambdaBackend, "create_event_source_mapping")
    def create(original: Method, self: Any, spec: Any) -> Any:
        mapping = original(self, spec)
        mapping.function_arn = qualified(self, spec["FunctionName"])
        return mapping

    @moto.around(LambdaBackend, "update_event_source_mapping")
    def update(original: Method, self: Any, uuid: str, spec: Any) -> Any:
        mapping = original(self, uuid, spec)
        if mapping is not None and "FunctionName" in spec:
            mapping.function_arn = qualified(self, spec["FunctionName"])
        return mapping


def mappings_are_described_without_what_they_have_not(moto: Moto) -> None:
    """A member that has no value is not there, and FunctionResponseTypes is a list."""

    @moto.around(EventSourceMapping, "get_configuration")
    def describe(original: Method, self: Any) -> Any:
        described = {name: value for name, value in original(self).items() if value is not None}
        return {"MaximumBatchingWindowInSeconds": 0, "FunctionResponseTypes": []} | described


def mappings_are_refused(moto: Moto) -> None:
    """CreateEventSourceMapping and UpdateEventSourceMapping look at the queue, the role and the settings.

    LDG services-sqs-configure. Texts: github-aws-runners/terraform-aws-github-runner#465 (visibility), aws/aws-cdk#6770
    (role), serverless/serverless#8989 (window), DataBiosphere/azul#3399 (a second mapping of the same two).
    That the role needs all three actions is LDG's; which are tried is not known.
    """

    def check(backend: Any, queue_arn: str, function_name: str, spec: Any) -> None:
        function = backend.get_function(function_name)
        queues = sqs_backends[backend.account_id][backend.region_name].queues.values()
        queue: Any = next((one for one in list(queues) if one.queue_arn == queue_arn), None)
        if queue is None:
            return
        for action in _POLLS:
            if not role_allows(function.role, f"sqs:{action}", queue_arn):
                raise InvalidParameterValueException(
                    f"The provided execution role does not have permissions to call {action} on SQS"
                )
        if int(queue.visibility_timeout) < int(function.timeout):
            raise InvalidParameterValueException(
                f"Queue visibility timeout: {queue.visibility_timeout} seconds is less than Function timeout:"
                f" {function.timeout} seconds"
            )
        if int(spec.get("BatchSize") or 10) > 10 and not spec.get("MaximumBatchingWindowInSeconds"):
            raise InvalidParameterValueException(
                "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
            )

    @moto.around(LambdaBackend, "create_event_source_mapping")
    def create(original: Method, self: Any, spec: Any) -> Any:
        queue_arn, name = spec.get("EventSourceArn", ""), spec.get("FunctionName", "")
        check(self, queue_arn, name, spec)
        for known in list(self._event_source_mappings.values()):
            if known.event_source_arn == queue_arn and known.function_arn == name:
                raise ConflictError(
                    "ResourceConflictException",
                    f'An event source mapping with SQS arn (" {queue_arn} ") and function (" {name} ") already exists.'
                    f" Please update or delete the existing mapping with UUID {known.uuid}",
                )
        return original(self, spec)

    @moto.around(LambdaBackend, "update_event_source_mapping")
    def update(original: Method, self: Any, uuid: str, spec: Any) -> Any:
        if known := self.get_event_source_mapping(uuid):
            now = {"BatchSize": known.batch_size, "MaximumBatchingWindowInSeconds": known.max_batch_window}
            check(self, known.event_source_arn, spec.get("FunctionName") or known.function_arn, now | spec)
        return original(self, uuid, spec)


def queues_hand_over_to_pollers(moto: Moto) -> None:
    """Moto invokes a function within SendMessage; here pollers do, see local/aws/event_sources.py."""

    @moto.around(Queue, "add_message")
    def add(original: Method, self: Any, message: Any) -> None:
        self.lambda_event_source_mappings.clear()
        original(self, message)


def queues_describe_their_redrive_policy_as_it_was_given(moto: Moto) -> None:
    """GetQueueAttributes returns RedrivePolicy without spaces, as the provider writes it; moto adds some.

    Else the provider, which compares texts, would change it for ever.
    """
    attributes: Any = vars(Queue)["attributes"]

    def described(queue: Any) -> dict[str, Any]:
        found: dict[str, Any] = attributes.fget(queue)
        if queue.redrive_policy:
            found["RedrivePolicy"] = json.dumps(queue.redrive_policy, separators=(",", ":"))
        return found

    moto.set(Queue, "attributes", property(described))
