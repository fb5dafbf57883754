"""The code that the pages show runs against a real PostgreSQL."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[3]
BLOCKS = {
    f"{page}:{number}": block
    for page in ("README.md", "docs/library.md", "docs/pinning.md")
    for number, block in enumerate(
        re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE), start=1
    )
}


@pytest.fixture
def unchanged(server):
    """Remove at the end what the code wrote."""
    yield
    with server.administrator("app") as cursor:
        cursor.execute("DELETE FROM users WHERE id >= 1000")
        cursor.execute("UPDATE users SET name = 'user ' || id")


@pytest.mark.usefixtures("public", "unchanged")
@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_the_code_of_the_pages_runs(block):
    namespace = {}
    exec(compile(block, "block", "exec"), namespace)  # noqa: S102  our own pages
    if "handler" in namespace:
        context = SimpleNamespace(get_remaining_time_in_millis=lambda: 10_000, aws_request_id="one")
        assert namespace["handler"]({}, context)
    if "other" in namespace:
        namespace["other"].close()


def test_there_is_code_to_run():
    assert len(BLOCKS) > 8
