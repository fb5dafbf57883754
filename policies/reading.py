"""How the policies read a resource, out of HCL and out of a plan alike.

checkov wraps values in lists, and blocks too, at depths that differ between HCL, a plan and a dynamic block.
"""

import re
from collections.abc import Iterator
from typing import Any

# A template, a reference that checkov could not follow, or its mark for what a plan does not know.
_UNRESOLVED = re.compile(r"\$\{|\b(var|local|module|data|each|count|self)\.\w|^aws_\w+\.\w|^true_after_unknown$")


def value(conf: dict[str, Any], key: str) -> Any:
    """Return an argument's value; None when it is left out, null or empty."""
    found = conf.get(key)
    while isinstance(found, list) and len(found) == 1:
        found = found[0]
    return None if found in ("", [], "null") else found


def values(conf: dict[str, Any], key: str) -> list[Any]:
    """Return the elements of an argument that is a list."""
    return [item for item in flat(conf.get(key)) if item not in ("", "null")]


def is_unresolved(found: Any) -> bool:
    """Tell whether a value is one that only a plan, or an apply, will know."""
    return isinstance(found, str) and _UNRESOLVED.search(found) is not None


def is_true(found: Any) -> bool:
    return str(found).lower() in ("true", "1", "on", "yes")


def number(found: Any) -> int | None:
    try:
        return int(found)
    except (TypeError, ValueError):
        return None


def blocks(conf: dict[str, Any], name: str) -> Iterator[dict[str, Any]]:
    """Yield each block of a name: written out, given as a list of objects, or made by a dynamic block."""
    for block in flat(conf.get(name)):
        if isinstance(block, dict):
            yield block
    for dynamic in flat(conf.get("dynamic")):
        for made in flat(dynamic.get(name)) if isinstance(dynamic, dict) else []:
            if isinstance(made, dict):
                yield from (block for block in flat(made.get("content")) if isinstance(block, dict))


def flat(found: Any) -> list[Any]:
    """Return what is wrapped in lists, some of them within others."""
    if not isinstance(found, list | tuple | set):
        return [] if found is None else [found]
    return [item for part in found for item in flat(part)]
