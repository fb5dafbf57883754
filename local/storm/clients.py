"""One process of the storm: execution environments as threads, each with its own connection of lambda_postgres.

Reads its orders as JSON from standard input; writes what it measured as a line of JSON for each level. A refused
environment tries again at its next request, as Lambda's does at its next invocation.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lambda_postgres import Error, Keeper, Settings

QUERY = "SELECT id, name, created_at FROM users ORDER BY id LIMIT 10"
PINS = "SELECT nextval('numbers')"  # RDS Proxy pins it, and it leaves nothing that the library would clean up

_REPORT_AFTER_SECONDS = 0.2
_STAY_SECONDS = 0.5  # after the last report, while this process's memory is read

_lock = threading.Lock()


@dataclass(frozen=True)
class Level:
    """A number of environments, and its times in seconds since the begin.

    New environments start one after another, then all of them ask, and after a moment the answers are counted.
    """

    environments: int
    start: float
    started: float
    count_from: float
    end: float


@dataclass
class Measured:
    """What one process saw at one level while it was counted. An answer's seconds are from when its request was due."""

    answered: list[float] = field(default_factory=list)
    answered_at: list[float] = field(default_factory=list)
    served: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Request:
    """One request of an environment: when it is due, and how soon the next one is."""

    due: float
    interval: float


def schedule(number: int, levels: list[Level], per_second: float) -> Iterator[Request]:
    """Yield the requests of an environment: all environments together make `per_second`, evenly spread.

    An environment's first request is its start, in its turn among the new ones of its level. While others start it
    holds its connection and asks nothing.
    """
    before = 0
    for level in levels:
        if before <= number < level.environments:
            share = (number - before) / (level.environments - before)
            yield Request(level.start + share * (level.started - level.start), level.environments / per_second)
        if number < level.environments:
            yield from _even(number, level.environments, per_second, level.started, level.end)
        before = level.environments


def _even(number: int, environments: int, per_second: float, begin: float, end: float) -> Iterator[Request]:
    interval = environments / per_second
    due = begin + number / per_second
    while due < end - 1e-9:
        yield Request(due, interval)
        due += interval


class Environments:
    """The environments of this process and what they measure."""

    def __init__(self, orders: dict[str, Any]) -> None:
        self.levels = [Level(**level) for level in orders["levels"]]
        self.numbers: list[int] = orders["numbers"]
        self._keepers: list[Keeper] = []  # held to the end: a place that one leaves would be counted as another's
        self._measured = [Measured() for _ in self.levels]
        self._refusals = Counter[str]()
        self._begin: float = orders["begin"]
        self._per_second: float = orders["per_second"]
        self._settings = Settings(**orders["settings"])
        self._pins: bool = orders["pins"]
        self._held_seconds: float = orders["held_seconds"]
        self._writes: bool = orders.get("writes", False)
        self._acknowledged: list[str] = []

    def live(self, number: int) -> None:
        """Send this environment's requests, each when it is due; leave out what is due while one is under way."""
        keeper = Keeper(self._settings)
        self._keepers.append(keeper)
        for request in schedule(number, self.levels, self._per_second):
            due = self._begin + request.due
            late = time.monotonic() - due
            if late > request.interval:
                continue
            time.sleep(max(0.0, -late))
            refusal = self._request(keeper)
            done = time.monotonic()
            with _lock:
                self._note(number, done - self._begin, done - due, refusal)

    def _note(self, number: int, at: float, took: float, refusal: str | None) -> None:
        """Count an answer where it came while a level was counted, whenever its request was due."""
        if refusal is not None:
            self._refusals[refusal] += 1
        for level, measured in zip(self.levels, self._measured, strict=True):
            if not level.count_from <= at <= level.end:
                continue
            if refusal is not None:
                measured.refused.add(number)
            else:
                measured.served.add(number)
                measured.answered.append(took)
                measured.answered_at.append(at)

    def report(self, level: int) -> dict[str, Any]:
        """Return what was measured at a level, once it has ended, and each refusal since the last report."""
        measured, among = self._measured[level], sum(n < self.levels[level].environments for n in self.numbers)
        with _lock:
            refusals, self._refusals = self._refusals, Counter()
            acknowledged, self._acknowledged = self._acknowledged, []
            refused = len(measured.refused - measured.served)
            return {
                "answered": measured.answered,
                "served": len(measured.served),
                "refused": refused,
                "waiting": among - len(measured.served) - refused,
                "refusals": refusals,
                "answered_at": measured.answered_at,
                "acknowledged": acknowledged,
            }

    def _request(self, keeper: Keeper) -> str | None:
        """Do what the sample function does; return why it could not."""
        try:
            if self._writes:
                self._write(keeper)
            elif self._held_seconds:
                with keeper.transaction() as connection, connection.cursor() as cursor:
                    cursor.execute(QUERY)
                    cursor.fetchall()
                    time.sleep(self._held_seconds)
            else:
                with keeper.connection() as connection, connection.cursor() as cursor:
                    if self._pins:
                        cursor.execute(PINS)
                    cursor.execute(QUERY)
                    cursor.fetchall()
        except Error as error:
            return str(error.__cause__ or error).splitlines()[0]
        return None

    def _write(self, keeper: Keeper) -> None:
        key = str(uuid.uuid4())

        def work(connection: Any) -> None:
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO ledger VALUES (%s)", (key,))

        keeper.run_transaction(work)
        with _lock:
            self._acknowledged.append(key)


def main() -> None:
    """Run the orders and report level by level."""
    orders = json.load(sys.stdin)
    environments = Environments(orders)
    for number in environments.numbers:
        threading.Thread(target=environments.live, args=(number,), daemon=True).start()
    for index, level in enumerate(environments.levels):
        time.sleep(max(0.0, orders["begin"] + level.end + _REPORT_AFTER_SECONDS - time.monotonic()))
        print(json.dumps(environments.report(index)), flush=True)
    time.sleep(_STAY_SECONDS)
    os._exit(0)  # the storm is over: nobody waits for what still waits for a connection


if __name__ == "__main__":
    main()
