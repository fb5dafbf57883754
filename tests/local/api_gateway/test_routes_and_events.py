"""Routes, throttles, events of payload 2.0 and answers, as the API Gateway Developer Guide has them."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from local.api_gateway.api import HttpApi, Route, Throttle, find_route
from local.api_gateway.events import AnswerError, Request, event_of, response_of
from local.api_gateway.throttling import Buckets

KEYS = ("GET /pets/dog/1", "GET /pets/dog/{id}", "GET /pets/{proxy+}", "ANY /{proxy+}", "$default", "ANY /pets/dog/1")
ROUTES = tuple(Route(key, "NONE", "arn:function", 30) for key in KEYS)
API = HttpApi("abc", "123456789012", "us-east-1", "aws", ROUTES, Throttle(10, 10))
REQUEST = Request(
    id="r-1",
    method="POST",
    path="/caf%C3%A9/1",
    query="a=1&a=2&b=x%20y&c=",
    headers={"host": "127.0.0.1:1", "cookie": "one=1; two=2", "x-many": "1,2", "user-agent": "test"},
    body=b"",
    source_ip="127.0.0.1",
    protocol="HTTP/1.1",
    at=1583348638.39,
)


@pytest.mark.parametrize(
    ("method", "path", "key", "variables"),
    [
        ("GET", "/pets/dog/1", "GET /pets/dog/1", {}),
        ("POST", "/pets/dog/1", "ANY /pets/dog/1", {}),
        ("GET", "/pets/dog/2", "GET /pets/dog/{id}", {"id": "2"}),
        ("GET", "/pets/cat/1", "GET /pets/{proxy+}", {"proxy": "cat/1"}),
        ("POST", "/test/5", "ANY /{proxy+}", {"proxy": "test/5"}),
        ("GET", "/pets/dog/a%20b", "GET /pets/dog/{id}", {"id": "a b"}),
        ("GET", "/", "$default", {}),
    ],
)
def test_the_most_specific_route_is_taken(method: str, path: str, key: str, variables: dict[str, str]) -> None:
    """The guide's own table, and beyond."""
    found = find_route(ROUTES, method, path)
    assert found
    assert (found[0].key, found[1]) == (key, variables)


def test_what_matches_no_route_has_none() -> None:
    assert find_route(ROUTES[:3], "GET", "/pets/") is None
    assert find_route(ROUTES[:3], "POST", "/pets/dog/2") is None


def test_a_bucket_lets_the_burst_in_and_then_the_rate() -> None:
    now = [0.0]
    buckets, throttle = Buckets(lambda: now[0]), Throttle(2, 3)
    assert [buckets.take("", throttle) for _ in range(4)] == [True, True, True, False]
    now[0] = 0.5
    assert [buckets.take("", throttle) for _ in range(2)] == [True, False]
    now[0] = 100
    assert [buckets.take("", throttle) for _ in range(4)] == [True, True, True, False]
    assert buckets.take("other", throttle)


def event(**changes: Any) -> dict[str, Any]:
    return event_of(API, ROUTES[4], replace(REQUEST, **changes), {}, None)


def test_an_event_has_the_form_of_payload_2() -> None:
    made = event()
    assert (made["version"], made["routeKey"], made["rawPath"]) == ("2.0", "$default", "/café/1")
    assert made["rawQueryString"] == "a=1&a=2&b=x%20y&c="
    assert made["queryStringParameters"] == {"a": "1,2", "b": "x y", "c": ""}
    assert made["cookies"] == ["one=1", "two=2"]
    assert "cookie" not in made["headers"]
    assert made["headers"]["x-many"] == "1,2"
    assert made["headers"]["host"] == "abc.execute-api.us-east-1.amazonaws.com"
    context = made["requestContext"]
    assert context["http"] == {
        "method": "POST", "path": "/café/1", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "test",
    }  # fmt: skip
    assert (context["accountId"], context["apiId"], context["stage"]) == ("123456789012", "abc", "$default")
    assert (context["time"], context["timeEpoch"]) == ("04/Mar/2020:19:03:58 +0000", 1583348638390)


def test_what_a_request_has_not_is_left_out() -> None:
    bare = event(query="", headers={})
    absent = {"cookies", "queryStringParameters", "pathParameters", "body", "stageVariables"}
    assert not absent & bare.keys()
    assert "authorizer" not in bare["requestContext"]
    assert bare["isBase64Encoded"] is False


@pytest.mark.parametrize("kind", ["application/json", "text/csv; charset=utf-8", "application/xml"])
def test_text_is_passed_on_as_it_is(kind: str) -> None:
    made = event(headers={"content-type": kind}, body="ä".encode())
    assert (made["body"], made["isBase64Encoded"]) == ("ä", False)


@pytest.mark.parametrize("kind", ["application/octet-stream", "application/x-www-form-urlencoded", ""])
def test_anything_else_comes_in_base64(kind: str) -> None:
    made = event(headers={"content-type": kind}, body=b"a=1")
    assert (base64.b64decode(made["body"]), made["isBase64Encoded"]) == (b"a=1", True)


@pytest.mark.parametrize(
    ("answer", "status", "body", "headers"),
    [
        ("Hello", 200, b"Hello", {"content-type": "application/json"}),
        ({"message": "Hello"}, 200, b'{"message": "Hello"}', {"content-type": "application/json"}),
        ({"statusCode": 204}, 204, b"", {"content-type": "text/plain;charset=UTF-8"}),
        ({"statusCode": "201", "body": "x", "headers": {"X-A": 1}}, 201, b"x", {"x-a": "1"}),
        ({"statusCode": 200, "body": "AAE=", "isBase64Encoded": True}, 200, b"\0\1", {}),
    ],
)
def test_an_answer_becomes_a_response(answer: Any, status: int, body: bytes, headers: dict[str, str]) -> None:
    response = response_of(json.dumps(answer).encode())
    assert (response.status, response.body) == (status, body)
    assert headers.items() <= dict(response.headers).items()


def test_each_cookie_of_an_answer_is_a_header() -> None:
    response = response_of(json.dumps({"statusCode": 200, "cookies": ["a=1", "b=2"]}).encode())
    assert [value for name, value in response.headers if name == "set-cookie"] == ["a=1", "b=2"]


@pytest.mark.parametrize(
    "answer",
    [
        b"not json",
        b'{"statusCode": "soon"}',
        b'{"statusCode": 99}',
        b'{"statusCode": 200, "body": {}}',
        b'{"statusCode": 200, "headers": ["a"]}',
        b'{"statusCode": 200, "body": "?", "isBase64Encoded": true}',
    ],
)
def test_an_answer_of_another_form_is_none(answer: bytes) -> None:
    with pytest.raises(AnswerError):
        response_of(answer)
