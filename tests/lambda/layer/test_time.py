"""Whatever is mute, an invocation is told in time, and init is not held up."""

# ruff: noqa: PT012  a loan and what happens in it are one promise

from __future__ import annotations

import json
import socket
import sys
import threading
import time

import psycopg2
import pytest
from lambda_postgres import CannotConnect, ConnectionLost, Error, Keeper, PoolExhausted, connecting
from lambda_postgres.log import Log

from tests.waiting import await_that

from .support import packets_can_be_dropped


class Context:
    """Lambda's context: so much time is left."""

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    @property
    def left(self):
        return self.end - time.monotonic()

    def get_remaining_time_in_millis(self):
        return int(self.left * 1000)


def use(keeper, context=None):
    with keeper.connection(context) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT 1")
        return conn


@pytest.fixture
def mute():
    """Accept connections and say nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        yield listener.getsockname()[1]


class Resolver:
    """A resolver that does not answer until it is told to: libpq asks it in the middle of connecting, without limit."""

    def __init__(self, monkeypatch):
        self.answers = threading.Event()
        self.asked = threading.Event()
        self.opened = []
        real = psycopg2.connect

        def connect(*arguments, **options):
            self.asked.set()
            assert self.answers.wait(20)
            self.opened.append(real(*arguments, **options))
            return self.opened[-1]

        monkeypatch.setattr(connecting.psycopg2, "connect", connect)


@pytest.fixture
def resolver(monkeypatch):
    resolver = Resolver(monkeypatch)
    yield resolver
    resolver.answers.set()


@pytest.fixture
def patient(settings, clock):
    """Keep a connection for functions that give their context."""
    keeper = Keeper(settings, log=Log(), clock=clock)
    yield keeper
    keeper.close()


def events(capsys):
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [(line["event"], line["reason"]) for line in lines]


# --- an invocation


def test_a_mute_resolver_is_told_in_time_and_its_late_answer_is_used(patient, resolver):
    context = Context(1.6)
    with pytest.raises(CannotConnect, match="no answer in time from the name server") as caught:
        use(patient, context)
    assert context.left > 0.5
    assert caught.value.transient
    resolver.answers.set()
    assert use(patient, Context(10)) is resolver.opened[0]
    assert len(resolver.opened) == 1


def test_a_server_that_was_full_is_told_when_the_next_attempt_gets_no_answer(patient, monkeypatch):
    full = psycopg2.OperationalError('connection to server at "db" failed: FATAL:  sorry, too many clients already\n')
    over = threading.Event()
    answers = [full]

    def connect(**_):
        if not answers:
            assert over.wait(20)
            raise full
        raise answers.pop()

    with monkeypatch.context() as patched, pytest.raises(PoolExhausted, match="too many clients"):
        patched.setattr(connecting.psycopg2, "connect", connect)
        use(patient, Context(2.5))
    assert not answers
    over.set()


def test_a_second_invocation_waits_for_the_same_attempt(patient, resolver):
    for _ in range(2):
        with pytest.raises(CannotConnect, match="no answer"):
            use(patient, Context(0.4))
    resolver.answers.set()
    use(patient, Context(10))
    assert len(resolver.opened) == 1


def test_without_a_context_a_mute_resolver_is_waited_for_as_long_as_the_settings_say(settings, resolver):
    keeper = Keeper(settings._replace(retry_seconds=0, connect_timeout_seconds=0.2))
    assert resolver
    began = time.monotonic()
    with pytest.raises(CannotConnect, match="no answer"):
        use(keeper)
    assert 1 < time.monotonic() - began < 5


@pytest.mark.parametrize("addresses", [1, 3])
def test_mute_servers_are_told_in_time(settings, mute, monkeypatch, addresses):
    """libpq waits the connect timeout for each address."""
    keeper = Keeper(settings._replace(host=",".join([settings.host] * addresses), port=mute))
    context = Context(2.5)
    with monkeypatch.context() as environment, pytest.raises(CannotConnect):
        environment.setenv("PGHOSTADDR", ",".join(["127.0.0.1"] * addresses))
        use(keeper, context)
    assert 0.5 < context.left < 1.5


def test_a_mute_secrets_manager_is_told_in_time(settings, mute, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", f"http://127.0.0.1:{mute}")
    context = Context(1.6)
    with pytest.raises(CannotConnect, match="Secrets Manager"):
        use(Keeper(settings), context)
    assert context.left > 0.5


def test_an_invocation_with_less_than_a_second_still_has_half_of_it(patient, resolver):
    assert resolver
    context = Context(0.8)
    with pytest.raises(CannotConnect):
        use(patient, context)
    assert 0.2 < context.left < 0.5


def test_a_connection_owned_by_the_caller_is_given_up_in_time_and_closed_when_it_comes_late(patient, resolver):
    context = Context(1.6)
    with pytest.raises(CannotConnect, match="no answer in time"):
        patient.connect(context)
    assert context.left > 0.5
    resolver.answers.set()
    await_that(lambda: resolver.opened and resolver.opened[0].closed)


@pytest.mark.skipif(not packets_can_be_dropped(), reason="packets are dropped by a socket filter, not permitted here")
@pytest.mark.parametrize("seconds", [2.5, 4])
def test_a_statement_on_a_half_open_socket_is_told_in_time(settings, relay, seconds):
    keeper = Keeper(settings._replace(port=relay.port))
    use(keeper)
    relay.drop_packets()
    context = Context(seconds)
    with pytest.raises(ConnectionLost):
        use(keeper, context)
    assert context.left > 0.3
    use(keeper, Context(5))
    keeper.close()


@pytest.mark.skipif(sys.platform != "linux", reason="an option of Linux")
def test_a_silent_socket_is_given_up_after_ten_seconds_unless_less_is_left(keeper):
    def limits(context):
        with keeper.connection(context) as conn, socket.socket(fileno=socket.dup(conn.fileno())) as copy:
            return [
                copy.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_USER_TIMEOUT, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL)
            ]

    # The kernel looks at 4, 7 and 10 s of silence, and gives up at the first look after the user timeout.
    assert limits(Context(15)) == [10_000, 4, 3]
    (short, *_) = limits(Context(6))
    assert 3000 < short <= 4000
    assert limits(Context(1))[0] == 500
    assert limits(Context(15))[0] == 10_000
    limits(Context(6))
    assert limits(None)[0] < 10_000, "nobody knows better"


# --- init


def test_init_is_not_held_up_and_the_first_loan_waits_for_what_is_left(patient, resolver, capsys):
    began = time.monotonic()
    patient.warm()
    assert time.monotonic() - began < 1
    assert resolver.asked.wait(5)
    threading.Timer(0.3, resolver.answers.set).start()
    assert use(patient, Context(10)) is resolver.opened[0]
    assert events(capsys) == [("connected", "init")]


def test_what_is_warm_or_warming_is_not_warmed_again(patient, resolver):
    patient.warm()
    patient.warm()
    resolver.answers.set()
    use(patient)
    patient.warm()
    use(patient)
    assert len(resolver.opened) == 1


def test_a_failure_of_init_is_logged_without_any_invocation_and_noted_in_its_error(settings, relay, capsys):
    relay.stop_listening()
    keeper = Keeper(settings._replace(port=relay.port, retry_seconds=0), log=Log())
    keeper.warm()
    assert keeper._pending.wait(5)
    assert events(capsys) == [("connect failed", "init")]
    with pytest.raises(CannotConnect) as caught:
        use(keeper)
    assert caught.value.__notes__[0].startswith("During init: cannot connect to")
    assert events(capsys) == [("connect failed", "init")]
    relay.listen()
    use(keeper)
    relay.stop_listening()
    relay.cut()
    with pytest.raises(CannotConnect) as caught:
        use(keeper)
    assert not getattr(caught.value, "__notes__", None), "it is long ago"


def test_a_freeze_in_the_middle_of_connecting_heals(patient, resolver, clock, capsys):
    patient.warm()
    assert resolver.asked.wait(5)
    clock.offset += 600
    resolver.asked.clear()
    threading.Timer(0.2, resolver.answers.set).start()
    conn = use(patient, Context(10))
    await_that(lambda: len(resolver.opened) == 2)
    (other,) = [each for each in resolver.opened if each is not conn]
    await_that(lambda: other.closed)
    assert not conn.closed
    assert ("connected", "init") in events(capsys)


def test_a_freeze_right_after_connecting_heals(patient, clock, capsys):
    patient.warm()
    patient._await_pending()
    clock.offset += 600
    use(patient, Context(10))
    assert events(capsys) == [("connected", "init"), ("connected", "idle too long")]


def test_a_connection_lost_between_init_and_the_first_invocation_is_replaced(patient, terminate, capsys):
    patient.warm()
    patient._await_pending()
    assert terminate() == 1
    use(patient, Context(10))
    assert events(capsys) == [("connected", "init"), ("connected", "lost while idle")]


def test_with_provisioned_concurrency_init_waits_since_a_freeze_follows_it(patient, monkeypatch):
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "provisioned-concurrency")
    patient.warm()
    assert patient._pending.outcome is not None


def test_even_then_init_ends(settings, mute, monkeypatch):
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "provisioned-concurrency")
    began = time.monotonic()
    Keeper(settings._replace(port=mute, connect_timeout_seconds=2)).warm()
    assert time.monotonic() - began < 5


def test_closing_while_connecting_leaves_nothing_open(patient, resolver):
    patient.warm()
    assert resolver.asked.wait(5)
    patient.close()
    resolver.answers.set()
    await_that(lambda: resolver.opened and resolver.opened[0].closed)


def test_where_no_thread_can_be_started_the_error_says_so(patient, monkeypatch):
    def refuse(*_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(connecting._thread, "start_new_thread", refuse)
        patient.warm()
        with pytest.raises(Error, match="no thread to connect in: can't start new thread"):
            use(patient)
    use(patient)
