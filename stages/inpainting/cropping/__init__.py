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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from .boxes import LEAST_MARGIN_PX, Box, Floats, Missing, Pixels, bounds, crops, weights
from .multiscale import Fill, Filler, Trace, fill_crop
from .places import Place, add_texture, find_places
from .scaling import Padded, natural_reach, natural_side

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

_THREADS = 2  # for boxes that get texture; more would need more memory
_VISIBLE = 16 / 255  # a replaced prediction that was off by less is not reported


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
    filler = filler.limited(settings.max_side)
    weight = weights(missing, settings.grow, settings.feather)
    absent, affected, composite = weight == 255, weight > 0, image.copy()
    boxes = crops(absent, settings.context)
    places: list[list[Place]] = [[] for _ in boxes]
    problem = ""
    if filler.detail if settings.detail is None else settings.detail:
        places, problem = find_places(affected, boxes, settings.feather, settings.context)

    def fill(box: Box, places: list[Place]) -> tuple[Trace, bool]:
        own, here = Trace(), affected[box.part]
        composite[box.part] = fill_crop(composite[box.part], here, here, filler, own)
        added = [add_texture(composite[box.part], place) for place in places]
        return own, any(added)

    if any(places) and len(boxes) > 1:  # PatchMatch uses one core, and boxes do not overlap
        with ThreadPoolExecutor(_THREADS) as threads:
            filled = list(threads.map(fill, boxes, places))
    else:
        filled = list(map(fill, boxes, places))
    strays = max([0.0, *(own.strays for own, _ in filled)])
    textured = any(is_textured for _, is_textured in filled)
    if any(places) and not textured:
        problem = "too little of the picture is known"
    notes = [f"without copied texture: {problem}"] if problem else []
    parts = [part.moved(box) for box in boxes if (part := bounds(weight[box.part] > 0))]
    for part in parts:
        composite[part.part] = _blended(image[part.part], composite[part.part], weight[part.part])
    changed = Box(*np.min(parts, axis=0)[:2].tolist(), *np.max(parts, axis=0)[2:].tolist()) if parts else None
    if strays > _VISIBLE:
        notes.append(f"a prediction {255 * strays:.0f} levels off its surroundings was replaced by harmonic inpainting")
    report = {
        "hole_share": round(np.count_nonzero(absent) / absent.size, 6) if absent.size else 0.0,
        "crops": [_said(box) for box in boxes],
        "changed": _said(changed) if changed else None,
        "parts": [_said(part) for part in parts],
        "scale": round(min([1.0, *(own.scale for own, _ in filled)]), 4),
        "detail": textured,
        "strays": round(strays, 4),
        "notes": notes,
        "ms": round(1000 * (time.perf_counter() - started), 1),
    }
    return composite, report


def _blended(image: Pixels, filled: Pixels, weight: Pixels) -> Pixels:
    answer, share = filled.astype(np.int32), weight[..., None].astype(np.int32)
    return ((answer * share + image * (255 - share) + 127) // 255).astype(np.uint8)


def _said(box: Box) -> list[int]:
    return [box.left, box.top, box.right, box.bottom]
