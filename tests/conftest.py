"""The order of the tests."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the full apply, which takes minutes but mostly waits: the others run beside it."""
    items.sort(key=lambda item: item.path.name != "test_apply.py" or item.path.parent.name != "terraform")
