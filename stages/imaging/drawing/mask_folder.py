"""Holes from a folder of mask pictures or annotations, scaled to one size and varied.

given, refused = load_given("data/holes", "white", 64)
hole = given.draw(wanted, crop=True, rng=np.random.default_rng(0))     # uint8 (64, 64), 1 = missing
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from stages.imaging.drawing.annotations import read_annotations
from stages.imaging.drawing.mask_spec import MaskSpec, first_allowed
from stages.imaging.holes import Pixels, hole_ratio, pack, touches_border
from stages.imaging.images import MOST_MEGAPIXELS, BadImageError
from stages.imaging.user_mask import read_hole
from stages.runtime.errors import InputError
from stages.runtime.files import write_array

_SUFFIXES = {".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".tif", ".tiff", ".webp"}
_ANNOTATIONS = ".json"
_SMALLEST_CROP = 0.6  # of the side
_MOSTLY = 0.6  # of the pixels; larger holes are not used


@dataclass(frozen=True)
class MaskFolder:
    """The holes of a folder.

    Attributes:
        packed: uint8 (n, size, ceil(size / 8)), as `holes.pack` makes them.
        ratios: float64 (n,).
        borders: bool (n,), whether each touches the border.
    """

    packed: Pixels
    ratios: npt.NDArray[np.float64]
    borders: npt.NDArray[np.bool_]

    def polarity_warning(self, hole_is: Literal["white", "black"]) -> str:
        """Return a warning if the polarity looks wrong, else "".

        In most masks less than half is missing and most of the edge is known. With the wrong polarity the background
        around the holes counts as missing.

        Args:
            hole_is: the colour that was taken for "missing".
        """
        much = self.ratios > _MOSTLY
        share = float((much & self.borders).mean())
        if share <= 0.5:
            return ""
        other = "black" if hole_is == "white" else "white"
        return (
            f"in {share:.0%} of the mask pictures more than {_MOSTLY:.0%} is missing, up to the edge, when {hole_is} "
            f"means missing; if the {other} parts are the holes, set `masks.files_hole_is: {other}` in params.yaml"
        )

    def rows_for(self, wanted: MaskSpec) -> npt.NDArray[np.integer[Any]]:
        """Return the rows of the holes that meet the spec as they are."""
        fits = (self.ratios > wanted.low) & (self.ratios <= wanted.high)
        return np.flatnonzero(fits if wanted.border is None else fits & (self.borders == wanted.border))

    def draw(self, wanted: MaskSpec, crop: bool, rng: np.random.Generator) -> Pixels:
        """Pick a hole that meets the spec, and rotate and flip it.

        Args:
            wanted: the spec; at least one row meets it.
            crop: whether every second hole is an enlarged part of one.
            rng: source of the random numbers.

        Returns:
            uint8 (size, size), 1 = missing.
        """
        rows = self.rows_for(wanted)
        return first_allowed(lambda _: self._varied(int(rng.choice(rows)), crop, rng), "files", wanted)

    def _varied(self, row: int, crop: bool, rng: np.random.Generator) -> Pixels:
        hole = np.unpackbits(self.packed[row], axis=1, count=self.packed.shape[1])
        if crop and rng.random() < 0.5:
            hole = _cropped(hole, rng)
        hole = np.rot90(hole, int(rng.integers(4)))
        return np.ascontiguousarray(hole[:, ::-1] if rng.random() < 0.5 else hole)


def _cropped(hole: Pixels, rng: np.random.Generator) -> Pixels:
    size = len(hole)
    side = round(size * rng.uniform(_SMALLEST_CROP, 1))
    top, left = rng.integers(0, size - side, 2, endpoint=True)
    return _resized(hole[top : top + side, left : left + side], size)


def _resized(hole: Pixels, size: int) -> Pixels:
    """Scale by nearest neighbour: a pixel is either missing or known."""
    return np.asarray(cv2.resize(hole, (size, size), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def keep_given(given: MaskFolder, folder: Path) -> Path:
    """Write the holes for worker processes; return the folder for `kept_given`, named by their hash."""
    kept = folder / hashlib.sha256(given.packed.data).hexdigest()
    for name, values in vars(given).items():
        write_array(kept / f"{name}.npy", values)
    return kept


@cache
def kept_given(folder: Path) -> MaskFolder:
    """Return the holes of a folder, memory-mapped."""
    return MaskFolder(*(np.load(folder / f"{one.name}.npy", mmap_mode="r") for one in fields(MaskFolder)))


def load_given(
    folder: str | Path, hole_is: Literal["white", "black"], size: int
) -> tuple[MaskFolder, list[BadImageError]]:
    """Load the mask pictures and the objects of COCO files of a folder and its subfolders, sorted by name.

    Args:
        folder: of the files, or one file; other kinds of files are ignored.
        hole_is: the colour that means "missing".
        size: side of the holes in pixels; pictures that are not square are squeezed.

    Returns:
        the holes, and the errors of the pictures that cannot be used.

    Raises:
        InputError: no picture can be used.
    """
    found = [Path(folder)] if Path(folder).is_file() else Path(folder).rglob("*")
    paths = sorted(path for path in found if path.suffix.lower() in {_ANNOTATIONS, *_SUFFIXES})
    holes: list[tuple[Pixels, float, bool]] = []  # packed, since COCO files can have hundreds of thousands
    refused: list[BadImageError] = []
    for path in paths:
        try:
            for each in _read(path, hole_is):
                hole = _resized(each, size)
                holes.append((pack(hole[None]), hole_ratio(hole), touches_border(hole)))
        except BadImageError as bad:
            refused.append(bad)
    if not holes:
        problem = f"none of its {len(paths)} can be used: {refused[0]}" if refused else "there are none"
        raise InputError(
            f"`masks.kinds.files` needs mask pictures from {folder}, but {problem}; put pictures there, name another "
            f"folder in `masks.files`, or set the share to 0"
        )
    packed, ratios, borders = zip(*holes, strict=True)
    return MaskFolder(np.concatenate(packed), np.array(ratios), np.array(borders)), refused


def _read(path: Path, hole_is: Literal["white", "black"]) -> Iterable[Pixels]:
    if path.suffix.lower() == _ANNOTATIONS:
        return read_annotations(path)
    return [read_hole(path, hole_is, MOST_MEGAPIXELS).missing.view(np.uint8)]
