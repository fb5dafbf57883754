"""A failover under load: callers invoke a function that pays, each payment with a key, while the writer changes.

A caller whose invocation fails sends the same key again, as callers do. What was answered and what is kept are then
compared, key by key.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

CALLERS = 6
READING = 2
BEFORE_SECONDS = 4.0
AFTER_SECONDS = 4.0
MOST_SECONDS = 90.0  # for a writer to answer again
MOST_PAYMENTS = 3_000  # of each caller: the function tells of 20,000 at most
ATTEMPTS = 5  # of one payment

Invoke = Callable[[Mapping[str, Any]], dict[str, Any]]


class InvocationError(Exception):
    """The function failed, or was not reached."""


def longest_gap(moments: Iterable[float]) -> float:
    """Return the longest time between two moments that follow each other."""
    return max((later - earlier for earlier, later in pairwise(sorted(moments))), default=0.0)


def lost(answered: Set[str], kept: Mapping[str, int]) -> int:
    """Return how many of the keys that were answered are not kept."""
    return len(answered - kept.keys())


def doubled(kept: Mapping[str, int]) -> int:
    """Return how many keys are kept more than once."""
    return sum(times > 1 for times in kept.values())


@dataclass
class Load:
    """What callers were told: each key that was answered, when answers came, and what failed."""

    began: float = field(default_factory=time.monotonic)
    ended: float = 0.0
    answered: set[str] = field(default_factory=set)
    given_up: set[str] = field(default_factory=set)
    answers_at: list[float] = field(default_factory=list)
    invocations: int = 0
    failures: list[str] = field(default_factory=list)
    reads: Counter[str] = field(default_factory=Counter)  # by who answered
    failed_reads: list[str] = field(default_factory=list)

    def longest_silence(self) -> float:
        """Return the longest time in which no payment was answered, once the first had been; all of it if none was."""
        return longest_gap([*(self.answers_at or [self.began]), self.ended])


@dataclass(frozen=True)
class Outcome:
    """A load, and what the writer has kept of it: how often each key."""

    load: Load
    kept: Mapping[str, int]

    @property
    def lost(self) -> int:
        return lost(self.load.answered, self.kept)

    @property
    def doubled(self) -> int:
        return doubled(self.kept)

    def lines(self) -> list[str]:
        """Say it as the demonstration shows it."""
        load = self.load
        by = " and ".join(f"{times:,} by the {who}" for who, times in sorted(load.reads.items())) or "none"
        return [
            f"written              {len(load.answered):,} payments in {load.ended - load.began:.0f} s",
            f"lost                 {self.lost}",
            f"doubled              {self.doubled}",
            f"failed invocations   {len(load.failures)} of {load.invocations:,}, each sent again with its key"
            + (f"; {len(load.given_up)} payments given up" if load.given_up else ""),
            f"without a writer     {load.longest_silence():.1f} s",
            f"reads                {by}; {len(load.failed_reads)} failed",
        ]


def invoker(client: Any, function: str) -> Invoke:
    """Return what invokes a function once, as its callers do."""

    def invoke(event: Mapping[str, Any]) -> dict[str, Any]:
        try:
            answer = client.invoke(FunctionName=function, Payload=json.dumps(event).encode())
        except Exception as error:
            raise InvocationError(f"{type(error).__name__}: {error}") from error
        payload = json.load(answer["Payload"])
        if "FunctionError" in answer:
            raise InvocationError(f"{payload.get('errorType')}: {payload.get('errorMessage')}")
        return dict(payload)

    return invoke


def writer(rds: Any, cluster: str) -> str:
    """Return which instance RDS calls the writer."""
    [found] = rds.describe_db_clusters(DBClusterIdentifier=cluster)["DBClusters"]
    [writing] = [member for member in found["DBClusterMembers"] if member["IsClusterWriter"]]
    return str(writing["DBInstanceIdentifier"])


def fail_over(rds: Any, cluster: str) -> None:
    """Let another instance be the writer; return when RDS says that it is."""
    before = writer(rds, cluster)
    rds.failover_db_cluster(DBClusterIdentifier=cluster)
    deadline = time.monotonic() + MOST_SECONDS
    while writer(rds, cluster) == before:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{before} is still the writer of {cluster} after {MOST_SECONDS:.0f} s")
        time.sleep(0.2)


def under_load(invoke: Invoke, fail_over: Callable[[], None], prefix: str) -> Outcome:
    """Pay and read from several callers, fail over meanwhile, go on until payments are answered again; compare."""
    load, lock, over = Load(), threading.Lock(), threading.Event()

    def pay(caller: int) -> None:
        number = 0
        while not over.is_set() and number < MOST_PAYMENTS:
            number += 1
            _pay_one(invoke, f"{prefix}{caller}-{number}", load, lock, over)

    def read() -> None:
        while not over.wait(0.05):
            try:
                answer = invoke({})
            except InvocationError as error:
                with lock:
                    load.failed_reads.append(str(error))
            else:
                with lock:
                    load.reads[answer["answered_by"]] += 1

    threads = [threading.Thread(target=pay, args=(caller,)) for caller in range(CALLERS)]
    threads += [threading.Thread(target=read) for _ in range(READING)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(BEFORE_SECONDS)
        fail_over()
        _await_answers(load)
    finally:
        load.ended = time.monotonic()
        over.set()
        for thread in threads:
            thread.join()
    load.answers_at = [moment for moment in load.answers_at if moment <= load.ended]
    if not load.answered:
        raise InvocationError(f"no payment was answered: {load.failures[-1] if load.failures else 'nothing failed'}")
    kept = invoke({"prefix": prefix, "fresh": True})
    if kept["answered_by"] != "writer":
        raise InvocationError(f"what was kept was asked of a {kept['answered_by']}, which may be late")
    return Outcome(load, kept["keys"])


def _pay_one(invoke: Invoke, key: str, load: Load, lock: threading.Lock, over: threading.Event) -> None:
    for attempt in range(ATTEMPTS):
        if attempt and over.is_set():
            break  # else a function that only fails would hold up the end
        with lock:
            load.invocations += 1
        try:
            invoke({"key": key})
        except InvocationError as error:
            with lock:
                load.failures.append(str(error))
        else:
            with lock:
                load.answered.add(key)
                load.answers_at.append(time.monotonic())
            return
    with lock:
        load.given_up.add(key)


def _await_answers(load: Load) -> None:
    """Return some seconds after the failover was made, when payments are answered again."""
    deadline = time.monotonic() + MOST_SECONDS
    time.sleep(AFTER_SECONDS)
    while not any(moment > time.monotonic() - 0.5 for moment in load.answers_at[-CALLERS:]):
        if time.monotonic() > deadline:
            return  # the silence is told
        time.sleep(0.1)
