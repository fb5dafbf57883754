"""A control plane of this project for the tools to ask, or a whole application on a local stack."""

import os

import boto3
import pytest

from tests.local.account import Account, account, events, plane
from tests.local.deployment import deployment

__all__ = ["account", "deployment", "events", "plane"]


@pytest.fixture(autouse=True)
def led_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lead what a tool asks of AWS to the control plane, where a test has one."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    if {"account", "plane"}.isdisjoint(request.fixturenames):
        return
    here: Account = request.getfixturevalue("account")
    for name, value in here.variables().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it keeps the key of another test's account
