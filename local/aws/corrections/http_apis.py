"""API Gateway: what an HTTP API refuses, and a stage that is changed.

Sources: the API Gateway Developer Guide, the API reference as botocore's service model carries it, and for error texts
the issues named beside them.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from moto.apigatewayv2.exceptions import APIGatewayV2Error, BadRequestException
from moto.apigatewayv2.models import Api, ApiGatewayV2Backend
from moto.apigatewayv2.responses import ApiGatewayV2Response

from local.api_gateway.tokens import IssuerError, Issuers
from local.aws.moto import Method, Moto

_LONGEST_TIMEOUT_MS = 30_000  # "Between 50 and 30,000 milliseconds for HTTP APIs"
_OF_A_STAGE = {
    "accessLogSettings": "access_log_settings",
    "autoDeploy": "auto_deploy",
    "defaultRouteSettings": "default_route_settings",
    "description": "description",
    "routeSettings": "route_settings",
    "stageVariables": "stage_variables",
}


class ConflictError(APIGatewayV2Error):
    code = 409

    def __init__(self, message: str) -> None:
        super().__init__("ConflictException", message)


def correct(moto: Moto) -> None:
    """Apply the corrections of this room."""
    stages_can_be_changed(moto)
    integrations_have_a_longest_timeout(moto)
    routes_with_tokens_need_an_authorizer(moto)
    authorizers_need_an_issuer_that_answers(moto)


def stages_can_be_changed(moto: Moto) -> None:
    """UpdateStage changes what it is given."""

    @moto.add(ApiGatewayV2Response)
    def update_stage(self: Any) -> Any:
        api_id, name = self.path.split("/")[-3], unquote(self.path.split("/")[-1])
        stage = self.apigatewayv2_backend.get_stage(api_id, name)
        for given, value in json.loads(self.body).items():
            if given in _OF_A_STAGE:
                setattr(stage, _OF_A_STAGE[given], value)
        return 200, {}, json.dumps(stage.to_json())


def integrations_have_a_longest_timeout(moto: Moto) -> None:
    """CreateIntegration and UpdateIntegration refuse a timeout above 30 s or below 50 ms; the text is not known."""

    for name in ("create_integration", "update_integration"):

        @moto.around(ApiGatewayV2Backend, name)
        def check(original: Method, self: Any, *args: Any, **kwargs: Any) -> Any:
            timeout = kwargs.get("timeout_in_millis")
            if timeout is not None and not 50 <= int(timeout) <= _LONGEST_TIMEOUT_MS:
                raise BadRequestException("Timeout should be between 50 ms and 30000 ms")
            return original(self, *args, **kwargs)


def routes_with_tokens_need_an_authorizer(moto: Moto) -> None:
    """CreateRoute refuses JWT without an authorizer (anomalyco/sst#4097), and a second route of one key."""

    @moto.around(Api, "create_route")
    def create(original: Method, self: Any, *args: Any, **kwargs: Any) -> Any:
        key = kwargs["route_key"]
        if any(route.route_key == key for route in self.routes.values()):
            raise ConflictError(f"Route with key {key} already exists for this API")
        if kwargs.get("authorization_type") == "JWT" and kwargs.get("authorizer_id") not in self.authorizers:
            raise BadRequestException(
                "Invalid authorizer ID specified. Setting the authorization type to JWT requires a valid JWT"
                " authorizer."
            )
        return original(self, *args, **kwargs)


def authorizers_need_an_issuer_that_answers(moto: Moto) -> None:
    """CreateAuthorizer reads the issuer's discovery document (haandol/cognito-kakao-example#1)."""

    @moto.around(ApiGatewayV2Backend, "create_authorizer")
    def create(original: Method, self: Any, api_id: str, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("authorizer_type") == "JWT":
            issuer = (kwargs.get("jwt_config") or {}).get("issuer", "")
            try:
                Issuers().check(issuer)
            except IssuerError as error:
                discovery = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
                raise BadRequestException(
                    f"Caught exception when connecting to {discovery} for issuer {issuer}. Please try again later."
                    f" Error: Invalid issuer: {issuer}. Issuer must have a valid discovery endpoint ended with"
                    f" '/.well-known/openid-configuration' ({error})"
                ) from error
        return original(self, api_id, *args, **kwargs)
