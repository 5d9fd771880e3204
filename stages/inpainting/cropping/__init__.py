"""Filling any hole in a picture of any size with a model for small pictures: crop, fill, paste.

    composite, report = inpaint(image, hole, Filler(fill, side=256, reach=20), Settings(feather=4))

Each hole is cut out with some context; overlapping crops are merged. Thin holes are filled at full size, tile by tile.
If a hole is deeper than the model's reach, its thick parts are first filled at half the size, by the same rules, and
count as known from then on; so a hole of any depth is filled at a size for which the model was trained. A prediction
that is far from its surroundings is replaced by harmonic inpainting. Texture of the picture is copied over enlarged
parts. Only the hole changes and, on request, a band around it that blends into the picture; all other pixels stay
bitwise equal.

This folder imports nothing else of the project: MLflow stores it with a registered model, which so gives the same
pixels where the project is not installed.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

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
TILE_MARGIN_PX = 32  # context around a tile; 64 gains at most 0.1 dB

_THREADS = 2  # for boxes that get texture; more would need more memory
_VISIBLE = 16 / 255  # a replaced prediction that was off by less is not reported

Fill = Callable[[Pixels, Missing], Floats]


@dataclass(frozen=True)
class Settings:
    """How to fill holes.

    Attributes:
        grow: pixels by which to widen holes first, 0 to 64.
        feather: width of the band around the widened hole in which the result blends into the picture, 0 to 64 pixels.
        context: margin of a crop as a share of the hole's longer side, 0 to 8; at least 64 pixels.
        max_side: side of the largest crop in pixels, 0 or at least 64. 0: chosen for the model.
        detail: whether to copy texture of the picture into the hole. None: yes for trained models, no for others.
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


class _Place(NamedTuple):
    """A part of a box that gets texture in one step.

    Attributes:
        coarse: bool, the pixels of the box that still need texture.
        part: in the box.
        crop: of the box, to copy from.
        factor: by which the crop is scaled down.
    """

    coarse: Missing
    part: Box
    crop: Box
    factor: int


@dataclass
class _Done:
    """What happened while a picture was filled, for the report."""

    scale: float = 1.0
    strays: float = 0.0
    notes: list[str] = field(default_factory=list)


def inpaint(image: Pixels, missing: Missing, filler: Filler, settings: Settings) -> tuple[Pixels, dict[str, Any]]:
    """Fill the holes of a picture.

    Args:
        image: uint8 (H, W, 3); its values in holes are ignored.
        missing: bool (H, W), True where `image` is missing.
        filler: fills crops.
        settings: how to fill.

    Returns:
        the composite, like `image`; and a report: `hole_share`, the share of missing pixels after widening; `crops`;
        `changed`, the smallest box around all pixels that may differ; `parts`, such a box for each crop (all boxes as
        [left, top, right, bottom]); `scale`, the smallest scale at which something was filled; `detail`, whether
        texture was copied; `strays`, the largest distance of a replaced prediction from harmonic inpainting, 0 to 1;
        `notes`, messages for the user; `ms`.

    Raises:
        ValueError: `image` and `missing` differ in size, or a prediction is not finite.
    """
    started = time.perf_counter()
    if image.shape != (*missing.shape, 3):
        raise ValueError(f"image should be (H, W, 3) and missing (H, W), but are {image.shape} and {missing.shape}")
    filler, done = filler.limited(settings.max_side), _Done()
    weight = weights(missing, settings.grow, settings.feather)
    absent, affected, composite = weight == 255, weight > 0, image.copy()
    boxes = crops(absent, settings.context)
    places: list[list[_Place]] = [[] for _ in boxes]
    if filler.detail if settings.detail is None else settings.detail:
        places = _places_of_detail(affected, boxes, settings, done)

    def fill(box: Box, places: list[_Place]) -> tuple[_Done, bool]:
        own, here = _Done(), affected[box.part]
        composite[box.part] = _filled(composite[box.part], here, here, filler, own)
        added = [_add_texture(composite[box.part], place) for place in places]
        return own, any(added)

    if any(places) and len(boxes) > 1:  # PatchMatch uses one core, and boxes do not overlap
        with ThreadPoolExecutor(_THREADS) as threads:
            filled = list(threads.map(fill, boxes, places))
    else:
        filled = list(map(fill, boxes, places))
    done.scale = min([1.0, *(own.scale for own, _ in filled)])
    done.strays = max([0.0, *(own.strays for own, _ in filled)])
    textured = any(is_textured for _, is_textured in filled)
    if any(places) and not textured:
        done.notes.append("without copied texture: too little of the picture is known")
    parts = [_moved(part, box) for box in boxes if (part := bounds(weight[box.part] > 0))]
    for part in parts:
        composite[part.part] = _blended(image[part.part], composite[part.part], weight[part.part])
    changed = Box(*np.min(parts, axis=0)[:2].tolist(), *np.max(parts, axis=0)[2:].tolist()) if parts else None
    if done.strays > _VISIBLE:
        done.notes.append(
            f"a prediction {255 * done.strays:.0f} levels off its surroundings was replaced by harmonic inpainting"
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
    """Fill the wanted pixels: deep parts in the picture at half the size, the rest tile by tile."""
    h, w = missing.shape
    deep = (missing if missing.all() else thick(missing, filler.reach)) & wanted
    if deep.any() and (max(h, w) > filler.side or not missing.all()) and max(h, w) > 2:
        small, absent = reduced(image, missing, 2)
        asked = reduced(image, deep, 2)[1]
        coarse = _filled(small, absent, asked, filler, done, scale / 2).astype(np.float32)
        if (absent & ~asked).any():  # these are near known pixels and are filled at full size
            coarse = membrane.spread(coarse, absent & ~asked)
        image = _laid_over(image, missing, deep, coarse)
        missing = missing & ~deep
    image, missing, wanted = image.copy(), missing.copy(), wanted & missing
    if wanted.any():
        done.scale = min(done.scale, scale)
    for part, tile in tiles(wanted, filler.side, min(TILE_MARGIN_PX, filler.side // 4)):
        answer = _predict(image[tile.part], missing[tile.part], filler, done)
        inner = (
            slice(part.top - tile.top, part.bottom - tile.top),
            slice(part.left - tile.left, part.right - tile.left),
        )
        absent = missing[part.part]
        image[part.part] = np.where(absent[..., None], _to_pixels(answer[inner]), image[part.part])
        missing[part.part] = False  # known to the tiles that follow
    return image


def _predict(image: Pixels, missing: Missing, filler: Filler, done: _Done) -> Floats:
    answer = filler.fill(image, missing)
    if not np.isfinite(answer).all():
        raise ValueError("the model's prediction is not finite")
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


def _places_of_detail(missing: Missing, boxes: list[Box], settings: Settings, done: _Done) -> list[list[_Place]]:
    """Return the places of each box that get texture: the thick parts of its holes."""
    coarse = [thick(missing[box.part], detail.THINNEST_PX + settings.feather) for box in boxes]
    places = [[place for crop in crops(part, settings.context) for place in _places_in(part, crop)] for part in coarse]
    problem = detail.problem() if any(places) else ""
    if (count := sum(map(len, places))) > detail.MOST_PLACES:
        problem = (
            f"{count} places need it, but at most {detail.MOST_PLACES} are processed at once; "
            "fill the holes in several steps"
        )
    if problem:
        done.notes.append(f"without copied texture: {problem}")
        return [[] for _ in boxes]
    return places


def _places_in(coarse: Missing, crop: Box) -> list[_Place]:
    """Return the parts of a crop that get texture together.

    That is the whole crop if its hole is still deep at the size at which texture is copied; else parts along the hole.
    """
    here = coarse[crop.part]
    most = max(1, depth(here) // detail.LEAST_DEPTH_PX)
    factor = min(most, -(-max(here.shape) // detail.WORK_SIDE_PX))
    side = factor * detail.WORK_SIDE_PX
    return [
        _Place(coarse, _moved(part, crop), _moved(tile, crop), factor) for part, tile in tiles(here, side, side // 4)
    ]


def _add_texture(composite: Pixels, place: _Place) -> bool:
    """Copy texture into a place, in place; return whether any was copied."""
    coarse, part, crop, factor = place
    textured = detail.textured(composite[crop.part], coarse[crop.part], factor)
    if textured is None:
        return False
    inner = textured[part.top - crop.top :, part.left - crop.left :][: part.bottom - part.top, : part.right - part.left]
    composite[part.part] = np.where(coarse[part.part][..., None], inner, composite[part.part])
    coarse[part.part] = False  # known to the places that follow
    return True


def _moved(part: Box, by: Box) -> Box:
    return Box(part.top + by.top, part.left + by.left, part.bottom + by.top, part.right + by.left)


def _to_pixels(answer: Floats) -> Pixels:
    return (answer.clip(0, 1) * np.float32(255)).round().astype(np.uint8)


def _blended(image: Pixels, filled: Pixels, weight: Pixels) -> Pixels:
    answer, share = filled.astype(np.int32), weight[..., None].astype(np.int32)
    return ((answer * share + image * (255 - share) + 127) // 255).astype(np.uint8)


def _said(box: Box) -> list[int]:
    return [box.left, box.top, box.right, box.bottom]
