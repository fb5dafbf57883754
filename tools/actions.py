"""Compare each pinned action's commit with the tag in its comment, online: python -m tools.actions.

A pull request could pin a commit of a fork, which GitHub serves under the original's name, beside a comment that says
otherwise. What the tag is, only the original repository says.
"""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

WORKFLOWS = (Path(".github/workflows"), Path("examples/pinning-in-ci"))
_USES = re.compile(r"^\s*(?:-\s*)?uses:\s*(.*?)\s*$", re.MULTILINE)
_PINNED = re.compile(r"([\w.-]+/[\w.-]+)(?:/[\w./-]+)?@([0-9a-f]{40})\s+#\s*(v\d+\.\d+\.\d+)")

# By tag of a repository: the commits that it may mean.
Tags = Callable[[str, str], set[str]]


@dataclass(frozen=True)
class Action:
    repository: str
    commit: str
    tag: str


def main(tags: Tags | None = None) -> str | None:
    texts = [path.read_text() for folder in WORKFLOWS for path in sorted(folder.glob("*.y*ml"))]
    try:
        pinned = {action for text in texts for action in actions(text)}
    except ValueError as error:
        return str(error)
    wrong = [problem for action in sorted(pinned, key=str) if (problem := mismatch(action, tags or tags_of))]
    return "\n".join(wrong) or None


def actions(text: str) -> Iterator[Action]:
    """Yield the actions that a workflow uses; each must have a commit and the tag it is of."""
    for used in _USES.findall(text):
        if used.startswith("./"):
            continue
        found = _PINNED.fullmatch(used)
        if found is None:
            raise ValueError(f"`uses: {used}` must be OWNER/NAME@COMMIT # vX.Y.Z, the commit in full.")
        yield Action(*found.groups())


def mismatch(action: Action, tags: Tags) -> str | None:
    """Say how an action's commit is not what its tag means."""
    meant = tags(action.repository, action.tag)
    if action.commit in meant:
        return None
    said = f"is {', '.join(sorted(meant))}" if meant else "does not exist"
    return f"{action.repository}: commit {action.commit} is not {action.tag}, which {said}."


def tags_of(repository: str, tag: str) -> set[str]:
    """Ask GitHub what a tag means: its commit, and of an annotated tag that of the commit behind it."""
    asked = ["git", "ls-remote", f"https://github.com/{repository}", f"refs/tags/{tag}", f"refs/tags/{tag}^{{}}"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60).stdout
    return {line.split()[0] for line in answer.splitlines()}


if __name__ == "__main__":
    sys.exit(main())
