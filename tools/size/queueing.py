"""How long requests wait for one of several connections: Erlang's formulas.

Requests come at random (Poisson), as those of many independent callers do. Without a queue (`blocked`) the distribution
of the time that each takes does not matter; with one (`Queue`) it is taken as exponential, which is M/M/c.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache


def blocked(servers: int, load: float) -> float:
    """Return the share of requests that find all servers busy where nobody waits: Erlang B.

    `load` is the number of servers that would be busy on average if there were enough: rate times time.
    """
    share = 1.0
    for number in range(1, servers + 1):
        share = load * share / (number + load * share)
    return share


@cache
def enough(load: float, *, refused: float = 0.001) -> int:
    """Return the least number of servers with which at most this share of requests finds all of them busy."""
    share, number = 1.0, 0
    while share > refused:
        number += 1
        share = load * share / (number + load * share)
    return number


@dataclass(frozen=True)
class Queue:
    """A pool of connections, and those who wait for one in the order in which they came: M/M/c."""

    connections: int
    per_second: float
    seconds: float  # that one transaction holds a connection, on average

    @property
    def load(self) -> float:
        """Connections that are busy on average."""
        return self.per_second * self.seconds

    @property
    def utilisation(self) -> float:
        return self.load / self.connections

    @property
    def stable(self) -> bool:
        """Whether the queue ends at all."""
        return self.utilisation < 1

    @property
    def share_waiting(self) -> float:
        """The share of transactions that wait at all: Erlang C."""
        if not self.stable:
            return 1.0
        share = blocked(self.connections, self.load)
        return share / (1 - self.utilisation * (1 - share))

    @property
    def mean_wait(self) -> float:
        """Seconds that a transaction waits, those that do not wait among them."""
        return self.share_waiting / self._relief if self.stable else math.inf

    def wait(self, quantile: float) -> float:
        """Return the seconds that this share of transactions waits at most."""
        if not self.stable:
            return math.inf
        exceeding = self.share_waiting / (1 - quantile)
        return math.log(exceeding) / self._relief if exceeding > 1 else 0.0

    @property
    def _relief(self) -> float:
        """By how many transactions a second the pool is faster than they come."""
        return self.connections / self.seconds - self.per_second
