"""SQLAlchemy on the environment's one connection: an engine without a pool of its own.

from lambda_postgres import warm
from lambda_postgres.sqlalchemy import engine, invocation

warm()
db = engine()

def handler(event, context):
    with invocation(context), db.begin() as conn:
        conn.execute(...)
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import lambda_postgres
import psycopg2
from sqlalchemy import create_engine, event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from .errors import ConnectionLost
from .framework import Borrowed, invocation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from sqlalchemy.engine import Connection, Engine, ExceptionContext

    from .keeper import Invocation, Keeper
    from .session import Session

T = TypeVar("T")

__all__ = ["engine", "invocation", "run_transaction"]

_ROWS = 100  # of one INSERT: RDS Proxy pins at 16 KB


def engine(keeper: Keeper | None = None, **options: Any) -> Engine:
    """Make an engine on the keeper's connection, or on that of `lambda_postgres`; `options` are create_engine's.

    Each of its connections is a loan: there is one at a time, and a thread waits for another's.
    """
    options.setdefault("insertmanyvalues_page_size", _ROWS)
    options.setdefault("use_native_hstore", False)  # it would ask the server for hstore's number at each loan
    made = create_engine("postgresql+lambda_postgres://", poolclass=NullPool, **options)
    assert isinstance(made.dialect, Dialect)
    made.dialect.keeper = keeper
    event.listen(made, "handle_error", _explain)
    return made


def run_transaction(
    engine: Engine,
    work: Callable[[Connection], T],
    context: Invocation | None = None,
    *,
    read_only: bool = False,
    isolation: str | None = None,
) -> T:
    """Run `work(connection)` in a transaction, again where it certainly left nothing behind.

    The rules are those of `lambda_postgres.run_transaction`. For work that does nothing but SQL.
    """
    dialect = engine.dialect
    assert isinstance(dialect, Dialect)
    wanted: dict[str, Any] = {"postgresql_readonly": True} if read_only else {}
    if isolation:
        wanted["isolation_level"] = isolation.upper()
    now: list[Connection] = []
    wrapped: list[DBAPIError] = []

    @contextmanager
    def lend() -> Iterator[Session]:
        with engine.connect() as conn:
            now[:], wrapped[:] = [conn.execution_options(**wanted)], []
            lent = conn.connection.dbapi_connection
            try:
                with conn.begin():
                    yield lent  # type: ignore[misc]
            except DBAPIError as error:
                if not isinstance(error.orig, psycopg2.Error):
                    raise
                wrapped.append(error)
                raise error.orig from None

    def again() -> T:
        try:
            return dialect.lending()._repeat(lend, lambda _: work(now[0]), context, read_only)
        except psycopg2.Error as error:
            if wrapped and wrapped[0].orig is error:
                raise wrapped[0] from error
            raise

    if context is None:
        return again()
    with invocation(context):
        return again()


class Dialect(PGDialect_psycopg2):
    """PostgreSQL by psycopg2, whose connections are loans."""

    supports_statement_cache = True
    keeper: Keeper | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.borrowed: dict[Session, Borrowed] = {}

    def lending(self) -> Keeper:
        """Return the keeper: that of `lambda_postgres` is made at the first connection."""
        return self.keeper or lambda_postgres._keeper()

    def connect(self, *_arguments: Any, **_options: Any) -> Any:
        loan = Borrowed(self.lending())
        self.borrowed[loan.conn] = loan
        loan.begin()
        return loan.conn

    def do_commit(self, dbapi_connection: Any) -> None:
        loan = self._loan(dbapi_connection)
        loan.commit()
        loan.conn.state.ended = True  # what is lost later in this loan was not all of it

    def do_rollback(self, dbapi_connection: Any) -> None:
        self._loan(dbapi_connection).roll_back()

    def do_close(self, dbapi_connection: Any) -> None:
        self.borrowed.pop(dbapi_connection).give_back()

    def do_terminate(self, dbapi_connection: Any) -> None:
        dbapi_connection.close()
        self.do_close(dbapi_connection)

    def set_isolation_level(self, dbapi_connection: Any, level: Any) -> None:
        super().set_isolation_level(dbapi_connection, level)
        self._loan(dbapi_connection).note_settings()

    def set_readonly(self, connection: Any, value: Any) -> None:
        super().set_readonly(connection, value)
        self._loan(connection).note_settings()

    def set_deferrable(self, connection: Any, value: Any) -> None:
        super().set_deferrable(connection, value)
        self._loan(connection).note_settings()

    def _loan(self, connection: Any) -> Borrowed:
        return self.borrowed[getattr(connection, "dbapi_connection", connection)]


def _explain(context: ExceptionContext) -> BaseException | None:
    """Give the library's error for a connection that is lost or a pool that is full, instead of SQLAlchemy's."""
    error, conn = context.original_exception, context.connection
    if not isinstance(error, psycopg2.Error) or conn is None or conn.invalidated:
        return None
    assert isinstance(context.dialect, Dialect)
    explained = context.dialect._loan(conn.connection).explain(error)
    if explained is not None:
        context.is_disconnect = isinstance(explained, ConnectionLost)
        context.invalidate_pool_on_disconnect = False  # there is no pool to empty
    return explained


registry.register("postgresql.lambda_postgres", __name__, "Dialect")
