import json
from typing import Any

import pytest

from tests.plans import ARGUMENTS, Plan, Refusals, plan_variants

ALIAS = ARGUMENTS["http"]["function"]
JWT = {"issuer": "https://login.example.com/", "audiences": ["users"]}
WITH_JWT = {"authorization": "jwt", "jwt": JWT}

REFUSALS: Refusals = {
    "name": ({"name": "app api"}, "1 to 64 letters"),
    "long_function": ({"function": {**ALIAS, "timeout_seconds": 30}}, "function.timeout_seconds 30 must be at most 29"),
    "authorization": ({"authorization": "open"}, "authorization must be iam, jwt or none"),
    "jwt_without_issuer": ({"authorization": "jwt"}, "jwt must be set where authorization is jwt"),
    "jwt_of_one_route": ({"routes": {"GET /users": {"authorization": "jwt"}}}, "jwt must be set where authorization"),
    "jwt_for_nothing": ({"jwt": JWT}, "jwt must not be set while no route has the authorization jwt"),
    "issuer_without_tls": ({**WITH_JWT, "jwt": {**JWT, "issuer": "http://login.example.com"}}, "must be an https URL"),
    "issuer_with_a_query": ({**WITH_JWT, "jwt": {**JWT, "issuer": "https://a.example?b"}}, "must be an https URL"),
    "no_audience": ({**WITH_JWT, "jwt": {**JWT, "audiences": []}}, "jwt.audiences must be at least one"),
    "empty_audience": ({**WITH_JWT, "jwt": {**JWT, "audiences": ["users", " "]}}, "jwt.audiences must be at least one"),
    "no_routes": ({"routes": {}}, "routes must be 1 to 299, and here are 0"),
    "many_routes": ({"routes": {f"GET /{n}": {} for n in range(300)}}, "routes must be 1 to 299, and here are 300"),
    "route_without_method": ({"routes": {"/users": {}}}, "routes must have keys such as"),
    "route_in_lower_case": ({"routes": {"get /users": {}}}, "routes must have keys such as"),
    "route_with_an_ending_slash": ({"routes": {"GET /users/": {}}}, "routes must have keys such as"),
    "route_with_nothing_after_the_method": ({"routes": {"GET ": {}}}, "routes must have keys such as"),
    "greedy_part_amid_the_path": ({"routes": {"GET /{all+}/users": {}}}, "A greedy variable {name+} is the last part"),
    "route_s_authorization": (
        {"routes": {"GET /users": {"authorization": "key"}}},
        "must have the authorization",
    ),
    "scopes_without_jwt": (
        {"routes": {"GET /users": {"scopes": ["read"]}}},
        "scopes only where their authorization",
    ),
    "no_rate": ({"throttling": {"rate": 0}}, "throttling.rate must be at least 1"),
    "no_burst": ({"throttling": {"burst": 0}}, "throttling.burst must be a whole number of at least 1"),
    "half_a_burst": ({"throttling": {"burst": 1.5}}, "throttling.burst must be a whole number of at least 1"),
    "origin_with_a_path": ({"cors": {"origins": ["https://www.example.com/"]}}, "cors.origins must be at least one"),
    "no_origin": ({"cors": {"origins": []}}, "cors.origins must be at least one"),
    "credentials_for_all": ({"cors": {"origins": ["*"], "credentials": True}}, "cors.credentials must be false where"),
    "long_preflight": ({"cors": {"origins": ["*"], "max_age_seconds": 86401}}, "must be from 0 to 86400"),
}

ROUTES = {
    "$default": {},
    "GET /health": {"authorization": "none"},
    "PATCH /users/{id}": {"scopes": ["users.write"]},
    "ANY /files/{proxy+}": {},
    "GET /": {},
}


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_variants(
        "http",
        iam={},
        public={"authorization": "none", "cors": {"origins": ["https://www.example.com"]}},
        tokens={
            "authorization": "jwt",
            "jwt": {**JWT, "scopes": ["users"]},
            "routes": ROUTES,
            "cors": {"origins": ["*"]},
        },
        over={"throttling": {"burst": 21}},
        last={"throttling": {"burst": 20}},
        unreserved={"function": {**ALIAS, "reserved_concurrency": None}},
        few_headers={"routes": {"GET /users": {}, "OPTIONS /{proxy+}": {}}, "cors": {"origins": ["*"]}},
    )


def routes(plan: Plan, call: str) -> dict[str, dict[str, Any]]:
    return {route["route_key"]: route for route in plan.of_type("aws_apigatewayv2_route", call=call).values()}


def test_all_requests_go_to_the_alias_as_payload_2(plan: Plan) -> None:
    integration = plan["module.iam.aws_apigatewayv2_integration.main"]
    assert integration["integration_uri"] == ALIAS["invoke_arn"]
    assert (integration["integration_type"], integration["payload_format_version"]) == ("AWS_PROXY", "2.0")
    assert integration["timeout_milliseconds"] == 30000
    assert list(routes(plan, "iam")) == ["$default"]


def test_a_request_must_be_signed_where_authorization_is_iam(plan: Plan) -> None:
    assert routes(plan, "iam")["$default"]["authorization_type"] == "AWS_IAM"
    assert plan.of_type("aws_apigatewayv2_authorizer", call="iam") == {}


def test_nobody_is_asked_only_where_none_is_written(plan: Plan) -> None:
    assert {key: route["authorization_type"] for key, route in routes(plan, "public").items()} == {"$default": "NONE"}


def test_tokens_are_those_of_the_issuer_for_the_audiences(plan: Plan) -> None:
    [authorizer] = plan.of_type("aws_apigatewayv2_authorizer", call="tokens").values()
    assert authorizer["jwt_configuration"] == [{"issuer": JWT["issuer"], "audience": JWT["audiences"]}]
    assert authorizer["identity_sources"] == ["$request.header.Authorization"]


def test_a_route_may_have_an_authorization_and_scopes_of_its_own(plan: Plan) -> None:
    found = {
        key: (route["authorization_type"], route["authorization_scopes"])
        for key, route in routes(plan, "tokens").items()
    }
    assert found == {
        "$default": ("JWT", ["users"]),
        "GET /health": ("NONE", None),
        "PATCH /users/{id}": ("JWT", ["users.write"]),
        "ANY /files/{proxy+}": ("JWT", ["users"]),
        "GET /": ("JWT", ["users"]),
        "OPTIONS /{proxy+}": ("NONE", None),
    }


def test_preflights_get_a_route_only_where_the_default_one_would_refuse_them(plan: Plan) -> None:
    assert "OPTIONS /{proxy+}" not in routes(plan, "public")
    assert "OPTIONS /{proxy+}" not in routes(plan, "iam")
    assert routes(plan, "few_headers")["OPTIONS /{proxy+}"]["authorization_type"] == "AWS_IAM"


def test_only_this_api_may_invoke_the_alias(plan: Plan) -> None:
    permission = plan["module.iam.aws_lambda_permission.invoke"]
    assert (permission["function_name"], permission["qualifier"]) == ("app", "live")
    assert permission["principal"] == "apigateway.amazonaws.com"
    call = plan.document["configuration"]["root_module"]["module_calls"]["iam"]["module"]
    [resource] = [r for r in call["resources"] if r["address"] == "aws_lambda_permission.invoke"]
    assert "aws_apigatewayv2_api.main.execution_arn" in resource["expressions"]["source_arn"]["references"]


@pytest.mark.parametrize(("call", "burst"), [("iam", 20), ("over", 21), ("unreserved", 100)])
def test_requests_are_throttled_to_what_the_function_may_run_at_once(plan: Plan, call: str, burst: int) -> None:
    [settings] = plan[f"module.{call}.aws_apigatewayv2_stage.main"]["default_route_settings"]
    assert (settings["throttling_rate_limit"], settings["throttling_burst_limit"]) == (100, burst)


def test_a_burst_above_the_reserve_is_warned_of(plan: Plan) -> None:
    [warning] = plan.warnings("over")
    assert warning.startswith(
        "throttling.burst 21 lets more requests in at once than the function's reserved_concurren"
    )
    assert plan.warnings("last") == plan.warnings("iam") == plan.warnings("unreserved") == []


def test_every_request_is_logged_as_json_encrypted_and_without_what_it_carries(plan: Plan) -> None:
    group = plan["module.iam.aws_cloudwatch_log_group.access"]
    assert group["kms_key_id"] == ARGUMENTS["http"]["network"]["log_key_arn"]
    assert (group["name"], group["retention_in_days"]) == ("/aws/vendedlogs/apigateway/app", 365)
    [settings] = plan["module.iam.aws_apigatewayv2_stage.main"]["access_log_settings"]
    line = json.loads(settings["format"])
    assert all(variable.startswith("$context.") for variable in line.values())
    assert {"$context.status", "$context.routeKey", "$context.integration.error"} <= {*line.values()}
    assert not any("header" in variable or "query" in variable for variable in line.values())


def test_web_pages_may_call_only_where_they_are_named(plan: Plan) -> None:
    assert plan["module.iam.aws_apigatewayv2_api.main"]["cors_configuration"] == []
    [cors] = plan["module.public.aws_apigatewayv2_api.main"]["cors_configuration"]
    assert (cors["allow_origins"], cors["allow_credentials"]) == (["https://www.example.com"], False)
