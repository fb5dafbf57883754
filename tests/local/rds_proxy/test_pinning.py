"""The guide's list of what pins on PostgreSQL, and what only looks like it."""

import re
import time
import tomllib
from pathlib import Path

import pytest

from local.rds_proxy.advice import ADVICE, table, what_instead
from local.rds_proxy.pinning import NAMED, TOO_LONG, digest, pin_reason

ROOT = Path(__file__).parents[3]
CASES = tomllib.loads((ROOT / "tests" / "pinning_cases.toml").read_text())
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


# What a digest leaves out


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SET timezone = 'UTC'", "SET timezone = ?"),
        ("set local app.tenant TO acme, other; select 1", "set local app.tenant TO ?; select ?"),
        ("SET TIME ZONE INTERVAL '-08:00'", "SET TIME ZONE ?"),
        ("SELECT nextval('s'), 1.5e-7, 0x1F, -.5, $1, t1.c2", "SELECT nextval(?), ?, …, -?, $1, t1.c2"),
        ("INSERT INTO t VALUES (1, 'a'),\n (2, 'b')", "INSERT INTO t VALUES (?, …), …"),
        ('/* card 4111 */ SELECT "Column 2" -- card 4111', "SELECT Column_2"),
        (r"SELECT E'it\'s', $$4111$$, $a$ $$4111 $a$", "SELECT ?, …"),
        ("SET x = '\x1b[2J'", "SET x = ?"),
        ("SELECT \x1b[2J", "SELECT ?[?"),
    ],
)
def test_a_digest_holds_no_data(statement: str, expected: str) -> None:
    assert digest(statement) == expected


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 'secret",  # cut off, as a statement of more than 16 KB is
        "SELECT $$secret",
        "SELECT $a$secret",
        'SELECT "secret',
        "SELECT 'secret /* ' */ 'secret",
        r"SELECT 'it\'secret', 'b'",  # standard_conforming_strings = off
        "SELECT 'a' || 'secret",
        "SELECT 'a''secret' 'secret'",
        "SELECT U&'secret', B'01', n'secret'",
        "SET secret.x = secret",
        "/* secret /* secret */ secret */ SELECT 1 /* secret",
    ],
)
def test_where_a_string_is_doubtful_the_rest_counts_as_data(statement: str) -> None:
    assert "secret" not in digest(statement).replace("SET secret.x", "")


def test_a_digest_is_short_and_quick() -> None:
    for statement in (
        "SELECT " + "a, " * 5000,
        "$a$ $b$ " * 2000,
        "'" * 16_001,
        "/*" * 8000,
        "(" * 16_000,
        "?," * 8000,
    ):
        began = time.monotonic()
        assert len(digest(statement)) <= 300
        assert time.monotonic() - began < 2


# What to write instead


def test_the_page_says_what_the_reports_say() -> None:
    assert table() in (ROOT / "docs" / "pinning.md").read_text()


@pytest.mark.parametrize("statement", [statement for statement, _ in PINS])
def test_every_statement_that_pins_has_an_alternative(statement: str) -> None:
    assert what_instead(pin_reason(statement) or "", digest(statement))


def test_every_row_of_the_page_is_the_answer_to_something() -> None:
    asked = [(pin_reason(statement) or "", digest(statement)) for statement, _ in PINS]
    asked += [(NAMED, "SELECT 1"), (TOO_LONG, "INSERT"), ("SET: a parameter was set or reset", "SET ROLE app")]
    answers = {what_instead(reason, statement) for reason, statement in asked}
    assert {advice.instead.replace("`", "") for advice in ADVICE} == answers
