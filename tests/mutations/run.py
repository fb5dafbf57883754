"""Change one thing at a time in modules/, and see whether the plan tests of the module notice: make mutations.

Not asked are the tests of whole roots, nor the local AWS, which refuses more: what is left here is to be read, not only
to be counted.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter

from tests import plans
from tests.mutations import places
from tests.mutations.planned import TERRAFORM, Module

AT_ONCE = 30


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Change one thing at a time in modules/ and see whether a test notices."
    )
    parser.add_argument("--sample", type=int, metavar="N", help="only N of all changes, drawn at random")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the drawing (default: 0)")
    parser.add_argument("--module", action="append", help="only the changes to this module; may be repeated")
    parser.add_argument("--kind", action="append", help="only changes of this kind; may be repeated")
    parser.add_argument("--list", action="store_true", help="only list the changes")
    given = parser.parse_args()

    chosen = [
        mutation
        for mutation in places.mutations(plans.ROOT)
        if given.module is None or mutation.module in given.module
        if given.kind is None or mutation.kind in given.kind
    ]
    if given.sample is not None:
        drawn = set(random.Random(given.seed).sample(chosen, min(given.sample, len(chosen))))  # noqa: S311
        chosen = [mutation for mutation in chosen if mutation in drawn]
    if given.list:
        print(*(f"{mutation.kind:9} {mutation}" for mutation in chosen), sep="\n")
        return
    start = time.monotonic()
    by_whom: dict[places.Mutation, str] = {}
    for name in sorted({mutation.module for mutation in chosen}):
        module, of_module = Module(name), [mutation for mutation in chosen if mutation.module == name]
        for place in range(0, len(of_module), AT_ONCE):
            batch = of_module[place : place + AT_ONCE]
            by_whom |= module.noticed(batch)
            print(f"{name}: {len(batch)} changes asked about, {time.monotonic() - start:.0f} s", flush=True)
            for mutation in batch:
                if mutation not in by_whom:
                    print(f"    noticed by nobody: {mutation}", flush=True)
    _score(chosen, by_whom)


def _score(chosen: list[places.Mutation], by_whom: dict[places.Mutation, str]) -> None:
    print("\n| kind | changes | refused by Terraform | noticed by a test | by nobody |\n|---|---|---|---|---|")
    for kind in [*sorted({mutation.kind for mutation in chosen}), "all"]:
        of_kind = [mutation for mutation in chosen if kind in (mutation.kind, "all")]
        who = Counter(by_whom.get(mutation, "nobody") for mutation in of_kind)
        terraform, nobody = who.pop(TERRAFORM, 0), who.pop("nobody", 0)
        print(f"| {kind} | {len(of_kind)} | {terraform} | {who.total()} | {nobody} |")


if __name__ == "__main__":
    main()
