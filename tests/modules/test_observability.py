import ast
import json
import re
from typing import Any

import pytest

from tests.docs.pages import ROOT, anchors, rows
from tests.modules import cloudwatch
from tests.modules.cloudwatch import Metric, problems, read_by_alarm, read_by_dashboard, unknown
from tests.plans import ARGUMENTS, Plan, Refusals, plan_standing, plan_variants
from tools import docs

GIVEN = ARGUMENTS["observability"]
[FUNCTION] = GIVEN["functions"]
TOPIC = "arn:aws:sns:us-east-1:111122223333:operations"
APIS = [
    {"name": "app", "id": "a1b2c3", "stage": "$default"},
    {"name": "app-admin", "id": "d4e5f6", "stage": "$default"},
]
QUEUE = {"name": "app", "failed": "app-failed", "retries_seconds": 450, "retention_seconds": 345_600}
QUEUES = [
    QUEUE,
    {**QUEUE, "name": "orders", "failed": "orders-failed", "retries_seconds": 90_000, "retention_seconds": 86_400},
]
README = (ROOT / "modules" / "observability" / "README.md").read_text()
OVERRIDES = {
    "error_percent": ("function-errors", 20, 20),
    "throttles": ("function-throttles", 30, 30),
    "duration_ms": ("function-duration", 500, 500),
    "concurrency": ("function-concurrency", 7, 7),
    "event_age_seconds": ("function-event-age", 60, 60_000),
    "dead_letters": ("function-dead-letters", 3, 3),
    "connect_failures": ("function-connect-failures", 4, 4),
    "pool_exhausted": ("function-pool-exhausted", 6, 6),
    "pinned_percent": ("proxy-pinned", 2, 2),
    "pool_percent": ("proxy-pool", 50, 50),
    "borrow_latency_ms": ("proxy-borrow-latency", 8, 8_000),
    "failed_logins": ("proxy-failed-logins", 9, 9),
    "clients_without_tls": ("proxy-without-tls", 11, 11),
    "failed_connections": ("proxy-failed-connections", 12, 12),
    "cpu_percent": ("database-cpu", 60, 60),
    "free_storage_mib": ("database-storage", 100, 100 * 1024**2),
    "free_memory_mib": ("database-memory", 200, 200 * 1024**2),
    "connections": ("database-connections", 33, 33),
    "transaction_ids": ("database-transaction-ids", 5e8, 5e8),
    "bootstrap_errors": ("bootstrap-errors", 2, 2),
    "reader_lag_ms": ("cluster-reader-lag", 300, 300),
    "acu_percent": ("cluster-acu", 55, 55),
    "writer_uptime_seconds": ("cluster-failover", 90, 90),
    "server_error_percent": ("api-server-errors", 1, 1),
    "latency_ms": ("api-latency", 900, 900),
    "message_age_seconds": ("queue-message-age", 40, 40),
    "failed_messages": ("queue-failed-messages", 13, 13),
}
REFUSALS: Refusals = {
    "name": ({"name": "app prod"}, "letters, digits, hyphens"),
    "nothing_to_watch": ({"functions": []}, "at least one"),
    "a_function_twice": ({"functions": [FUNCTION, FUNCTION]}, "each only once"),
    "too_many_functions": (
        {"functions": [{**FUNCTION, "name": f"app-{number}"} for number in range(11)]},
        "at most 10",
    ),
    "an_api_twice": ({"apis": [APIS[0], APIS[0]]}, "apis must be each only once"),
    "a_queue_twice": ({"queues": [QUEUE, QUEUE]}, "queues must be each only once"),
    "too_many_alarms": (
        {
            "functions": [{**FUNCTION, "name": f"app-{number}"} for number in range(10)],
            "queues": QUEUES,
        },
        "have 84 alarms together, and must have at most 83",
    ),
    "a_subscription_for_a_topic": ({"topic_arns": [f"{TOPIC}:0c0ffee0"]}, "not of subscriptions"),
    "too_many_topics": ({"topic_arns": [f"{TOPIC}-{number}" for number in range(6)]}, "at most 5"),
    "never_raised": ({"thresholds": {"throttles": 0}}, "throttles would be raised for ever"),
    "more_than_all": ({"thresholds": {"pool_percent": 101}}, "must be at most 100"),
    "longer_than_the_timeout": ({"thresholds": {"duration_ms": 15_001}}, "no duration is longer"),
}


@pytest.fixture(scope="module")
def plan() -> Plan:
    second = {**FUNCTION, "name": "app-orders", "reserved_concurrency": None, "dead_letter_queue": "orders-dead"}
    return plan_variants(
        "observability",
        proxy={},
        direct={"proxy": None, "bootstrap": None},
        given={"topic_arns": [TOPIC]},
        silent={"topic_arns": []},
        two={"functions": [FUNCTION, second]},
        many={"functions": [{**FUNCTION, "name": f"app-{number}"} for number in range(10)], "apis": APIS[:1]},
        fronts={"apis": APIS, "queues": QUEUES},
        small={
            "functions": [{**FUNCTION, "timeout_seconds": 3, "reserved_concurrency": 9}],
            "proxy": {**GIVEN["proxy"], "borrow_timeout_seconds": 60},
            "database": {**GIVEN["database"], "memory_gib": None, "storage_gib": 400},
        },
        chosen={
            "thresholds": {name: value for name, (_, value, _) in OVERRIDES.items()} | {"least_requests": 50},
            "apis": APIS[:1],
            "queues": QUEUES[:1],
            "database": {**GIVEN["database"], "cluster": {"readers": 1, "aurora": True, "serverless": True}},
        },
        aurora={
            "database": {
                **GIVEN["database"],
                "storage_gib": None,
                "cluster": {"readers": 0, "aurora": True, "serverless": False},
            }
        },
        multi_az={"database": {**GIVEN["database"], "cluster": {"readers": 2, "aurora": False, "serverless": False}}},
    )


def alarms(plan: Plan, call: str = "proxy") -> dict[str, dict[str, Any]]:
    """The alarms of a call by their names, without its prefix."""
    found = plan.of_type("aws_cloudwatch_metric_alarm", call=call).values()
    return {alarm["alarm_name"].removeprefix("app-"): alarm for alarm in found}


def dashboard(plan: Plan, call: str = "proxy") -> dict[str, Any]:
    body: dict[str, Any] = json.loads(plan[f"module.{call}.aws_cloudwatch_dashboard.main"]["dashboard_body"])
    return body


def graph(plan: Plan, title: str, call: str = "proxy") -> dict[str, Any]:
    [found] = [w["properties"] for w in dashboard(plan, call)["widgets"] if w["properties"].get("title") == title]
    return dict(found)


# --- alarms


@pytest.mark.parametrize("call", ["proxy", "direct", "two", "small", "chosen", "aurora", "multi_az", "fronts"])
def test_every_alarm_reads_a_metric_that_exists(plan: Plan, call: str) -> None:
    read = {name: read_by_alarm(alarm) for name, alarm in alarms(plan, call).items()}
    assert all(read.values())
    assert [(name, said) for name, metrics in read.items() for metric in metrics if (said := unknown(metric))] == []


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (Metric("AWS/RDS", "BorrowTimeouts", ("ProxyName",), "Sum", 60), "no metric"),
        (Metric("AWS/RDS", "ClientConnections", ("ProxyName", "TargetGroup"), "Sum", 60), "does not exist with"),
        (Metric("AWS/RDS", "AvailabilityPercentage", ("ProxyName",), "Average", 60), "does not exist with"),
        (Metric("AWS/RDS", "DatabaseConnectionsBorrowLatency", ("ProxyName",), "Sum", 60), "means nothing"),
        (Metric("AWS/RDS", "DatabaseConnections", ("ProxyName",), "Sum", 300), "adds up minutes"),
        (Metric("AWS/Lambda", "Errors", ("FunctionName",), "Sum", 300), None),
        (Metric("AWS/Lambda", "Duration", ("FunctionName",), "p99.9", 60), None),
    ],
)
def test_a_metric_that_does_not_exist_is_seen(metric: Metric, said: str | None) -> None:
    found = unknown(metric)
    assert found is None if said is None else said in str(found)


def test_thresholds_follow_the_settings(plan: Plan) -> None:
    assert {name: alarm["threshold"] for name, alarm in alarms(plan).items()} == {
        "function-errors": 5,
        "function-throttles": 1,
        "function-duration": 0.8 * 15_000,
        "function-concurrency": 0.9 * 400,
        "function-event-age": 1000 * (60 + 120 + 3 * 15),
        "function-dead-letters": 1,
        "function-connect-failures": 1,
        "function-pool-exhausted": 1,
        "proxy-pinned": 10,
        "proxy-pool": 70,
        "proxy-borrow-latency": 100_000,  # microseconds
        "proxy-failed-logins": 1,
        "proxy-without-tls": 1,
        "proxy-failed-connections": 1,
        "database-silent": 1,
        "database-cpu": 90,
        "database-storage": 1024**3,
        "database-memory": int(0.05 * 8 * 1024**3),
        "database-connections": (643 + 715) / 2,
        "database-transaction-ids": 1e9,
        "bootstrap-errors": 1,
    }


def test_thresholds_follow_other_settings(plan: Plan) -> None:
    found = {name: alarm["threshold"] for name, alarm in alarms(plan, "small").items()}
    assert found["function-duration"] == 2400
    assert found["function-event-age"] == 189_000
    assert found["proxy-borrow-latency"] == 1_200_000
    assert found["database-storage"] == 20 * 1024**3
    assert "function-concurrency" not in found  # of fewer than ten, the reserve itself
    assert "database-memory" not in found  # of a class that is not known


def test_without_a_proxy_connections_count_against_the_instance(plan: Plan) -> None:
    found = alarms(plan, "direct")
    assert found["database-connections"]["threshold"] == pytest.approx(0.9 * 715)
    assert not [name for name in found if name.startswith(("proxy-", "bootstrap-"))]


@pytest.mark.parametrize("threshold", OVERRIDES)
def test_each_threshold_can_be_chosen(plan: Plan, threshold: str) -> None:
    alarm, _, value = OVERRIDES[threshold]
    assert alarms(plan, "chosen")[alarm]["threshold"] == value


def test_every_threshold_is_tried() -> None:
    [variable] = [
        block
        for path in ROOT.glob("modules/observability/variables.tf")
        for address, block in docs._parse(path)
        if address == "variable.thresholds"
    ]
    assert set(re.findall(r"(\w+) = optional\(", variable["type"])) == {*OVERRIDES, "least_requests"}


def test_what_happens_breaches_not_when_nothing_happens(plan: Plan) -> None:
    missing = {name: alarm["treat_missing_data"] for name, alarm in alarms(plan).items()}
    assert missing.pop("database-silent") == "breaching"
    for name, treated in missing.items():
        assert treated == ("missing" if name.startswith("database-") else "notBreaching"), name


def test_an_alarm_looks_at_minutes_and_needs_no_more_than_it_looks_at(plan: Plan) -> None:
    for name, alarm in alarms(plan).items():
        assert 1 <= alarm["datapoints_to_alarm"] <= alarm["evaluation_periods"] <= 15, name
        assert {metric.period for metric in read_by_alarm(alarm)} == {60}, name


def test_what_runs_out_is_raised_below_its_threshold(plan: Plan) -> None:
    below = {name for name, alarm in alarms(plan).items() if alarm["comparison_operator"] == "LessThanThreshold"}
    assert below == {"database-silent", "database-storage", "database-memory"}
    others = {alarm["comparison_operator"] for name, alarm in alarms(plan).items() if name not in below}
    assert others == {"GreaterThanOrEqualToThreshold"}


@pytest.mark.parametrize(
    ("alarm", "part", "whole"),
    [
        ("function-errors", "Errors", "Invocations"),
        ("proxy-pinned", "DatabaseConnectionsCurrentlySessionPinned", "DatabaseConnections"),
        ("proxy-pool", "DatabaseConnections", "MaxDatabaseConnectionsAllowed"),
    ],
)
def test_shares_are_reckoned_from_two_metrics(plan: Plan, alarm: str, part: str, whole: str) -> None:
    queries = {query["id"]: query for query in alarms(plan)[alarm]["metric_query"]}
    assert [read["metric_name"] for read in queries["part"]["metric"]] == [part]
    assert [read["metric_name"] for read in queries["whole"]["metric"]] == [whole]
    assert queries["share"]["expression"] == "100 * part / whole"
    assert [name for name, query in queries.items() if query["return_data"]] == ["share"]


def test_alarms_watch_what_they_are_given(plan: Plan) -> None:
    watched = {
        (name.split("-")[0], *sorted(read["dimensions"].items()))
        for name, alarm in alarms(plan).items()
        for read in [alarm, *(read for query in alarm["metric_query"] for read in query["metric"])]
        if read["dimensions"]
    }
    assert watched == {
        ("function", ("FunctionName", "app")),
        ("function", ("FunctionName", "app"), ("error", "PoolExhausted")),
        ("function", ("QueueName", "app-dead-letters")),
        ("proxy", ("ProxyName", "app")),
        ("database", ("DBInstanceIdentifier", "app")),
        ("bootstrap", ("FunctionName", "app-bootstrap")),
    }


def test_a_cluster_is_watched_by_whichever_instance_is_its_writer(plan: Plan) -> None:
    found = alarms(plan, "aurora")
    for name, alarm in found.items():
        if name.startswith("database-"):
            assert alarm["dimensions"] == {"DBClusterIdentifier": "app", "Role": "WRITER"}, name
    assert "database-storage" not in found  # Aurora's grows
    assert {name for name in found if name.startswith("cluster-")} == {"cluster-failover"}  # no reader, no capacity


def test_a_lag_is_in_milliseconds_on_aurora_and_in_seconds_elsewhere(plan: Plan) -> None:
    lags = {call: alarms(plan, call)["cluster-reader-lag"] for call in ("chosen", "multi_az")}
    assert [lags["chosen"]["metric_name"], lags["chosen"]["threshold"]] == ["AuroraReplicaLagMaximum", 300]
    assert [lags["multi_az"]["metric_name"], lags["multi_az"]["threshold"]] == ["ReplicaLag", 60]
    assert lags["multi_az"]["dimensions"] == {"DBClusterIdentifier": "app", "Role": "READER"}


def test_each_function_has_alarms_of_its_own(plan: Plan) -> None:
    found = alarms(plan, "two")
    assert found["function-app-orders-errors"]["metric_query"][0]["metric"][0]["dimensions"] == {
        "FunctionName": "app-orders"
    }
    assert found["function-app-orders-dead-letters"]["dimensions"] == {"QueueName": "orders-dead"}
    assert "function-app-orders-concurrency" not in found  # it has no reserve


def test_of_few_requests_no_share_is_reckoned(plan: Plan) -> None:
    for call, least in {"fronts": 10, "chosen": 50}.items():
        queries = {query["id"]: query for query in alarms(plan, call)["api-server-errors"]["metric_query"]}
        read = {name: query["metric"][0] for name, query in queries.items() if query["metric"]}
        assert {name: (metric["metric_name"], metric["stat"]) for name, metric in read.items()} == {
            "part": ("5xx", "Sum"),
            "whole": ("Count", "SampleCount"),
        }
        assert queries["share"]["expression"] == f"IF(whole >= {least}, 100 * part / whole, 0)"


def test_a_message_may_wait_as_long_as_its_tries_take_but_not_half_of_its_life(plan: Plan) -> None:
    found = alarms(plan, "fronts")
    assert found["queue-message-age"]["threshold"] == 450
    assert found["queue-orders-message-age"]["threshold"] == 43_200


def test_each_api_and_queue_has_alarms_of_its_own(plan: Plan) -> None:
    added = {name: alarm for name, alarm in alarms(plan, "fronts").items() if name not in alarms(plan)}
    watched = {name: {tuple(read.dimensions) for read in read_by_alarm(alarm)} for name, alarm in added.items()}
    assert watched == {
        f"{front}-{alarm}": {dimensions}
        for front, alarm, dimensions in (
            *[
                (api, kind, ("ApiId", "Stage"))
                for api in ("api", "api-app-admin")
                for kind in ("server-errors", "latency")
            ],
            *[
                (queue, kind, ("QueueName",))
                for queue in ("queue", "queue-orders")
                for kind in ("message-age", "failed-messages")
            ],
        )
    }
    assert added["api-app-admin-latency"]["dimensions"] == {"ApiId": "d4e5f6", "Stage": "$default"}
    assert added["queue-orders-message-age"]["dimensions"] == {"QueueName": "orders"}
    assert added["queue-orders-failed-messages"]["dimensions"] == {"QueueName": "orders-failed"}


@pytest.mark.parametrize("call", ["proxy", "direct", "two", "chosen", "multi_az"])
def test_every_alarm_says_what_to_do_and_where_to_read(plan: Plan, call: str) -> None:
    headings = anchors((ROOT / "docs" / "operations.md").read_text())
    composite = plan[f"module.{call}.aws_cloudwatch_composite_alarm.path_broken"]
    for alarm in [*alarms(plan, call).values(), composite]:
        text = alarm["alarm_description"]
        found = re.search(r"See docs/operations\.md#([\w-]+)\.$", text)
        assert found is not None, text
        assert found[1] in headings
        assert len(text) <= 1024
        assert len(text.split(". ")) >= 2


# --- the composite alarm


def is_broken(plan: Plan, *raised: str, call: str = "proxy") -> bool:
    """Evaluate the rule of the composite alarm where these alarms are raised."""
    rule = plan[f"module.{call}.aws_cloudwatch_composite_alarm.path_broken"]["alarm_rule"]
    known = alarms(plan, call)
    assert set(raised) <= known.keys()
    assert set(re.findall(r'ALARM\("app-([^"]+)"\)', rule)) <= known.keys()
    assert len(rule) <= 10_240
    states = re.sub(r'ALARM\("app-([^"]+)"\)', lambda found: str(found[1] in raised), rule)
    return _holds(ast.parse(states.replace("AND", "and").replace("OR", "or"), mode="eval").body)


def _holds(rule: ast.expr) -> bool:
    match rule:
        case ast.Constant(value=bool(state)):
            return state
        case ast.BoolOp(op=operator, values=parts):
            return (all if isinstance(operator, ast.And) else any)(_holds(part) for part in parts)
    raise AssertionError(ast.unparse(rule))


@pytest.mark.parametrize(
    ("raised", "broken"),
    [
        ((), False),
        (("database-silent",), True),
        (("function-errors",), False),  # its own code's, as far as anybody knows
        (("function-connect-failures",), False),  # replaced in time
        (("function-errors", "function-connect-failures"), True),
        (("function-errors", "function-pool-exhausted"), True),
        (("function-errors", "proxy-failed-logins"), True),
        (("function-errors", "proxy-failed-connections"), True),
        (("proxy-pinned", "proxy-pool", "proxy-borrow-latency", "database-cpu", "function-throttles"), False),
    ],
)
def test_the_path_is_broken_when_functions_fail_for_it(plan: Plan, raised: tuple[str, ...], broken: bool) -> None:
    assert is_broken(plan, *raised) is broken


def test_one_function_suffices_and_another_one_s_failure_does_not(plan: Plan) -> None:
    assert is_broken(plan, "function-app-orders-errors", "function-app-orders-connect-failures", call="two")
    assert not is_broken(plan, "function-app-orders-errors", "function-connect-failures", call="two")
    assert is_broken(plan, "function-errors", "function-connect-failures", call="direct")
    assert not is_broken(plan, "api-server-errors", "api-latency", "queue-failed-messages", call="fronts")


# --- whom they tell


def test_alarms_tell_the_topics_that_are_given_when_they_begin_and_when_they_end(plan: Plan) -> None:
    for alarm in [
        *alarms(plan, "given").values(),
        plan["module.given.aws_cloudwatch_composite_alarm.path_broken"],
    ]:
        assert alarm["alarm_actions"] == alarm["ok_actions"] == [TOPIC]
    assert plan.of_type("aws_sns_topic", call="given") == {}
    assert plan.of_type("aws_kms_key", call="given") == {}


def test_an_empty_list_tells_nobody(plan: Plan) -> None:
    assert not any(alarm.get("alarm_actions") for alarm in alarms(plan, "silent").values())
    assert plan.of_type("aws_sns_topic", call="silent") == {}


def test_the_own_topic_is_encrypted_with_a_key_that_these_alarms_can_use() -> None:
    standing = plan_standing("observability")
    topic = standing['module.observability.aws_sns_topic.own["own"]']
    key = standing['module.observability.aws_kms_key.topic["own"]']
    assert topic["kms_master_key_id"] == key["arn"]
    assert key["enable_key_rotation"] is True
    for alarm in alarms(standing, "observability").values():
        assert alarm["alarm_actions"] == alarm["ok_actions"] == [topic["arn"]]

    only = {
        "StringEquals": {"aws:SourceAccount": "111122223333"},
        "ArnLike": {"aws:SourceArn": "arn:aws:cloudwatch:us-east-1:111122223333:alarm:app-*"},
    }
    administration, usage = json.loads(key["policy"])["Statement"]
    assert administration["Principal"] == {"AWS": "arn:aws:iam::111122223333:root"}
    assert usage["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert usage["Action"] == ["kms:Decrypt", "kms:GenerateDataKey*"]
    assert usage["Condition"] == only
    policy = standing['module.observability.aws_sns_topic_policy.own["own"]']
    [publishing] = json.loads(policy["policy"])["Statement"]
    assert policy["arn"] == publishing["Resource"] == topic["arn"]
    assert (publishing["Principal"], publishing["Action"], publishing["Condition"]) == (
        {"Service": "cloudwatch.amazonaws.com"},
        "sns:Publish",
        only,
    )


# --- the dashboard


@pytest.mark.parametrize("call", ["proxy", "direct", "two", "many", "small", "chosen", "aurora", "multi_az", "fronts"])
def test_the_dashboard_is_one_that_cloudwatch_takes(plan: Plan, call: str) -> None:
    assert problems(dashboard(plan, call)) == []


@pytest.mark.parametrize("call", ["proxy", "direct", "two", "chosen", "aurora", "multi_az", "fronts"])
def test_every_graph_reads_metrics_that_exist(plan: Plan, call: str) -> None:
    read = list(read_by_dashboard(dashboard(plan, call)))
    assert len(read) > 25
    assert [said for metric in read if (said := unknown(metric))] == []


def test_what_is_wrong_with_a_dashboard_is_seen(plan: Plan) -> None:
    def spoilt(change: str, number: int, **values: Any) -> list[str]:
        body = dashboard(plan)
        widget = body["widgets"][number]
        (widget if change == "widget" else widget["properties"]).update(values)
        return problems(body)

    assert "ends in column" in spoilt("widget", 1, x=20)[0]
    assert "overlap" in " ".join(spoilt("widget", 1, x=0))
    assert "hole" in spoilt("widget", 0, width=3)[0]
    assert "is at" in spoilt("widget", 0, x=0.5)[0]
    assert "has ['markdown']" in spoilt("widget", 0, type="metric")[0]
    assert "unknown options" in spoilt("properties", 2, metrics=[["A", "b", {"colour": "red"}]])[0]
    assert "neither a metric" in spoilt("properties", 2, metrics=[["A", "b", "Dimension", {}]])[0]
    assert "is no id" in spoilt("properties", 2, metrics=[[{"expression": "m1 + 1", "id": "e"}]])[0]
    assert "neither drawn" in spoilt("properties", 2, metrics=[["A", "b", {"id": "m", "visible": False}]])[0]
    assert "101 alarms" in spoilt("properties", 1, alarms=["arn"] * 101)[0]
    assert "taken twice" in spoilt("properties", 2, metrics=[["A", "b", {"id": "m"}], ["A", "c", {"id": "m"}]])[0]


def test_connections_of_clients_and_database_are_on_one_graph(plan: Plan) -> None:
    drawn = {tuple(words) for *words, _ in graph(plan, "Connections: clients and database")["metrics"]}
    assert drawn == {
        ("AWS/RDS", "ClientConnections", "ProxyName", "app"),
        ("AWS/RDS", "DatabaseConnections", "ProxyName", "app"),
        ("AWS/RDS", "DatabaseConnections", "DBInstanceIdentifier", "app"),
        ("AWS/Lambda", "ConcurrentExecutions", "FunctionName", "app"),
    }
    direct = {tuple(words[:2]) for *words, _ in graph(plan, "Connections: clients and database", "direct")["metrics"]}
    assert direct == {("AWS/RDS", "DatabaseConnections"), ("AWS/Lambda", "ConcurrentExecutions")}


def test_the_dashboard_says_what_good_looks_like(plan: Plan) -> None:
    for call, words in {"proxy": ["643", "70 %", "100 ms", "pinned"], "direct": ["643 of 715"]}.items():
        first = dashboard(plan, call)["widgets"][0]
        assert first["type"] == "text"
        assert "what good looks like" in first["properties"]["markdown"]
        assert all(word in first["properties"]["markdown"] for word in words)
    fronts = dashboard(plan, "fronts")["widgets"][0]["properties"]["markdown"]
    assert "**HTTP API**" in fronts and "**Queues**" in fronts  # noqa: PT018
    assert "pinned" not in dashboard(plan, "direct")["widgets"][0]["properties"]["markdown"]


@pytest.mark.parametrize("call", ["proxy", "direct", "two", "many", "chosen", "fronts"])
def test_the_dashboard_shows_the_state_of_every_alarm(plan: Plan, call: str) -> None:
    [shown] = [w["properties"]["alarms"] for w in dashboard(plan, call)["widgets"] if w["type"] == "alarm"]
    names = {"app-path-broken", *(f"app-{name}" for name in alarms(plan, call))}
    assert set(shown) == {f"arn:aws:cloudwatch:us-east-1:111122223333:alarm:{name}" for name in names}
    assert len(shown) == len(names)


@pytest.mark.parametrize("call", ["proxy", "chosen", "aurora", "multi_az", "fronts"])
def test_the_metrics_of_every_alarm_are_drawn(plan: Plan, call: str) -> None:
    drawn = {(metric.namespace, metric.name, metric.dimensions) for metric in read_by_dashboard(dashboard(plan, call))}
    for name, alarm in alarms(plan, call).items():
        for metric in read_by_alarm(alarm):
            assert (metric.namespace, metric.name, metric.dimensions) in drawn, name


def test_every_metric_of_the_library_is_drawn(plan: Plan) -> None:
    drawn = {metric.name for metric in read_by_dashboard(dashboard(plan)) if metric.namespace == "LambdaPostgres"}
    assert drawn == cloudwatch.TABLE["metrics"]["LambdaPostgres"].keys()


def test_latencies_are_drawn_in_milliseconds(plan: Plan) -> None:
    """RDS Proxy publishes microseconds, an instance seconds, Lambda milliseconds."""
    factors = {"Microseconds": "{} / 1000", "Seconds": "1000 * {}"}
    for widget in dashboard(plan)["widgets"]:
        metrics = widget["properties"].get("metrics", [])
        expressions = {options["expression"] for *words, options in metrics if not words}
        for *words, options in metrics:
            unit = cloudwatch.TABLE["metrics"][words[0]][words[1]]["unit"] if words else None
            if unit in factors:
                assert options["visible"] is False
                assert factors[unit].format(options["id"]) in expressions


# --- the page


def test_the_readme_lists_every_alarm_and_what_it_costs(plan: Plan) -> None:
    found = alarms(plan)
    listed = {row[0].strip("`"): row for row in rows(README, "## Alarms")}
    assert listed.keys() == {*found, *alarms(plan, "chosen"), "path-broken"}
    metrics = sum(len(read_by_alarm(alarm)) for alarm in found.values())
    assert f"{metrics} metrics" in README
    assert f"{0.10 * metrics:.2f} for the alarms" in README
    assert f"{0.10 * metrics + 0.50 + 3.00 + 1.00:.2f} in all" in README
    of_one = {
        front: sum(
            len(read_by_alarm(alarm)) for name, alarm in alarms(plan, "chosen").items() if name.startswith(front)
        )
        for front in ("api-", "queue-")
    }
    api, queue = of_one.values()
    assert f"An API adds {api} metrics, {0.10 * api:.2f}; a queue {queue}, {0.10 * queue:.2f}." in README
    direct = sum(len(read_by_alarm(alarm)) for alarm in alarms(plan, "direct").values()) + 1  # bootstrap-errors
    assert f"without a proxy {0.10 * direct + 0.50 + 3.00 + 1.00:.2f}" in README
