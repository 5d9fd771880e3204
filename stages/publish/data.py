"""What MLflow shows of the data that was trained on: the counts of prepare, the pages of prepare, masks and augment."""

import json
from pathlib import Path

_COUNTS = Path("prepared/summary.json")
_PAGES = {
    "photographs.html": Path("prepared/look.html"),
    "holes.html": Path("masks/look.html"),
    "altered_tiles.html": Path("augmented/look.html"),
}


def files(data: Path) -> list[Path]:
    """Return those of the files that there are.

    Args:
        data: folder of the pipeline's outputs.
    """
    return [data / name for name in (_COUNTS, *_PAGES.values()) if (data / name).exists()]


def counts(data: Path) -> dict[str, float]:
    """Return what became of the files, by the name of the metric."""
    path = data / _COUNTS
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {f"data/{name}": float(number) for name, number in found.items()}


def pages(data: Path) -> dict[str, str]:
    """Return the pages, by the name that they have as artifacts."""
    return {name: (data / path).read_text(encoding="utf-8") for name, path in _PAGES.items() if (data / path).exists()}
