"""A picture of a storm: connections over time, as lines of one graph, in SVG.

It shows what was measured and nothing else: a line has a point for each sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 400
LEFT, RIGHT, TOP, BOTTOM = 52, 190, 58, 62  # around the graph itself

_INK, _FAINT, _GRID = "#1f2328", "#59636e", "#d1d9e0"
_LABEL_HEIGHT = 15


@dataclass(frozen=True)
class Line:
    """Samples of one number: seconds since the begin of the storm, and the value."""

    label: str
    colour: str
    samples: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Limit:
    """A number that does not change."""

    label: str
    value: float


def draw(title: str, note: str, lines: Sequence[Line], limits: Sequence[Limit]) -> str:
    """Return an SVG document with these lines, each with its label at its end."""
    samples = [sample for line in lines for sample in line.samples]
    scale = _Scale(
        seconds=max(seconds for seconds, _ in samples),
        most=max([value for _, value in samples] + [limit.value for limit in limits]),
    )
    described = "; ".join(f"{line.label}: at most {max(v for _, v in line.samples):g}" for line in lines)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            'font-family="system-ui, sans-serif" font-size="12">',
            f"  <title>{escape(title)}</title>",
            f"  <desc>{escape(described)}</desc>",
            f'  <rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
            f'  <text x="{LEFT}" y="24" font-size="15" font-weight="600" fill="{_INK}">{escape(title)}</text>',
            f'  <text x="{LEFT}" y="42" fill="{_FAINT}">{escape(note)}</text>',
            *_grid(scale),
            *(_limit(limit, scale) for limit in limits),
            *(_line(line, scale) for line in lines),
            *_labels(lines, limits, scale),
            "</svg>",
            "",
        ]
    )


@dataclass(frozen=True)
class _Scale:
    seconds: float
    most: float

    @property
    def top(self) -> float:
        """The upper end of the axis: the next whole step above all values."""
        return self.step * math.ceil(self.most / self.step)

    @property
    def step(self) -> float:
        """A round number of which about five make the axis."""
        rough = max(self.most, 1) / 5
        power = 10 ** math.floor(math.log10(rough))
        return float(next(round_ * power for round_ in (1, 2, 2.5, 5, 10) if round_ * power >= rough))

    def x(self, seconds: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * seconds / (self.seconds or 1)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / self.top


def _grid(scale: _Scale) -> list[str]:
    drawn = []
    for number in range(round(scale.top / scale.step) + 1):
        value, y = number * scale.step, scale.y(number * scale.step)
        drawn.append(f'  <path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{_GRID}"/>')
        drawn.append(f'  <text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="{_FAINT}">{value:g}</text>')
    for seconds in range(0, math.floor(scale.seconds) + 1, 2):
        x = scale.x(seconds)
        drawn.append(
            f'  <text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle" fill="{_FAINT}">{seconds}</text>'
        )
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    axis = f'text-anchor="middle" fill="{_FAINT}">seconds since the storm began</text>'
    drawn.append(f'  <text x="{middle:.1f}" y="{HEIGHT - BOTTOM + 38}" {axis}')
    return drawn


def _limit(limit: Limit, scale: _Scale) -> str:
    y = scale.y(limit.value)
    return f'  <path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{_FAINT}" stroke-dasharray="4 4"/>'


def _line(line: Line, scale: _Scale) -> str:
    points = " ".join(f"{scale.x(seconds):.1f},{scale.y(value):.1f}" for seconds, value in line.samples)
    return f'  <polyline points="{points}" fill="none" stroke="{line.colour}" stroke-width="2.5"/>'


def _labels(lines: Sequence[Line], limits: Sequence[Limit], scale: _Scale) -> list[str]:
    """Write each label at the height of its line's greatest value, moved down where another is there."""
    wanted = [(scale.y(max(v for _, v in line.samples)), line.label, line.colour) for line in lines]
    wanted += [(scale.y(limit.value), limit.label, _FAINT) for limit in limits]
    drawn, lowest = [], 0.0
    for y, label, colour in sorted(wanted):
        place = max(y, lowest)
        lowest = place + _LABEL_HEIGHT
        drawn.append(f'  <text x="{WIDTH - RIGHT + 8}" y="{place + 4:.1f}" fill="{colour}">{escape(label)}</text>')
    return drawn
