"""The page: sections of counts, histograms and pictures in one self-contained HTML file.

page = Page("Prepared photographs", "18 files ...", [Section("Files", "How they were used.", counts=[...])])
write_text("data/prepared/data_report.html", render(page))
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2

from stages.imaging.data_report.charts import Histogram, histogram


@dataclass(frozen=True)
class Count:
    """A bar: label, number, and details such as examples."""

    label: str
    number: int
    detail: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture or contact sheet as a data URI, with its caption."""

    uri: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A section of the page; empty parts are not shown.

    Attributes:
        title: its heading.
        note: a sentence or two about what to look for.
        counts: bars.
        histograms: shown side by side.
        sheets: pictures of full width.
        pictures: rows of small pictures.
        facts: rows of a table, header first.
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
        """Whether the section has no content."""
        return not (self.counts or self.histograms or self.sheets or self.pictures or self.facts)


@dataclass(frozen=True)
class Page:
    """The title, a summary, and the sections."""

    title: str
    lead: str
    sections: Sequence[Section]


def render(page: Page) -> str:
    """Render the page as HTML."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("page.html.j2").render(page=page, histogram=histogram)
