"""What the pages say is true of the tree: links, tests, commands, code."""

import ast
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.docs import pages
from tests.docs.pages import ROOT, Block

MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))
VARIABLES = set(re.findall(r"^([A-Z_]+)\s*\?=", MAKEFILE, re.MULTILINE))


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", pages.pages(), ids=named)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    assert pages.broken_links(page) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    (tmp_path / "other.md").write_text("# One `two`: three\n\n# Same\n\n# Same\n")
    page.write_text(
        "# Here\n[a](other.md) [b](other.md#one-two-three) [c](other.md#same-1) [d](#here) [e](https://example.com/none)\n"
        "`[code](none)`\n\n    [code](none)\n\n```\n[code](none)\n```\n"
        "[f](none.md) [g](other.md#none) [h](#none)\n"
    )
    assert pages.broken_links(page) == ["none.md", "other.md#none", "#none"]


def test_every_page_of_docs_is_linked_from_the_readme() -> None:
    linked = {link.partition("#")[0] for link in pages.links((ROOT / "README.md").read_text())}
    assert {named(page) for page in (ROOT / "docs").glob("*.md")} <= linked


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_every_test_that_is_named_exists() -> None:
    found = [
        (path, name)
        for page in pages.pages()
        for path, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page.read_text())
    ]
    missing = [f"{path}::{name}" for path, name in found if name not in _tests(ROOT / path)]
    assert len(found) > 40
    assert missing == []


def test_every_promise_of_security_names_a_test() -> None:
    promised, _, _ = (ROOT / "docs" / "security.md").read_text().partition("\n## What is not promised")
    lines = [
        line for line in promised.splitlines() if line.startswith("|") and not line.startswith(("|---", "| promise"))
    ]
    assert lines
    assert [line for line in lines if not re.search(r"\| `tests/[\w/]+\.py::test_\w+` \|$", line)] == []


@pytest.mark.parametrize("page", pages.pages(), ids=named)
def test_every_make_command_names_a_target_and_variables_that_exist(page: Path) -> None:
    for command in _make_commands(page.read_text()):
        words = shlex.split(command)
        targets = [word for word in words if "=" not in word]
        assert set(targets) <= TARGETS, command
        assert {word.partition("=")[0] for word in words if "=" in word} <= VARIABLES, command


def test_a_wrong_make_command_would_be_seen() -> None:
    text = "`make none`, `make plan NONE=1`, make it so\n\n    VARIABLE=x make deploy ENV=dev  # comment\n"
    assert _make_commands(text) == ["none", "plan NONE=1", "deploy ENV=dev"]


@pytest.mark.parametrize("block", pages.blocks("python"), ids=str)
def test_python_compiles(block: Block) -> None:
    ast.parse(block.text, filename=str(block))


@pytest.mark.parametrize("block", pages.blocks("hcl"), ids=str)
def test_hcl_is_formatted(block: Block) -> None:
    formatted = subprocess.run(["terraform", "fmt", "-"], input=block.text, capture_output=True, text=True, check=False)
    assert formatted.stderr == ""
    assert formatted.stdout == block.text


def _tests(path: Path) -> set[str]:
    if not path.exists():
        return set()
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


def _make_commands(text: str) -> list[str]:
    """The arguments of make in code: in backticks, or in an indented or fenced block."""
    inline = re.findall(r"`(?:[A-Z_a-z]+=\S+ )?make ([^`\n]+)`", text)
    shown = re.findall(
        r"^(?: {4,})?(?:[A-Z_a-z]+=\S+ )?make ([a-z-]+(?: +[A-Z_]+=\S+)*) *(?:#.*)?$", text, re.MULTILINE
    )
    return [re.sub(r"ENV=…", "ENV=dev", command.strip()) for command in [*inline, *shown]]
