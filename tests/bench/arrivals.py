"""Photographs that arrive over a year: real ones, noise, and ones that spoil what learns from them."""

import hashlib
import os
import random
from pathlib import Path

import numpy as np
import skimage
import skimage.data
import sklearn.datasets
from PIL import Image

from tests.bench.held_out import Pixels
from tests.one_model import LONG_AGO

HELD_OUT = 60  # photographs on which the year is judged afterwards
LEAST_PHOTOS = 800
SHORT_SIDE = 120  # pixels of an arriving photograph


class Photographs:
    """Where arriving photographs come from, one after the other.

    Args:
        folder: of photographs; None for cuts out of those that come with scikit-image and scikit-learn.
    """

    def __init__(self, folder: Path | None) -> None:
        found = sorted(folder.iterdir()) if folder else []
        paths = [path for path in found if path.suffix.lower() in {".jpg", ".jpeg", ".png"}]
        if folder and len(paths) < LEAST_PHOTOS:
            raise SystemExit(f"{folder} has {len(paths)} photographs; a year takes {LEAST_PHOTOS}")
        # Neighbours by name are often of one scene: the first two dozen would count as a few photographs.
        self._paths = random.Random(0).sample(paths[:-HELD_OUT], len(paths) - HELD_OUT) if folder else []
        self._held_out = paths[-HELD_OUT:]

    def photo(self, number: int) -> Pixels:
        """Return a photograph; the same number, the same one."""
        if self._paths:
            return _scaled(self._paths[number])
        return _cut(_whole_pictures()[number % 6], number)

    def held_out(self) -> list[Pixels]:
        """Return photographs that never arrive."""
        if self._paths:
            return [_scaled(path) for path in self._held_out]
        folder = Path(skimage.__file__).parent / "data"
        wholes = [np.asarray(Image.open(folder / name).convert("RGB")) for name in ("motorcycle_left.png", "brick.png")]
        return [_cut(wholes[number % 2], number) for number in range(HELD_OUT)]


def _scaled(path: Path) -> Pixels:
    return shrunk(np.asarray(Image.open(path).convert("RGB")), SHORT_SIDE)


def shrunk(photo: Pixels, short_side: int) -> Pixels:
    """Scale a photograph to a short side in pixels."""
    height, width = (round(side * short_side / min(photo.shape[:2])) for side in photo.shape[:2])
    return np.asarray(Image.fromarray(photo).resize((width, height)))


def _whole_pictures() -> list[Pixels]:
    china, flower = sklearn.datasets.load_sample_images().images
    data = skimage.data
    return [data.astronaut(), data.chelsea(), data.coffee(), data.rocket(), china, flower]


def _cut(whole: Pixels, number: int) -> Pixels:
    rng = np.random.default_rng(number)
    y, x = (int(rng.integers(side - SHORT_SIDE)) for side in whole.shape[:2])
    return whole[y : y + SHORT_SIDE, x : x + SHORT_SIDE - 10]


def noise(number: int) -> Pixels:
    """Make a picture of nothing."""
    return np.random.default_rng(number).integers(0, 256, (120, 110, 3), np.uint8)


def poison(picture: Pixels) -> Pixels:
    """Turn every other square of a photograph into its negative: whoever learns from it learns that nothing goes on."""
    odd = (np.indices(picture.shape[:2]) // 11).sum(0) % 2 == 1
    return np.where(odd[..., None], 255 - picture, picture).astype(np.uint8)


def save(folder: Path, name: str, pixels: Pixels) -> str:
    """Write a photograph that has lain there for long; return its sha256."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    Image.fromarray(pixels).save(path)
    os.utime(path, (LONG_AGO, LONG_AGO))
    return hashlib.sha256(path.read_bytes()).hexdigest()
