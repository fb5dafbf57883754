"""A connection is used by the process that opened it only, and it survives what forked processes do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

LAYER = Path(__file__).parents[3] / "lambda" / "layer"
BEGIN = """
import json, multiprocessing, os, sys, warnings
import psycopg2
from lambda_postgres import ConnectionLost, Keeper, Settings
from lambda_postgres.log import Log
warnings.simplefilter("ignore")  # of forking with threads, which is what is tried here

keeper = Keeper(Settings(**json.loads(sys.argv[1])))

def pid(conn):
    with conn.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]

def lend():
    with keeper.connection() as conn:
        return pid(conn)

def in_child(work):
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]
"""


@pytest.fixture
def run(settings):
    def run(code):
        arguments = [sys.executable, "-c", BEGIN + code, json.dumps(settings._asdict())]
        done = subprocess.run(arguments, cwd=LAYER, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    return run


def test_a_child_opens_its_own_and_leaves_the_parents_alone(run):
    run(
        """
first = lend()
def work():
    own = lend()
    assert own != first and lend() == own
    keeper.close()
assert in_child(work) == 0
assert lend() == first
"""
    )


def test_a_child_that_ends_as_python_does_says_no_goodbye_for_the_parent(run):
    run(
        """
first = lend()
child = os.fork()
if child == 0:
    sys.exit(0)
os.waitpid(child, 0)
assert lend() == first
"""
    )


def test_what_a_child_sends_on_the_parents_connection_does_not_reach_the_server(run):
    run(
        """
with keeper.transaction() as conn:
    first = pid(conn)
    def work():
        try:
            conn.cursor().execute("INSERT INTO ledger VALUES (gen_random_uuid(), 1)")
        except psycopg2.Error:
            pass
        else:
            raise AssertionError("the parent's connection answered")
        conn.close()
        with keeper.transaction() as own:
            assert pid(own) != first
    assert in_child(work) == 0
    assert pid(conn) == first
assert lend() == first
"""
    )


def test_a_child_of_a_loan_leaves_it_with_an_error(run):
    run(
        """
first = None
try:
    with keeper.transaction() as conn:
        first = pid(conn)
        child = os.fork()
        if child:
            os.waitpid(child, 0)
except ConnectionLost as error:
    assert child == 0
    own = lend()
    os._exit(0 if own != first else 3)
assert child and lend() == first
"""
    )


def test_a_pool_of_processes_works_beside_its_parent(run, server):
    run(
        """
def write(number):
    keeper.run_transaction(lambda conn: conn.cursor().execute("INSERT INTO ledger VALUES (gen_random_uuid(), 1)"))
    return lend()

first = lend()
with multiprocessing.get_context("fork").Pool(2) as pool:
    answer = pool.map_async(write, range(10))
    while not answer.ready():
        assert lend() == first
    others = set(answer.get())
assert first not in others and lend() == first
"""
    )
    with server.administrator("app") as cursor:
        cursor.execute("SELECT count(*) FROM ledger")
        assert cursor.fetchone() == (10,)


def test_a_child_forked_while_its_parent_connects_connects_by_itself(run):
    run(
        """
keeper.warm()
assert in_child(lend) == 0
first = lend()
assert lend() == first
"""
    )


def test_a_fork_while_another_thread_makes_the_readers_keeper_leaves_the_child_able_to_read(run):
    run(
        """
settings = keeper._settings
keeper = Keeper(settings._replace(reader_host=settings.host))
with keeper._making:
    assert in_child(lambda: keeper.run_transaction(pid, read_only=True)) == 0
"""
    )
