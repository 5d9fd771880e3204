"""Whether what fills holes is ever worse than a membrane, on pictures made to find out.

    faults = find_faults(load("data/models/pconv"))     # [] where all is well

Plain, shaded, noisy and photographic surroundings, each with round, square and long holes, from a few pixels to four
fifths of the picture, in the middle, at a border and in a corner. A model that loses its way in holes larger than those
that it was trained on paints glowing blobs into them; tiles of training size never show it.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from stages.inpainting.cropping import Missing, Pixels, Settings, membrane
from stages.inpainting.inpainter import Inpainter

SIDE = 256  # pixels
SIZES = (8, 60, 204)  # pixels, of holes
FLAT_LEVELS = 2  # that a pixel may be off on plain colour
SHADED_LEVELS, SHADED_SHARE = 4, 1.1  # that a pixel may be off on a shade: levels, beyond so many times a membrane's
LOST = 16 / 255  # how far an answer may be that gives way to a membrane, beyond what the membrane itself is off by
CAUGHT = "gave way to one"
MARGIN, MARGIN_LEVELS = 1.25, 4  # of the error's root mean square, against a membrane's

Errors = npt.NDArray[np.int16]


def surroundings(side: int) -> dict[str, Pixels]:
    """Make the pictures, uint8 (side, side, 3), by name."""
    y, x = np.mgrid[:side, :side] / side
    rng = np.random.default_rng(0)
    plain = np.broadcast_to(np.array([10, 120, 200], np.uint8), (side, side, 3))
    shaded = np.stack([40 + 150 * x, 60 + 100 * y, 200 - 120 * x * y], axis=2)
    noisy = 120 + 30 * rng.standard_normal((side, side, 3))
    # Hills before a sky with a sun: edges, shades, waves, some grain.
    hill = y > 0.55 + 0.1 * np.sin(7 * x)
    ground = np.stack([90 + 50 * np.sin(40 * x + 9 * y), 120 + 40 * np.sin(55 * y), 60 + 20 * x], axis=2)
    sky = np.stack([120 + 80 * y, 160 + 60 * y, 230 - 20 * x], axis=2)
    sun = ((x - 0.7) ** 2 + (y - 0.25) ** 2 < 0.01)[..., None]
    scene = np.where(hill[..., None], ground, np.where(sun, 245, sky)) + 4 * rng.standard_normal((side, side, 1))
    floats = {"shaded": shaded, "noisy": noisy, "scene": scene}
    return {"plain": plain, **{name: each.round().clip(0, 255).astype(np.uint8) for name, each in floats.items()}}


def holes(side: int, size: int) -> Iterator[tuple[str, Missing]]:
    """Make the holes of a size, bool (side, side), each with what it is."""
    y, x = np.mgrid[:side, :side]
    near, far = size // 3, side - 1 - size // 3
    places = {
        "middle": (side // 2, side // 2),
        "left border": (side // 2, near),
        "lower border": (far, side // 2),
        "upper left corner": (near, near),
        "lower right corner": (far, far),
    }
    for place, (row, column) in places.items():
        down, right = np.abs(y - row), np.abs(x - column)
        yield f"a round hole of {size} pixels, {place}", down**2 + right**2 < (size / 2) ** 2
        yield f"a square hole of {size} pixels, {place}", (down < size / 2) & (right < size / 2)
        yield f"a long hole of {size} pixels, {place}", (down < max(2, size / 16)) & (right < size / 2)


def find_faults(inpainter: Inpainter, side: int = SIDE, sizes: tuple[int, ...] = SIZES) -> list[str]:
    """Fill every hole without copied texture, and name those filled worse than the margins allow.

    Args:
        inpainter: what is tested.
        side: of the pictures, pixels.
        sizes: of the holes, pixels.
    """
    faults = []
    for name, picture in surroundings(side).items():
        for size in sizes:
            for what, missing in holes(side, size):
                answer, report = inpainter(picture, missing, Settings(detail=False))
                sheet = membrane.spread(picture.astype(np.float32), missing).round().clip(0, 255)
                of_membrane = _errors(sheet, picture, missing)
                problem = _problem(name, _errors(answer, picture, missing), of_membrane)
                if not problem and report["strays"] > LOST + _root_mean_square(of_membrane) / 255 and name != "noisy":
                    problem = f"an answer {255 * report['strays']:.0f} levels away from a membrane {CAUGHT}"
                if problem:
                    faults.append(f"{name} surroundings, {what}: {problem}")
    return faults


def _errors(answer: npt.NDArray[np.generic], picture: Pixels, missing: Missing) -> Errors:
    errors: Errors = (answer.astype(np.int16) - picture)[missing]
    return errors


def _problem(surroundings: str, errors: Errors, of_membrane: Errors) -> str:
    most, of_sheet = int(np.abs(errors).max()), int(np.abs(of_membrane).max())
    if surroundings == "plain" and most > FLAT_LEVELS:
        return f"{most} levels off"
    if surroundings == "shaded" and most > SHADED_LEVELS + SHADED_SHARE * of_sheet:
        return f"{most} levels off, a membrane {of_sheet}"
    mean, limit = _root_mean_square(errors), _root_mean_square(of_membrane)
    return f"an error of {mean:.0f} levels, a membrane {limit:.0f}" if mean > MARGIN * limit + MARGIN_LEVELS else ""


def _root_mean_square(errors: Errors) -> float:
    """Return the root of the errors' mean square, in levels."""
    return float(np.sqrt(np.square(errors, dtype=np.float64).mean()))
