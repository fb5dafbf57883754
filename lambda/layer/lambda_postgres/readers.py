"""Read-only work on a connection to the reader; nothing imports this before it is asked for.

The reader has a keeper of its own: a second connection, with a turn, logins and failures of its own.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from .errors import CannotConnect, LoginRefused, PoolExhausted
from .keeper import Keeper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import Any

    import psycopg2
    from psycopg2.extensions import connection as Connection  # noqa: N812

    from .errors import Error
    from .keeper import Invocation
    from .lending import Loan

    Factory = Callable[..., Any] | None

_AWAY_SECONDS = 10.0  # after which a reader that failed is tried again, where the writer takes its place


def reader_of(writer: Keeper) -> Reader:
    """Make the keeper of the reader, of the same driver as the writer's."""
    kind = type(writer)
    made: type[Reader] = Reader if kind is Keeper else type("Reader", (Reader, kind), {})
    return made(writer)


class Reader(Keeper):
    """Keep the connection to the reader."""

    def __init__(self, writer: Keeper) -> None:
        settings = writer._settings
        super().__init__(
            settings._replace(
                host=settings.reader_host or "",
                port=settings.reader_port or settings.port,
                endpoint="reader",
                # With the writer in reserve one attempt is enough.
                retry_seconds=0 if settings.reader_fallback else settings.retry_seconds,
            ),
            log=writer._log,
            clock=writer._clock,
        )
        self._writer = writer
        self._away_until = 0.0

    def read(
        self, context: Invocation | None, isolation: str | None, cursor_factory: Factory
    ) -> AbstractContextManager[Connection]:
        """Lend the connection for one read-only transaction."""
        lend = self._read_somewhere if self._settings.reader_fallback else self._transaction
        return lend(context, True, isolation, cursor_factory)

    @contextmanager
    def _read_somewhere(
        self, context: Invocation | None, read_only: bool, isolation: str | None, cursor_factory: Factory
    ) -> Iterator[Connection]:
        """Lend the writer's connection when the reader cannot be reached."""
        with ExitStack() as stack:
            conn = None
            if self._is_tried():
                try:
                    conn = stack.enter_context(self._transaction(context, read_only, isolation, cursor_factory))
                except LoginRefused:
                    raise  # a mistake in the settings, which the writer would hide
                except CannotConnect as error:
                    self._fall_back(error)
            if conn is None:
                conn = stack.enter_context(self._writer._transaction(context, read_only, isolation, cursor_factory))
            yield conn

    def _is_tried(self) -> bool:
        return self._clock() >= self._away_until or self._turns.held_here() is not None

    def _fall_back(self, error: Error) -> None:
        self._away_until = self._clock() + _AWAY_SECONDS
        self._log.write("WARNING", "reader failed", fallback="writer", seconds=_AWAY_SECONDS, cause=str(error))

    def _connect_deadline(self, context: Invocation | None) -> float:
        """Leave half of the time to the writer, where it is in reserve."""
        deadline = super()._connect_deadline(context)
        return (time.monotonic() + deadline) / 2 if self._settings.reader_fallback else deadline

    def _explain(self, turn: Loan, error: psycopg2.Error, *, committing: bool) -> Error | None:
        explained = super()._explain(turn, error, committing=committing)
        if explained is None:
            error.add_note(f"at the {self._settings.target}")
        elif isinstance(explained, PoolExhausted) and self._settings.reader_fallback:
            # A proxy accepts clients while all its readers are down: the next attempt goes to the writer.
            self._fall_back(explained)
        return explained
