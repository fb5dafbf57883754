"""A fault of an HTTP API or of a queue raises exactly its alarm, which goes back to OK when the fault is over.

The alarms are those of modules/observability, as planned, on a control plane. A minute takes half a second.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from local.aws.control_plane import ControlPlane
from local.lambda_runtime.function import Invocation
from local.monitoring import Monitoring, publish_queues
from tests.local.account import Account, Recorder, running
from tests.local.fronts import Api, Fed
from tests.plans import ARGUMENTS, Plan, plan_variants
from tests.waiting import await_that

MINUTE_SECONDS = 0.5
[FUNCTION] = ARGUMENTS["observability"]["functions"]
QUEUE = {"name": "work", "failed": "work-failed", "retries_seconds": 60, "retention_seconds": 345_600}


class Watched:
    """An HTTP API and a queue, each in front of a function of its own, with the alarms of all four."""

    def __init__(self, plane: ControlPlane, events: Recorder) -> None:
        account = Account.of(plane)
        self.cloudwatch = account.cloudwatch
        self.fed = Fed(account, events, "work")
        self.api = Api(account, "web").permit().route().stage()
        work = events.answer
        answer = Invocation("w", b'{"statusCode": 200}', None, "")
        events.answer = lambda version, payload: work(version, payload) if b'"Records"' in payload else answer
        plan = plan_variants(
            "observability",
            fronts={
                "functions": [{**FUNCTION, "name": "web"}, {**FUNCTION, "name": "work"}],
                "apis": [{"name": "web", "id": self.api.id, "stage": "$default"}],
                "queues": [QUEUE],
                "thresholds": {"message_age_seconds": 1, "least_requests": 4},
                "topic_arns": [],
            },
        )
        self._seen = 0
        self.names = set()
        self.dashboard = plan["module.fronts.aws_cloudwatch_dashboard.main"]["dashboard_body"]
        for alarm in self._alarms(plan):
            self.cloudwatch.put_metric_alarm(**alarm)
            self.names.add(alarm["AlarmName"])

    @staticmethod
    def _alarms(plan: Plan) -> Iterator[dict[str, Any]]:
        for alarm in plan.of_type("aws_cloudwatch_metric_alarm", call="fronts").values():
            name = alarm["alarm_name"].removeprefix("app-")
            if name.startswith(("api-", "queue-", "function-")):
                yield alarm_request(name, alarm)

    def states(self) -> dict[str, str]:
        found = self.cloudwatch.describe_alarms()["MetricAlarms"]
        return {alarm["AlarmName"]: alarm["StateValue"] for alarm in found}

    def raised(self) -> set[str]:
        """Return the alarms that went to ALARM since this was asked last, for however short a time."""
        pages = self.cloudwatch.get_paginator("describe_alarm_history").paginate(HistoryItemType="StateUpdate")
        items = [item for page in pages for item in page["AlarmHistoryItems"]]
        since, self._seen = self._seen, len(items)
        items.sort(key=lambda item: item["Timestamp"])
        return {item["AlarmName"] for item in items[since:] if item["HistorySummary"].endswith("to ALARM")}

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Let the API be asked meanwhile."""
        over = threading.Event()

        def ask() -> None:
            while not over.wait(0.03):
                self.api.ask()

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            yield
        finally:
            over.set()
            asking.join(30)

    def goes_off_and_back(self, alarm: str, mend: Any) -> None:
        self.await_alarms({alarm})
        mend()
        self.await_alarms(set())
        assert self.raised() == {alarm}

    def await_alarms(self, expected: set[str]) -> None:
        """Return once exactly these are in ALARM, and the others OK."""

        def come() -> bool:
            time.sleep(MINUTE_SECONDS / 2)  # to ask more often would tell nothing new
            return self.states() == {name: "ALARM" if name in expected else "OK" for name in self.names}

        await_that(come, seconds=20)


def alarm_request(name: str, planned: dict[str, Any]) -> dict[str, Any]:
    """Return what Terraform asks CloudWatch for."""
    given = {
        "AlarmName": name,
        "ComparisonOperator": planned["comparison_operator"],
        "Threshold": planned["threshold"],
        "DatapointsToAlarm": planned["datapoints_to_alarm"],
        "EvaluationPeriods": planned["evaluation_periods"],
        "TreatMissingData": planned["treat_missing_data"],
    }

    def metric(of: dict[str, Any]) -> dict[str, Any]:
        dimensions = [{"Name": name, "Value": value} for name, value in of["dimensions"].items()]
        return {"Namespace": of["namespace"], "MetricName": of["metric_name"], "Dimensions": dimensions}

    if not planned["metric_query"]:
        statistic = {"Statistic": planned["statistic"], "ExtendedStatistic": planned["extended_statistic"]}
        known = {name: value for name, value in statistic.items() if value}
        return given | metric(planned) | known | {"Period": planned["period"]}
    queries = []
    for query in planned["metric_query"]:
        asked: dict[str, Any] = {"Id": query["id"], "ReturnData": query["return_data"]}
        for read in query["metric"]:
            asked["MetricStat"] = {"Metric": metric(read), "Period": read["period"], "Stat": read["stat"]}
        queries.append(asked if query["metric"] else asked | {"Expression": query["expression"]})
    return given | {"Metrics": queries}


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    events = Recorder()
    with running(ControlPlane(events, metric_minute_seconds=MINUTE_SECONDS)) as plane:
        watched = Watched(plane, events)

        def minute_over(end: float) -> None:
            publish_queues(end - MINUTE_SECONDS / 2)
            plane.evaluate_alarms(end)

        monitoring = Monitoring(MINUTE_SECONDS, minute_over)
        monitoring.start()
        try:
            watched.await_alarms(set())
            yield watched
        finally:
            monitoring.stop()


def test_the_dashboard_has_no_findings(watched: Watched) -> None:
    answer = watched.cloudwatch.put_dashboard(DashboardName="fronts", DashboardBody=watched.dashboard)
    assert answer["DashboardValidationMessages"] == []


def test_an_api_that_may_not_invoke_its_function_raises_server_errors(watched: Watched) -> None:
    with watched.asked():
        watched.api.functions.remove_permission(FunctionName="web", Qualifier="live", StatementId="http")
        watched.goes_off_and_back("api-web-server-errors", watched.api.permit)


def test_a_queue_that_nobody_reads_raises_message_age(watched: Watched) -> None:
    fed = watched.fed
    fed.functions.update_event_source_mapping(UUID=fed.mapping, Enabled=False)
    fed.send("waits")

    def enable() -> None:
        fed.functions.update_event_source_mapping(UUID=fed.mapping, Enabled=True)

    watched.goes_off_and_back("queue-work-message-age", enable)
    assert fed.left(fed.url) == 0


def test_a_message_that_fails_for_good_raises_failed_messages(watched: Watched) -> None:
    fed = watched.fed
    fed.answer = lambda records: {"batchItemFailures": [{"itemIdentifier": one["messageId"]} for one in records]}

    def send_again() -> None:
        fed.answer = lambda _: {}
        [message] = fed.sqs.receive_message(QueueUrl=fed.failed)["Messages"]
        fed.send(message["Body"])
        fed.sqs.delete_message(QueueUrl=fed.failed, ReceiptHandle=message["ReceiptHandle"])

    fed.send("bad")
    watched.goes_off_and_back("queue-work-failed-messages", send_again)
    assert fed.left(fed.url) == fed.left(fed.failed) == 0
