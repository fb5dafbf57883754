"""Say what a load takes: python -m tools.size --rate 200 --transaction-ms 20 [--class db.t4g.medium] [--peak 600] …"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence

from tools.size import prices, telling
from tools.size.answer import Answer, Load

MOST_PER_SECOND = 1_000_000
MOST_EXECUTIONS = 1_000_000
MOST_INVOCATION_MS = 900_000  # Lambda's longest

_EXAMPLE = "for example: make size RATE=200 TRANSACTION_MS=20"


class WrongInput(ValueError):  # noqa: N818 (what was given)
    """Which variable is wrong, and its rule."""


def main(arguments: Sequence[str]) -> int:
    """Print the answer; return 2 where what was given cannot be answered."""
    parser = argparse.ArgumentParser(prog="python -m tools.size", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    for name, meaning in {
        "rate": "transactions a second, on average over a month",
        "transaction-ms": "how long one holds its connection, on average",
        "peak": "transactions a second at the busiest time (default: the rate)",
        "invocation-ms": "how long an invocation lasts without waiting (default: as its transaction)",
        "class": "instance class (default: the cheapest that holds)",
    }.items():
        parser.add_argument(f"--{name}", default="", help=meaning)
    given = parser.parse_args(arguments)
    try:
        answer = Answer.of(*read(vars(given)))
    except WrongInput as wrong:
        print(wrong, file=sys.stderr)
        return 2
    print(telling.as_json(answer) if given.json else telling.as_text(answer))
    return 0


def read(given: Mapping[str, str]) -> tuple[Load, str | None]:
    """Return the load and the class, if one is wanted; WrongInput names the variable that is wrong."""
    rate = _number(given, "rate", "transactions a second", most=MOST_PER_SECOND)
    transaction = _number(given, "transaction_ms", "milliseconds", most=MOST_INVOCATION_MS)
    peak = _number(given, "peak", "transactions a second", most=MOST_PER_SECOND, default=rate)
    if peak < rate:
        raise WrongInput(f"PEAK {peak:g} must be at least RATE {rate:g}: it is the rate at the busiest time.")
    invocation = _number(given, "invocation_ms", "milliseconds", most=MOST_INVOCATION_MS, default=transaction)
    if invocation < transaction:
        raise WrongInput(
            f"INVOCATION_MS {invocation:g} must be at least TRANSACTION_MS {transaction:g}, which is a part of it."
        )
    if peak * invocation / 1000 > MOST_EXECUTIONS:
        what = "TRANSACTION_MS" if not given.get("invocation_ms") else "INVOCATION_MS"
        raise WrongInput(
            f"The peak rate {peak:g} times {what} {invocation:g} is {peak * invocation / 1000:,.0f} executions at "
            f"once; at most {MOST_EXECUTIONS:,} are reckoned."
        )
    wanted = given.get("class", "").strip() or None
    if wanted is not None and wanted not in prices.classes():
        raise WrongInput(f"CLASS {wanted} has no price here. It must be one of: {', '.join(prices.classes())}.")
    return Load(rate, peak, transaction / 1000, invocation / 1000), wanted


def _number(given: Mapping[str, str], name: str, unit: str, *, most: float, default: float | None = None) -> float:
    text, variable = given.get(name, "").strip(), name.upper()
    if not text:
        if default is None:
            raise WrongInput(f"{variable} must be given: a number of {unit} ({_EXAMPLE}).")
        return default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= most:
        raise WrongInput(
            f"{variable} must be a number of {unit} above 0 and at most {most:,}, not {text} ({_EXAMPLE})."
        )
    return number


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
