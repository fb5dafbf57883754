"""What the modules reckon with, read from the modules: memory by class, max_connections, reserves, shares of a pool.

Each number has its one home in the HCL. What is not found there as it is looked for is an error, never a guess.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_MODULES = Path(__file__).parents[2] / "modules"


class BudgetError(Exception):
    """A number of the modules is no longer where it was."""


@dataclass(frozen=True)
class Instance:
    """A class, and the connections that the modules give it."""

    name: str

    @property
    def memory_gib(self) -> int:
        family, size = _parts(self.name)
        return int(_map(_map_of("database", "memory_by_size", family))[size])

    @property
    def max_connections(self) -> int:
        pattern = r"min\((\d+), floor\(([\d.]+) \* local\.memory_gib \* pow\(1024, 3\) / (\d+)\)\)"
        most, share, each = _found("database", "parameters.tf", pattern)
        return min(int(most), math.floor(float(share) * self.memory_gib * 1024**3 / int(each)))

    @property
    def max_clients(self) -> int:
        """Connections that are left beside the slots that PostgreSQL and RDS reserve."""
        [reserved] = _found("database", "parameters.tf", r"max_clients = min\(.*\) - (\d+)\n")
        return self.max_connections - int(reserved)

    @property
    def least_percent(self) -> int:
        """The least share of a proxy's pool that AWS recommends."""
        family, size = _parts(self.name)
        pattern = (
            r'least_percent = local\.class\.family == "(\w)" \? lookup\(\{(.*)\}, local\.class\.size, (\d+)\) : (\d+)'
        )
        small, sizes, others_of_small, others = _found("proxy", "sizing.tf", pattern)
        return int(_map(sizes).get(size, others_of_small)) if family == small else int(others)

    @property
    def most_percent(self) -> int:
        """The module's own share, which leaves room for people and the bootstrap function, or what AWS asks for."""
        [share] = _found("proxy", "variables.tf", r"max_percent\s+= optional\(number, (\d+)\)")
        return max(int(share), self.least_percent)

    def pool(self, percent: int) -> int:
        """Return the connections of a pool of this share."""
        return self.max_clients * percent // 100

    def percent_for(self, connections: int) -> int | None:
        """Return the least share whose pool has as many connections, None where no share does."""
        shares = range(self.least_percent, self.most_percent + 1)
        return next((percent for percent in shares if self.pool(percent) >= connections), None)

    @property
    def most_executions(self) -> int:
        """Concurrent executions that the instance takes directly."""
        each, others = _direct()
        return max(0, (self.max_clients - others) // each)


def direct_connections(executions: int) -> int:
    """Return what modules/function counts for a function that connects directly."""
    each, others = _direct()
    return each * executions + others


def spare(connections: int) -> int:
    """Return a pool with as much to spare above its peak as AWS recommends."""
    [factor] = _found("function", "budget.tf", r"pooled_connections = ceil\(([\d.]+) \* local\.concurrency\)")
    return math.ceil(round(float(factor) * connections, 9))


def borrow_timeout_seconds() -> int:
    """Return how long the proxy lets a transaction wait, unless told otherwise."""
    [seconds] = _found("proxy", "variables.tf", r"borrow_timeout_seconds\s+= optional\(number, (\d+)\)")
    return int(seconds)


def memory_mb() -> int:
    """Return a function's memory, unless told otherwise."""
    [memory] = _found("function", "variables.tf", r"memory_mb\s+= optional\(number, (\d+)\)")
    return int(memory)


def storage_gib() -> int:
    """Return an instance's storage, unless told otherwise."""
    [storage] = _found("database", "variables.tf", r"allocated_gib\s+= optional\(number, (\d+)\)")
    return int(storage)


def _direct() -> tuple[int, int]:
    """Connections for each execution, and beside them those of the bootstrap function and of people."""
    [each] = _found("function", "budget.tf", r"deployed_connections = (\d+) \* local\.concurrency\n")
    [bootstrap] = _found("function", "budget.tf", r"bootstrap\s+= (\d+)\b")
    [headroom] = _found("function", "budget.tf", r"headroom\s+= (\d+)\n")
    return int(each), int(bootstrap) + int(headroom)


def _parts(name: str) -> tuple[str, str]:
    found = re.fullmatch(r"db\.([a-z])[0-9]+[a-z]*\.([0-9a-z]+)", name)
    if found is None:
        raise BudgetError(f"{name} is no instance class")
    return found[1], found[2]


def _map_of(module: str, name: str, key: str) -> str:
    [rows] = _found(module, "parameters.tf", rf"  {name} = \{{\n(.*?)\n  \}}")
    found = re.search(rf"^ +{key} = \{{(.*)\}}$", rows, re.MULTILINE)
    if found is None:
        raise BudgetError(f"modules/{module} knows no memory of the family {key}")
    return found[1]


def _map(text: str) -> dict[str, str]:
    return {key.strip().strip('"'): value.strip() for key, value in (item.split("=") for item in text.split(","))}


@cache
def _found(module: str, file: str, pattern: str) -> tuple[str, ...]:
    found = re.findall(f"({pattern})", (_MODULES / module / file).read_text(encoding="utf-8"), re.DOTALL)
    if len(found) != 1:
        raise BudgetError(f"modules/{module}/{file} has {len(found)} places like {pattern!r}, where one is expected")
    return tuple(found[0][1:])
