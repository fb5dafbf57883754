"""A connection does not survive a snapshot: it is closed before, and another is opened after the restore."""

from __future__ import annotations

import json

import pytest
import snapshot_restore_py


@pytest.fixture
def hooks(monkeypatch):
    before, after = [], []
    monkeypatch.setattr(snapshot_restore_py, "_before_snapshot_registry", before)
    monkeypatch.setattr(snapshot_restore_py, "_after_restore_registry", after)

    def run(registered):
        for function, arguments, options in registered:
            function(*arguments, **options)

    return lambda: run(before), lambda: run(after)


def test_a_restored_environment_connects_anew_before_first_use(keeper, hooks, monkeypatch, capsys):
    snapshot, restore = hooks
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
    keeper.warm()
    old = keeper._connection
    snapshot()
    assert old.closed
    restore()
    with keeper.connection() as conn:
        assert conn is not old
    assert [json.loads(line)["reason"] for line in capsys.readouterr().out.splitlines()] == ["init", "restored"]


def test_without_snapstart_no_hook_is_registered(keeper, hooks, monkeypatch):
    snapshot, _ = hooks
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
    keeper.warm()
    conn = keeper._connection
    snapshot()
    assert not conn.closed
