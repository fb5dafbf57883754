"""Both keepers of psycopg 3 by one test: the one that is not awaited, as if it were."""

from __future__ import annotations

import asyncio
import inspect
from functools import partial, wraps

import psycopg
from lambda_postgres.psycopg import PsycopgKeeper
from lambda_postgres.psycopg_async import AsyncPsycopgKeeper

_NOT_AWAITED = ("connection", "transaction", "cursor", "copy", "fileno", "warm", "restore")


def promise(test):
    """Run a test that is a coroutine in a loop of its own, as an invocation does."""

    @wraps(test)
    def run(**fixtures):
        asyncio.run(test(**fixtures))

    return run


def sync_keeper(*arguments, **options):
    return _Awaited(PsycopgKeeper(*arguments, **options))


MAKERS = {"sync": sync_keeper, "async": AsyncPsycopgKeeper}


def real(thing):
    return thing._thing if isinstance(thing, _Awaited) else thing


class _Awaited:
    """A keeper, a connection, a cursor or a block whose calls are awaited, and done before anything else runs."""

    def __init__(self, thing):
        vars(self)["_thing"] = thing

    def __getattr__(self, name):
        value = getattr(self._thing, name)
        return partial(_call, name, value) if inspect.isroutine(value) else value

    def __setattr__(self, name, value):
        setattr(self._thing, name, value)

    async def __aenter__(self):
        return _wrapped(self._thing.__enter__())

    async def __aexit__(self, *error):
        return self._thing.__exit__(*error)


def _call(name, function, *arguments, **options):
    outcome = _wrapped(function(*map(_plain, arguments), **options))
    return outcome if name in _NOT_AWAITED or name.startswith("_") else _given(outcome)


async def _given(value):
    return value


def _wrapped(value):
    lent = isinstance(value, psycopg.Connection | psycopg.Cursor) or hasattr(value, "__enter__")
    return _Awaited(value) if lent else value


def _plain(argument):
    """Return work that is a coroutine function as a plain one: whatever it awaits is done at once."""
    if not inspect.iscoroutinefunction(argument):
        return argument

    def work(conn):
        steps = argument(_Awaited(conn))
        try:
            steps.send(None)
        except StopIteration as end:
            return end.value
        raise AssertionError("it waited")

    return work
