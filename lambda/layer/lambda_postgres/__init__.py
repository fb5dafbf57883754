"""PostgreSQL for AWS Lambda: one verified connection per execution environment, lent to each invocation.

    from lambda_postgres import connection, warm

    warm()  # begin to connect; what is imported below is imported meanwhile

    def handler(event, context):
        with connection(context) as conn, conn.cursor() as cursor:
            cursor.execute("SELECT …")

The settings are read from the environment, see `Settings`. The errors are one tree, see `lambda_postgres.errors`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, TypeVar

from . import driver  # noqa: F401  before all that imports psycopg2
from .errors import (
    CannotConnect,
    CannotLend,
    ConnectionLost,
    Error,
    LoginRefused,
    NotCommitted,
    NotConfigured,
    PoolExhausted,
)
from .keeper import Keeper
from .settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Any

    from psycopg2.extensions import connection as Connection  # noqa: N812

    from .keeper import Invocation

T = TypeVar("T")

__all__ = [
    "CannotConnect",
    "CannotLend",
    "ConnectionLost",
    "Error",
    "Keeper",
    "LoginRefused",
    "NotCommitted",
    "NotConfigured",
    "PoolExhausted",
    "Settings",
    "connect",
    "connection",
    "run_transaction",
    "transaction",
    "warm",
]


def connection(
    context: Invocation | None = None,
    *,
    read_only: bool = False,
    cursor_factory: Callable[..., Any] | None = None,
) -> AbstractContextManager[Connection]:
    """Lend this environment's connection, in autocommit. See `Keeper.connection`."""
    return _keeper().connection(context, read_only=read_only, cursor_factory=cursor_factory)


def transaction(
    context: Invocation | None = None,
    *,
    read_only: bool = False,
    isolation: str | None = None,
    cursor_factory: Callable[..., Any] | None = None,
) -> AbstractContextManager[Connection]:
    """Lend this environment's connection for one transaction. See `Keeper.transaction`."""
    return _keeper().transaction(context, read_only=read_only, isolation=isolation, cursor_factory=cursor_factory)


def run_transaction(
    work: Callable[[Connection], T],
    context: Invocation | None = None,
    *,
    read_only: bool = False,
    isolation: str | None = None,
    cursor_factory: Callable[..., Any] | None = None,
) -> T:
    """Run work in a transaction, again where it certainly left nothing behind. See `Keeper.run_transaction`."""
    return _keeper().run_transaction(
        work, context, read_only=read_only, isolation=isolation, cursor_factory=cursor_factory
    )


def connect(context: Invocation | None = None, *, cursor_factory: Callable[..., Any] | None = None) -> Connection:
    """Open a plain connection that the caller owns. See `Keeper.connect`."""
    return _keeper().connect(context, cursor_factory=cursor_factory)


def warm() -> None:
    """Begin to connect during init; a failure is kept for the first invocation. See `Keeper.warm`."""
    try:
        keeper = _keeper()
    except NotConfigured:
        return  # the first invocation meets it again
    keeper.warm()


@cache
def _keeper() -> Keeper:
    return Keeper(Settings.from_environment())
