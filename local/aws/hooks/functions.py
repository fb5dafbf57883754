"""Lambda functions: an invocation runs, whoever asks for it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from moto.awslambda.exceptions import LambdaClientError
from moto.awslambda.models import LambdaBackend
from moto.awslambda.responses import LambdaResponse
from moto.awslambda_simple.models import LambdaSimpleBackend
from moto.secretsmanager.models import secretsmanager_backends

from local.aws.account import Events
from local.aws.functions import Functions
from local.aws.moto import Method, Moto
from local.lambda_runtime.function import Archive, RuntimeStoppedError, TooManyRequestsError


def hook(moto: Moto, events: Events, runs: Functions) -> None:
    """Run what is invoked; keep layers; tell of functions that are deleted."""

    @moto.around(LambdaResponse, "invoke")
    def invoke(_: Method, self: Any) -> Any:
        name = unquote(self.path.rsplit("/", 2)[-2])
        qualifier = self.querystring.get("Qualifier", [None])[0]
        payload = (self.body or "{}").encode() if isinstance(self.body or "", str) else self.body
        try:
            json.loads(payload)
        except ValueError as error:
            message = f"Could not parse request body into json: {error}"
            raise LambdaClientError("InvalidRequestContentException", message) from error
        match self.headers.get("X-Amz-Invocation-Type", "RequestResponse"):
            case "DryRun":
                return 204, {"status": 204}, ""
            case "Event":
                runs.invoke_in_background(self.backend, name, qualifier, payload)
                return 202, {"status": 202}, ""
        try:
            function, invocation = runs.invoke(self.backend, name, qualifier, payload)
        except TooManyRequestsError as error:
            headers = {"status": 429, "x-amzn-errortype": "TooManyRequestsException"}
            return 429, headers, json.dumps({"Reason": error.reason, "Type": "User", "message": str(error)})
        except RuntimeStoppedError as error:
            raise LambdaClientError("ServiceException", "The stack is being stopped.") from error
        headers = {"status": 200, "Content-Type": "application/json", "X-Amz-Executed-Version": function.version}
        if invocation.function_error:
            headers["X-Amz-Function-Error"] = invocation.function_error
        if self.headers.get("X-Amz-Log-Type") == "Tail":
            headers["X-Amz-Log-Result"] = invocation.log_tail
        return 200, headers, invocation.payload

    @moto.around(LambdaSimpleBackend, "invoke")
    def invoke_for_a_service(
        _: Method, self: Any, function_name: str, qualifier: Any, body: str, *_rest: Any, **__: Any
    ) -> bytes:
        """Secrets Manager rotates in the background and drops the error; here it reaches who asked for the rotation."""
        event = json.loads(body or "{}")
        if "Step" in event and "SecretId" in event:  # Secrets Manager names the secret by its ARN, moto by its name
            secrets = secretsmanager_backends[self.account_id][self.region_name].secrets
            event["SecretId"] = secrets[event["SecretId"]].arn
        function, invocation = runs.invoke(self, function_name, qualifier, json.dumps(event).encode())
        if invocation.function_error:
            error = json.loads(invocation.payload).get("errorMessage")
            raise LambdaClientError("InvalidRequestException", f"{function.name} failed: {error}")
        return invocation.payload

    @moto.around(LambdaBackend, "delete_function")
    def delete(original: Method, self: Any, function_name: str, qualifier: str | None = None) -> None:
        function = self.get_function(function_name, qualifier)
        original(self, function_name, qualifier)
        if function.version == "$LATEST":
            events.function_deleted(function.function_name)

    @moto.around(LambdaBackend, "publish_layer_version")
    def publish(original: Method, self: Any, spec: Any) -> Any:
        layer = original(self, spec)
        runs.keep_layer(layer.arn, Archive(layer.code_digest, layer.code_bytes))
        return layer
