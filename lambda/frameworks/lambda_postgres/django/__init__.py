"""Django on the environment's one connection: `"ENGINE": "lambda_postgres.django"`, and nothing else in DATABASES.

from lambda_postgres.django import invocation

def handler(event, context):
    with invocation(context):
        return list(User.objects.values("id", "name"))
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import psycopg2

from django.db import DEFAULT_DB_ALIAS, Error, connections, reset_queries, transaction

from ..framework import invocation as bounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from ..keeper import Invocation

T = TypeVar("T")

__all__ = ["invocation", "run_transaction"]


@contextmanager
def invocation(context: Invocation) -> Iterator[None]:
    """Bound all waiting by Lambda's context, and give the connection back at the end, as after a request."""
    reset_queries()
    with bounded(context):
        try:
            yield
        finally:
            connections.close_all()


def run_transaction(
    work: Callable[[], T], context: Invocation | None = None, *, using: str = DEFAULT_DB_ALIAS, read_only: bool = False
) -> T:
    """Run `work()` in an outermost atomic block, again where it certainly left nothing behind.

    The rules are those of `lambda_postgres.run_transaction`; `read_only` only promises that the work does not write.
    """
    wrapper = connections[using]
    if not wrapper.in_atomic_block:
        wrapper.close()  # a new loan: whether it is lost concerns this work alone
    wrapped: list[Error] = []

    @contextmanager
    def lend() -> Iterator[Any]:
        wrapped.clear()
        try:
            with transaction.atomic(using, durable=True):
                yield wrapper.connection
        except Error as error:
            if isinstance(error.__cause__, psycopg2.Error):
                wrapped.append(error)
                raise error.__cause__ from None
            raise

    def again() -> T:
        try:
            return wrapper.keeper._repeat(lend, lambda _: work(), context, read_only)  # type: ignore[no-any-return]
        except psycopg2.Error as error:
            if wrapped and wrapped[0].__cause__ is error:
                raise wrapped[0] from error
            raise

    if context is None:
        return again()
    with bounded(context):
        return again()
