"""Read-only work of coroutines on a connection to the reader; nothing imports this before it is asked for."""

# mypy knows a keeper's connection as psycopg2's: here it is psycopg's, with the attributes that a keeper uses.
# mypy: disable-error-code="override, misc"

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from .errors import CannotConnect, LoginRefused
from .psycopg_async import AsyncPsycopgKeeper
from .readers import Reader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import psycopg

    from .keeper import Invocation
    from .readers import Factory


class AsyncReader(Reader, AsyncPsycopgKeeper):
    """Keep the connection to the reader."""

    _writer: AsyncPsycopgKeeper

    @asynccontextmanager
    async def _read_somewhere(
        self, context: Invocation | None, read_only: bool, isolation: str | None, cursor_factory: Factory
    ) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """Lend the writer's connection when the reader cannot be reached."""
        wanted = (context, read_only, isolation, cursor_factory)
        async with AsyncExitStack() as stack:
            conn = None
            if self._is_tried():
                try:
                    conn = await stack.enter_async_context(self._transaction(*wanted))
                except LoginRefused:
                    raise  # a mistake in the settings, which the writer would hide
                except CannotConnect as error:
                    self._fall_back(error)
            if conn is None:
                conn = await stack.enter_async_context(self._writer._transaction(*wanted))
            yield conn
