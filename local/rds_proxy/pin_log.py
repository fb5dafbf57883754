"""What pinned so far: each statement once, with how often it came and who sent it."""

from __future__ import annotations

import textwrap
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .advice import what_instead
from .pinning import NAMED
from .session import Pin

_MOST_STATEMENTS = 1000
_MOST_NAMES = 20  # of applications and clients of one statement
_WIDTH = 100


@dataclass
class Entry:
    """One statement for one reason. `sessions` are those that it pinned itself: others were pinned before."""

    reason: str
    statement: str
    since: float
    times: int = 0
    sessions: int = 0
    applications: set[str] = field(default_factory=set)
    clients: set[str] = field(default_factory=set)
    users: set[str] = field(default_factory=set)

    @property
    def instead(self) -> str:
        return what_instead(self.reason, self.statement)

    def add(self, pin: Pin) -> None:
        self.times += 1
        self.sessions += pin.first
        for names, name in (
            (self.applications, printable(pin.application_name)),
            (self.clients, pin.client.rpartition(":")[0]),
            (self.users, printable(pin.user)),
        ):
            if name and len(names) < _MOST_NAMES:
                names.add(name)

    def as_json(self) -> dict[str, Any]:
        return {
            "reason": self.reason,
            "statement": self.statement,
            "instead": self.instead,
            "settled": self.reason != NAMED,
            "times": self.times,
            "sessions_pinned": self.sessions,
            "application_names": sorted(self.applications),
            "clients": sorted(self.clients),
            "users": sorted(self.users),
            "first_seen": datetime.fromtimestamp(self.since, UTC).isoformat(timespec="seconds"),
        }


class PinLog:
    """Collects pins in the proxy's loop; read from any thread."""

    def __init__(self, *, ignore_named: bool = False, heard: Callable[[Pin], None] = lambda _: None) -> None:
        self.beyond = 0  # pins of further statements, when there were too many to keep each
        self._ignore_named = ignore_named
        self._heard = heard
        self._entries: dict[tuple[str, str], Entry] = {}
        self._lock = threading.Lock()

    def __call__(self, pin: Pin) -> None:
        if self._ignore_named and pin.reason == NAMED:
            return
        with self._lock:
            key = (pin.reason, pin.statement)
            if key not in self._entries and len(self._entries) >= _MOST_STATEMENTS:
                self.beyond += 1
            else:
                self._entries.setdefault(key, Entry(pin.reason, pin.statement, pin.time)).add(pin)
        self._heard(pin)

    @property
    def entries(self) -> list[Entry]:
        """Those that pinned most sessions first."""
        with self._lock:
            return sorted(self._entries.values(), key=lambda entry: (-entry.sessions, -entry.times, entry.statement))

    def table(self) -> str:
        """Return what pinned, for people."""
        entries = self.entries
        lines = [f"Statements that pin a session of RDS Proxy: {len(entries)}", "", "sessions  times  statement"]
        for entry in entries:
            lines.append(f"{entry.sessions:8}  {entry.times:5}  {entry.statement}")
            who = "; ".join(", ".join(sorted(names)) for names in (entry.applications, entry.clients) if names)
            for label, text in (("why", entry.reason), ("instead", entry.instead), ("from", who)):
                hanging = " " * 26
                lines += textwrap.wrap(
                    text, _WIDTH, initial_indent=f"{' ' * 17}{label + ':':9}", subsequent_indent=hanging
                )
        if self.beyond:
            lines += ["", f"… and {self.beyond} pins by further statements."]
        return "\n".join(lines)


def printable(text: str) -> str:
    """Return a client's words without what would steer a terminal or begin a line."""
    return "".join(character if character.isprintable() else "?" for character in text)
