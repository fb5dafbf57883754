"""What a check found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

Verdict = Literal["ok", "wrong", "unknown"]


@dataclass(frozen=True)
class Finding:
    """What a layer is, in one sentence; of a wrong one also how to mend it, and which layers it would follow from."""

    verdict: Verdict
    text: str
    fix: str = ""
    follows: tuple[str, ...] = ()


def ok(text: str) -> Finding:
    return Finding("ok", text)


def unknown(text: str) -> Finding:
    return Finding("unknown", text)


def wrong(text: str, fix: str, *, follows: tuple[str, ...] = ()) -> Finding:
    """Say what is wrong. Where one of the layers `follows` is wrong, too, that one is the cause."""
    return Finding("wrong", text, fix, follows)


def causes_only(found: Mapping[str, Finding]) -> dict[str, Finding]:
    """Turn what only follows from another wrong layer into unknown: it is judged when its cause is mended."""
    return {name: _judged(name, found) for name in found}


def _judged(name: str, found: Mapping[str, Finding]) -> Finding:
    finding, cause = found[name], _cause(name, found, ())
    if cause == name:
        return finding
    return replace(finding, verdict="unknown", text=f"{finding.text} That follows from: {cause}.", fix="")


def _cause(name: str, found: Mapping[str, Finding], followed: tuple[str, ...]) -> str:
    """Return the layer that this one follows from in the end; of layers that follow from each other, the first."""
    path = (*followed, name)
    causes = [other for other in ("account", *found[name].follows) if _is_wrong(other, found) and other != name]
    if not _is_wrong(name, found) or not causes:
        return name
    if ahead := [other for other in causes if other not in path]:
        return _cause(ahead[0], found, path)
    circle = path[path.index(causes[0]) :]
    return min(circle, key=list(found).index)


def _is_wrong(name: str, found: Mapping[str, Finding]) -> bool:
    return name in found and found[name].verdict == "wrong"
