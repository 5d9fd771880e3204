"""The page: sections of counts, distributions and pictures, in one HTML file that needs no other.

page = Page("Prepared photographs", "18 files ...", [Section("Files", "What became of them.", counts=[...])])
write_text("data/prepared/look.html", render(page))
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import numpy as np
import numpy.typing as npt

_WIDTH, _HEIGHT = 300, 110  # of a chart, in its own units
_TICKS = 4


@dataclass(frozen=True)
class Count:
    """A bar: what is counted, how often, and in words what it is, such as examples."""

    label: str
    number: int
    detail: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture or sheet, as `sheets.data_uri` writes it, and what it shows."""

    uri: str
    caption: str


@dataclass(frozen=True)
class Histogram:
    """The distributions of one number in several sets, each as shares of its own set.

    Attributes:
        title: what the number is, with its unit.
        values: of each set, by its name; an empty set is left out.
        low: where the axis begins.
        high: where it ends; what is beyond counts in the last bar.
        bars: how many.
    """

    title: str
    values: Mapping[str, npt.NDArray[np.float64]]
    low: float
    high: float
    bars: int = 24

    def lines(self) -> list[tuple[str, str]]:
        """Return each set's name and its outline as an SVG path."""
        counted = {name: self._shares(values) for name, values in self.values.items() if len(values)}
        top = max((float(shares.max()) for shares in counted.values()), default=1.0)
        return [(name, self._outline(shares / top)) for name, shares in counted.items()]

    def _shares(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        counts, _ = np.histogram(np.clip(values, self.low, self.high), self.bars, (self.low, self.high))
        return counts / len(values)

    def _outline(self, heights: npt.NDArray[np.float64]) -> str:
        xs = np.linspace(0, _WIDTH, self.bars + 1).repeat(2)[1:-1]
        ys = _HEIGHT * (1 - heights.repeat(2))
        return (
            f"M0 {_HEIGHT}L"
            + "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(xs, ys, strict=True))
            + f"L{_WIDTH} {_HEIGHT}"
        )

    def ticks(self) -> list[tuple[float, str]]:
        """Return places along the axis and what stands there."""
        values = np.linspace(self.low, self.high, _TICKS + 1)
        return [
            (_WIDTH * place / _TICKS, f"{value:g}{'+' if place == _TICKS else ''}")
            for place, value in enumerate(values)
        ]


@dataclass(frozen=True)
class Section:
    """A part of the page; what is empty is not shown.

    Attributes:
        title: its heading.
        note: a sentence or two on what is to be seen.
        counts: bars, in this order.
        histograms: side by side.
        sheets: pictures of the page's full width, one below the other.
        pictures: small ones, side by side.
        facts: a table, header first.
    """

    title: str
    note: str
    counts: Sequence[Count] = ()
    histograms: Sequence[Histogram] = ()
    sheets: Sequence[Picture] = ()
    pictures: Sequence[Sequence[Picture]] = ()
    facts: Sequence[Sequence[str]] = field(default=())

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.counts or self.histograms or self.sheets or self.pictures or self.facts)


@dataclass(frozen=True)
class Page:
    """All of it: the title, what is most worth knowing, the sections."""

    title: str
    lead: str
    sections: Sequence[Section]


def render(page: Page) -> str:
    """Return the page as HTML."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("page.html.j2").render(page=page, width=_WIDTH, height=_HEIGHT)
