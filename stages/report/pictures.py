"""Reading and scaling of pictures.

Pictures are uint8 (H, W, 3).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

WHITE = 255  # missing pixels, as in the files of holes


@dataclass(frozen=True)
class Shown:
    """A pair of test tile and hole, with answers.

    Attributes:
        row: its row in the scores.
        target: the tile.
        image: the tile with its hole in white.
        answers: composites, one per method.
        hole: uint8 (H, W), 1 = missing.
    """

    row: int
    target: Pixels
    image: Pixels
    answers: Sequence[Pixels]
    hole: Pixels


def with_hole(target: Pixels, hole: Pixels) -> Pixels:
    """Whiten the missing pixels, where `hole`, uint8 (H, W), is 1."""
    return np.where(hole[..., None] > 0, np.uint8(WHITE), target)


def read_picture(path: Path) -> Pixels:
    """Read a picture that evaluation wrote."""
    return np.asarray(Image.open(path))


def fitted(picture: Pixels, side_px: int) -> Image.Image:
    """Scale a picture down so that its longer side has at most so many pixels."""
    opened = Image.fromarray(picture)
    opened.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    return opened
