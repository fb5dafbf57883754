"""The errors of lambda_postgres.

    Error
    ├── NotConfigured      a variable is missing or malformed; the message names it
    ├── CannotConnect      host, port, user and the cause
    │   ├── LoginRefused   the server said no; the message says what to check
    │   └── PoolExhausted  neither the server nor the proxy's pool had room
    ├── CannotLend         another task, thread or generator has the connection, or another kind of transaction is open
    ├── ConnectionLost     in the middle of work; `committed` says whether it may have been kept
    └── NotCommitted       a failed statement inside `transaction()` was caught and the block went on

Errors of the user's own SQL stay psycopg2's. No message holds a token, a password or a key.
"""

# ruff: noqa: N818  the names say what happened; "Error" is the base

from __future__ import annotations


class Error(Exception):
    """Base of every error that this library raises."""

    sqlstate: str | None = None
    transient = False
    """Waiting may help."""
    endpoint: str | None = None
    """`writer` or `reader`, where the error is of a connection."""


class NotConfigured(Error):
    """A setting is missing or malformed."""


class CannotConnect(Error):
    """No connection could be opened."""

    def __init__(self, target: str, cause: str, *, sqlstate: str | None = None, transient: bool = False) -> None:
        super().__init__(f"cannot connect to {target}: {cause}")
        self.sqlstate = sqlstate
        self.transient = transient


class LoginRefused(CannotConnect):
    """The server, or AWS on the way to the password, refused this user. Never retried."""


class PoolExhausted(CannotConnect):
    """All connections are in use: max_connections of the server (53300), or the proxy's pool (08000)."""


class CannotLend(Error):
    """The connection cannot be lent like this here and now; the message says who has it and what to do."""


class ConnectionLost(Error):
    """The connection broke while it was lent.

    `committed` is False when the work was certainly rolled back, None when it may have been kept.
    """

    def __init__(self, target: str, cause: str, *, committed: bool | None) -> None:
        outcome = "was rolled back" if committed is False else "may have been committed"
        super().__init__(f"connection to {target} lost, the work {outcome}: {cause}")
        self.committed = committed


class NotCommitted(Error):
    """The transaction was rolled back: PostgreSQL answers COMMIT with ROLLBACK once a statement has failed."""
