"""docs/operations.md says of every line of the doctor how to mend it."""

import ast
import re
from collections.abc import Iterator

from tests.docs.pages import ROOT, rows
from tests.docs.test_operations import _has, _text
from tools.await_target import IN_PLAIN_WORDS
from tools.doctor.layers import LAYERS

TABLE = rows((ROOT / "docs" / "operations.md").read_text(), "## What is wrong: make doctor")
LISTED = [text for row in TABLE for text in re.findall(r"`([^`]+)`", row[1])]
SOURCES = sorted((ROOT / "tools" / "doctor").glob("*.py"))


def test_the_layers_are_listed_in_their_order() -> None:
    assert [row[0] for row in TABLE if row[0]] == list(LAYERS)


def test_every_wrong_line_is_listed() -> None:
    wrong = list(_wrong_lines())
    assert len(wrong) > 35
    assert [line for line in wrong if not any(_has(line, text) for text in LISTED)] == []


def test_every_listed_line_is_in_the_code() -> None:
    words = [text for path in [*SOURCES, *ROOT.glob("tools/*.py")] for text in _strings(path)]
    assert [text for text in LISTED if not any(_has(line, text) for line in [*words, *IN_PLAIN_WORDS.values()])] == [
        "is not set"  # the library's own, in lambda_postgres.settings
    ]


def _wrong_lines() -> Iterator[str]:
    """The text of each finding that is wrong, where it has words of its own."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "wrong":
                text = _text(node.args[0])
                if text is not None and text.strip("… :.()"):
                    yield text


def _strings(path: object) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):  # type: ignore[attr-defined]
        if (text := _text(node)) is not None:
            yield text
