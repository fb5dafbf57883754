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


@pytest.fixture(scope="module")
def account(plane: ControlPlane) -> Account:
    return Account(plane.url)


@pytest.fixture
def events(plane: ControlPlane) -> Iterator[Recorder]:
    recorder = plane.events
    assert isinstance(recorder, Recorder)
    recorder.reset()
    yield recorder
    recorder.reset()


@pytest.fixture(autouse=True)
def led_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lead what a tool asks of AWS to the control plane, where a test has one."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    if {"account", "plane"}.isdisjoint(request.fixturenames):
        return
    monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("account").url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
