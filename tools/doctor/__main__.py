"""Print a line for each layer, exit with how many are wrong: python -m tools.doctor [--json] ROOT TERRAFORM OPTION…"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tools.doctor.layers import Layer, examine
from tools.doctor.site import Site
from tools.pipe import quietly

MOST = 100  # a status has no room for more


def main(arguments: Sequence[str]) -> int:
    """Examine an environment, print what was found; return how many layers are wrong."""
    parser = argparse.ArgumentParser(prog="python -m tools.doctor", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("root", type=Path)
    parser.add_argument("terraform", nargs=argparse.REMAINDER, help="how to run it there")
    given = parser.parse_args(arguments)
    began = time.monotonic()
    layers = examine(Site(given.root, given.terraform))
    seconds = time.monotonic() - began
    print(as_json(layers, seconds) if given.json else as_text(layers, seconds))
    return min(MOST, sum(layer.finding.verdict == "wrong" for layer in layers))


def as_text(layers: Sequence[Layer], seconds: float) -> str:
    """Return a line for each layer, each wrong one with its fix, and a line that counts them."""
    width = max(len(layer.name) for layer in layers)
    lines = [f"{layer.finding.verdict:<8} {layer.name:<{width}}  {_sentence(layer)}" for layer in layers]
    return "\n".join([*lines, f"{_count(layers)}, {seconds:.1f} s"])


def as_json(layers: Sequence[Layer], seconds: float) -> str:
    """Return the same for programs."""
    document = {
        "layers": [
            {
                "layer": layer.name,
                "verdict": layer.finding.verdict,
                "text": layer.finding.text,
                **({"fix": layer.finding.fix} if layer.finding.fix else {}),
            }
            for layer in layers
        ],
        "wrong": sum(layer.finding.verdict == "wrong" for layer in layers),
        "seconds": round(seconds, 1),
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def _sentence(layer: Layer) -> str:
    text = " ".join(layer.finding.text.split())
    return f"{text} Fix: {layer.finding.fix}" if layer.finding.fix else text


def _count(layers: Sequence[Layer]) -> str:
    counted = Counter(layer.finding.verdict for layer in layers)
    return ", ".join(f"{counted[verdict]} {verdict}" for verdict in ("ok", "wrong", "unknown"))


if __name__ == "__main__":
    quietly(main, sys.argv[1:])
