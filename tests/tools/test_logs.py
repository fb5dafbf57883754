"""Lines of several log groups in the order of time, each once."""

from __future__ import annotations

import io
import json
import time
from typing import Any

import pytest

from tests.local.account import Account
from tools import logs as tool

OUTPUTS = {
    "function_arn": "arn:aws:lambda:us-east-1:123456789012:function:shop:live",
    "bootstrap_arn": "arn:aws:lambda:us-east-1:123456789012:function:shop-bootstrap",
    "log_group": "/aws/lambda/shop",
    "proxy": "shop",
    "database_identifier": "shop",
}


class Groups:
    """The log groups of an environment, to be written to."""

    def __init__(self, logs: Any) -> None:
        self.logs = logs
        self.now = int(time.time() * 1000)
        for group in tool.groups(OUTPUTS).values():
            if group != "/aws/lambda/shop-bootstrap":  # one that is not there yet
                logs.create_log_group(logGroupName=group)
                logs.create_log_stream(logGroupName=group, logStreamName="one")

    def write(self, source: str, text: str, *, seconds: float = 0) -> None:
        event = {"timestamp": self.now + int(seconds * 1000), "message": text}
        group = tool.groups(OUTPUTS)[source]
        self.logs.put_log_events(logGroupName=group, logStreamName="one", logEvents=[event])


@pytest.fixture(scope="module")
def groups(account: Account) -> Groups:
    groups = Groups(account.logs)
    groups.write("database", "LOG: third", seconds=-2)
    groups.write("function", "first\n", seconds=-9)
    groups.write("proxy", "second", seconds=-5)
    groups.write("function", "of yesterday", seconds=-86_400)
    return groups


def told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str, **more: Any
) -> list[str]:
    outputs = {name: {"value": value} for name, value in {**OUTPUTS, **more}.items() if value}
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(outputs)))
    assert tool.main(list(arguments)) is None
    return [line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines()]


@pytest.mark.usefixtures("groups")
def test_all_sources_of_the_last_hour_in_the_order_of_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(capsys, monkeypatch) == ["function  first", "proxy     second", "database  LOG: third"]


@pytest.mark.usefixtures("groups")
@pytest.mark.parametrize(("source", "line"), [("function", "first"), ("proxy", "second"), ("database", "LOG: third")])
def test_one_source_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, source: str, line: str
) -> None:
    assert told(capsys, monkeypatch, "--of", source) == [f"{source:<9} {line}"]


def test_of_a_cluster_its_own_group_is_read(
    groups: Groups, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    group = tool.groups({"database_identifier": "orders"}, of_cluster=True)["database"]
    assert group == "/aws/rds/cluster/orders/postgresql"
    groups.logs.create_log_group(logGroupName=group)
    groups.logs.create_log_stream(logGroupName=group, logStreamName="orders-1")
    event = {"timestamp": groups.now, "message": "LOG: of the writer"}
    groups.logs.put_log_events(logGroupName=group, logStreamName="orders-1", logEvents=[event])
    said = told(capsys, monkeypatch, "--of", "database", database_identifier="orders")
    assert said == ["database  LOG: of the writer"]


@pytest.mark.usefixtures("groups")
def test_a_group_that_is_not_there_or_empty_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({"bootstrap_arn": {"value": OUTPUTS["bootstrap_arn"]}})))
    assert tool.main(["--of", "bootstrap"]) is None
    assert "No line within the last hour in /aws/lambda/shop-bootstrap." in capsys.readouterr().err


def test_a_source_that_the_environment_has_not_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    without = json.dumps({"function_arn": {"value": OUTPUTS["function_arn"]}})
    for given, said in ((without, "This environment has no proxy."), ("{}", "Nothing is deployed here.")):
        monkeypatch.setattr("sys.stdin", io.StringIO(given))
        assert tool.main(["--of", "proxy"]) == said


def test_what_comes_is_told_once_also_when_it_comes_late(groups: Groups) -> None:
    tail = tool.Tail(groups.logs, tool.groups(OUTPUTS), since=groups.now / 1000 - 3600)
    tail.lines()
    seen: list[str] = []

    def sleep(_: float) -> None:
        """Write one line a round: of now, then one that CloudWatch shows late; then be interrupted."""
        rounds = [("new", 3), ("late", 1)]
        written = len([text for text in seen if text in ("new", "late")])
        if written == 2:
            raise KeyboardInterrupt
        text, seconds = rounds[written]
        groups.write("function", text, seconds=seconds)

    with pytest.raises(KeyboardInterrupt):
        tool.follow(tail, sleep=sleep, say=lambda line: seen.append(line[2]))
    assert seen == ["new", "late"]
