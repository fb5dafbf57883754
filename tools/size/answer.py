"""What a load takes, directly and through the proxy: connections, waits, a class, a share of the pool, money."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tools.size import budget, prices
from tools.size.queueing import Queue, enough


@dataclass(frozen=True)
class Load:
    """What is to be borne. Each invocation has one transaction; `peak` counts for sizes, `rate` for the bill."""

    rate: float
    peak: float
    transaction_seconds: float
    invocation_seconds: float

    @property
    def executions(self) -> int:
        """Executions at once at the peak, exceeded by one invocation in a thousand."""
        return enough(self.peak * self.invocation_seconds)

    @property
    def transactions(self) -> int:
        """Transactions open at once at the peak, exceeded by one in a thousand."""
        return enough(self.peak * self.transaction_seconds)


@dataclass(frozen=True)
class Way:
    """One way to the database on one class. Waits are seconds, at the peak but for `near_limit_p99`.

    The limit is where connections end; the wait near it is that at 95 % of the limit, None where nothing waits.
    """

    instance_class: str
    holds: bool
    connections: int
    available: int
    percent: int | None
    wait_p50: float
    wait_p99: float
    limit_per_second: float
    near_limit_p99: float | None
    reserved_concurrency: int
    costs: dict[str, float]

    @property
    def month(self) -> float:
        return round(sum(self.costs.values()), 2)


def directly(load: Load, instance_class: str) -> Way:
    """Answer for a function that connects to the instance: each execution environment keeps its own connection."""
    instance = budget.Instance(instance_class)
    connections = budget.direct_connections(load.executions)
    return Way(
        instance_class,
        holds=connections <= instance.max_clients,
        connections=connections,
        available=instance.max_clients,
        percent=None,
        wait_p50=0.0,
        wait_p99=0.0,
        limit_per_second=instance.most_executions / load.invocation_seconds,
        near_limit_p99=None,
        reserved_concurrency=load.executions,
        costs=_costs(load, instance_class, proxy=False),
    )


def pooled(load: Load, instance_class: str) -> Way:
    """Answer for a function behind the proxy: a transaction holds a connection, with what AWS wants to spare."""
    instance = budget.Instance(instance_class)
    connections = budget.spare(load.transactions)
    beside = connections + budget.direct_connections(0)  # the bootstrap function and people connect directly
    found = instance.percent_for(connections) if beside <= instance.max_clients else None
    percent = instance.most_percent if found is None else found
    queue = Queue(instance.pool(percent), load.peak, load.transaction_seconds)
    limit = queue.connections / queue.seconds
    waited = queue.mean_wait if queue.stable else 0.0
    return Way(
        instance_class,
        holds=found is not None,
        connections=connections,
        available=instance.pool(percent),
        percent=percent,
        wait_p50=queue.wait(0.5),
        wait_p99=queue.wait(0.99),
        limit_per_second=limit,
        near_limit_p99=Queue(queue.connections, 0.95 * limit, load.transaction_seconds).wait(0.99),
        reserved_concurrency=enough(load.peak * (load.invocation_seconds + waited)),
        costs=_costs(load, instance_class, proxy=True),
    )


def smallest(way_of: Callable[[Load, str], Way], load: Load) -> Way | None:
    """Return the cheapest class on which a way holds, None where none does."""
    ways = [way_of(load, name) for name in prices.classes()]
    return min((way for way in ways if way.holds), key=lambda way: way.month, default=None)


@dataclass(frozen=True)
class Answer:
    """What a load takes on each way; None where no class holds."""

    load: Load
    wanted: str | None
    directly: Way | None
    pooled: Way | None

    @classmethod
    def of(cls, load: Load, wanted: str | None = None) -> Answer:
        """Answer for the class that is wanted, else for the cheapest that holds."""
        if wanted is not None:
            return cls(load, wanted, directly(load, wanted), pooled(load, wanted))
        return cls(load, None, smallest(directly, load), smallest(pooled, load))

    @property
    def ways(self) -> dict[str, Way | None]:
        return {"directly": self.directly, "through the proxy": self.pooled}

    @property
    def compared(self) -> budget.Instance:
        """The instance on which it is asked whether the proxy is needed."""
        largest = list(prices.classes())[-1]
        return budget.Instance(self.wanted or (self.pooled.instance_class if self.pooled else largest))


def _costs(load: Load, instance_class: str, *, proxy: bool) -> dict[str, float]:
    return prices.month(
        prices.classes()[instance_class],
        per_second=load.rate,
        invocation_seconds=load.invocation_seconds,
        proxy=proxy,
    )
