"""Filling a crop: deep parts of its hole at half the size, by the same rules, and the rest tile by tile."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from . import membrane
from .boxes import Box, Floats, Missing, Pixels, bounds, thick, tiles
from .scaling import enlarged, reduced

TILE_MARGIN_PX = 32  # context around a tile; 64 gains at most 0.1 dB

Fill = Callable[[Pixels, Missing], Floats]


@dataclass(frozen=True)
class Filler:
    """A function that fills crops, and its limits.

    Attributes:
        fill: maps uint8 (h, w, 3) and bool (h, w), True where missing, to float32 (h, w, 3) in [0, 1].
        side: of the largest crop, pixels.
        reach: distance from the nearest known pixel up to which predictions can be trusted, pixels.
        detail: whether texture is copied by default.
        is_guarded: whether a prediction far from its surroundings is replaced by harmonic inpainting.
    """

    fill: Fill
    side: int
    reach: int
    detail: bool = True
    is_guarded: bool = True

    def limited(self, max_side: int) -> "Filler":
        """Return a filler for crops of at most `max_side` pixels; 0 changes nothing."""
        if not max_side:
            return self
        reach = self.reach if max_side >= self.side else max(4, self.reach * max_side // self.side)
        return replace(self, side=max_side, reach=reach)


@dataclass
class Trace:
    """What happened while a picture was filled, for the report.

    Attributes:
        scale: the smallest scale at which something was filled, at most 1.
        strays: the largest distance of a replaced prediction from harmonic inpainting, 0 to 1.
    """

    scale: float = 1.0
    strays: float = 0.0


def fill_crop(
    image: Pixels, missing: Missing, wanted: Missing, filler: Filler, trace: Trace, scale: float = 1.0
) -> Pixels:
    """Fill the wanted pixels: deep parts in the picture at half the size, the rest tile by tile.

    Args:
        image: uint8 (H, W, 3); its values in holes are ignored.
        missing: bool (H, W).
        wanted: bool (H, W), a part of `missing`; the rest of it stays as it is.
        filler: fills tiles.
        trace: is updated.
        scale: of `image`, relative to the picture that is filled.

    Returns:
        a copy of `image`, filled.

    Raises:
        ValueError: a prediction is not finite.
    """
    h, w = missing.shape
    deep = (missing if missing.all() else thick(missing, filler.reach)) & wanted
    if deep.any() and (max(h, w) > filler.side or not missing.all()) and max(h, w) > 2:
        small, absent = reduced(image, missing, 2)
        deep_absent = reduced(image, deep, 2)[1]
        coarse = fill_crop(small, absent, deep_absent, filler, trace, scale / 2).astype(np.float32)
        if (absent & ~deep_absent).any():  # near known pixels, filled at full size
            coarse = membrane.spread(coarse, absent & ~deep_absent)
        image = _laid_over(image, missing, deep, coarse)
        missing = missing & ~deep
    image, missing, wanted = image.copy(), missing.copy(), wanted & missing
    if wanted.any():
        trace.scale = min(trace.scale, scale)
    for part, tile in tiles(wanted, filler.side, min(TILE_MARGIN_PX, filler.side // 4)):
        answer = _predict(image[tile.part], missing[tile.part], filler, trace)
        inner = (
            slice(part.top - tile.top, part.bottom - tile.top),
            slice(part.left - tile.left, part.right - tile.left),
        )
        absent = missing[part.part]
        image[part.part] = np.where(absent[..., None], _to_pixels(answer[inner]), image[part.part])
        missing[part.part] = False  # known to the tiles that follow
    return image


def _predict(image: Pixels, missing: Missing, filler: Filler, trace: Trace) -> Floats:
    answer = filler.fill(image, missing)
    if not np.isfinite(answer).all():
        raise ValueError("the model's prediction is not finite")
    if not filler.is_guarded or missing.all():
        return answer
    known = image.astype(np.float32) / np.float32(255)
    low, high = membrane.known_range(known, missing)
    answer = answer.clip(low, high)
    if distance := membrane.strays(known, missing, answer):
        trace.strays = max(trace.strays, distance)
        return membrane.spread(known, missing)
    return answer


def _laid_over(image: Pixels, missing: Missing, deep: Missing, small: Floats) -> Pixels:
    """Take deep parts from the picture at half the size, shifted so that they meet known pixels without a step."""
    h, w = missing.shape
    box = bounds(missing) or Box(0, 0, h, w)
    top, left = (max(0, side // 2 - 2) for side in (box.top, box.left))  # of the enlarged part, in `small`
    wide = Box(2 * top, 2 * left, min(h, box.bottom + 4), min(w, box.right + 4))
    part = wide.part
    around = small[top : -(-wide.bottom // 2), left : -(-wide.right // 2)]
    coarse = enlarged(around, 2, wide.bottom - wide.top, wide.right - wide.left)
    off = membrane.spread(image[part] - coarse, missing[part])
    moved = (coarse + off).round().clip(0, 255).astype(np.uint8)
    laid = image.copy()
    laid[part] = np.where(deep[part][..., None], moved, image[part])
    return laid


def _to_pixels(answer: Floats) -> Pixels:
    return (answer.clip(0, 1) * np.float32(255)).round().astype(np.uint8)
