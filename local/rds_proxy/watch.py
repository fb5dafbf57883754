"""What people see while the stand-in runs: a screen that stays up to date, or lines when it is no terminal."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import threading
import time
from collections import deque
from typing import TextIO

from .listener import Metrics
from .pin_log import printable
from .session import Pin

_FIGURES = (
    ("clients", "client_connections"),
    ("server connections", "server_connections"),
    ("borrowed", "borrowed"),
    ("pinned", "pinned"),
    ("waiting", "waiting"),
)
_MOST_UNWRITTEN = 10_000  # pieces
_PATIENCE_SECONDS = 2.0


class Output:
    """A stream whose reader may be slow, or leave, as `head` does: neither keeps anyone who writes waiting.

    A thread of its own does the writing. What comes after the reader has left, or far ahead of it, is dropped.
    """

    def __init__(self, stream: TextIO) -> None:
        self.is_terminal = stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._stream = stream
        self._texts: queue.Queue[str | None] = queue.Queue(_MOST_UNWRITTEN)
        self._thread = threading.Thread(target=self._write_all, daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        with contextlib.suppress(queue.Full):
            self._texts.put_nowait(text)

    def close(self) -> None:
        """Wait until all is written, but not for long."""
        with contextlib.suppress(queue.Full):
            self._texts.put(None, timeout=_PATIENCE_SECONDS)
        self._thread.join(_PATIENCE_SECONDS)

    def _write_all(self) -> None:
        while (text := self._texts.get()) is not None:
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):
                self._leave()

    def _leave(self) -> None:
        # The interpreter flushes the stream again at its end, which must not fail a second time.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        with contextlib.suppress(OSError, ValueError):
            os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


class Watch:
    """Shows figures when they changed, and each pin when it happens."""

    def __init__(self, output: Output, *, screen: bool) -> None:
        self._output = output
        self._screen = screen
        self.header = ""
        self._shown: Metrics | None = None
        self._recent: deque[str] = deque(maxlen=200)

    def pin(self, pin: Pin) -> None:
        """Show a pin, unless the session was pinned before."""
        if not pin.first:
            return
        name = printable(pin.application_name) or "-"
        self.say(f'pinned  {pin.client}  {name}  {pin.reason}: "{pin.statement}"')

    def say(self, text: str) -> None:
        """Show one line of what happens."""
        line = f"{time.strftime('%H:%M:%S')}  {text}"
        self._recent.append(line)
        if not self._screen:
            self._output.write(line + "\n")

    def figures(self, metrics: Metrics) -> None:
        """Show the figures of this moment."""
        if self._screen:
            self._draw(metrics)
        elif self._shown is None or _values(metrics) != _values(self._shown):
            self.say("  ".join(f"{label} {getattr(metrics, name)}" for label, name in _FIGURES))
        self._shown = metrics

    def _draw(self, metrics: Metrics) -> None:
        columns, rows = shutil.get_terminal_size()
        most = metrics.max_server_connections
        lines = [*self.header.splitlines(), ""]
        for label, name in _FIGURES:
            of = f" of {most}" if name == "server_connections" else ""
            lines.append(f"{label:>20}  {getattr(metrics, name)}{of}")
        lines.append(f"{'so far':>20}  {metrics.pins} pins, {metrics.borrow_timeouts} borrow timeouts")
        lines.append("")
        room = max(0, rows - len(lines) - 1)
        lines += list(self._recent)[-room:] if room else []
        self._output.write("\x1b[H\x1b[J" + "\n".join(line[: columns - 1] for line in lines) + "\n")


def _values(metrics: Metrics) -> tuple[int, ...]:
    return tuple(getattr(metrics, name) for _, name in _FIGURES)
