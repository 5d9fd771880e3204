"""Example photos for the page: those of scikit-image, if it is installed."""

from importlib.util import find_spec
from pathlib import Path

PHOTOS = ("coffee.png", "chelsea.png", "astronaut.png", "rocket.jpg")


def names() -> list[str]:
    """Return the names of the available photos."""
    return [name for name in PHOTOS if path(name)]


def path(name: str) -> Path | None:
    """Return the path of a photo, None if it is not available."""
    spec = find_spec("skimage")  # not imported, which would take a second
    if name not in PHOTOS or spec is None or spec.origin is None:
        return None
    found = Path(spec.origin).parent / "data" / name
    return found if found.is_file() else None
