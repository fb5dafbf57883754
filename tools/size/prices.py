"""What the whole path costs in a month, from prices.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tools.size import budget

SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Class:
    """An instance class that has a price."""

    name: str
    usd_per_hour: float
    vcpus: int
    source: str


@cache
def table() -> dict[str, Any]:
    """Return the data file."""
    return tomllib.loads(Path(__file__).with_name("prices.toml").read_text(encoding="utf-8"))


@cache
def classes() -> dict[str, Class]:
    """Return the classes by name, the cheapest first."""
    known = [Class(name, row["usd"], row["vcpus"], row["source"]) for name, row in table()["classes"].items()]
    larger = table()["larger"]
    for family in larger["families"]:
        base = next(each for each in known if each.name == f"{family}.large")
        known += [
            Class(f"{family}.{size}", base.usd_per_hour * vcpus / base.vcpus, vcpus, larger["source"])
            for size, vcpus in larger["vcpus"].items()
        ]
    return {each.name: each for each in sorted(known, key=lambda each: each.usd_per_hour)}


def month(chosen: Class, *, per_second: float, invocation_seconds: float, proxy: bool) -> dict[str, float]:
    """Return what each part of the path costs in a month, as terraform/prod has it."""
    prices = {name: row["usd"] for name, row in table()["prices"].items()}
    factors = {name: row["times"] for name, row in table()["factors"].items()}
    counts, hours = table()["counts"], table()["hours"]
    invocations = per_second * hours * SECONDS_PER_HOUR
    gib_seconds = invocations * invocation_seconds * budget.memory_mb() / 1024
    metrics = counts["alarm_metrics"]["proxy" if proxy else "direct"]
    costs = {
        "function": invocations / 1e6 * prices["function_requests_1m"] + gib_seconds * prices["function_gib_second"],
        "proxy": max(chosen.vcpus, factors["proxy_least_vcpus"]) * prices["proxy_vcpu_hour"] * hours if proxy else 0.0,
        "instance": chosen.usd_per_hour * hours * factors["multi_az"],
        "storage": budget.storage_gib() * prices["storage_gib_month"] * factors["multi_az"],
        "endpoint, keys, secrets": counts["endpoint_zones"] * prices["endpoint_zone_hour"] * hours
        + counts["keys"] * prices["key_month"]
        + counts["secrets"] * prices["secret_month"],
        "alarms, dashboard": metrics * prices["alarm_metric_month"]
        + prices["composite_month"]
        + prices["dashboard_month"],
    }
    return {name: round(usd, 2) for name, usd in costs.items()}
