"""What a server tells of itself, for the metrics of its instance: real figures of this machine's server."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from local.postgres.installation import ADMINISTRATOR
from local.postgres.server import PostgresServer

_QUESTION = """
SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND usename <> %s),
       (SELECT sum(pg_database_size(oid)) FROM pg_database),
       (SELECT max(age(datfrozenxid)) FROM pg_database),
       extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())
"""


@dataclass(frozen=True)
class Figures:
    """`cpu_seconds` only grows; it and the memory are None where the system does not tell them."""

    connections: int
    stored_bytes: int
    used_transaction_ids: int
    uptime_seconds: float
    cpu_seconds: float | None
    available_memory_bytes: int | None


def measure(server: PostgresServer) -> Figures:
    """Ask a running server, and the system about its processes."""
    with server.administrator() as cursor:
        cursor.execute(_QUESTION, [ADMINISTRATOR])
        connections, stored, ids, uptime = cursor.fetchone() or (0, 0, 0, 0)
    return Figures(
        connections=int(connections),
        stored_bytes=int(stored),
        used_transaction_ids=int(ids),
        uptime_seconds=float(uptime),
        cpu_seconds=_cpu_seconds(server.pid),
        available_memory_bytes=_available_memory(),
    )


def _cpu_seconds(pid: int | None) -> float | None:
    """Add up what a server, its processes and those that have ended have used (proc_pid_stat(5))."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ticks = sum(_ticks(pid, 11, 15))
    except OSError:
        return None
    for child in children:
        with suppress(OSError):  # it has ended meanwhile
            ticks += sum(_ticks(child, 11, 13))
    return ticks / os.sysconf("SC_CLK_TCK")


def _ticks(pid: object, first: int, last: int) -> list[int]:
    """Read utime and stime, and after them those of children that have ended; the name before may hold anything."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [int(field) for field in fields[first:last]]


def _available_memory() -> int | None:
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None
