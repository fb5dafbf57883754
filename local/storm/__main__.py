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
    parser.add_argument("--environments", type=_numbers, default=storm.Size().environments, help="such as 50,200,500")
    size = storm.Size(parser.parse_args().environments)
    try:
        done = storm.run(size, storm.ALL)
    except storm.StormError as error:
        print(error, file=sys.stderr)
        return 1
    data, drawn = OUTPUT / "storm.json", OUTPUT / "storm.svg"
    done.write(data)
    picture.main((str(data), str(drawn)))
    print(f"\n  {data.relative_to(ROOT)}, drawn in {drawn.relative_to(ROOT)}")
    missed = done.missed()
    for miss in missed:
        print(f"MISSED: {miss}", file=sys.stderr)
    return 1 if missed else 0


def _numbers(text: str) -> tuple[int, ...]:
    numbers = tuple(int(number) for number in text.split(","))
    if numbers[0] < 1 or any(after <= before for before, after in pairwise(numbers)):
        raise ValueError(text)
    return numbers


if __name__ == "__main__":
    sys.exit(main())
