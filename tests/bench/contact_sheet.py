"""Draw a sheet of 24 objects taken out of photographs, to look at: skies, grass, water, stone, faces, writing.

    python -m tests.bench.contact_sheet data/models/pconv sheet.jpg

In each row: the hole, harmonic inpainting, PatchMatch alone, the model without and with copied texture; twice.
The photographs come with scikit-image, scikit-learn and matplotlib.
"""

import sys
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image, ImageDraw
from sklearn.datasets import load_sample_image

from stages.inpainting.cropping import Missing, Pixels, Settings
from stages.inpainting.inpainter import load

CELL = 220  # pixels
LABELS = ("hole", "harmonic", "patchmatch", "without detail", "with detail")
OBJECTS = (  # photograph, centre and diameters as shares of its width and height
    ("china", 0.25, 0.12, 0.2, 0.18), ("china", 0.8, 0.1, 0.25, 0.15), ("china", 0.5, 0.62, 0.2, 0.2),
    ("china", 0.2, 0.75, 0.22, 0.2), ("china", 0.62, 0.85, 0.25, 0.2), ("china", 0.85, 0.55, 0.15, 0.25),
    ("flower", 0.5, 0.5, 0.2, 0.25), ("flower", 0.15, 0.3, 0.2, 0.25), ("flower", 0.85, 0.8, 0.2, 0.25),
    ("astronaut", 0.43, 0.22, 0.1, 0.1), ("astronaut", 0.13, 0.3, 0.2, 0.25), ("astronaut", 0.6, 0.75, 0.2, 0.2),
    ("coffee", 0.5, 0.5, 0.2, 0.25), ("coffee", 0.15, 0.25, 0.2, 0.25), ("coffee", 0.8, 0.75, 0.2, 0.25),
    ("chelsea", 0.47, 0.45, 0.15, 0.2), ("chelsea", 0.15, 0.7, 0.2, 0.3), ("rocket", 0.5, 0.45, 0.12, 0.5),
    ("rocket", 0.2, 0.3, 0.25, 0.35), ("rocket", 0.75, 0.9, 0.25, 0.15), ("brick", 0.5, 0.5, 0.3, 0.3),
    ("grass", 0.5, 0.5, 0.3, 0.3), ("gravel", 0.4, 0.6, 0.3, 0.3), ("page", 0.4, 0.5, 0.2, 0.25),
)  # fmt: skip


def photograph(name: str) -> Pixels:
    """Return a photograph, uint8 (H, W, 3)."""
    if name in ("china", "flower"):
        return load_sample_image(f"{name}.jpg")
    found = getattr(skimage.data, name)()
    return np.repeat(found[..., None], 3, axis=2) if found.ndim == 2 else found


def ellipse(shape: tuple[int, ...], x: float, y: float, wide: float, tall: float) -> Missing:
    """Return a hole, bool (H, W), with an outline that is not quite an ellipse's."""
    rows, columns = np.mgrid[: shape[0], : shape[1]] / np.array(shape[:2])[:, None, None]
    right, down = (columns - x) / (wide / 2), (rows - y) / (tall / 2)
    return np.hypot(right, down) < 1 + 0.15 * np.sin(3 * np.arctan2(down, right) + 10 * x)


def sheet(model: str) -> Image.Image:
    """Fill the holes by all methods, and put what is around them side by side."""
    methods = [(load("harmonic"), False), (load("patchmatch"), False), (load(model), False), (load(model), True)]
    page = Image.new("RGB", (2 * len(LABELS) * CELL + 8, len(OBJECTS) // 2 * CELL + 20), "white")
    draw = ImageDraw.Draw(page)
    for number, (name, *place) in enumerate(OBJECTS):
        photo = photograph(name)
        missing = ellipse(photo.shape, *place)
        answers = [one(photo, missing, Settings(detail=detail))[0] for one, detail in methods]
        holed = np.where(missing[..., None], np.uint8(255), photo)
        h, w = missing.shape
        side = min(h, w, round(2.2 * max(place[2] * w, place[3] * h)))
        left, top = (
            round(min(max(0, at * size - side / 2), size - side)) for at, size in zip(place, (w, h), strict=False)
        )
        for column, picture in enumerate((holed, *answers)):
            cell = Image.fromarray(picture[top : top + side, left : left + side]).resize((CELL - 2, CELL - 2))
            x = (column + number % 2 * len(LABELS)) * CELL + number % 2 * 8
            page.paste(cell, (x, number // 2 * CELL + 20))
            draw.text((x + 4, 4), LABELS[column], "black")
    return page


if __name__ == "__main__":
    sheet(sys.argv[1]).save(Path(sys.argv[2]), quality=82)
