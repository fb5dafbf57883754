"""Which of several wrong layers is named: the cause, not what follows from it."""

from __future__ import annotations

import ast
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from tools.doctor import finding
from tools.doctor.__main__ import as_json, as_text
from tools.doctor.finding import Finding, causes_only, ok, unknown, wrong
from tools.doctor.layers import LAYERS, Layer, examine
from tools.doctor.site import NotJudged, Site, once

FIX = "Do this."


def verdicts(**found: Finding) -> dict[str, str]:
    return {name: finding.verdict for name, finding in causes_only(found).items()}


def test_what_follows_from_a_wrong_layer_is_unknown() -> None:
    found = {"policy": wrong("No grant.", FIX), "token": wrong("Refused.", FIX, follows=("policy",))}
    assert verdicts(**found) == {"policy": "wrong", "token": "unknown"}
    assert causes_only(found)["token"].text == "Refused. That follows from: policy."
    assert causes_only(found)["token"].fix == ""


def test_the_same_is_wrong_by_itself_where_its_cause_is_not() -> None:
    token = wrong("Refused.", FIX, follows=("policy",))
    assert verdicts(policy=ok("granted"), token=token) == {"policy": "ok", "token": "wrong"}
    assert verdicts(policy=unknown("?"), token=token) == {"policy": "unknown", "token": "wrong"}


def test_the_first_cause_of_a_chain_is_named() -> None:
    found = {
        "login": wrong("rds_iam.", FIX),
        "secret": wrong("No login.", FIX, follows=("login",)),
        "target": wrong("AUTH_FAILURE.", FIX, follows=("secret",)),
    }
    assert verdicts(**found) == {"login": "wrong", "secret": "unknown", "target": "unknown"}
    assert causes_only(found)["target"].text.endswith("That follows from: login.")


def test_with_credentials_of_another_account_nothing_else_is_judged() -> None:
    found = {"account": wrong("Another one.", FIX), "state": wrong("Gone.", FIX), "quota": ok("fine")}
    assert verdicts(**found) == {"account": "wrong", "state": "unknown", "quota": "ok"}


def test_of_two_that_follow_from_each_other_the_first_is_named() -> None:
    found = {"a": wrong("A.", FIX, follows=("b",)), "b": wrong("B.", FIX, follows=("a",))}
    assert verdicts(**found) == {"a": "wrong", "b": "unknown"}


# --- examining ---


class Anywhere(Site):
    """A site that nothing is asked of."""

    def __init__(self) -> None:
        super().__init__(Path("terraform/prod"), ["false"])


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "as told"}}, "DescribeThings")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (refused("AccessDeniedException"), "You may not DescribeThings"),
        (refused("UnauthorizedOperation"), "You may not DescribeThings"),
        (refused("Throttling"), "AWS did not tell: An error occurred (Throttling)"),
        (NoCredentialsError(), "AWS did not tell: Unable to locate credentials"),
        (KeyError("query"), "The check itself failed: KeyError: 'query'"),
        (NotJudged("the function is Pending."), "Not judged: the function is Pending."),
    ],
)
def test_what_could_not_be_asked_is_unknown_with_the_reason(error: Exception, said: str) -> None:
    def check(_: Site) -> Finding:
        raise error

    [layer] = examine(Anywhere(), {"one": check})
    assert layer.finding.verdict == "unknown"
    assert said in layer.finding.text


def test_a_check_that_does_not_end_is_unknown_and_holds_up_no_other() -> None:
    stuck = threading.Event()

    def never(_: Site) -> Finding:
        stuck.wait(30)
        return ok("late")

    began = time.monotonic()
    layers = examine(Anywhere(), {"stuck": never, "quick": lambda _: ok("done")}, deadline_seconds=0.3)
    stuck.set()
    assert [layer.finding.verdict for layer in layers] == ["unknown", "ok"]
    assert time.monotonic() - began < 5


def test_a_fact_is_asked_for_once_and_its_error_kept() -> None:
    asked: list[str] = []

    class Asking(Anywhere):
        @once
        def answer(self) -> int:
            asked.append("answer")
            time.sleep(0.05)
            return 42

        @once
        def failure(self) -> int:
            asked.append("failure")
            raise NotJudged("no")

    site = Asking()
    threads = [threading.Thread(target=lambda: site.answer) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in range(2):
        with pytest.raises(NotJudged):
            _ = site.failure
    assert site.answer == 42
    assert asked == ["answer", "failure"]


# --- reporting ---

FOUND = [Layer("account", ok("yours")), Layer("rules", wrong("none\n  there.", FIX)), Layer("alarms", unknown("none"))]


def test_a_layer_is_a_line_and_a_wrong_one_has_its_fix() -> None:
    assert as_text(FOUND, 1.25).splitlines() == [
        "ok       account  yours",
        "wrong    rules    none there. Fix: Do this.",
        "unknown  alarms   none",
        "1 ok, 1 wrong, 1 unknown, 1.2 s",
    ]


def test_json_says_the_same() -> None:
    document: Any = json.loads(as_json(FOUND, 1.25))
    assert [layer["verdict"] for layer in document["layers"]] == ["ok", "wrong", "unknown"]
    assert document["layers"][1]["fix"] == FIX
    assert (document["wrong"], "fix" in document["layers"][0]) == (1, False)


def test_no_layer_follows_from_one_that_there_is_not() -> None:
    named = {
        constant.value
        for path in Path(finding.__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.keyword) and node.arg == "follows"
        for constant in ast.walk(node.value)
        if isinstance(constant, ast.Constant)
    }
    assert len(named) > 5
    assert named <= set(LAYERS)
