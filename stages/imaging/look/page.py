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
from markupsafe import Markup

from stages.imaging.look import charts


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

    @property
    def drawing(self) -> Markup:
        """The chart as SVG."""
        return charts.histogram(self.title, self.values, self.low, self.high, self.bars)


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
    return environment.get_template("page.html.j2").render(page=page)
