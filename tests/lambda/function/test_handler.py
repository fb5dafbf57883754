"""The sample function: an event in, the first users out."""

from __future__ import annotations

import contextlib
import datetime
import importlib.util
import json
import sys
from pathlib import Path
from unittest import mock

import lambda_postgres
import pytest

SOURCE = Path(__file__).parents[3] / "lambda" / "function" / "handler.py"
CREATED = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


@pytest.fixture
def database(monkeypatch):
    """Stand in for the library: what the function asks of it, and rows to answer with."""
    conn = mock.MagicMock()
    cursor = conn.cursor.return_value.__enter__.return_value
    cursor.__iter__.side_effect = lambda: iter([(1, "Ada", CREATED), (2, "Grace", CREATED)])
    warm = mock.Mock()
    lend = mock.Mock(side_effect=lambda _: contextlib.nullcontext(conn))
    monkeypatch.setattr(lambda_postgres, "warm", warm)
    monkeypatch.setattr(lambda_postgres, "connection", lend)
    return mock.Mock(warm=warm, lend=lend, cursor=cursor)


def load():
    spec = importlib.util.spec_from_file_location("sample_handler", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_init_warms_the_connection(database):
    load()
    database.warm.assert_called_once_with()
    database.lend.assert_not_called()


def test_the_answer_is_an_api_gateway_response_with_a_json_body(database):
    context = object()
    answer = load().handler({}, context)
    assert answer["statusCode"] == 200
    assert answer["headers"] == {"content-type": "application/json"}
    assert json.loads(answer["body"]) == [
        {"id": 1, "name": "Ada", "created_at": "2026-01-02T03:04:05+00:00"},
        {"id": 2, "name": "Grace", "created_at": "2026-01-02T03:04:05+00:00"},
    ]
    database.cursor.execute.assert_called_once_with("SELECT id, name, created_at FROM users ORDER BY id LIMIT 10")
    database.lend.assert_called_once_with(context)


def test_an_error_fails_the_invocation(database):
    database.cursor.execute.side_effect = lambda_postgres.ConnectionLost("db", "gone", committed=None)
    with pytest.raises(lambda_postgres.ConnectionLost):
        load().handler({}, None)


def test_make_doctor_s_event_is_answered_and_nothing_is_lent(database, monkeypatch):
    monkeypatch.setitem(sys.modules, "diagnosis", mock.Mock(diagnose=lambda: {"settings": {}}))
    assert load().handler({"lambda_postgres": "diagnose"}, None) == {"settings": {}}
    database.lend.assert_not_called()


@pytest.mark.parametrize("event", [{"lambda_postgres": "other"}, {"lambda_postgres": "diagnose", "id": 1}, None, []])
@pytest.mark.usefixtures("database")
def test_no_other_event_is_taken_for_it(event):
    assert load().handler(event, None)["statusCode"] == 200
    assert "diagnosis" not in sys.modules
