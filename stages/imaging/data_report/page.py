"""The page: sections of counts, distributions and pictures, in one HTML file that needs no other.

page = Page("Prepared photographs", "18 files ...", [Section("Files", "What became of them.", counts=[...])])
write_text("data/prepared/data_report.html", render(page))
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2

from stages.imaging.data_report.charts import Histogram, histogram


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
    return environment.get_template("page.html.j2").render(page=page, histogram=histogram)
