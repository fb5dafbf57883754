"""Pictures of a storm in SVG: what came of each number of environments, and connections over time.

They show what was measured and nothing else: a line has a point for each measurement. The colours follow the reader's
light or dark scheme. The first picture is drawn from the JSON of `make storm`:
python -m local.storm.picture STORM.json PICTURE.svg
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 400
LEFT, RIGHT, TOP, BOTTOM = 52, 26, 110, 52  # around the panels
BETWEEN = 66  # two panels

# Of paper, text, what explains, the grid; then of the lines.
_LIGHT = {"paper": "#ffffff", "ink": "#1f2328", "faint": "#59636e", "grid": "#d1d9e0"}
_DARK = {"paper": "#0d1117", "ink": "#f0f6fc", "faint": "#9198a1", "grid": "#3d444d"}
_LINES = {
    "red": ("#cf222e", "#ff7b72"),
    "green": ("#1a7f37", "#3fb950"),
    "blue": ("#0969da", "#58a6ff"),
    "brown": ("#9a6700", "#d29922"),
    "purple": ("#8250df", "#bc8cff"),
}
_COLOUR_OF_WAY = {
    "directly": "red",
    "through the proxy": "green",
    "through PgBouncer": "blue",
    "the proxy, pinned": "brown",
    "the proxy, held 100 ms": "purple",
}


@dataclass(frozen=True)
class Line:
    """Measurements of one thing: where on the axis, and the value."""

    label: str
    colour: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


@dataclass(frozen=True)
class Limit:
    """A number that does not change."""

    label: str
    value: float


@dataclass(frozen=True)
class Panel:
    """One graph. On a logarithmic axis, which begins at 10, what is less stands at its lower end."""

    title: str
    axis: str
    lines: Sequence[Line]
    limits: Sequence[Limit] = ()
    ticks: Sequence[float] | None = None  # of the axis; None: every two
    logarithmic_axis: bool = False
    logarithmic: bool = False


def of_environments(storm: dict[str, Any]) -> str:
    """Return the picture of a storm's JSON: accepted environments and throughput over their number."""
    rows, settings = storm["rows"], storm["settings"]
    ways = list(dict.fromkeys(row["way"] for row in rows))

    def lines(figure: str) -> list[Line]:
        return [
            Line(
                way,
                _COLOUR_OF_WAY[way],
                [(row["environments"], row[figure]) for row in rows if row["way"] == way],
                dashed=way == "through PgBouncer",
            )
            for way in ways
        ]

    sizes = settings["environments"]
    most, machine = max(sizes), storm["machine"]
    refused = {row["way"]: most - row["accepted"] for row in rows if row["environments"] == most}
    return draw(
        f"A storm of {sizes[0]} to {most:,} execution environments, max_connections = {settings['max_connections']}",
        f"Without a connection at {most:,}: {refused['through the proxy']:,} through the proxy's stand-in, "
        f"{refused['directly']:,} directly. Measured on {machine['cores']} cores, {machine['date']}.",
        [
            Panel(
                "environments that were answered", "execution environments", lines("accepted"),
                ticks=sizes, logarithmic_axis=True, logarithmic=True,
            ),
            Panel(
                f"queries/s, of {settings['per_second']:,} offered", "execution environments",
                lines("queries_per_second"), ticks=sizes, logarithmic_axis=True,
            ),
        ],
    )  # fmt: skip


def draw(title: str, note: str, panels: Sequence[Panel]) -> str:
    """Return an SVG document with these panels side by side, and one legend."""
    described = "; ".join(
        f"{panel.title}, {line.label}: {line.points[-1][1]:g} at the end, at most {max(y for _, y in line.points):g}"
        for panel in panels
        for line in panel.lines
    )
    width = (WIDTH - LEFT - RIGHT - BETWEEN * (len(panels) - 1)) / len(panels)
    placed = [_Placed(panel, LEFT + number * (width + BETWEEN), width) for number, panel in enumerate(panels)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            'font-family="system-ui, sans-serif" font-size="12">',
            f"  <title>{escape(title)}</title>",
            f"  <desc>{escape(described)}</desc>",
            *_style(),
            f'  <rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>',
            f'  <text class="ink" x="16" y="26" font-size="15" font-weight="600">{escape(title)}</text>',
            f'  <text class="faint" x="16" y="45">{escape(note)}</text>',
            *_legend(panels),
            *(element for each in placed for element in each.elements()),
            "</svg>",
            "",
        ]
    )


def _style() -> Iterator[str]:
    yield "  <style>"
    for start, end, scheme, number in (
        ("", "", _LIGHT, 0),
        ("@media (prefers-color-scheme: dark) { ", " }", _DARK, 1),
    ):
        rules = [f".{name} {{ fill: {scheme[name]} }}" for name in ("paper", "ink", "faint")]
        rules += [f".grid {{ stroke: {scheme['grid']} }}", f".limit {{ stroke: {scheme['faint']} }}"]
        for name, colours in _LINES.items():
            rules.append(f"polyline.{name}, path.{name} {{ stroke: {colours[number]} }}")
            rules.append(f"circle.{name} {{ fill: {colours[number]} }}")
        yield f"    {start}{' '.join(rules)}{end}"
    yield "  </style>"


def _legend(panels: Sequence[Panel]) -> Iterator[str]:
    x = 16.0
    for line in {line.label: line for panel in panels for line in panel.lines}.values():
        yield f'  <path class="{line.colour}" d="M{x:.0f} 66h20" stroke-width="2.5"{_dashes(line)}/>'
        yield f'  <text class="ink" x="{x + 26:.0f}" y="70">{escape(line.label)}</text>'
        x += 44 + 6.4 * len(line.label)


def _dashes(line: Line) -> str:
    return ' stroke-dasharray="7 5"' if line.dashed else ""


class _Placed:
    """A panel where it stands, with its scales."""

    def __init__(self, panel: Panel, left: float, width: float) -> None:
        self.panel = panel
        self.left = left
        self.width = width
        points = [point for line in panel.lines for point in line.points]
        self._values = [y for _, y in points] + [limit.value for limit in panel.limits]
        self._first, self._last = min(x for x, _ in points), max(x for x, _ in points)
        if not panel.logarithmic_axis:
            self._first = 0.0

    def elements(self) -> Iterator[str]:
        panel, right = self.panel, self.left + self.width
        yield f'  <text class="ink" x="{self.left:.0f}" y="{TOP - 14}" font-weight="600">{escape(panel.title)}</text>'
        for value in self._steps():
            y = self.y(value)
            yield f'  <path class="grid" d="M{self.left:.1f} {y:.1f}H{right:.1f}"/>'
            label = f'x="{self.left - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{value:,.10g}</text>'
            yield f'  <text class="faint" {label}'
        for tick in panel.ticks if panel.ticks is not None else range(0, math.floor(self._last) + 1, 2):
            place = f'x="{self.x(tick):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle"'
            yield f'  <text class="faint" {place}>{tick:,.10g}</text>'
        middle = f'x="{self.left + self.width / 2:.1f}" y="{HEIGHT - BOTTOM + 38}" text-anchor="middle"'
        yield f'  <text class="faint" {middle}>{escape(panel.axis)}</text>'
        for limit in panel.limits:
            y = self.y(limit.value)
            yield f'  <path class="limit" d="M{self.left:.1f} {y:.1f}H{right:.1f}" stroke-dasharray="2 4"/>'
            place = f'x="{right - 4:.1f}" y="{y - 5:.1f}" text-anchor="end"'
            yield f'  <text class="faint" {place}>{escape(limit.label)}</text>'
        for line in panel.lines:
            points = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in line.points)
            drawn = f'points="{points}" fill="none" stroke-width="2.5"{_dashes(line)}'
            yield f'  <polyline class="{line.colour}" {drawn}/>'
            for x, y in line.points if panel.ticks is not None else ():
                place = f'cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="3"'
                yield f'  <circle class="{line.colour}" {place}><title>{escape(line.label)}: {y:,.10g}</title></circle>'

    def x(self, value: float) -> float:
        first, last = self._first, self._last
        if self.panel.logarithmic_axis:
            first, last, value = math.log(first), math.log(last), math.log(value)
        return self.left + self.width * (value - first) / ((last - first) or 1)

    def y(self, value: float) -> float:
        steps = self._steps()
        low, high = steps[0], steps[-1]
        if self.panel.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(max(value, low))
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low)

    def _steps(self) -> list[float]:
        """Return the values of the grid, the last at or above all that is drawn."""
        most = max(*self._values, 1)
        if self.panel.logarithmic:
            powers = [10**power for power in range(1, max(2, math.ceil(math.log10(most))))]
            return [*powers, next(n * powers[-1] for n in (2, 5, 10) if n * powers[-1] >= most)]
        rough = most / 5
        power = 10 ** math.floor(math.log10(rough))
        step = next(round_ * power for round_ in (1, 2, 2.5, 5, 10) if round_ * power >= rough)
        return [number * step for number in range(math.ceil(most / step) + 1)]


def main(arguments: Sequence[str]) -> None:
    """Draw the picture of a storm's JSON."""
    source, target = map(Path, arguments)
    target.write_text(of_environments(json.loads(source.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
