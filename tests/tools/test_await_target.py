import itertools
import json
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import pytest

from local.rds_proxy.server_connection import TargetHealth
from tests.local.account import Account, Recorder
from tools.await_target import IN_PLAIN_WORDS, NotAvailableError, _waits_for, await_target, main

FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:app:live"
PENDING = TargetHealth("UNAVAILABLE", "PENDING_PROXY_CAPACITY", "DBProxy Target is waiting for proxy to scale")


@pytest.fixture(scope="module")
def proxy(account: Account) -> str:
    account.proxy("door")
    account.instance("house")
    account.rds.register_db_proxy_targets(DBProxyName="door", DBInstanceIdentifiers=["house"])
    return "door"


class Time:
    """A clock that only sleeping moves; each time something happens to the target."""

    def __init__(self, events: Recorder, *healths: TargetHealth) -> None:
        self.now = 0.0
        self.said: list[str] = []
        self._events = events
        self._healths: Iterator[TargetHealth] = itertools.chain(healths, itertools.repeat(healths[-1]))
        events.health = next(self._healths)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self._events.health = next(self._healths)

    def arguments(self) -> dict[str, Any]:
        return {"clock": lambda: self.now, "sleep": self.sleep, "say": self.said.append}


def test_it_returns_when_the_target_is_available_and_said_what_it_waited_for(account, events, proxy):
    time = Time(events, TargetHealth("REGISTERING"), PENDING, PENDING, TargetHealth("AVAILABLE"))
    await_target(account.rds, proxy, **time.arguments())
    [registering, pending, available] = time.said
    assert "connecting the proxy with the database" in registering
    assert "making room for the proxy" in pending
    assert "door is available" in available


def test_an_available_target_is_not_worth_a_word(account, events, proxy):
    time = Time(events, TargetHealth("AVAILABLE"))
    await_target(account.rds, proxy, **time.arguments())
    assert (time.said, time.now) == ([], 0)


def test_it_ends_after_a_while_with_the_reason_in_plain_words(account, events, proxy):
    time = Time(events, TargetHealth("UNAVAILABLE", "AUTH_FAILURE", "password authentication failed"))
    with pytest.raises(NotAvailableError, match="refuses the password in the proxy's secret: make migrate") as error:
        await_target(account.rds, proxy, timeout_seconds=300, **time.arguments())
    assert "password authentication failed" in str(error.value)
    assert time.now == 300
    assert len(time.said) == 5  # at first, and each minute


def test_a_proxy_without_a_target_is_not_waited_for(account):
    account.proxy("nowhere")
    with pytest.raises(NotAvailableError, match=r"has no target\. make deploy registers"):
        await_target(account.rds, "nowhere")


@pytest.mark.parametrize(
    ("members", "said"),
    [(["AVAILABLE", "AVAILABLE"], ""), (["AVAILABLE", "REGISTERING"], "connecting"), ([], "no instance")],
)
def test_of_a_cluster_its_instances_are_waited_for_and_not_its_own_row(members, said):
    rows = [{"Type": "RDS_INSTANCE", "TargetHealth": {"State": state}} for state in members]
    rds = Mock(**{"describe_db_proxy_targets.return_value": {"Targets": [{"Type": "TRACKED_CLUSTER"}, *rows]}})
    waits_for = _waits_for(rds, "app")
    assert said in waits_for
    assert bool(waits_for) is bool(said)


def test_every_reason_that_aws_knows_has_its_words(account):
    reasons = account.rds.meta.service_model.shape_for("TargetHealthReason").enum
    assert set(reasons) <= set(IN_PLAIN_WORDS)


@pytest.mark.usefixtures("led_here")
def test_outputs_lead_to_the_proxy(events, proxy):
    events.health = TargetHealth("AVAILABLE")
    assert main(json.dumps({"proxy": {"value": proxy}, "function_arn": {"value": FUNCTION}})) is None
    answer = main(json.dumps({"proxy": {"value": "gone"}, "function_arn": {"value": FUNCTION}}))
    assert "The proxy gone could not be looked at" in answer


def test_without_a_proxy_nothing_is_waited_for_or_asked(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert main(json.dumps({"function_arn": {"value": FUNCTION}})) is None
