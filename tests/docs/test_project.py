"""LICENSE, NOTICE and the hooks of pre-commit say what the project really has."""

import re
import subprocess
from typing import Any

import pytest
import yaml

from build import sbom
from tests.docs.pages import ROOT

HOOKS: list[dict[str, Any]] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
FILES = {"ruff": "build/sbom.py", "ruff-format": "build/sbom.py", "terraform-fmt": "versions.tf"}


def test_the_licence_is_apache_2() -> None:
    assert (ROOT / "LICENSE").read_bytes() == (sbom.LICENSES / "Apache-2.0.txt").read_bytes()


def test_the_notice_names_what_the_layer_may_ship_with_its_licence() -> None:
    table = (ROOT / "NOTICE").read_text().partition("\nPart ")[2]
    listed = dict(re.findall(r"^(\S+) {2,}(\S+)", table, re.MULTILINE))
    assert listed == sbom._LICENSES


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_hook_of_pre_commit_runs_and_finds_nothing(hook: dict[str, Any]) -> None:
    files = [] if hook.get("pass_filenames") is False else [FILES[hook["id"]]]
    check = {"ruff-format": ["--check"], "terraform-fmt": ["-check"], "documents": ["--check"]}.get(hook["id"], [])
    done = subprocess.run(
        [*hook["entry"].split(), *check, *files], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_hook_has_the_tools_of_make() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for command in ("ruff check", "ruff format", "-m tools.docs"):
        assert any(command in hook["entry"] for hook in HOOKS)
        assert command in makefile
    assert all(hook["language"] == "system" for hook in HOOKS)


def test_no_file_holds_what_a_merge_left_open() -> None:
    marks = ["-e", r"^<<<<<<< ", "-e", r"^||||||| ", "-e", r"^>>>>>>> "]
    done = subprocess.run(
        ["git", "grep", "--basic-regexp", "-n", *marks], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
