"""docs/operations.md lists the messages that the code has, and leaves none out."""

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.docs.pages import ROOT, rows
from tools import docs

PAGE = (ROOT / "docs" / "operations.md").read_text()
LISTED = [text for row in rows(PAGE, "## Errors") for text in re.findall(r"`([^`]+)`", row[0])]
# make docs speaks to who changes the code.
PYTHON = sorted({*ROOT.glob("lambda/**/*.py"), *ROOT.glob("tools/*.py")} - {ROOT / "tools" / "docs.py"})
# Not for users: the check of pinned actions, which runs in CI alone, and causes that stand inside a listed message.
INTERNAL = {"must be OWNER/NAME@COMMIT", "GetSecretValue on"}


def test_every_listed_text_is_in_the_code() -> None:
    known = [*_strings(), *_preconditions(), *_makefile()]
    assert len(LISTED) > 80
    assert [text for text in LISTED if not any(_has(message, text) for message in known)] == []


@pytest.mark.parametrize("source", ["raised", "preconditions"])
def test_every_message_is_listed(source: str) -> None:
    messages = list(_raised() if source == "raised" else _preconditions())
    assert len(messages) > 10
    missing = [
        message
        for message in messages
        if not any(_has(message, text) for text in LISTED) and not any(text in message for text in INTERNAL)
    ]
    assert missing == []


def test_a_text_matches_in_the_order_of_its_parts() -> None:
    assert _has("The role … exists and … made it.", "The role … made it")
    assert not _has("The role … exists.", "exists … The role")


def _has(message: str, text: str) -> bool:
    pattern = _pattern(text)
    return pattern.search(message) is not None if pattern else message.strip("… :.,") == ""


@cache
def _pattern(text: str) -> re.Pattern[str] | None:
    parts = [re.escape(part.strip()) for part in text.split("…") if part.strip(" :.,")]
    return re.compile(".*".join(parts), re.DOTALL) if parts else None


def _strings() -> Iterator[str]:
    for path in PYTHON:
        for node in ast.walk(ast.parse(path.read_text())):
            if (text := _text(node)) is not None:
                yield text


def _raised() -> Iterator[str]:
    """The text of each error that is raised."""
    for path in PYTHON:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                texts = [text for argument in node.exc.args if (text := _text(argument)) is not None]
                yield from texts


def _text(node: ast.AST) -> str | None:
    """A string with … for each value in it."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts)
    return None


def _preconditions() -> Iterator[str]:
    """What resources and checks of the modules refuse or warn of. Validations of variables are in the READMEs."""
    for path in sorted(ROOT.glob("modules/*/*.tf")):
        text = path.read_text()
        for address, block in docs._parse(path):
            for _, condition in docs._conditions(block) if not address.startswith("variable.") else ():
                message = str(condition["error_message"])
                if local := re.fullmatch(r"\$\{local\.(\w+)\}", message):
                    message = re.search(rf'^  {local[1]} *= "(.*)"$', text, re.MULTILINE)[1]  # type: ignore[index]
                yield re.sub(r"\$\{.*?\}", "…", message)


def _makefile() -> Iterator[str]:
    yield re.sub(r"\$\(\w+\)", "…", (ROOT / "Makefile").read_text())
