"""What the trainings saw: the pages that prepare, masks and augment leave, as a section of the report."""

import json
from pathlib import Path

import jinja2
from markupsafe import Markup

_PAGES = {
    "The photographs": "data/prepared/look.html",
    "The holes": "data/masks/look.html",
    "The altered tiles": "data/augmented/look.html",
}
_COUNTS = Path("data/prepared/summary.json")


def render_looks(root: Path = Path()) -> Markup:
    """Return the section, empty where no page is there.

    Args:
        root: of the project; pages are looked for in its `data`.
    """
    pages = {title: root / name for title, name in _PAGES.items() if (root / name).exists()}
    if not pages:
        return Markup()
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    counts = json.loads((root / _COUNTS).read_text(encoding="utf-8")) if (root / _COUNTS).exists() else {}
    texts = {title: path.read_text(encoding="utf-8") for title, path in pages.items()}
    return Markup(environment.get_template("looks.html.j2").render(pages=texts, counts=counts))  # noqa: S704 - escaped
