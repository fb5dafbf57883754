"""Terraform deletes ten alarms at once, while a minute ends: what is iterated changes meanwhile."""

from types import SimpleNamespace
from typing import Any

from local.aws.cloudwatch.alarms import evaluate_composites, parents


class Vanishing:
    """An alarm; another one is gone as soon as somebody looks at this one's rule."""

    def __init__(self, alarms: dict[str, Any], name: str, rule: str | None) -> None:
        self.name, self.state_value, self._alarms, self._rule = name, "OK", alarms, rule

    @property
    def rule(self) -> str | None:
        self._alarms.pop("gone", None)
        return self._rule


def backend_of(*rules: tuple[str, str | None]) -> Any:
    alarms: dict[str, Any] = {}
    for name, rule in rules:
        alarms[name] = Vanishing(alarms, name, rule)
    return SimpleNamespace(alarms=alarms)


def test_parents_are_found_while_an_alarm_is_deleted() -> None:
    backend = backend_of(("child", None), ("gone", None), ("parent", "ALARM(child)"))
    assert [alarm.name for alarm in parents(backend, "child")] == ["parent"]


def test_a_child_that_is_deleted_meanwhile_does_not_stop_the_evaluation() -> None:
    backend = backend_of(("gone", None), ("parent", "ALARM(gone)"))
    evaluate_composites(backend, 0.0)
    assert backend.alarms["parent"].state_value == "OK"
