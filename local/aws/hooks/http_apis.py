"""HTTP APIs: one that is made answers, until it is deleted."""

from __future__ import annotations

from typing import Any

from moto.apigatewayv2.models import ApiGatewayV2Backend

from local.aws.http_apis import HttpApis
from local.aws.moto import Method, Moto


def hook(moto: Moto, apis: HttpApis) -> None:
    """Open and close gateways."""

    @moto.around(ApiGatewayV2Backend, "create_api")
    def create(original: Method, self: Any, *args: Any, **kwargs: Any) -> Any:
        api = original(self, *args, **kwargs)
        if api.protocol_type == "HTTP":
            api.api_endpoint = apis.open(self.account_id, self.region_name, api.api_id)
        return api

    @moto.around(ApiGatewayV2Backend, "delete_api")
    def delete(original: Method, self: Any, api_id: str) -> None:
        original(self, api_id)
        apis.close(api_id)
