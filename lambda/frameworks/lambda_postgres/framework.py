"""What the optional modules share: a loan whose beginning and end a framework tells, and Lambda's context for it.

`make frameworks` puts the optional modules into a second layer: the first holds none of them, nor imports any.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from .errors import CannotLend
from .keeper import _roll_back
from .lending import Loan, _differ

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg2

    from .errors import Error
    from .keeper import Invocation, Keeper
    from .session import Session

_context: ContextVar[Invocation | None] = ContextVar("lambda_postgres_context", default=None)


@contextmanager
def invocation(context: Invocation) -> Iterator[None]:
    """Bound the waiting of every loan in this block by Lambda's context: frameworks have no argument for it."""
    token = _context.set(context)
    try:
        yield
    finally:
        _context.reset(token)


class Borrowed:
    """The environment's connection, from a framework's connect to its close.

    Never shared: a framework takes each of its connections for one of its own, with a transaction of its own.
    """

    conn: Session

    def __init__(self, keeper: Keeper) -> None:
        context = _context.get()
        held = keeper._turns.held_here()
        if held is not None:
            if held._ref is None or not _differ(held._context, context):
                raise CannotLend(
                    "this thread or task has the connection already, and there is only one: close the framework's "
                    "connection or session first, or hand it on"
                )
            keeper._turns._revoke(held._ref, keeper)  # what an earlier invocation left open
        keeper._note_reading()
        self._keeper = keeper
        self._loan = Loan(keeper, context)
        self._loan.__enter__()
        assert self._loan.conn is not None
        self.conn = self._loan.conn
        self._before = self.conn.settings
        self._sent_settings = False

    def begin(self, *, isolation: str | None = None) -> None:
        """Let the next statement begin a transaction, and send nothing."""
        self._loan.in_transaction = True
        self.conn.begin_block(read_only=False, isolation=isolation)

    def commit(self) -> None:
        """Commit, unless that would keep nothing or reach nobody."""
        try:
            self._keeper._commit(self._loan)
        except BaseException:
            self.roll_back()
            raise

    def roll_back(self) -> None:
        """Roll back; a connection that cannot is closed, and the server does it."""
        if not self.conn.closed:
            _roll_back(self.conn)

    def end(self) -> None:
        """Return to autocommit, once the transaction has ended."""
        self._loan.in_transaction = self.conn.state.in_block = False
        if not self.conn.closed and not self.conn.autocommit:  # else it would send SET
            self.conn.end_block(self._before)

    def note_settings(self) -> None:
        """See whether psycopg2 has sent a SET, as it does for each of these in autocommit."""
        conn = self.conn
        if conn.autocommit and not (conn.readonly is conn.isolation_level is conn.deferrable is None):
            self._sent_settings = True

    def explain(self, error: psycopg2.Error) -> Error | None:
        """Tell what an error means for the connection; None when it is the work's own affair."""
        return self._keeper._explain(self._loan, error, committing=False)

    def give_back(self) -> None:
        """End the loan; what it left in a transaction is rolled back."""
        try:
            if self._sent_settings:
                self._loan.condemned = "left with session settings"
            self.roll_back()
            self.end()
        finally:
            self._loan._end()
