"""Photos to try the page with: some that come with scikit-image, where it is installed."""

from importlib.util import find_spec
from pathlib import Path

PHOTOS = ("coffee.png", "chelsea.png", "astronaut.png", "rocket.jpg")


def names() -> list[str]:
    """Return the names of the photos that are there."""
    return [name for name in PHOTOS if path(name)]


def path(name: str) -> Path | None:
    """Return where a photo is, or None where it is not."""
    spec = find_spec("skimage")  # looked for, not imported: that takes a second
    if name not in PHOTOS or spec is None or spec.origin is None:
        return None
    found = Path(spec.origin).parent / "data" / name
    return found if found.is_file() else None
