"""The order of the tests, and what they inherit from whoever starts them."""

import os
import signal

import pytest


def pytest_configure() -> None:
    """Take signals as at a terminal, and let Terraform collect its garbage seldom.

    A background shell, or nohup, lets its children ignore Ctrl-C, and theirs too. Reading the provider's schema at each
    command makes garbage that is not worth collecting: a quarter less time for 200 MB more.
    """
    os.environ.setdefault("GOGC", "400")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


# They apply with Terraform, which takes minutes but mostly waits: the others run beside them.
APPLIED = (
    "tests/terraform/test_apply.py",
    "tests/terraform/test_restore.py",
    "tests/tools/doctor/test_faults.py",
    "tests/terraform/test_second_apply.py",
    "tests/modules/test_alarms_go_off.py",
    "tests/modules/test_database_changes.py",
    "tests/modules/test_database_window.py",
    "tests/terraform/test_order_of_removal.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest."""
    order = {path: number for number, path in enumerate(APPLIED)}
    items.sort(key=lambda item: order.get(item.nodeid.partition("::")[0], len(order)))
