"""How the account runs its functions: which version a call means, whose credentials it gets, where its log goes."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from datetime import UTC

from moto.awslambda.models import LambdaBackend, LambdaFunction
from moto.logs.models import logs_backends

from local.aws.account import Events
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


class Functions:
    """The functions of one account: they run where its events lead."""

    def __init__(self, iam: Iam, events: Events) -> None:
        self._iam = iam
        self._events = events
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
        invocation = self._events.invoke(
            function,
            payload,
            reserved_concurrency=None if reserved is None else int(reserved),
            invoked_arn=latest.function_arn + (f":{qualifier}" if qualifier else ""),
        )
        return function, invocation

    def invoke_in_background(self, backend: LambdaBackend, name: str, qualifier: str | None, payload: bytes) -> None:
        """Run an event. Lambda queues it while throttled, as here; its retries after an error are left out."""
        backend.get_function(name, qualifier)

        def run() -> None:
            while not self._stopped.is_set():
                with suppress(TooManyRequestsError, RuntimeStoppedError):
                    self.invoke(backend, name, qualifier, payload)
                    return
                self._stopped.wait(0.2)

        threading.Thread(target=run, daemon=True).start()

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
