"""local/aws/corrections/dashboards.py: as AWS documents it, where stock moto does not yet."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

ROW = ["AWS/RDS", "ClientConnections", "ProxyName", "app"]


def widget(kind: str = "metric", **properties: Any) -> dict[str, Any]:
    given = {"metrics": [ROW], "region": "us-east-1"} if kind == "metric" else {}
    return {"type": kind, "x": 0, "y": 0, "width": 12, "height": 6, "properties": given | properties}


def put(aws: Any, *widgets: Any, name: str = "app", **top: Any) -> list[dict[str, str]]:
    body = json.dumps({"widgets": list(widgets), **top})
    messages: list[dict[str, str]] = aws.cloudwatch.put_dashboard(DashboardName=name, DashboardBody=body)[
        "DashboardValidationMessages"
    ]
    return messages


REFUSED = {
    "no widget": ("widget", "/widgets/0", "Should be object"),
    "no type": ({"properties": {}}, "/widgets/0", "Should have required property 'type'"),
    "another type": (widget("chart"), "/widgets/0/type", "Should be equal to one of the allowed values"),
    "beside the grid": (widget() | {"x": 24}, "/widgets/0/x", "Should be <= 23"),
    "too wide": (widget() | {"width": 25}, "/widgets/0/width", "Should be <= 24"),
    "half a place": ({"type": "text", "x": 1, "properties": {"markdown": ""}}, "/widgets/0", "property 'y'"),
    "no metrics": (widget(metrics=None) | {"properties": {}}, "/widgets/0/properties", "property 'metrics'"),
    "no region": (widget() | {"properties": {"metrics": [ROW]}}, "/widgets/0/properties", "property 'region'"),
    "no rows": (widget(metrics=ROW), "/widgets/0/properties/metrics/0", "Should be array"),
    "half a dimension": (widget(metrics=[ROW[:3]]), "/widgets/0/properties/metrics/0", "pairs of a dimension"),
    "a colour's name": (
        widget(metrics=[[*ROW, {"color": "red"}]]), "/widgets/0/properties/metrics/0/color", "hex color"
    ),
    "an uneven period": (widget(period=90), "/widgets/0/properties/period", "Should be a multiple of 60"),
    "another view": (widget(view="lines"), "/widgets/0/properties/view", "allowed values"),
    "another id": (
        widget(metrics=[[*ROW, {"id": "m1"}], [{"expression": "m2 / 1000", "id": "e1"}]]),
        "/widgets/0/properties/metrics/1/expression", "No metric has the id m2",
    ),
    "a line without a value": (
        widget(annotations={"horizontal": [{"label": "alarm"}]}),
        "/widgets/0/properties/annotations/horizontal/0", "property 'value'",
    ),
    "no text": (widget("text"), "/widgets/0/properties", "property 'markdown'"),
    "no alarms": (widget("alarm", alarms=[]), "/widgets/0/properties/alarms", "Should NOT have less than 1 items"),
    "no query": (widget("log", region="us-east-1"), "/widgets/0/properties", "property 'query'"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "path", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_is_refused_with_its_place(aws, given, path, words):
    with pytest.raises(ClientError, match="The dashboard body is invalid, there are") as refusal:
        put(aws, given)
    listed = json.loads(refusal.value.response["Error"]["Message"].partition("\n")[2])
    assert any(finding["dataPath"] == path and words in finding["message"] for finding in listed), listed


@pytest.mark.parametrize("body", ["{", "[]", "{}"])
def test_a_body_is_an_object_with_widgets(aws, body):
    with pytest.raises(ClientError, match=r"valid JSON object|Should be object|required property 'widgets'"):
        aws.cloudwatch.put_dashboard(DashboardName="app", DashboardBody=body)


def test_a_name_has_letters_digits_and_hyphens(aws):
    with pytest.raises(ClientError, match="DashboardName contains invalid characters"):
        put(aws, widget(), name="of the app")


def test_what_is_only_odd_is_a_warning(aws):
    assert put(aws, widget(colour="red")) == [
        {"DataPath": "/widgets/0/properties/colour", "Message": "Should NOT have additional properties"}
    ]
    assert aws.cloudwatch.get_dashboard(DashboardName="app")["DashboardName"] == "app"


def test_a_good_dashboard_has_no_findings(account):
    rows = [[*ROW, {"id": "m1", "stat": "p99"}], [".", "DatabaseConnections", ".", "."], [{"expression": "m1 / 1000"}]]
    search = [{"expression": "SEARCH('{LambdaPostgres,FunctionName} MetricName=\"Reconnects\"', 'Sum', 60)"}]
    line = {"label": "alarm", "value": 5, "color": "#ff0000"}
    good = (
        widget(metrics=[*rows, search], annotations={"horizontal": [line]}, yAxis={"left": {"min": 0}}, title="t"),
        widget("text", markdown="# good"),
        widget("alarm", alarms=["arn:aws:cloudwatch:us-east-1:123456789012:alarm:a"]),
    )
    assert put(account, *good, start="-PT6H", periodOverride="inherit") == []
