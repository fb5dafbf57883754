"""The answer in words: a table for people, JSON for programs."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from tools.size import budget, prices
from tools.size.answer import Answer, Way

WIDTH = 118
IAM_GIB = (
    2  # up to here the memory that IAM authentication takes matters: RDS User Guide, "IAM database authentication"
)

ASSUMPTIONS = (
    "Requests come at random (Poisson), at the peak rate; each invocation has one transaction. Directly: an execution "
    "environment keeps its connection, and twice as many are there during a deployment; what finds all of the reserve "
    "busy is throttled (Erlang B, one invocation in 1,000). Through the proxy: M/M/c. Transactions' times are "
    "exponential, whoever came first is served first, nothing pins, and load does not slow the database. More even "
    "times wait less, less even ones more."
)


def as_text(answer: Answer) -> str:
    """Return a table for people."""
    load, ways = answer.load, answer.ways

    def row(what: str, value: Callable[[Way], str]) -> str:
        cells = ["-" if way is None else value(way) for way in ways.values()]
        return f"  {what:<26}" + "".join(f"{cell:>20}" for cell in cells)

    def milliseconds(seconds: float | None) -> str:
        if seconds is None:
            return "-"
        return "no end" if math.isinf(seconds) else f"{seconds * 1000:,.1f}"

    def cost(part: str) -> str:
        return row(f"  {part}", lambda way: f"{way.costs[part]:,.2f}")

    parts = next((list(way.costs) for way in ways.values() if way), [])
    table = [
        f"  {'':<26}" + "".join(f"{name:>20}" for name in ways),
        row("holds", lambda way: "yes" if way.holds else "NO"),
        row("instance class", lambda way: way.instance_class),
        row("connections needed", lambda way: f"{way.connections:,}"),
        row("connections there", lambda way: f"{way.available:,}"),
        row("pool.max_percent", lambda way: "-" if way.percent is None else str(way.percent)),
        row("wait for one, p50 ms", lambda way: milliseconds(way.wait_p50)),
        row("wait for one, p99 ms", lambda way: milliseconds(way.wait_p99)),
        row("limit, transactions/s", lambda way: f"{way.limit_per_second:,.0f}"),
        row("p99 ms at 95 % of it", lambda way: milliseconds(way.near_limit_p99)),
        row("reserved_concurrency", lambda way: f"{way.reserved_concurrency:,}"),
        row(f"USD a month, {prices.table()['region']}", lambda way: f"{way.month:,.2f}"),
        *map(cost, parts),
    ]
    head = (
        f"At the peak, {load.peak:g} transactions/s of {load.transaction_seconds * 1000:g} ms: "
        f"{load.peak * load.transaction_seconds:.1f} are open at once on average, {load.transactions:,} at most; and "
        f"{load.peak * load.invocation_seconds:.1f} invocations of {load.invocation_seconds * 1000:g} ms, "
        f"{load.executions:,} at most. At most: but for one in 1,000."
    )
    blocks = [_wrapped(head), table, [*_wrapped(sentence(answer))]]
    blocks += [_wrapped(note) for note in notes(answer)]
    blocks += [_wrapped(f"Model: {ASSUMPTIONS}"), _wrapped(_prices(answer))]
    return "\n\n".join("\n".join(block) for block in blocks)


def as_json(answer: Answer) -> str:
    """Return the same for programs."""

    def milliseconds(seconds: float | None) -> float | None:
        return None if seconds is None or math.isinf(seconds) else round(seconds * 1000, 3)

    def told(way: Way | None) -> dict[str, Any] | None:
        if way is None:
            return None
        return {
            "holds": way.holds,
            "instance_class": way.instance_class,
            "connections_needed": way.connections,
            "connections_there": way.available,
            "max_connections_percent": way.percent,
            "wait_p50_ms": milliseconds(way.wait_p50),
            "wait_p99_ms": milliseconds(way.wait_p99),
            "limit_per_second": round(way.limit_per_second, 1),
            "wait_p99_ms_at_95_percent_of_limit": milliseconds(way.near_limit_p99),
            "reserved_concurrency": way.reserved_concurrency,
            "usd_a_month": way.month,
            "costs": way.costs,
        }

    load = answer.load
    document = {
        "rate": load.rate,
        "peak": load.peak,
        "transaction_ms": load.transaction_seconds * 1000,
        "invocation_ms": load.invocation_seconds * 1000,
        "transactions_at_once": load.transactions,
        "executions_at_once": load.executions,
        "directly": told(answer.directly),
        "through_the_proxy": told(answer.pooled),
        "no_proxy_below": {"instance_class": answer.compared.name, "executions": answer.compared.most_executions + 1},
        "sentence": sentence(answer),
        "notes": list(notes(answer)),
        "assumptions": ASSUMPTIONS,
        "region": prices.table()["region"],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def sentence(answer: Answer) -> str:
    """Say whether the proxy is needed."""
    instance, executions = answer.compared, answer.load.executions
    most = instance.most_executions
    need = "you do not need it" if executions <= most else "you need it, or a larger class"
    return (
        f"Below {most + 1:,} concurrent executions on {instance.name} you do not need the proxy: directly, "
        f"{most:,} take {budget.direct_connections(most):,} of its {instance.max_clients:,} connections. "
        f"You have {executions:,}: {need}."
    )


def notes(answer: Answer) -> Iterator[str]:
    """Say what the figures of this answer must not hide."""
    load, proxied = answer.load, answer.pooled
    for name, way in answer.ways.items():
        if way is None:
            yield f"No class holds {name}: even {list(prices.classes())[-1]} has too few connections."
        elif not way.holds:
            yield (
                f"{way.instance_class} does not hold {name}: {way.connections:,} connections are needed, and "
                f"{way.available:,} are there. Without CLASS you see the cheapest that holds."
            )
    if proxied and math.isinf(proxied.wait_p99):
        yield (
            "Transactions come faster than the pool ends them: each waits longer than the one before, up to "
            f"{budget.borrow_timeout_seconds()} s, and then fails."
        )
    if proxied and proxied.holds and budget.spare(proxied.reserved_concurrency) > proxied.available:
        yield (
            "The plan will warn (pool_budget): it takes it that each of the "
            f"{proxied.reserved_concurrency:,} executions may have a transaction open at once. If the two times above "
            "are right, they do not."
        )
    if proxied and proxied.percent == 100:
        yield (
            "A pool of 100 %, which AWS recommends for so small a class, may take every connection; then none is left "
            "for the bootstrap function and for people."
        )
    if answer.directly and budget.Instance(answer.directly.instance_class).memory_gib <= IAM_GIB:
        yield (
            f"Directly, functions log in with IAM, for which AWS wants 300 to 1,000 MiB of memory: much for "
            f"{answer.directly.instance_class}."
        )
    busy = load.peak * load.transaction_seconds
    used = {way.instance_class for way in answer.ways.values() if way}
    small = {name for name in used if busy > prices.classes()[name].vcpus}
    if small:
        yield (
            f"{busy:,.1f} transactions at once on average are more than the vCPUs of {' and '.join(sorted(small))}. "
            "That holds only where they mostly wait for something else than the processor: connections are counted "
            "here, not what queries cost."
        )


def _prices(answer: Answer) -> str:
    sources = prices.table()["sources"]
    used = [prices.classes()[way.instance_class] for way in answer.ways.values() if way]
    read = "; ".join(dict.fromkeys(f"{each.name}: {sources[each.source]}" for each in used))
    return (
        "Prices are second-hand, each with source and date in tools/size/prices.toml; AWS's pages decide. The path is "
        f"that of terraform/prod: Multi-AZ, {budget.storage_gib()} GiB, one function of {budget.memory_mb()} MB on "
        "x86_64. Not counted: logs, traffic, backups, free tiers." + (f" {read}." if read else "")
    )


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
