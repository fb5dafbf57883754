"""local/failover.py: what callers do during a failover, and what is counted."""

from __future__ import annotations

import io
import json
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from local import failover
from local.failover import InvocationError, Load, Outcome


class Function:
    """A function that pays into memory; while it has no writer it fails, after or before it has kept the payment."""

    def __init__(self, *, keeps_keys: bool) -> None:
        self.kept: Counter[str] = Counter()
        self.writes = threading.Event()
        self.writes.set()
        self.told_by = "writer"
        self._keeps_keys = keeps_keys
        self._lock = threading.Lock()

    def __call__(self, event: Mapping[str, Any]) -> dict[str, Any]:
        if "prefix" in event:
            kept = {key: times for key, times in self.kept.items() if key.startswith(event["prefix"])}
            return {"keys": kept, "answered_by": self.told_by}
        if "key" not in event:
            return {"answered_by": "reader"}
        with self._lock:
            if not self._keeps_keys or not self.kept[event["key"]]:
                self.kept[event["key"]] += 1  # its answer may be lost
        if not self.writes.wait(0.05):
            raise InvocationError("ConnectionLost: it may have been committed")
        return {"key": event["key"]}

    def fail_over(self) -> None:
        self.writes.clear()
        threading.Timer(0.3, self.writes.set).start()


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failover, "BEFORE_SECONDS", 0.2)
    monkeypatch.setattr(failover, "AFTER_SECONDS", 0.5)
    monkeypatch.setattr(failover, "MOST_PAYMENTS", 200)
    monkeypatch.setattr(failover, "ATTEMPTS", 50)


@pytest.mark.parametrize("keeps_keys", [True, False])
def test_a_failed_invocation_is_sent_again_with_its_key(keeps_keys: bool) -> None:
    function = Function(keeps_keys=keeps_keys)
    outcome = failover.under_load(_slowed(function), function.fail_over, "run-")
    load = outcome.load
    assert load.failures
    assert len(load.answered) == len(function.kept)
    assert load.invocations == len(load.answered) + len(load.failures)
    assert load.longest_silence() > 0.2
    assert load.reads["reader"] > 0
    assert outcome.lost == 0
    assert (outcome.doubled == 0) is keeps_keys  # else each that failed was made twice, and is found


def test_what_was_answered_and_is_not_kept_is_lost() -> None:
    load = Load(began=0, ended=10, answered={"a", "b"}, answers_at=[1, 2, 8], invocations=3, failures=["x"])
    outcome = Outcome(load, {"a": 2})
    assert (outcome.lost, outcome.doubled, load.longest_silence()) == (1, 1, 6)
    assert [line.split("  ")[-1].strip() for line in outcome.lines()] == [
        "2 payments in 10 s",
        "1",
        "1",
        "1 of 3, each sent again with its key",
        "6.0 s",
        "none; 0 failed",
    ]


def test_a_reader_s_word_about_what_was_kept_does_not_count() -> None:
    """It may lack what was doubled last."""
    function = Function(keeps_keys=True)
    function.told_by = "reader"
    with pytest.raises(InvocationError, match="asked of a reader"):
        failover.under_load(_slowed(function), function.fail_over, "run-")


def test_a_function_that_answers_no_payment_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failover, "MOST_SECONDS", 0.1)

    def fails(event: Mapping[str, Any]) -> dict[str, Any]:
        if "key" in event:
            threading.Event().wait(0.01)
            raise InvocationError("CannotConnect")
        return {"answered_by": "writer", "keys": {}}

    with pytest.raises(InvocationError, match="no payment was answered: CannotConnect"):
        failover.under_load(fails, lambda: None, "run-")
    assert Load(began=1, ended=4).longest_silence() == 3


def test_a_function_that_fails_is_a_failed_invocation() -> None:
    class Client:
        def invoke(self, **_: Any) -> dict[str, Any]:
            payload = {"errorType": "CannotConnect", "errorMessage": "no writer"}
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(json.dumps(payload).encode())}

    with pytest.raises(InvocationError, match="CannotConnect: no writer"):
        failover.invoker(Client(), "app")({})


def test_a_writer_that_stays_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Rds:
        def describe_db_clusters(self, **_: Any) -> dict[str, Any]:
            members = [{"DBInstanceIdentifier": name, "IsClusterWriter": name == "one"} for name in ("one", "two")]
            return {"DBClusters": [{"DBClusterMembers": members}]}

        def failover_db_cluster(self, **_: Any) -> None: ...

    monkeypatch.setattr(failover, "MOST_SECONDS", 0)
    assert failover.writer(Rds(), "app") == "one"
    with pytest.raises(RuntimeError, match="one is still the writer of app"):
        failover.fail_over(Rds(), "app")


def _slowed(function: Function) -> failover.Invoke:
    def invoke(event: Mapping[str, Any]) -> dict[str, Any]:
        threading.Event().wait(0.01)
        return function(event)

    return invoke
