"""Line charts and interval strips: from numbers to places on the drawing. `charts.svg.j2` draws them.

Places are in the drawing's own units, (0, 0) at the top left.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stages.comparing.bootstrap import Estimate

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 44, 330, 12, 258  # the plot; to its right stand the names of the lines
STRIP_WIDTH = 110
_LABEL_GAP = 14.0
_MOST_DOTS = 16  # more would hide the line


@dataclass(frozen=True)
class Line:
    """What a chart shows.

    Attributes:
        label: stands at the line's end.
        style: class of the style sheet that colours it.
        points: (x, y), from left to right.
    """

    label: str
    style: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis."""

    place: float
    text: str


@dataclass(frozen=True)
class Dot:
    """A point of a line, and what to say of it."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class DrawnLine:
    """A line in the drawing's units: `path` as SVG has it, `dots` if they are few, and the height of its name."""

    label: str
    style: str
    path: str
    dots: list[Dot]
    label_y: float


@dataclass(frozen=True)
class Chart:
    """A line chart, ready to be drawn."""

    title: str
    x_label: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    lines: list[DrawnLine]


@dataclass(frozen=True)
class Strip:
    """An interval and its mean, along a line `STRIP_WIDTH` long, and where 0 is, if that is shown."""

    low: float
    mean: float
    high: float
    zero: float | None = None


@dataclass(frozen=True)
class _Scale:
    """Maps [low, high] to [start, end], linearly or by logarithm."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = map(math.log, (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        return self.start + (self.end - self.start) * (value - low) / (high - low)


def line_chart(title: str, x_label: str, lines: Sequence[Line]) -> Chart:
    """Lay out lines over a shared grid.

    The y axis is logarithmic where all values are positive and the largest is more than thirty times the smallest.

    Args:
        title: what is on the y axis, with its unit.
        x_label: what is on the x axis, with its unit.
        lines: those without points are left out.
    """
    lines = [line for line in lines if line.points]
    xs, ys = ([point[axis] for line in lines for point in line.points] for axis in (0, 1))
    if not lines:
        return Chart(title, x_label, [], [], [])
    x_of = _Scale(*_widen(min(xs), max(xs), 0), LEFT, RIGHT)
    log = min(ys) > 0 and max(ys) > 30 * min(ys)
    y_range = (min(ys) / 1.2, max(ys) * 1.2) if log else _widen(min(ys), max(ys), 0.04)
    y_of = _Scale(*y_range, BOTTOM, TOP, log)
    x_ticks, y_ticks = ([Tick(scale(value), f"{value:g}") for value in _ticks(scale)] for scale in (x_of, y_of))
    return Chart(title, x_label, x_ticks, y_ticks, _draw(lines, x_of, y_of))


def _widen(low: float, high: float, share: float) -> tuple[float, float]:
    margin = share * (high - low) if high > low else 0.5
    return low - margin, high + margin


def _ticks(scale: _Scale) -> list[float]:
    """Find round numbers: 1, 2 or 5 times a power of ten apart; on a logarithmic scale, those themselves."""
    if scale.log:
        exponents = range(math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high)) + 1)
        digits = (1, 2, 5) if len(exponents) <= 3 else (1,)
        values = [digit * 10.0**exponent for exponent in exponents for digit in digits]
        return [value for value in values if scale.low <= value <= scale.high]
    rough = (scale.high - scale.low) / 6
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(digit * power for digit in (1, 2, 5, 10) if digit * power >= rough)
    first, last = math.ceil(scale.low / step - 1e-9), math.floor(scale.high / step + 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def _draw(lines: Sequence[Line], x_of: _Scale, y_of: _Scale) -> list[DrawnLine]:
    label_ys = _move_apart([y_of(line.points[-1][1]) for line in lines])
    drawn = []
    for line, label_y in zip(lines, label_ys, strict=True):
        dots = [Dot(round(x_of(x), 1), round(y_of(y), 1), f"{line.label}: {y:.4g} at {x:g}") for x, y in line.points]
        path = "M" + "L".join(f"{dot.x} {dot.y}" for dot in dots)
        drawn.append(DrawnLine(line.label, line.style, path, dots if len(dots) <= _MOST_DOTS else [], label_y))
    return drawn


def _move_apart(heights: Sequence[float]) -> list[float]:
    """Move names that would touch: down to keep the gap, then up again where they ran out of the chart."""
    order = sorted(range(len(heights)), key=lambda number: heights[number])
    moved = list(heights)
    lowest = -math.inf
    for number in order:
        moved[number] = lowest = max(moved[number], lowest + _LABEL_GAP)
    highest = BOTTOM + _LABEL_GAP / 2
    for number in reversed(order):
        moved[number] = min(moved[number], highest)
        highest = moved[number] - _LABEL_GAP
    return [round(height, 1) for height in moved]


def interval_strips(estimates: Sequence[Estimate], zero: bool = False) -> list[Strip]:
    """Lay out the intervals of several means along one scale, for the rows of a table.

    Args:
        estimates: at least one.
        zero: whether 0 is on the scale, and marked.
    """
    ends = [0.0] if zero else []
    low, high = min(ends + [one.low for one in estimates]), max(ends + [one.high for one in estimates])
    x_of = _Scale(*_widen(low, high, 0), 6, STRIP_WIDTH - 6)
    origin = round(x_of(0), 1) if zero else None
    return [
        Strip(round(x_of(one.low), 1), round(x_of(one.mean), 1), round(x_of(one.high), 1), origin) for one in estimates
    ]
