"""Django's backend on the keeper's connection: Django's own behaviour, the library's guarantees, no pin."""

# ruff: noqa: PT012  a loan and what happens in it are one promise

from __future__ import annotations

import time
import uuid
from types import SimpleNamespace

import django
import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import request_finished
from lambda_postgres import CannotConnect, CannotLend, ConnectionLost, Keeper, NotCommitted, PoolExhausted
from lambda_postgres.django import invocation, run_transaction
from lambda_postgres.log import Log

if not django_settings.configured:
    django_settings.configure(DATABASES={"default": {"ENGINE": "lambda_postgres.django"}}, USE_TZ=True)
    django.setup()

from django import db
from django.db import connection, models, transaction


class User(models.Model):
    id = models.IntegerField(primary_key=True)
    name = models.TextField()

    class Meta:
        app_label, db_table, managed = "app", "users", False


class Entry(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    writer = models.IntegerField()

    class Meta:
        app_label, db_table, managed = "app", "ledger", False


@pytest.fixture(autouse=True)
def use(keeper):
    """Return what lets Django use a keeper."""

    def use(keeper):
        db.connections.close_all()
        connection.settings_dict["OPTIONS"] = {"keeper": keeper}

    use(keeper)
    yield use
    db.connections.close_all()
    connection.settings_dict["OPTIONS"] = {}


def write():
    Entry.objects.create(writer=1)


def rows(server):
    with server.administrator("app") as cursor:
        cursor.execute("SELECT count(*) FROM ledger")
        return cursor.fetchone()[0]


def ask(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def pid():
    return ask("SELECT pg_backend_pid()")


def invocation_of(name):
    return invocation(SimpleNamespace(aws_request_id=name, get_remaining_time_in_millis=lambda: 60_000))


def test_it_has_the_keepers_connection_and_leaves_it_as_it_was(keeper):
    with keeper.connection() as conn:
        lent = conn.get_backend_pid()
    for number in range(3):
        with invocation_of(str(number)):
            assert pid() == lent
            assert list(User.objects.filter(id__lt=3).order_by("id").values_list("name", flat=True))
            with transaction.atomic():
                write()
        with keeper.connection() as conn:
            assert conn.get_backend_pid() == lent
            assert conn.autocommit
            assert not conn.string_types


def test_the_end_of_a_request_gives_it_back_and_until_then_it_is_djangos(keeper):
    ask("SELECT 1")
    with pytest.raises(CannotLend, match="only one"):
        db.connections.create_connection("default").ensure_connection()
    request_finished.send(None)
    with keeper.connection() as conn:
        assert conn.autocommit


def test_it_must_not_be_kept_beyond_a_request():
    connection.settings_dict["CONN_MAX_AGE"] = 60
    try:
        with pytest.raises(ImproperlyConfigured, match="CONN_MAX_AGE must be 0"):
            connection.ensure_connection()
    finally:
        connection.settings_dict["CONN_MAX_AGE"] = 0


def test_an_atomic_block_that_raises_keeps_nothing(server):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        write()
        1 / 0  # noqa: B018
    assert rows(server) == 0
    with transaction.atomic():
        write()
        with pytest.raises(db.IntegrityError), transaction.atomic():
            User.objects.create(id=1, name="twice")
        write()
        assert rows(server) == 0
    assert rows(server) == 2


def test_a_caught_failure_is_told_at_commit_instead_of_lost(server):
    with pytest.raises(NotCommitted), transaction.atomic():
        write()
        with pytest.raises(db.DataError):
            ask("SELECT 1 / 0")
    assert rows(server) == 0
    write()
    assert rows(server) == 1


def test_isolation_is_asked_for_in_begin_and_pins_nothing(keeper):
    connection.settings_dict["OPTIONS"] = {"keeper": keeper, "isolation_level": 3}
    with transaction.atomic():
        assert ask("SHOW transaction_isolation") == "serializable"
    assert ask("SHOW default_transaction_isolation") == "read committed"


def test_a_dead_connection_is_replaced_before_it_is_lent_and_after_it_was_lost(terminate, server):
    with invocation_of("1"):
        before = pid()
    assert terminate() == 1
    with invocation_of("2"):
        assert pid() != before
        terminate()
        with pytest.raises(ConnectionLost) as caught:
            write()
        assert caught.value.committed is None
        write()
        for again in (True, False):
            with pytest.raises(ConnectionLost) as caught, transaction.atomic():
                write()
                terminate()
                if again:
                    write()
            assert caught.value.committed is False
        write()
    assert rows(server) == 2


def test_lost_work_is_repeated_before_commit_and_not_after_it(server, terminate):
    def work():
        runs.append(pid())
        write()
        if len(runs) == 1:
            if ended:
                connection.cursor().execute("COMMIT")
            terminate()
            write()

    write()
    runs, ended = [], False
    run_transaction(work)
    assert len(set(runs)) == 2
    assert rows(server) == 2
    runs, ended = [], True
    with pytest.raises(ConnectionLost):
        run_transaction(work)
    assert (len(runs), rows(server)) == (1, 3)


def test_a_conflict_that_django_wraps_is_repeated():
    def fail():
        runs.append(1)
        if len(runs) < until:
            connection.cursor().execute("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")
        return "done"

    runs, until = [], 3
    assert run_transaction(fail) == "done"
    runs, until = [], 9
    with pytest.raises(db.OperationalError):
        run_transaction(fail)
    assert len(runs) == 3
    with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
        run_transaction(fail)


def test_a_write_whose_commit_was_sent_is_never_repeated(use, settings, relay):
    keeper = Keeper(settings._replace(port=relay.port), log=Log())
    use(keeper)
    runs = []

    def work():
        runs.append(1)
        write()

    def cut_once_found_alive(_conn):
        relay.cut()
        return True

    with invocation_of("1"):
        pid()
    keeper._is_alive = cut_once_found_alive
    with pytest.raises(ConnectionLost) as caught:
        run_transaction(work)
    assert caught.value.committed is None
    assert runs == [1]


def test_errors_of_connecting_are_the_librarys(use, settings):
    use(Keeper(settings._replace(port=1, retry_seconds=0)))
    with pytest.raises(CannotConnect, match="refused"):
        pid()


def test_it_does_not_pin_and_a_full_pool_is_told(use, proxied, proxy):
    keepers = [Keeper(proxied) for _ in range(proxy.metrics().max_server_connections + 1)]
    *holders, late = keepers
    for keeper in keepers:
        use(keeper)
        with invocation_of("1"):
            assert User.objects.get(id=1).name
            Entry.objects.bulk_create([Entry(writer=number) for number in range(50)])
            assert len(list(Entry.objects.all().iterator(chunk_size=10))) >= 50
            with transaction.atomic():
                User.objects.select_for_update().filter(id=2).update(name="Grace")
                with transaction.atomic():
                    write()
            run_transaction(write)
    lent = [keeper.transaction() for keeper in holders]
    for loan in lent:
        loan.__enter__().cursor().execute("SELECT 1")
    use(late)
    with pytest.raises(PoolExhausted), transaction.atomic():
        write()
    for loan in lent:
        loan.__exit__(None, None, None)
    write()
    time.sleep(0.05)
    metrics = proxy.metrics()
    assert metrics.client_connections == len(keepers)
    assert metrics.pins == metrics.borrowed == 0
    db.connections.close_all()
    for keeper in keepers:
        keeper.close()
