"""The command of the storm: python -m local.storm."""

from __future__ import annotations

import argparse
import sys
from itertools import pairwise
from pathlib import Path

from local.storm import picture, storm

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "build" / "output"


def main() -> int:
    """Send the storm every way; return 1 where a goal of the stand-in was missed."""
    parser = argparse.ArgumentParser(prog="python -m local.storm", description=main.__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--environments", type=_numbers, default=storm.Size().environments, help="such as 50,200,500")
    which.add_argument("--cluster", action="store_true", help="200 and 1,000 that write, while a cluster fails over")
    which.add_argument("--short", action="store_true", help="the storm of make demo, drawn over time")
    given = parser.parse_args()
    try:
        if given.cluster:
            return _cluster()
        return _short() if given.short else _whole(storm.Size(given.environments))
    except storm.StormError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _whole(size: storm.Size) -> int:
    done = storm.run(size, storm.ALL)
    data, drawn = OUTPUT / "storm.json", OUTPUT / "storm.svg"
    done.write(data)
    picture.main((str(data), str(drawn)))
    print(f"\n  {data.relative_to(ROOT)}, drawn in {drawn.relative_to(ROOT)}")
    missed = done.missed()
    for miss in missed:
        print(f"MISSED: {miss}", file=sys.stderr)
    return 1 if missed else 0


def _cluster() -> int:
    done = storm.run(storm.WITH_FAILOVER, [storm.FAILING_OVER])
    return int(any(row.lost or row.doubled or not row.written for row in done.rows))


def _short() -> int:
    drawn = OUTPUT / "connections.svg"
    storm.run().draw_time(drawn)
    print(f"\n  drawn in {drawn.relative_to(ROOT)}")
    return 0


def _numbers(text: str) -> tuple[int, ...]:
    numbers = tuple(int(number) for number in text.split(","))
    if numbers[0] < 1 or any(after <= before for before, after in pairwise(numbers)):
        raise ValueError(text)
    return numbers


if __name__ == "__main__":
    sys.exit(main())
