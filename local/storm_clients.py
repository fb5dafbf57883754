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


@dataclass
class Measured:
    """What one process saw; times in seconds."""

    connected: int = 0
    refused: int = 0
    queries: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)


def main() -> None:
    """Run the orders and report."""
    orders = json.load(sys.stdin)
    measured = Measured()
    lock = threading.Lock()
    begin = time.monotonic() + 0.5
    step = orders["ramp_seconds"] / orders["environments"]
    threads = [
        threading.Thread(target=_environment, args=(orders, begin + number * step, begin, measured, lock))
        for number in range(orders["environments"])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    json.dump(vars(measured), sys.stdout)


def _environment(orders: dict[str, Any], begin: float, zero: float, measured: Measured, lock: threading.Lock) -> None:
    """Send one request an interval until the end; the first decides whether the environment got a connection."""
    keeper = Keeper(Settings(**orders["settings"]))
    end = zero + orders["seconds"]
    first = True
    due = begin
    while due < end:
        time.sleep(max(0.0, due - time.monotonic()))
        began = time.monotonic()
        refusal = None
        try:
            with keeper.connection() as connection, connection.cursor() as cursor:
                cursor.execute("SELECT id, name, created_at FROM users ORDER BY id LIMIT 10")
                cursor.fetchall()
        except Error as error:
            refusal = str(error.__cause__ or error)
        took = time.monotonic() - began
        with lock:
            if refusal is None:
                measured.queries += 1
                measured.connected += first
                if not first:  # the first query waits for the connection
                    measured.seconds.append(took)
            else:
                measured.refused += first
                measured.refusals[refusal] += 1
        first = False
        due += orders["interval_seconds"]
    keeper.close()


if __name__ == "__main__":
    main()
