"""The account's HTTP APIs: each has a gateway on a port of its own, which asks here what it may do."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TookTooLong
from typing import Any

from moto.apigatewayv2.models import apigatewayv2_backends
from moto.awslambda.exceptions import LambdaClientError
from moto.awslambda_simple.models import lambda_simple_backends
from moto.logs.models import logs_backends

from local.api_gateway.api import AccessLog, Cors, HttpApi, Jwt, Route, Throttle
from local.api_gateway.gateway import Environ, Gateway, IntegrationError, SignatureRefused
from local.api_gateway.tokens import Issuers
from local.aws import iam_policies
from local.aws.admission import Refused, signer
from local.aws.cloudwatch import api_metrics
from local.aws.functions import Functions
from local.aws.iam import Iam
from local.credentials import Credentials
from local.lambda_runtime.function import Invocation, RuntimeStoppedError, TooManyRequestsError

_ACCOUNT_THROTTLE = Throttle(10_000, 5_000)  # API Gateway Developer Guide, "Quotas": an account's, in most regions
_INTEGRATION = re.compile(r"functions/(arn:[^/]+)/invocations$")
_NOT_PERMITTED = (
    "The IAM role configured on the integration or API Gateway doesn't have permissions to call the integration."
    " Check the permissions and try again."
)


class HttpApis:
    """The gateways of one account."""

    def __init__(self, iam: Iam, functions: Functions, administrator: Credentials) -> None:
        self.issuers = Issuers()
        self._iam = iam
        self._functions = functions
        self._administrator = administrator
        self._gateways: dict[str, Gateway] = {}
        self._waiting = ThreadPoolExecutor(thread_name_prefix="integration")

    def open(self, account: str, region: str, api_id: str) -> str:
        """Let an API answer; return its URL."""
        gateway = self._gateways[api_id] = Gateway(_Account(self, account, region, api_id), self.issuers)
        return gateway.url

    def close(self, api_id: str) -> None:
        if gateway := self._gateways.pop(api_id, None):
            gateway.stop()

    def stop(self) -> None:
        for api_id in list(self._gateways):
            self.close(api_id)
        self._waiting.shutdown(wait=False, cancel_futures=True)

    def credentials_of(self, access_key_id: str) -> Credentials | None:
        known = access_key_id == self._administrator.access_key_id
        return self._administrator if known else self._iam.credentials_of(access_key_id)

    def may(self, credentials: Credentials, action: str, arn: str) -> bool:
        return credentials is self._administrator or self._iam.allows(credentials, action, arn)

    def invoke(self, function_arn: str, payload: bytes, timeout_seconds: float) -> Invocation:
        """Run a function; IntegrationError where it cannot be, or takes longer than that."""
        _, _, _, region, account, _ = function_arn.split(":", 5)
        backend = lambda_simple_backends[account][region]
        try:
            timeout = int(backend.get_function(function_arn).timeout)
            if timeout < timeout_seconds:
                return self._functions.invoke(backend, function_arn, None, payload)[1]
            going = self._waiting.submit(self._functions.invoke, backend, function_arn, None, payload)
            return going.result(timeout_seconds)[1]
        except TookTooLong:
            raise IntegrationError("Network error communicating with endpoint", 503) from None
        except TooManyRequestsError as error:
            raise IntegrationError(f"{error} ({error.reason})") from error
        except (LambdaClientError, RuntimeStoppedError) as error:
            raise IntegrationError(str(error)) from error


class _Account:
    """What the gateway of one API asks of the account."""

    def __init__(self, apis: HttpApis, account: str, region: str, api_id: str) -> None:
        self._apis = apis
        self._account = account
        self._region = region
        self._api_id = api_id
        self._stream = f"{api_id}-{int(time.time())}"
        self._writing = threading.Lock()

    def api(self) -> HttpApi | None:
        backend = apigatewayv2_backends[self._account][self._region]
        api = backend.apis.get(self._api_id)
        stage = api.stages.get("$default") if api else None
        return None if stage is None else _api(api, stage, self._account, self._region)

    def caller(self, environ: Environ, arn: str) -> Mapping[str, Any]:
        try:
            credentials, service = signer(environ, self._apis.credentials_of)
        except Refused as refused:
            raise SignatureRefused(str(refused)) from refused
        if service != "execute-api":
            raise SignatureRefused(f"The request is signed for {service}, not for execute-api.")
        if not self._apis.may(credentials, "execute-api:Invoke", arn):
            principal = credentials.principal_arn
            raise SignatureRefused(f"User: {principal} is not authorized to perform: execute-api:Invoke on {arn}")
        return {
            "accessKey": credentials.access_key_id,
            "accountId": self._account,
            "callerId": credentials.access_key_id,
            "cognitoIdentity": None,
            "principalOrgId": None,
            "userArn": credentials.principal_arn,
            "userId": credentials.access_key_id,
        }

    def invoke(self, route: Route, source_arn: str, event: Mapping[str, Any]) -> tuple[str, bytes]:
        if not _permits(route.function_arn, source_arn, self._account):
            raise IntegrationError(_NOT_PERMITTED)
        invocation = self._apis.invoke(route.function_arn, json.dumps(event).encode(), route.timeout_seconds)
        if invocation.function_error is not None:
            raise IntegrationError(
                f"The Lambda function returned the following error: {invocation.function_error}. Check your Lambda"
                " function code and try again."
            )
        return invocation.request_id, invocation.payload

    def answered(self, status: int, latency_ms: int, integration_ms: int | None) -> None:
        api_metrics.answered(
            self._account,
            self._region,
            self._api_id,
            status=status,
            latency_ms=latency_ms,
            integration_ms=integration_ms,
        )

    def write_log(self, log: AccessLog, line: str) -> None:
        backend = logs_backends[self._account][self._region]
        with self._writing:
            if log.log_group in backend.groups:
                backend.ensure_log_stream(log.log_group, self._stream)
                event = {"timestamp": int(time.time() * 1000), "message": line}
                backend.put_log_events(log.log_group, self._stream, [event])


def _permits(function_arn: str, source_arn: str, account: str) -> bool:
    """Tell whether the policy of an alias, or of a function, lets API Gateway invoke it for this route."""
    _, _, _, region, owner, _ = function_arn.split(":", 5)
    try:
        function = lambda_simple_backends[owner][region].get_function(":".join(function_arn.split(":")[:7]))
    except LambdaClientError:
        return True  # the invocation will say what is wrong
    statements = [statement for statement in function.policy.statements if statement["Resource"] == function_arn]
    context = {"aws:SourceArn": source_arn, "aws:SourceAccount": account}
    who = {"Service": ("apigateway.amazonaws.com",)}
    return iam_policies.permits({"Statement": statements}, who, "lambda:InvokeFunction", function_arn, context)


def _api(api: Any, stage: Any, account: str, region: str) -> HttpApi:
    settings = stage.default_route_settings or {}
    log, cors = stage.access_log_settings, api.cors_configuration
    return HttpApi(
        id=api.api_id,
        account=account,
        region=region,
        partition=api.arn.split(":")[1],
        routes=tuple(route for one in list(api.routes.values()) if (route := _route(api, stage, one)) is not None),
        throttle=_throttle(settings, _ACCOUNT_THROTTLE) or _ACCOUNT_THROTTLE,
        cors=None if not cors else _cors(cors),
        access_log=AccessLog(log["destinationArn"].split(":")[6], log["format"]) if log else None,
    )


def _route(api: Any, stage: Any, route: Any) -> Route | None:
    integration = api.integrations.get((route.target or "").removeprefix("integrations/"))
    found = _INTEGRATION.search(integration.integration_uri or "") if integration else None
    if found is None:
        return None
    authorizer = api.authorizers.get(route.authorizer_id)
    jwt = None
    if route.authorization_type == "JWT" and authorizer is not None:
        given = authorizer.jwt_config
        jwt = Jwt(given["issuer"], tuple(given["audience"]), tuple(route.authorization_scopes or ()))
    return Route(
        key=route.route_key,
        authorization=route.authorization_type or "NONE",
        function_arn=found[1],
        timeout_seconds=integration.timeout_in_millis / 1000,
        jwt=jwt,
        throttle=_throttle((stage.route_settings or {}).get(route.route_key, {}), None),
    )


def _throttle(settings: Mapping[str, Any], other: Throttle | None) -> Throttle | None:
    rate, burst = settings.get("throttlingRateLimit"), settings.get("throttlingBurstLimit")
    if rate is None and burst is None:
        return other
    account = _ACCOUNT_THROTTLE
    return Throttle(account.rate if rate is None else rate, account.burst if burst is None else int(burst))


def _cors(given: Mapping[str, Any]) -> Cors:
    return Cors(
        origins=tuple(given.get("allowOrigins") or ()),
        methods=tuple(given.get("allowMethods") or ()),
        headers=tuple(given.get("allowHeaders") or ()),
        expose_headers=tuple(given.get("exposeHeaders") or ()),
        credentials=bool(given.get("allowCredentials")),
        max_age_seconds=given.get("maxAge"),
    )
