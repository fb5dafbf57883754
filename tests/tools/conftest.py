"""A control plane of this project for the tools to ask."""

import os
from collections.abc import Iterator

import pytest

from local.control_plane import ControlPlane
from tests.local.account import Account, Recorder, running


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with running(ControlPlane(Recorder())) as plane:
        yield plane


@pytest.fixture
def account(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> Account:
    """Clients of the control plane, to which every client that is made meanwhile leads, too."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", plane.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    return Account(plane.url)
