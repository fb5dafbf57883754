"""The guide's list of what pins on PostgreSQL, and what only looks like it."""

import re
import tomllib
from pathlib import Path

import pytest

from local.rds_proxy.pinning import pin_reason

CASES = tomllib.loads((Path(__file__).parents[2] / "pinning_cases.toml").read_text())
PINS = [(statement, reason) for reason, statements in CASES["pins"].items() for statement in statements]


@pytest.mark.parametrize(("statement", "reason"), PINS)
def test_what_pins(statement: str, reason: str) -> None:
    assert re.search(rf"\b{reason}", pin_reason(statement) or "nothing", re.IGNORECASE)


@pytest.mark.parametrize("statement", CASES["does_not_pin"])
def test_what_does_not_pin(statement: str) -> None:
    assert pin_reason(statement) is None


def test_more_than_16_kb_pin() -> None:
    assert pin_reason("SELECT '" + "x" * 16_375 + "'") is None
    assert "16 KB" in (pin_reason("SELECT '" + "x" * 16_384 + "'") or "nothing")
