"""One process of the storm: execution environments as threads, each with its own connection of lambda_postgres.

Reads its orders as JSON from standard input and writes what it measured to standard output. A refused environment tries
again at its next request, as Lambda's does at its next invocation.
"""

import json
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from lambda_postgres import Error, Keeper, Settings

_lock = threading.Lock()


@dataclass
class Measured:
    """What one process saw. Queries are counted, and timed in seconds, once every environment has begun."""

    connected: int = 0
    refused: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    query_seconds: list[float] = field(default_factory=list)


def main() -> None:
    """Run the orders and report."""
    orders = json.load(sys.stdin)
    measured = Measured()
    begin = time.monotonic() + 0.5
    threads = [
        threading.Thread(target=_environment, args=(orders, number, begin, measured))
        for number in range(orders["environments"])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    json.dump(vars(measured), sys.stdout)


def _environment(orders: dict[str, Any], number: int, begin: float, measured: Measured) -> None:
    """Send a request each interval, the first in this environment's turn; it decides who counts as connected."""
    keeper = Keeper(Settings(**orders["settings"]))
    counted_from = begin + orders["ramp_seconds"]
    end = counted_from + orders["seconds"]
    first = begin + number * orders["ramp_seconds"] / orders["environments"]
    due = first
    while due < end:
        time.sleep(max(0.0, due - time.monotonic()))
        began = time.monotonic()
        refusal = _query(keeper)
        took = time.monotonic() - began
        with _lock:
            if due == first:
                measured.connected += refusal is None
                measured.refused += refusal is not None
            if refusal is not None:
                measured.refusals[refusal] += 1
            elif counted_from <= began < end:
                measured.query_seconds.append(took)
        due += orders["interval_seconds"]
    keeper.close()


def _query(keeper: Keeper) -> str | None:
    """Do what the sample function does; return why it could not."""
    try:
        with keeper.connection() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT id, name, created_at FROM users ORDER BY id LIMIT 10")
            cursor.fetchall()
    except Error as error:
        return str(error.__cause__ or error).splitlines()[0]
    return None


if __name__ == "__main__":
    main()
