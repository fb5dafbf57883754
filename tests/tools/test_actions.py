"""Actions are pinned by commit, and the comment beside each is true."""

import shutil
from pathlib import Path

import pytest

from tests.plans import ROOT
from tools import actions

WORKFLOWS = [path for folder in actions.WORKFLOWS for path in (ROOT / folder).iterdir()]
COMMIT, OTHER = "a" * 40, "b" * 40


def test_every_action_in_use_has_a_commit_and_a_tag() -> None:
    used = [action for path in WORKFLOWS for action in actions.actions(path.read_text())]
    assert {action.repository for action in used} >= {"actions/checkout", "hashicorp/setup-terraform"}


def test_one_tag_of_an_action_is_one_commit() -> None:
    used = {action for path in WORKFLOWS for action in actions.actions(path.read_text())}
    assert len({(action.repository, action.tag) for action in used}) == len(used)


@pytest.mark.parametrize(
    "used",
    [
        "actions/checkout@v5",
        f"actions/checkout@{COMMIT}",
        f"actions/checkout@{COMMIT[:12]} # v5.0.0",
        f"actions/checkout@{COMMIT} # v5",
        "docker://alpine:3",
    ],
)
def test_what_is_not_pinned_is_refused(used: str) -> None:
    with pytest.raises(ValueError, match="the commit in full"):
        list(actions.actions(f"      - uses: {used}\n"))


def test_a_commit_that_is_not_the_tags_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As where a stranger's pull request pins a commit of a fork beside an honest looking comment."""
    shutil.copytree(ROOT / ".github", tmp_path / ".github")
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".github/workflows/other.yml").write_text(f"  uses: github/codeql-action/init@{COMMIT} # v4.32.3\n")

    said = actions.main(lambda repository, _: {OTHER} if repository == "github/codeql-action" else set())
    assert f"github/codeql-action: commit {COMMIT} is not v4.32.3, which is {OTHER}." in str(said)
    assert "actions/checkout" in str(said)
    assert "does not exist" in str(said)


def test_a_commit_that_is_the_tags_is_right() -> None:
    action = actions.Action("actions/checkout", COMMIT, "v5.0.0")
    assert actions.mismatch(action, lambda *_: {OTHER, COMMIT}) is None
