"""Writers of a ledger, and what they were told against what was kept.

Every writer is an execution environment of its own. A row is acknowledged when its transaction returned; it is in doubt
when the library said that it may have been committed; it is refused when the library said that nothing was kept.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from typing import TYPE_CHECKING

import psycopg2
from lambda_postgres import ConnectionLost, Error, Keeper, Settings

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

    from local.postgres.server import PostgresServer


class Ledger:
    """What became of each row, as the writers were told."""

    def __init__(self) -> None:
        self.told: dict[str, str] = {}
        self.errors: Counter[str] = Counter()
        self._lock = threading.Lock()

    def tell(self, key: str, outcome: str, error: BaseException | None = None) -> None:
        with self._lock:
            self.told[key] = outcome
            if error is not None:
                self.errors[f"{outcome}: {type(error).__name__}"] += 1

    @property
    def acknowledged(self) -> int:
        return list(self.told.values()).count("acknowledged")

    def compare(self, kept: dict[str, int]) -> dict[str, int]:
        """Count what became of the rows: nothing may be lost, doubled, or kept though it was refused."""

        def of(outcome: str) -> list[str]:
            return [key for key, told in self.told.items() if told == outcome]

        return {
            "acknowledged": len(of("acknowledged")),
            "refused": len(of("refused")),
            "in_doubt": len(of("in doubt")),
            "in_doubt_and_kept": sum(key in kept for key in of("in doubt")),
            "lost": sum(key not in kept for key in of("acknowledged")),
            "doubled": sum(count > 1 for count in kept.values()),
            "kept_though_refused": sum(key in kept for key in of("refused")),
        }


class Invocation:
    """Lambda's context with a few seconds left."""

    def __init__(self) -> None:
        self._end = time.monotonic() + 6

    def get_remaining_time_in_millis(self) -> int:
        return int((self._end - time.monotonic()) * 1000)


def write(settings: Settings, ledger: Ledger, stop: threading.Event, number: int) -> None:
    """Be one environment: an invocation after the other, alternately by the context manager and by the helper."""
    keeper = Keeper(settings)
    while not stop.is_set():
        key = str(uuid.uuid4())

        def insert(conn: Connection, key: str = key) -> None:
            with conn.cursor() as cursor:
                cursor.execute("INSERT INTO ledger VALUES (%s, %s)", [key, number])

        try:
            if number % 2:
                keeper.run_transaction(insert, Invocation())
            else:
                with keeper.transaction(Invocation()) as conn:
                    insert(conn)
        except ConnectionLost as error:
            ledger.tell(key, "refused" if error.committed is False else "in doubt", error)
        except (Error, psycopg2.Error) as error:
            ledger.tell(key, "refused", error)
        else:
            ledger.tell(key, "acknowledged")
    keeper.close()


def rows_kept(server: PostgresServer) -> dict[str, int]:
    """Count the rows of each key."""
    with server.administrator("app") as cursor:
        cursor.execute("SELECT id::text, count(*) FROM ledger GROUP BY id")
        return dict(cursor.fetchall())
