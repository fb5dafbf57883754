"""What happened at a proxy since it was asked last; CloudWatch's metrics are made of it. Lives in the proxy's loop."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass
class Timing:
    """Durations in seconds: how many, how long together, and the extremes."""

    count: int = 0
    total: float = 0
    shortest: float = math.inf
    longest: float = 0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.total += seconds
        if seconds < self.shortest:  # noqa: PLR1730 (of every query: min() and max() take three times as long)
            self.shortest = seconds
        if seconds > self.longest:  # noqa: PLR1730
            self.longest = seconds


@dataclass
class Counts:
    """Each is named after a metric of the RDS User Guide, "Monitoring RDS Proxy metrics with Amazon CloudWatch"."""

    client_connections_received: int = 0
    client_connections_setup_succeeded: int = 0
    client_connections_setup_failed_auth: int = 0
    client_connections_closed: int = 0
    database_connection_requests: int = 0
    database_connections_setup_succeeded: int = 0
    database_connections_setup_failed: int = 0
    database_connections_borrow_requests: int = 0
    database_connections_borrow_requests_aborted: int = 0
    query_requests_tls: int = 0
    query_requests_no_tls: int = 0
    database_connections_borrow_latency: Timing = field(default_factory=Timing)
    query_response_latency: Timing = field(default_factory=Timing)
    query_database_response_latency: Timing = field(default_factory=Timing)


class Counter:
    """Holds what is counted until it is taken."""

    def __init__(self) -> None:
        self.now = Counts()

    def take(self) -> Counts:
        """Return what was counted, and begin anew."""
        taken, self.now = self.now, Counts()
        return taken


class Availability:
    """The share of time in which a target was available."""

    def __init__(self, time: float) -> None:
        self._since = self._begun = time
        self._available = False
        self._seconds = 0.0

    def set(self, available: bool, time: float) -> None:
        if self._available:
            self._seconds += time - self._since
        self._available, self._since = available, time

    def take(self, time: float) -> float:
        """Return the percentage since it was taken last, and begin anew."""
        self.set(self._available, time)
        span = time - self._begun
        percent = 100 * self._seconds / span if span > 0 else 100.0 * self._available
        self._begun, self._seconds = time, 0.0
        return percent
