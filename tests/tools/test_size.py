"""tools/size: what a load takes, with the modules' own numbers and formulas that are known."""

from __future__ import annotations

import heapq
import json
import math
import os
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tools.size import __main__ as size
from tools.size import budget, prices, telling
from tools.size.answer import Answer, Load
from tools.size.budget import BudgetError, Instance
from tools.size.queueing import Queue, blocked, enough

ROOT = Path(__file__).parents[2]
CLASSES = ("db.t4g.micro", "db.t4g.medium", "db.m7g.large", "db.r7g.16xlarge")


def told(*arguments: str) -> dict[str, object]:
    done = subprocess.run(
        ["make", "size", "JSON=1", *arguments], cwd=ROOT, text=True, capture_output=True, check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


# --- the model ---


def test_erlang_s_formulas_give_their_tabulated_values() -> None:
    assert blocked(10, 5) == pytest.approx(0.018385, abs=1e-6)
    assert blocked(1, 1) == 0.5
    assert Queue(2, 1, 1).share_waiting == pytest.approx(1 / 3)
    assert Queue(10, 8, 1).share_waiting == pytest.approx(0.40918, abs=1e-5)


def test_one_connection_waits_as_m_m_1() -> None:
    queue = Queue(1, per_second=8, seconds=0.1)
    assert queue.share_waiting == pytest.approx(0.8)
    assert queue.mean_wait == pytest.approx(0.8 / (10 - 8))
    assert queue.wait(0.99) == pytest.approx(math.log(0.8 / 0.01) / 2)
    assert queue.wait(0.1) == 0.0


@pytest.mark.parametrize(("connections", "utilisation"), [(2, 0.5), (5, 0.8)])
def test_waits_are_those_of_a_simulated_queue(connections: int, utilisation: float) -> None:
    queue = Queue(connections, per_second=utilisation * connections, seconds=1.0)
    chance, free, at, waits = random.Random(14), [0.0] * connections, 0.0, []  # noqa: S311
    for _ in range(100_000):
        at += chance.expovariate(queue.per_second)
        start = max(at, heapq.heappop(free))
        waits.append(start - at)
        heapq.heappush(free, start + chance.expovariate(1 / queue.seconds))
    waits.sort()
    assert sum(wait > 0 for wait in waits) / len(waits) == pytest.approx(queue.share_waiting, rel=0.04)
    assert waits[int(0.5 * len(waits))] == pytest.approx(queue.wait(0.5), abs=0.02)
    assert waits[int(0.99 * len(waits))] == pytest.approx(queue.wait(0.99), rel=0.1)


def test_a_pool_that_is_too_slow_has_no_wait_that_ends() -> None:
    queue = Queue(2, per_second=20, seconds=0.1)
    assert (queue.stable, queue.wait(0.5), queue.mean_wait) == (False, math.inf, math.inf)


@pytest.mark.parametrize("load", [0.01, 1, 12, 100, 5000])
def test_enough_is_the_least_that_refuses_one_in_a_thousand(load: float) -> None:
    servers = enough(load)
    assert blocked(servers, load) <= 0.001 < blocked(servers - 1, load)


# --- the modules' numbers ---


def test_the_budget_is_what_the_modules_reckon() -> None:
    """Their own expressions, evaluated by Terraform, for a function of 39 concurrent executions and a pool of 90 %."""
    locals_of = {
        name: re.search(r"locals \{\n.*?\n\}\n", (ROOT / "modules" / name / file).read_text(), re.DOTALL)[0]  # type: ignore[index]
        for name, file in {"database": "parameters.tf", "function": "budget.tf", "proxy": "sizing.tf"}.items()
    }
    for instance_class in CLASSES:
        database = evaluated(
            locals_of["database"],
            {"instance_class": instance_class, "max_connections": None},
            ("max_connections", "max_clients", "memory_gib"),
        )
        instance = Instance(instance_class)
        assert database == [instance.max_connections, instance.max_clients, instance.memory_gib], instance_class
        connection = {"max_clients": database[1]}
        proxy = evaluated(
            locals_of["proxy"],
            {
                "database": {"instance_class": instance_class, "connection": connection},
                "endpoints": {},
                "pool": {"max_percent": 90},
                "shares": None,
            },
            ("least_percent", "pool_size"),
        )
        assert proxy == [instance.least_percent, instance.pool(90)], instance_class
    function = evaluated(
        re.sub(r"\n  environment_bytes = .*?\n  \)\)\).*?\n", "\n", locals_of["function"], flags=re.DOTALL),
        {"name": "app", "reserved_concurrency": 39, "environment": {}, "connection": {"shares": None}},
        ("direct_connections", "pooled_connections"),
    )
    assert function == [budget.direct_connections(39), budget.spare(39)]


def evaluated(text: str, variables: dict[str, object], names: tuple[str, ...]) -> list[int]:
    """Let Terraform's console reckon a module's locals with these variables."""
    text = text.replace("terraform_data.started_with.input.max_connections", "local.max_connections")
    declared = "\n".join(f'variable "{name}" {{ default = {json.dumps(value)} }}' for name, value in variables.items())
    expression = ", ".join(f"local.{name}" for name in names)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "main.tf").write_text(f"{declared}\n{text}")
        done = subprocess.run(
            ["terraform", f"-chdir={folder}", "console"],
            input=f"jsonencode([{expression}])", text=True, capture_output=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer: list[int] = json.loads(json.loads(done.stdout))
    return answer


def test_the_readme_s_limit_of_a_small_instance_is_the_one_told() -> None:
    readme = (ROOT / "README.md").read_text()
    [most] = re.findall(r"On a db\.t4g\.micro the plan refuses more than (\d+)", readme)
    assert Instance("db.t4g.micro").most_executions == int(most)


def test_a_number_that_moved_is_an_error_and_never_a_guess(monkeypatch, tmp_path) -> None:
    (tmp_path / "database").mkdir()
    (tmp_path / "database" / "parameters.tf").write_text("locals {\n  max_connections = 17\n}\n")
    monkeypatch.setattr(budget, "_MODULES", tmp_path)
    budget._found.cache_clear()
    with pytest.raises(BudgetError, match=r"modules/database/parameters\.tf has 0 places"):
        _ = Instance("db.t4g.micro").max_connections
    budget._found.cache_clear()


def test_each_class_that_has_a_price_is_known_to_the_modules() -> None:
    for name in prices.classes():
        assert Instance(name).most_executions > 0


# --- the answer ---


def load(
    rate: float = 200, transaction: float = 0.02, *, peak: float | None = None, invocation: float | None = None
) -> Load:
    return Load(rate, peak or rate, transaction, invocation or transaction)


@pytest.mark.parametrize("way", ["directly", "through the proxy"])
def test_the_class_told_is_the_cheapest_that_holds(way: str) -> None:
    demand = load(3000, 0.02, invocation=0.12)
    told = Answer.of(demand).ways[way]
    assert told is not None
    others = [other for name in prices.classes() if (other := Answer.of(demand, name).ways[way])]
    assert min(other.month for other in others if other.holds) == told.month
    assert any(not other.holds for other in others), "the load asks for more than the smallest"


def test_directly_each_execution_counts_twice_and_through_the_proxy_each_transaction_with_30_percent_to_spare() -> None:
    answer = Answer.of(load(100, 0.05, invocation=0.5))
    assert answer.directly is not None
    assert answer.pooled is not None
    assert answer.directly.reserved_concurrency == enough(50)
    assert answer.directly.connections == 2 * enough(50) + 6
    assert answer.pooled.connections == math.ceil(1.3 * enough(5))
    assert answer.pooled.reserved_concurrency == enough(50)


def test_the_share_told_is_the_least_that_has_the_connections() -> None:
    for name, connections in {"db.m7g.large": 200, "db.t4g.large": 400, "db.r7g.16xlarge": 4000}.items():
        instance = Instance(name)
        percent = instance.percent_for(connections)
        assert percent is not None
        assert instance.pool(percent) >= connections > instance.pool(percent - 1)
    assert Instance("db.m7g.large").percent_for(10) == 20, "never below what AWS recommends"
    assert Instance("db.m7g.large").percent_for(715) is None, "the module's own share is the most"
    assert Instance("db.t4g.micro").percent_for(10) == 100


def test_what_does_not_hold_says_so_and_how_long_it_waits() -> None:
    answer = Answer.of(load(1000, 0.1), "db.t4g.micro")
    text = telling.as_text(answer)
    assert "NO" in text
    assert "no end" in text
    assert "db.t4g.micro does not hold through the proxy: 167 connections are needed, and 85 are there" in text
    assert "up to 5 s, and then fails" in text


def test_the_sentence_turns_where_direct_connections_end() -> None:
    few = next(n for n in range(500) if enough((n + 1) * 0.1) > 39)
    last, first = (telling.sentence(Answer.of(load(n, 0.1), "db.t4g.micro")) for n in (few, few + 1))
    assert last == (
        "Below 40 concurrent executions on db.t4g.micro you do not need the proxy: directly, 39 take 84 of its 85 "
        "connections. You have 39: you do not need it."
    )
    assert first.endswith("You have 40: you need it, or a larger class.")


def test_what_a_small_class_lacks_is_said() -> None:
    small, large = (list(telling.notes(Answer.of(load(5, 0.1), name))) for name in ("db.t4g.micro", "db.m7g.large"))
    assert any("300 to 1,000 MiB of memory" in note for note in small)
    assert any("A pool of 100 %" in note for note in small)
    assert large == []


def test_a_load_that_no_class_bears_is_an_answer() -> None:
    text = telling.as_text(Answer.of(load(100_000, 1.0)))
    assert "No class holds directly" in text
    assert "No class holds through the proxy" in text


def test_make_prints_the_same_as_json() -> None:
    answer = told("RATE=200", "TRANSACTION_MS=20", "PEAK=600", "INVOCATION_MS=120")
    assert answer["executions_at_once"] == enough(72)
    assert answer["no_proxy_below"] == {"instance_class": "db.t4g.micro", "executions": 40}
    proxied = answer["through_the_proxy"]
    assert isinstance(proxied, dict)
    assert proxied["connections_needed"] == 32
    assert proxied["usd_a_month"] == pytest.approx(sum(proxied["costs"].values()), abs=0.01)


# --- prices ---


def test_every_price_names_a_source_that_the_file_dates() -> None:
    table = prices.table()
    rows = [*table["prices"].values(), *table["factors"].values(), *table["classes"].values(), table["larger"]]
    assert {row["source"] for row in rows} == set(table["sources"])


def test_a_month_is_the_arithmetic_of_the_table() -> None:
    costs = prices.month(prices.classes()["db.m7g.xlarge"], per_second=100, invocation_seconds=0.05, proxy=True)
    invocations = 100 * 730 * 3600
    assert costs == {
        "function": pytest.approx(invocations / 1e6 * 0.20 + invocations * 0.05 * 0.25 * 0.0000166667, abs=0.01),
        "proxy": pytest.approx(4 * 0.015 * 730),
        "instance": pytest.approx(2 * 0.168 * 730 * 2),
        "storage": pytest.approx(20 * 0.115 * 2),
        "endpoint, keys, secrets": pytest.approx(7.30 + 3 + 0.80),
        "alarms, dashboard": pytest.approx(2.40 + 0.50 + 3.00),
    }


def test_a_small_proxy_costs_two_vcpus_and_none_nothing() -> None:
    small = prices.classes()["db.t4g.micro"]
    assert prices.month(small, per_second=1, invocation_seconds=1, proxy=True)["proxy"] == 21.90
    assert prices.month(small, per_second=1, invocation_seconds=1, proxy=False)["proxy"] == 0


def test_watching_costs_what_the_module_s_page_says() -> None:
    page = (ROOT / "modules" / "observability" / "README.md").read_text()
    [metrics, proxied, direct] = re.findall(
        r"that is (\d+) metrics.*?([\d.]+) in all;\nwithout a proxy ([\d.]+)\.", page, re.DOTALL
    )[0]
    assert prices.table()["counts"]["alarm_metrics"]["proxy"] == int(metrics)
    key = prices.table()["prices"]["key_month"]["usd"]  # which the page counts with the alarms
    for proxy, said in ((True, proxied), (False, direct)):
        costs = prices.month(prices.classes()["db.t4g.micro"], per_second=1, invocation_seconds=1, proxy=proxy)
        assert costs["alarms, dashboard"] + key == pytest.approx(float(said))


# --- what is refused ---


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "RATE must be given"),
        ({"rate": "abc"}, "RATE must be a number of transactions a second above 0 and at most 1,000,000, not abc"),
        ({"rate": "nan"}, "RATE must be a number"),
        ({"rate": "-1"}, "RATE must be a number"),
        ({"rate": "5"}, "TRANSACTION_MS must be given"),
        ({"rate": "5", "transaction_ms": "0"}, "TRANSACTION_MS must be a number of milliseconds above 0"),
        ({"rate": "5", "transaction_ms": "900001"}, "TRANSACTION_MS must be a number of milliseconds above 0 and"),
        ({"rate": "5", "transaction_ms": "9", "peak": "4"}, "PEAK 4 must be at least RATE 5"),
        ({"rate": "5", "transaction_ms": "9", "invocation_ms": "8"}, "INVOCATION_MS 8 must be at least TRANSACTION_MS"),
        ({"rate": "5", "transaction_ms": "9", "class": "db.x9.nano"}, r"CLASS db.x9.nano has no price.*db\.t4g\.micro"),
        ({"rate": "1e6", "transaction_ms": "9000"}, "9,000,000 executions at once; at most 1,000,000"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_the_name_of_its_variable(given: dict[str, str], message: str) -> None:
    with pytest.raises(size.WrongInput, match=message):
        size.read(given)


def test_the_largest_load_is_answered_in_time() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.size", "--rate", "1e6", "--transaction-ms", "1000"],
        cwd=ROOT, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_make_passes_on_what_it_is_given_as_it_is() -> None:
    """Nothing of it is a command, and a variable of the caller's environment is not what was asked."""
    done = subprocess.run(
        ["make", "size", "RATE=$(shell echo 5); echo no", "TRANSACTION_MS=2"],
        cwd=ROOT, text=True, capture_output=True, check=False,
        env={**{n: v for n, v in os.environ.items() if not n.startswith("MAKE")}, "CLASS": "none"},
    )  # fmt: skip
    assert done.returncode != 0
    assert "not $(shell echo 5); echo no" in done.stderr
    assert done.stdout == ""
