"""A control plane of this project for the tools to ask."""

import os
from collections.abc import Iterator

import boto3
import pytest

from local.aws.control_plane import ControlPlane
from tests.local.account import Account, Recorder, running


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with running(ControlPlane(Recorder())) as plane:
        yield plane


@pytest.fixture(scope="module")
def account(plane: ControlPlane) -> Account:
    return Account.of(plane)


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
    account: Account = request.getfixturevalue("account")
    for name, value in account.variables().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it keeps the key of another test's account
