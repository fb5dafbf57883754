"""A path to the server as long as one between two places: what arrives is handed on half a round trip later."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from local.loop import LoopThread

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

PIECE = 65_536


class Distance:
    """Listen on loopback and lead to a port there, with a round trip of so many milliseconds."""

    def __init__(self, target_port: int, milliseconds: float) -> None:
        self._target_port = target_port
        self._seconds = milliseconds / 2000
        self._thread = LoopThread()
        self._server = self._run(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        self._run(self._end())
        self._thread.stop()

    async def _end(self) -> None:
        self._server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._thread.loop).result(10)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2 * self._seconds)  # the handshake of TCP, which loopback itself made at once
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while data := await source.read(PIECE):
            loop.call_later(self._seconds, sink.write, data)
        loop.call_later(self._seconds, sink.close)
