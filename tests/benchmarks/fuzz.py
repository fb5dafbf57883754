"""Hold random conversations with PostgreSQL, directly and through the stand-in for RDS Proxy, and send noise.

    make fuzz [SEED=S]    or    PYTHONPATH=. python tests/benchmarks/fuzz.py --messages 1000000 --seed 1

Ends with 1 at the first difference, which it prints with its seed.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.local.rds_proxy import fuzzing

_AT_ONCE = 96


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=int, default=900, help="ends then, however many were sent")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))  # noqa: S311
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    outcome = fuzzing.Outcome()
    started = told = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, fuzzing.prepare(Path(folder)) as ground:
        seed = arguments.seed
        while outcome.messages < arguments.messages and not outcome.differences:
            if time.monotonic() - started > arguments.seconds:
                break
            chance = random.Random(seed)  # noqa: S311
            fuzzing.compare(ground, chance, outcome, conversations=_AT_ONCE)
            fuzzing.disturb(ground, chance, outcome, clients=40)
            seed += 1
            if time.monotonic() - told > 10:
                told = time.monotonic()
                print(f"{outcome.messages:,} messages", flush=True)
    print(
        f"{outcome.messages:,} messages in {outcome.conversations:,} conversations, {outcome.pinned} of them pinned; "
        f"{outcome.disturbers:,} clients that sent noise, stopped in the middle or left; "
        f"{len(outcome.differences)} differences; {time.monotonic() - started:.0f} s"
    )
    for difference in outcome.differences[:5]:
        print(f"with seed {seed - 1}: {difference}")
    return int(bool(outcome.differences))


if __name__ == "__main__":
    sys.exit(main())
