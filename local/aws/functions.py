"""How the account runs its functions: which version a call means, whose credentials it gets, where its log goes."""

from __future__ import annotations

import json
import logging
import threading
import time
from datetime import UTC

from moto.awslambda.exceptions import LambdaClientError
from moto.awslambda.models import LambdaBackend, LambdaFunction
from moto.logs.models import logs_backends

from local.aws import dead_letters
from local.aws.account import Events
from local.aws.cloudwatch import function_metrics
from local.aws.cloudwatch.alarms import clock
from local.aws.cloudwatch.function_metrics import FunctionMetrics
from local.aws.cloudwatch.publishing import publish_embedded
from local.aws.corrections.functions import refuse_unless_active
from local.aws.iam import Iam, role_allows
from local.lambda_runtime.function import (
    Archive,
    FunctionVersion,
    Invocation,
    RoleCredentials,
    RuntimeStoppedError,
    TooManyRequestsError,
)

_SESSION_SECONDS = 12 * 3600
_LOG_CALLS = ("CreateLogStream", "PutLogEvents")
_RETRY_MINUTES = (1, 2)  # Lambda Developer Guide, "How Lambda handles errors and retries with asynchronous invocation"

_log = logging.getLogger(__name__)


class Functions:
    """The functions of one account: they run where its events lead."""

    def __init__(self, iam: Iam, events: Events, minute_seconds: float = 60) -> None:
        self._iam = iam
        self._events = events
        self._minute_seconds = minute_seconds
        self._layers: dict[str, Archive] = {}
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Drop the events that wait."""
        self._stopped.set()

    def credentials_for(self, function: FunctionVersion) -> RoleCredentials:
        """Assume a function's role for one execution environment."""
        arn = ":".join(function.arn.split(":")[:7])
        session = self._iam.assume_role(
            function.role_arn, session=function.name, seconds=_SESSION_SECONDS, function_arn=arn
        )
        return RoleCredentials(
            session.access_key_id,
            session.secret_access_key,
            session.session_token,
            session.expiration.replace(tzinfo=UTC),
        )

    def write_log(self, function: FunctionVersion, stream: str, lines: list[str]) -> None:
        """Put what a function wrote into its log group, which Lambda makes where the role may, as far as it may."""
        _, partition, _, region, account, _ = function.arn.split(":", 5)
        backend = logs_backends[account][region]
        arn = f"arn:{partition}:logs:{region}:{account}:log-group:{function.log_group}:log-stream:{stream}"
        permitted = all(role_allows(function.role_arn, f"logs:{call}", arn) for call in _LOG_CALLS)
        if permitted and role_allows(function.role_arn, "logs:CreateLogGroup", arn.rpartition(":log-stream:")[0]):
            backend.ensure_log_group(function.log_group)
        if lines and permitted and function.log_group in backend.groups:
            now = int(time.time() * 1000)
            backend.ensure_log_stream(function.log_group, stream)
            events = [{"timestamp": now, "message": line} for line in lines]
            backend.put_log_events(function.log_group, stream, events)
            publish_embedded(account, region, lines)

    def began(self, function: FunctionVersion, executions: int, of_all: int) -> None:
        """Note that one more execution of a function has begun."""
        function_metrics.running(function.arn, executions, of_all)

    def invoke(
        self, backend: LambdaBackend, name: str, qualifier: str | None, payload: bytes
    ) -> tuple[FunctionVersion, Invocation]:
        """Run the version that a name (with or without a qualifier, or an ARN) leads to."""
        found = backend.get_function(name, qualifier)
        latest = backend.get_function(found.function_name)
        if ":" in name:
            qualifier = name.split(":")[7] if name.count(":") == 7 else qualifier
            qualifier = name.split(":")[1] if name.count(":") == 1 else qualifier
        refuse_unless_active(found)
        function = self._version(found)
        reserved = latest.reserved_concurrency
        metrics, began = FunctionMetrics(latest.function_arn, qualifier), clock()
        try:
            invocation = self._events.invoke(
                function,
                payload,
                reserved_concurrency=None if reserved is None else int(reserved),
                invoked_arn=latest.function_arn + (f":{qualifier}" if qualifier else ""),
            )
        except TooManyRequestsError:
            metrics.throttled()
            raise
        metrics.invoked(
            began=began,
            duration_ms=invocation.duration_ms,
            failed=invocation.function_error is not None,
            version=function.version,
        )
        return function, invocation

    def invoke_in_background(self, backend: LambdaBackend, name: str, qualifier: str | None, payload: bytes) -> None:
        """Run an event: again while it is throttled, and twice after an error; then it is a dead letter."""
        found = backend.get_function(name, qualifier)
        metrics, received_at = FunctionMetrics(found.function_arn), clock()
        metrics.event_received()

        def run() -> None:
            for minutes in (*_RETRY_MINUTES, None):
                invocation = self._invoke_in_the_end(backend, name, qualifier, payload)
                if invocation is None:
                    return
                metrics.event_invoked(received_at)
                if invocation.function_error is None:
                    return
                if minutes is None:
                    _drop(found, payload, invocation, metrics)
                elif self._stopped.wait(minutes * self._minute_seconds):
                    return

        threading.Thread(target=run, daemon=True).start()

    def _invoke_in_the_end(
        self, backend: LambdaBackend, name: str, qualifier: str | None, payload: bytes
    ) -> Invocation | None:
        """Invoke once there is concurrency for it; None when the stack is stopped or the function is gone."""
        while not self._stopped.is_set():
            try:
                return self.invoke(backend, name, qualifier, payload)[1]
            except (TooManyRequestsError, RuntimeStoppedError):
                self._stopped.wait(0.2)
            except LambdaClientError as error:
                _log.warning("An event of %s is dropped: %s", name, error)
                break
        return None

    def keep_layer(self, arn: str, archive: Archive) -> None:
        """Keep a layer's content: versions that were published with it run on when the layer is deleted."""
        self._layers[arn] = archive

    def _version(self, function: LambdaFunction) -> FunctionVersion:
        arn = function.function_arn
        return FunctionVersion(
            name=function.function_name,
            version=str(function.version),
            arn=f"{arn}:$LATEST" if function.version == "$LATEST" else arn,
            handler=str(function.handler),
            runtime=str(function.run_time),
            timeout_seconds=int(function.timeout),
            memory_mb=int(function.memory_size),
            role_arn=function.role,
            log_group=function.logs_group_name,
            package=Archive(function.code_digest, function.code_bytes),
            layers=tuple(self._layers[layer["Arn"]] for layer in function.layers),
            variables=tuple(sorted(function.environment_vars.items())),
            security_group_ids=tuple((function.vpc_config or {}).get("SecurityGroupIds", [])),
        )


def _drop(function: LambdaFunction, payload: bytes, invocation: Invocation, metrics: FunctionMetrics) -> None:
    metrics.event_dropped()
    error = json.loads(invocation.payload or b"{}").get("errorMessage", "")
    try:
        dead_letters.send(function, payload, request_id=invocation.request_id, error=error)
    except dead_letters.DeadLetterError as failure:
        _log.warning("%s: a dead letter was not sent: %s", function.function_name, failure)
        metrics.dead_letter_failed()
