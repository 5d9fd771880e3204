"""Any hole in a picture of any size, by something that fills small pictures: crop, fill, put back what was missing.

    composite, report = inpaint(image, hole, Filler(fill, side=256, reach=20), Settings(feather=4))

Around each hole a crop with context is cut; crops that overlap become one. Holes that are thin are filled at full size,
tile by tile. Where a hole is deeper than what fills it can see, its thick parts are filled first in the picture at half
the size, by the same rules, and count as known from there on: the deepest hole is so filled at the size at which the
model has learned to. An answer that is far from all that surrounds it gives way to a membrane. Texture of the picture
itself is then copied over what was enlarged. Of all this only the hole is used and, on request, a band around it that
fades into the picture; every other pixel stays what it was, to the bit.

Imports nothing of the project beyond this folder: MLflow keeps it beside a registered model, which so gives the same
pixels where the project is not installed.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from . import detail, membrane
from .boxes import (
    LEAST_MARGIN_PX,
    Box,
    Floats,
    Missing,
    Pixels,
    bounds,
    crops,
    depth,
    thick,
    tiles,
    weights,
)
from .scaling import Padded, enlarged, natural_reach, natural_side, reduced

__all__ = [
    "LEAST_MARGIN_PX",
    "MOST_FEATHER_PX",
    "MOST_GROW_PX",
    "Box",
    "Fill",
    "Filler",
    "Floats",
    "Missing",
    "Padded",
    "Pixels",
    "Settings",
    "bounds",
    "crops",
    "inpaint",
    "natural_reach",
    "natural_side",
    "weights",
]

MOST_GROW_PX = 64
MOST_FEATHER_PX = LEAST_MARGIN_PX  # the band lies within the crop
TILE_MARGIN_PX = 32  # of context around what is filled tile by tile; 64 gave no more than 0.1 dB

_THREADS = 2  # that copy texture; more would take memory, and wait for PatchMatch, which goes one by one
_SEEN = 16 / 255  # an answer that was off by less is replaced without a word

Fill = Callable[[Pixels, Missing], Floats]


@dataclass(frozen=True)
class Settings:
    """How holes are filled.

    Attributes:
        grow: pixels by which holes are widened first, 0 to 64.
        feather: pixels around the widened hole over which the answer fades into the picture, 0 to 64.
        context: share of the hole's longer side that a crop has around it on each side; at least 64 pixels are.
        max_side: pixels; the largest crop that is filled at once. 0: what suits the model.
        detail: whether texture of the picture is copied into the hole. None: for trained models, and not for others.
    """

    grow: int = 0
    feather: int = 0
    context: float = 0.5
    max_side: int = 0
    detail: bool | None = None

    def __post_init__(self) -> None:
        ranges = {"grow": (0, MOST_GROW_PX), "feather": (0, MOST_FEATHER_PX), "context": (0, 8), "max_side": (0, 65536)}
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"`{name}` should be from {low} to {high}, but is {value}")
        if 0 < self.max_side < LEAST_MARGIN_PX:
            raise ValueError(f"`max_side` should be 0 or at least {LEAST_MARGIN_PX}, but is {self.max_side}")


@dataclass(frozen=True)
class Filler:
    """What fills crops, and which crops it fills well.

    Attributes:
        fill: uint8 (h, w, 3) and bool (h, w), True where missing, to float32 (h, w, 3) in [0, 1].
        side: pixels; crops are no longer.
        reach: how far from the nearest known pixel its answers can be trusted, in pixels.
        detail: whether texture is copied over its answers unless the settings say otherwise.
        is_guarded: whether an answer far from its surroundings gives way to a membrane.
    """

    fill: Fill
    side: int
    reach: int
    detail: bool = True
    is_guarded: bool = True

    def limited(self, max_side: int) -> "Filler":
        """Return the same for crops of at most `max_side` pixels; 0 changes nothing."""
        if not max_side:
            return self
        reach = self.reach if max_side >= self.side else max(4, self.reach * max_side // self.side)
        return replace(self, side=max_side, reach=reach)


@dataclass
class _Done:
    """What a report says of the way a picture was filled."""

    scale: float = 1.0
    strays: float = 0.0
    notes: list[str] = field(default_factory=list)


def inpaint(image: Pixels, missing: Missing, filler: Filler, settings: Settings) -> tuple[Pixels, dict[str, Any]]:
    """Fill the holes of one picture.

    Args:
        image: uint8 (H, W, 3); what stands in its holes is ignored.
        missing: bool (H, W), True where `image` is missing.
        filler: what fills crops.
        settings: how.

    Returns:
        the composite, like `image`; and the report: `hole_share` of the picture, holes widened; `crops` and `changed`,
        the smallest box around all that may differ, as [left, top, right, bottom]; `parts`, such boxes around what may
        differ in each crop; `scale`, the least at which something was filled; `detail`, whether texture was copied;
        `strays`, how far from a membrane the worst of the answers was that gave way to one, 0 to 1; `notes`, sentences
        for people; `ms`.

    Raises:
        ValueError: `image` and `missing` differ in size, or `fill` answers with numbers that are not finite.
    """
    started = time.perf_counter()
    if image.shape != (*missing.shape, 3):
        raise ValueError(f"image should be (H, W, 3) and missing (H, W), but are {image.shape} and {missing.shape}")
    filler, done = filler.limited(settings.max_side), _Done()
    weight = weights(missing, settings.grow, settings.feather)
    absent = weight == 255
    boxes, composite = crops(absent, settings.context), image.copy()
    for box in boxes:
        absent_here = weight[box.part] > 0
        composite[box.part] = _filled(composite[box.part], absent_here, absent_here, filler, done)
    wanted = filler.detail if settings.detail is None else settings.detail
    textured = wanted and _add_detail(composite, weight > 0, boxes, settings, done)
    parts = [_moved(part, box) for box in boxes if (part := bounds(weight[box.part] > 0))]
    for part in parts:
        composite[part.part] = _blended(image[part.part], composite[part.part], weight[part.part])
    changed = Box(*np.min(parts, axis=0)[:2].tolist(), *np.max(parts, axis=0)[2:].tolist()) if parts else None
    if done.strays > _SEEN:
        done.notes.append(
            f"an answer was up to {255 * done.strays:.0f} levels away from what surrounds it: harmonic inpainting there"
        )
    report = {
        "hole_share": round(np.count_nonzero(absent) / absent.size, 6) if absent.size else 0.0,
        "crops": [_said(box) for box in boxes],
        "changed": _said(changed) if changed else None,
        "parts": [_said(part) for part in parts],
        "scale": round(done.scale, 4),
        "detail": textured,
        "strays": round(done.strays, 4),
        "notes": done.notes,
        "ms": round(1000 * (time.perf_counter() - started), 1),
    }
    return composite, report


def _filled(
    image: Pixels, missing: Missing, wanted: Missing, filler: Filler, done: _Done, scale: float = 1.0
) -> Pixels:
    """Fill what is wanted of a picture: what is too deep in the picture at half the size, the rest tile by tile."""
    h, w = missing.shape
    deep = (missing if missing.all() else thick(missing, filler.reach)) & wanted
    if deep.any() and (max(h, w) > filler.side or not missing.all()) and max(h, w) > 2:
        small, absent = reduced(image, missing, 2)
        asked = reduced(image, deep, 2)[1]
        coarse = _filled(small, absent, asked, filler, done, scale / 2).astype(np.float32)
        if (absent & ~asked).any():  # what is filled at this size is near the known pixels, and needs no model there
            coarse = membrane.spread(coarse, absent & ~asked)
        image = _laid_over(image, missing, deep, coarse)
        missing = missing & ~deep
    image, missing, wanted = image.copy(), missing.copy(), wanted & missing
    if wanted.any():
        done.scale = min(done.scale, scale)
    for part, tile in tiles(wanted, filler.side, min(TILE_MARGIN_PX, filler.side // 4)):
        answer = _answer(image[tile.part], missing[tile.part], filler, done)
        inner = (
            slice(part.top - tile.top, part.bottom - tile.top),
            slice(part.left - tile.left, part.right - tile.left),
        )
        absent = missing[part.part]
        image[part.part] = np.where(absent[..., None], _to_pixels(answer[inner]), image[part.part])
        missing[part.part] = False  # what was filled is known to the tiles that follow
    return image


def _answer(image: Pixels, missing: Missing, filler: Filler, done: _Done) -> Floats:
    answer = filler.fill(image, missing)
    if not np.isfinite(answer).all():
        raise ValueError("the model answers with numbers that are not finite")
    if not filler.is_guarded or missing.all():
        return answer
    known = image.astype(np.float32) / np.float32(255)
    low, high = membrane.known_range(known, missing)
    answer = answer.clip(low, high)
    if distance := membrane.strays(known, missing, answer):
        done.strays = max(done.strays, distance)
        return membrane.spread(known, missing)
    return answer


def _laid_over(image: Pixels, missing: Missing, deep: Missing, small: Floats) -> Pixels:
    """Take what is deep from the picture at half the size, moved to meet the known pixels without a step."""
    h, w = missing.shape
    box = bounds(missing) or Box(0, 0, h, w)
    top, left = (max(0, side // 2 - 2) for side in (box.top, box.left))  # of what is enlarged, in `small`
    wide = Box(2 * top, 2 * left, min(h, box.bottom + 4), min(w, box.right + 4))
    part = wide.part
    around = small[top : -(-wide.bottom // 2), left : -(-wide.right // 2)]
    coarse = enlarged(around, 2, wide.bottom - wide.top, wide.right - wide.left)
    off = membrane.spread(image[part] - coarse, missing[part])
    moved = (coarse + off).round().clip(0, 255).astype(np.uint8)
    laid = image.copy()
    laid[part] = np.where(deep[part][..., None], moved, image[part])
    return laid


def _add_detail(composite: Pixels, missing: Missing, boxes: list[Box], settings: Settings, done: _Done) -> bool:
    """Copy texture into the thick parts of holes, in place; say whether any was."""
    coarse = np.zeros_like(missing)
    for box in boxes:
        coarse[box.part] = thick(missing[box.part], detail.THINNEST_PX + settings.feather)
    if not coarse.any():
        return False
    if problem := detail.problem():
        done.notes.append(f"without copied texture: {problem}")
        return False
    # Crops do not overlap, so they are worked on at the same time.
    places = [_places_of_detail(coarse[box.part], box) for box in crops(coarse, settings.context)]
    if (count := sum(map(len, places))) > detail.MOST_PLACES:
        done.notes.append(
            f"without copied texture: {count} places need it, and at most {detail.MOST_PLACES} get it at once; "
            "fill the holes in several goes"
        )
        return False
    with ThreadPoolExecutor(_THREADS) as threads:
        copied = any(list(threads.map(lambda crop: _add_texture(composite, coarse, crop), places)))
    if not copied:
        done.notes.append("without copied texture: too little of the picture is known")
    return copied


def _add_texture(composite: Pixels, coarse: Missing, places: list[tuple[Box, Box, int]]) -> bool:
    """Copy texture into the places of one crop, one after the other; say whether any was."""
    copied = False
    for part, crop, factor in places:
        textured = detail.textured(composite[crop.part], coarse[crop.part], factor)
        if textured is not None:
            inner = textured[part.top - crop.top :, part.left - crop.left :][
                : part.bottom - part.top, : part.right - part.left
            ]
            composite[part.part] = np.where(coarse[part.part][..., None], inner, composite[part.part])
            coarse[part.part] = False
            copied = True
    return copied


def _places_of_detail(coarse: Missing, box: Box) -> list[tuple[Box, Box, int]]:
    """Say what parts of a crop get their texture at once, in which crops of the picture, and how far scaled down.

    The whole crop, where its hole is still deep when it is scaled down to the size at which texture is copied; else
    parts along the hole.
    """
    most = max(1, depth(coarse) // detail.LEAST_DEPTH_PX)
    factor = min(most, -(-max(coarse.shape) // detail.WORK_SIDE_PX))
    side = factor * detail.WORK_SIDE_PX
    return [(_moved(part, box), _moved(tile, box), factor) for part, tile in tiles(coarse, side, side // 4)]


def _moved(part: Box, by: Box) -> Box:
    return Box(part.top + by.top, part.left + by.left, part.bottom + by.top, part.right + by.left)


def _to_pixels(answer: Floats) -> Pixels:
    return (answer.clip(0, 1) * np.float32(255)).round().astype(np.uint8)


def _blended(image: Pixels, filled: Pixels, weight: Pixels) -> Pixels:
    answer, share = filled.astype(np.int32), weight[..., None].astype(np.int32)
    return ((answer * share + image * (255 - share) + 127) // 255).astype(np.uint8)


def _said(box: Box) -> list[int]:
    return [box.left, box.top, box.right, box.bottom]
