"""A failover to a real hot standby: nothing is lost, nothing is doubled. It takes long: `make test-examples`."""

from __future__ import annotations

import json
import socket
import threading
import time

import psycopg2
import pytest
from lambda_postgres import CannotConnect

from .support import READER, Relay, events, insert, packets_can_be_dropped
from .writers import Invocation, Ledger, rows_kept, write


@pytest.fixture
def shared_server(pair):
    return pair[0]


class Failover:
    """A writer, a standby of it, and the address of the writer, which a failover moves."""

    def __init__(self, old, new):
        self.old, self.new = old, new
        self.address = Relay(old.port)

    def promote(self):
        """Stop the writer, promote the standby, let the old writer follow it; the address is for the test to move."""
        self.old.halt()
        self.new.promote()
        self.old.follow(self.new)

    def move_address(self):
        self.address.target_port = self.new.port


@pytest.fixture
def failover(pair, standby):
    failover = Failover(pair[0], standby)
    yield failover
    failover.address.close()
    pair.reverse()


def test_a_failover_under_load_loses_and_doubles_nothing(failover, settings):
    """Every connection is half-open; for a while the address leads to the old writer, which is a standby now."""
    ledger, stop = Ledger(), threading.Event()
    base = settings._replace(port=failover.address.port)
    both = base._replace(reader_host=READER, reader_port=failover.new.port)
    writers = [
        threading.Thread(target=write, args=(each, ledger, stop, number))
        for number, each in enumerate((base, base, both, both))
    ]
    for writer in writers:
        writer.start()
    try:
        _await_more(ledger, 40)
        if packets_can_be_dropped():
            failover.address.drop_packets()
        failover.promote()
        time.sleep(0.5)
        failover.move_address()
        _await_more(ledger, 40)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    told = ledger.compare(rows_kept(failover.new))
    assert (told["lost"], told["doubled"], told["kept_though_refused"]) == (0, 0, 0), told
    if packets_can_be_dropped():
        assert told["refused"] + told["in_doubt"] > 0, "no writer met the failover"


def _await_more(ledger, rows):
    wanted, deadline = ledger.acknowledged + rows, time.monotonic() + 30
    while ledger.acknowledged < wanted:
        assert time.monotonic() < deadline, "no writer goes on"
        time.sleep(0.02)


@pytest.mark.parametrize("with_reader", [True, False])
def test_one_invocation_survives_a_failover_whose_address_moves_late(failover, keepers, settings, with_reader, capsys):
    """A writer that is a standby refuses the write: nothing was kept, so the work is run again elsewhere."""
    settings = settings._replace(port=failover.address.port)
    if with_reader:
        settings = settings._replace(reader_host=READER, reader_port=failover.new.port)
    keeper = keepers(settings)
    keeper.run_transaction(insert)
    failover.promote()
    capsys.readouterr()
    with pytest.raises(CannotConnect if with_reader else psycopg2.errors.ReadOnlySqlTransaction) as caught:
        keepers(settings._replace(retry_seconds=0)).run_transaction(insert)
    assert (caught.value.sqlstate if with_reader else caught.value.pgcode) == "25006"
    threading.Timer(0.7, failover.move_address).start()
    keeper.run_transaction(insert, Invocation())
    assert sum(rows_kept(failover.new).values()) == 2
    written = capsys.readouterr().out
    if with_reader:  # found out while connecting: transaction() and connection() gain by it too
        assert "this server is a standby" in written
    else:
        assert '"reason": "read-only server"' in written


@pytest.mark.parametrize("watched", [True, False])
def test_a_standbys_refusal_is_run_again_whatever_made_the_cursor(failover, keepers, settings, watched):
    failover.promote()
    keeper = keepers(settings._replace(port=failover.address.port))
    threading.Timer(0.5, failover.move_address).start()
    keeper.run_transaction(insert, Invocation(), cursor_factory=None if watched else _plain_cursor)
    assert sum(rows_kept(failover.new).values()) == 1


def _plain_cursor(conn, name=None):
    return psycopg2.extensions.cursor(conn, name)


def test_a_role_that_may_only_read_is_told_so_at_once(keepers, settings, server):
    with server.administrator() as cursor:
        cursor.execute("ALTER ROLE app SET default_transaction_read_only = on")
    try:
        runs = []
        with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
            keepers(settings).run_transaction(lambda conn: (runs.append(1), insert(conn)), Invocation())
        assert len(runs) == 1
    finally:
        with server.administrator() as cursor:
            cursor.execute("ALTER ROLE app RESET ALL")


@pytest.mark.parametrize("meanwhile", ["refused", "mute"])
def test_a_server_that_resumes_late_is_waited_for_and_the_log_says_why(keepers, settings, relay, meanwhile, capsys):
    relay.stop_listening()
    mute = socket.create_server(("127.0.0.1", relay.port)) if meanwhile == "mute" else None

    def resume():
        if mute is not None:
            mute.close()
        relay.listen()

    timer = threading.Timer(2.5, resume)
    timer.start()
    try:
        keeper = keepers(settings._replace(port=relay.port, connect_timeout_seconds=2, retry_seconds=60))
        keeper.run_transaction(insert, Invocation())
    finally:
        timer.join()
    *failed, line = map(json.loads, capsys.readouterr().out.splitlines())
    assert ("Connection refused" if meanwhile == "refused" else "timeout expired") in failed[0]["cause"]
    assert (line["event"], line["attempt"]) == ("connected", len(failed) + 1)
    assert line["waited_milliseconds"] > 2000
    assert line["why"] == failed[-1]["cause"]


def test_one_attempt_that_took_long_says_so(keepers, settings, relay, capsys, monkeypatch):
    monkeypatch.setattr("lambda_postgres.keeper._SLOW_MILLISECONDS", 300)
    relay.stop_listening()
    with socket.create_server(("127.0.0.1", relay.port)) as slow:

        def answer_late():
            client, _ = slow.accept()
            time.sleep(0.4)
            relay.adopt(client)

        threading.Thread(target=answer_late, daemon=True).start()
        keepers(settings._replace(port=relay.port)).run_transaction(insert, Invocation())
    (line,) = events(capsys, "connected")
    assert (line["attempt"], line["why"][:19]) == (1, "no answer until now")
