"""A control plane, and stock moto beside it.

A test that takes `aws` runs twice: against the control plane, where it must pass, and against stock moto, where it must
fail. When it passes there too, moto has learned it: delete the correction.
"""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.local.account import STOCK, Account, account, events, plane

__all__ = ["account", "events", "plane"]


@pytest.fixture(scope="session")
def stock() -> Iterator[Account]:
    server = subprocess.Popen(
        [sys.executable, "-c", STOCK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert server.stdout is not None
    yield Account(f"http://127.0.0.1:{int(server.stdout.readline())}")
    server.communicate()


LACKING = pytest.mark.xfail(strict=True, reason="stock moto lacks it; when this passes, delete the correction")


@pytest.fixture(params=["account", pytest.param("stock", marks=LACKING)])
def aws(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)
