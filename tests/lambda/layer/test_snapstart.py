"""A connection does not survive a snapshot: it is closed before, and another is opened after the restore."""

from __future__ import annotations

import json

import pytest
import snapshot_restore_py
from lambda_postgres import Keeper
from lambda_postgres.log import Log


@pytest.fixture
def hooks(monkeypatch):
    before, after = [], []
    monkeypatch.setattr(snapshot_restore_py, "_before_snapshot_registry", before)
    monkeypatch.setattr(snapshot_restore_py, "_after_restore_registry", after)

    def run(registered):
        for function, arguments, options in registered:
            function(*arguments, **options)

    return lambda: run(before), lambda: run(after)


@pytest.fixture
def snapped(settings, clock, hooks, monkeypatch):
    """Keep a connection as a function with SnapStart does."""
    assert hooks
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
    keeper = Keeper(settings, log=Log(), clock=clock)
    yield keeper
    keeper.close()


def reasons(capsys):
    return [json.loads(line)["reason"] for line in capsys.readouterr().out.splitlines()]


def test_a_restored_environment_connects_anew_before_first_use(snapped, hooks, capsys):
    snapshot, restore = hooks
    snapped.warm()
    snapshot()
    assert snapped._connection is None
    restore()
    snapped._await_pending()
    with snapped.connection():
        assert reasons(capsys) == ["init", "restored"]


def test_a_snapshot_waits_for_the_connection_and_closes_it(snapped, hooks):
    snapshot, _ = hooks
    snapped.warm()
    pending = snapped._pending
    snapshot()
    assert pending.outcome.closed
    assert snapped._pending is snapped._connection is None


def test_without_warm_no_connection_is_in_the_snapshot(snapped, hooks, capsys):
    snapshot, restore = hooks
    with snapped.connection() as old:
        pass
    snapshot()
    assert old.closed
    restore()
    with snapped.connection() as conn:
        conn.cursor().execute("SELECT 1")
    assert reasons(capsys) == ["first use", "closed"]


def test_a_snapshot_takes_the_connection_from_a_suspended_generator(snapped, hooks):
    snapshot, restore = hooks

    def numbers():
        with snapped.connection() as conn:
            yield conn

    generator = numbers()
    old = next(generator)
    snapped.warm()
    snapshot()
    assert old.closed
    restore()
    with snapped.connection() as conn:
        generator.close()
        conn.cursor().execute("SELECT 1")
    with snapped.connection() as again:
        assert again is conn


def test_a_restored_environment_does_not_connect_unless_it_was_warmed(snapped, hooks):
    snapshot, restore = hooks
    snapshot()
    restore()
    assert snapped._pending is None


def test_without_snapstart_no_hook_is_registered(settings, hooks, monkeypatch):
    snapshot, _ = hooks
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
    keeper = Keeper(settings)
    keeper.warm()
    with keeper.connection() as conn:
        pass
    snapshot()
    assert not conn.closed
    keeper.close()
