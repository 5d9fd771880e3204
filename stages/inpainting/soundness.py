"""Check that a model is never worse than harmonic inpainting, and always finite, on synthetic pictures.

    faults = list(find_faults(load("data/models/pconv")))    # [] if there are none
    pictures = find_unfinite(model, tile_size)               # likewise

Plain, shaded, noisy and photo-like surroundings, each with round, square and long holes, from a few pixels to 80 % of
the picture, in the middle, at a border and in a corner. A model may paint glowing blobs into holes that are larger than
those of its training; tiles of training size do not show that.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stages.inpainting.cropping import Missing, Pixels, Settings, membrane
from stages.inpainting.inpainter import Inpainter

if TYPE_CHECKING:
    from stages.inpainting.exported import ExportedModel

SIDE = 256  # pixels
SIZES = (8, 60, 204)  # pixels, of holes
FLAT_LEVELS = 2  # allowed error of a pixel on plain colour
SHADED_LEVELS, SHADED_SHARE = 4, 1.1  # allowed error on a gradient: levels beyond this multiple of a membrane's
LOST = 16 / 255  # allowed distance of a replaced prediction, beyond the error of the membrane itself
CAUGHT = "was replaced by it"
MARGIN, MARGIN_LEVELS = 1.25, 4  # allowed RMS error: multiple of a membrane's, plus levels

Errors = npt.NDArray[np.int16]


def surroundings(side: int) -> dict[str, Pixels]:
    """Make the test pictures, uint8 (side, side, 3), by name."""
    y, x = np.mgrid[:side, :side] / side
    rng = np.random.default_rng(0)
    plain = np.broadcast_to(np.array([10, 120, 200], np.uint8), (side, side, 3))
    shaded = np.stack([40 + 150 * x, 60 + 100 * y, 200 - 120 * x * y], axis=2)
    noisy = 120 + 30 * rng.standard_normal((side, side, 3))
    # Hills, sky and sun: edges, gradients, waves, some grain.
    hill = y > 0.55 + 0.1 * np.sin(7 * x)
    ground = np.stack([90 + 50 * np.sin(40 * x + 9 * y), 120 + 40 * np.sin(55 * y), 60 + 20 * x], axis=2)
    sky = np.stack([120 + 80 * y, 160 + 60 * y, 230 - 20 * x], axis=2)
    sun = ((x - 0.7) ** 2 + (y - 0.25) ** 2 < 0.01)[..., None]
    scene = np.where(hill[..., None], ground, np.where(sun, 245, sky)) + 4 * rng.standard_normal((side, side, 1))
    floats = {"shaded": shaded, "noisy": noisy, "scene": scene}
    return {"plain": plain, **{name: each.round().clip(0, 255).astype(np.uint8) for name, each in floats.items()}}


def holes(side: int, size: int) -> Iterator[tuple[str, Missing]]:
    """Make holes of a size, bool (side, side), each with a description."""
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


def find_faults(
    inpainter: Inpainter, side: int = SIDE, sizes: tuple[int, ...] = SIZES, names: Sequence[str] = ()
) -> Iterator[str]:
    """Fill every hole without copied texture, and describe those whose error exceeds the limits.

    Args:
        inpainter: to test.
        side: of the pictures, pixels.
        sizes: of the holes, pixels.
        names: of the surroundings, by default all.

    Yields:
        faults, each as soon as it is found, so that a caller may stop early: all holes take some ten seconds.
    """
    pictures = surroundings(side)
    for name in names or pictures:
        picture = pictures[name]
        for size in sizes:
            for what, missing in holes(side, size):
                answer, report = inpainter(picture, missing, Settings(detail=False))
                sheet = membrane.spread(picture.astype(np.float32), missing).round().clip(0, 255)
                of_membrane = _errors(sheet, picture, missing)
                problem = _problem(name, _errors(answer, picture, missing), of_membrane)
                if not problem and report["strays"] > LOST + _root_mean_square(of_membrane) / 255 and name != "noisy":
                    problem = f"a prediction {255 * report['strays']:.0f} levels off harmonic inpainting {CAUGHT}"
                if problem:
                    yield f"{name} surroundings, {what}: {problem}"


def _errors(answer: npt.NDArray[np.generic], picture: Pixels, missing: Missing) -> Errors:
    errors: Errors = (answer.astype(np.int16) - picture)[missing]
    return errors


def _problem(surroundings: str, errors: Errors, of_membrane: Errors) -> str:
    most, of_sheet = int(np.abs(errors).max()), int(np.abs(of_membrane).max())
    if surroundings == "plain" and most > FLAT_LEVELS:
        return f"{most} levels off"
    if surroundings == "shaded" and most > SHADED_LEVELS + SHADED_SHARE * of_sheet:
        return f"{most} levels off, harmonic inpainting {of_sheet}"
    mean, limit = _root_mean_square(errors), _root_mean_square(of_membrane)
    is_worse = mean > MARGIN * limit + MARGIN_LEVELS
    return f"an RMS error of {mean:.0f} levels, harmonic inpainting {limit:.0f}" if is_worse else ""


def _root_mean_square(errors: Errors) -> float:
    """Return the RMS error in levels."""
    return float(np.sqrt(np.square(errors, dtype=np.float64).mean()))


def find_unfinite(model: "ExportedModel", side: int) -> list[str]:
    """Name the extreme pictures for which a model's prediction is not finite.

    Args:
        model: to test.
        side: of the pictures, pixels.
    """
    import torch

    unfinite = []
    for name, image, missing in extremes(side):
        holed = torch.from_numpy(image * ~missing[..., None]).permute(2, 0, 1)[None]
        prediction = model(holed, torch.from_numpy(missing)[None, None].float())
        if not bool(torch.isfinite(prediction).all()):
            unfinite.append(name)
    return unfinite


def extremes(side: int) -> Iterator[tuple[str, npt.NDArray[np.float32], Missing]]:
    """Make pictures and holes that break what is easily broken.

    Yields:
        a name, float32 (side, side, 3) in [0, 1], bool (side, side).
    """
    rows, columns = np.indices((side, side))
    pixel = (rows == side // 2) & (columns == side // 3)
    pictures = {
        "black": np.zeros((side, side, 1)),
        "white": np.ones((side, side, 1)),
        "checkerboard": ((rows + columns) % 2)[..., None],
        "noise": np.random.default_rng(0).random((side, side, 3)),
    }
    masks = {
        "no hole": np.zeros_like(pixel),
        "all": np.ones_like(pixel),
        "one pixel": pixel,
        "all but one pixel": ~pixel,
        "half": columns < side // 2,
    }
    for name, picture in pictures.items():
        image = np.broadcast_to(picture, (side, side, 3)).astype(np.float32)
        for what, missing in masks.items():
            yield f"{name}, {what} missing", image, missing
