"""The parts of a picture that get copied texture: where holes are thick."""

from typing import NamedTuple

import numpy as np

from . import detail
from .boxes import Box, Missing, Pixels, crops, depth, thick, tiles


class Place(NamedTuple):
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


def find_places(missing: Missing, boxes: list[Box], feather: int, context: float) -> tuple[list[list[Place]], str]:
    """Return the places of each box that get texture, the thick parts of its holes; or none, and why.

    Args:
        missing: bool (H, W).
        boxes: from `crops`.
        feather: as in `Settings`.
        context: as in `Settings`.
    """
    coarse = [thick(missing[box.part], detail.THINNEST_PX + feather) for box in boxes]
    places = [[place for crop in crops(part, context) for place in _places_in(part, crop)] for part in coarse]
    problem = detail.problem() if any(places) else ""
    if (count := sum(map(len, places))) > detail.MOST_PLACES:
        problem = (
            f"{count} places need it, but at most {detail.MOST_PLACES} are processed at once; "
            "fill the holes in several steps"
        )
    return ([[] for _ in boxes] if problem else places), problem


def _places_in(coarse: Missing, crop: Box) -> list[Place]:
    """Return the parts of a crop that get texture together.

    That is the whole crop if its hole is still deep at the size at which texture is copied; else parts along the hole.
    """
    here = coarse[crop.part]
    most = max(1, depth(here) // detail.LEAST_DEPTH_PX)
    factor = min(most, -(-max(here.shape) // detail.WORK_SIDE_PX))
    side = factor * detail.WORK_SIDE_PX
    return [Place(coarse, part.moved(crop), tile.moved(crop), factor) for part, tile in tiles(here, side, side // 4)]


def add_texture(composite: Pixels, place: Place) -> bool:
    """Copy texture into a place, in place; return whether any was copied."""
    coarse, part, crop, factor = place
    textured = detail.textured(composite[crop.part], coarse[crop.part], factor)
    if textured is None:
        return False
    inner = textured[part.top - crop.top :, part.left - crop.left :][: part.bottom - part.top, : part.right - part.left]
    composite[part.part] = np.where(coarse[part.part][..., None], inner, composite[part.part])
    coarse[part.part] = False  # known to the places that follow
    return True
