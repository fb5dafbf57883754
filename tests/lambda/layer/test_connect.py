"""connect() gives a plain connection that the caller owns: what frameworks build on."""

# ruff: noqa: PT012  a loan and what happens in it are one promise

from __future__ import annotations

import inspect
import threading
from unittest.mock import create_autospec

import lambda_postgres
import psycopg2
import pytest
from lambda_postgres import CannotConnect, Keeper, connecting
from psycopg2 import extensions, extras


def test_it_is_plain_verified_and_logged_in_just_now(keeper, secrets):
    conn = keeper.connect()
    assert type(conn) is extensions.connection
    assert not conn.autocommit
    assert conn.info.dsn_parameters["sslmode"] == "verify-full"
    with conn, conn.cursor() as cursor:
        cursor.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert cursor.fetchone() == (True,)
    conn.close()
    assert secrets.requests == ["AWSCURRENT"]


def test_it_is_the_callers_alone(keeper):
    with keeper.connection() as lent:
        owned, another = keeper.connect(), keeper.connect()
        assert len({lent.get_backend_pid(), owned.get_backend_pid(), another.get_backend_pid()}) == 3
    keeper.close()
    owned.autocommit = True
    owned.cursor().execute("SET search_path = pg_catalog")
    assert not owned.closed
    another.close()
    owned.close()


def test_it_makes_the_cursors_asked_for(keeper):
    conn = keeper.connect(cursor_factory=extras.RealDictCursor)
    with conn.cursor() as cursor:
        cursor.execute("SELECT 1 AS one")
        assert cursor.fetchone() == {"one": 1}
    conn.close()


def test_many_threads_may_ask_at_once(keeper):
    opened = []
    threads = [threading.Thread(target=lambda: opened.append(keeper.connect())) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({conn.get_backend_pid() for conn in opened}) == 5
    for conn in opened:
        conn.close()


def test_its_errors_are_those_of_a_loan(settings):
    with pytest.raises(CannotConnect, match="refused"):
        Keeper(settings._replace(port=1, retry_seconds=0)).connect()


def test_what_libpq_is_told_has_one_home(settings, monkeypatch):
    """Another driver that is told the same is verified, encrypted and bounded in time in the same way."""
    told = []

    def refuse(**options):
        told.append(options)
        raise psycopg2.OperationalError("FATAL: no")

    with monkeypatch.context() as watched, pytest.raises(CannotConnect, match="FATAL: no"):
        watched.setattr(connecting.psycopg2, "connect", refuse)
        Keeper(settings._replace(retry_seconds=0)).connect()
    del told[0]["connection_factory"]
    login = type("Login", (), {"user": "app", "password": "canary-password"})
    assert told[0] == connecting.parameters(settings, login, timeout_seconds=5)


@pytest.mark.parametrize("name", ["connection", "transaction", "run_transaction", "connect", "warm"])
def test_a_public_function_takes_what_a_keeper_takes_and_hands_it_on(monkeypatch, name):
    public, keepers = getattr(lambda_postgres, name), getattr(Keeper, name)
    parameters = inspect.signature(public).parameters
    own = inspect.signature(keepers).parameters
    assert list(parameters.values()) == list(own.values())[1:]

    keeper = create_autospec(Keeper, instance=True)
    monkeypatch.setattr(lambda_postgres, "_keeper", lambda: keeper)
    given = {parameter: object() for parameter in parameters}
    answer = getattr(keeper, name).return_value = None if name == "warm" else object()
    assert public(**given) is answer
    [call] = getattr(keeper, name).mock_calls
    assert inspect.signature(keepers).bind(keeper, *call.args, **call.kwargs).arguments == {"self": keeper, **given}


@pytest.mark.usefixtures("public")
def test_the_public_run_transaction_is_serializable_and_read_only_when_asked():
    def show(conn):
        with conn.cursor() as cursor:
            cursor.execute("SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')")
            return cursor.fetchone()

    assert lambda_postgres.run_transaction(show, isolation="serializable", read_only=True) == ("serializable", "on")
    assert lambda_postgres.run_transaction(show) == ("read committed", "off")


@pytest.mark.usefixtures("public")
def test_sqlalchemy_builds_on_it():
    sqlalchemy = pytest.importorskip("sqlalchemy")
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg2://", creator=lambda_postgres.connect, pool_size=1, max_overflow=0, pool_pre_ping=True
    )
    with engine.begin() as conn:
        first = conn.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    with engine.connect() as conn:
        assert conn.exec_driver_sql("SELECT pg_backend_pid()").scalar_one() == first
        conn.execute(sqlalchemy.text("INSERT INTO ledger VALUES (gen_random_uuid(), :writer)"), {"writer": 1})
        conn.rollback()
        assert conn.execute(sqlalchemy.text("SELECT count(*) FROM ledger")).scalar_one() == 0
    engine.dispose()
