"""The order of the tests, and what they inherit from whoever starts them."""

import signal

import pytest


def pytest_configure() -> None:
    """Take signals as at a terminal: a background shell, or nohup, lets its children ignore Ctrl-C, and theirs too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the full apply, which takes minutes but mostly waits: the others run beside it."""
    items.sort(key=lambda item: item.path.name != "test_apply.py" or item.path.parent.name != "terraform")
