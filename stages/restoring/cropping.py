"""Any hole in a picture of any size, by something that fills small pictures: crop, fill, put back what was missing.

    composite, report = inpaint(image, hole, fill, Settings(feather=4, max_side=512))

Around each hole a crop with context is cut, clamped at the edges of the picture; crops that overlap become one, until
none do. A crop longer than `max_side` is filled at that size and enlarged. Of the answer only the hole is used and, on
request, a band around it that fades into the picture; every other pixel stays what it was, to the bit.

Imports nothing of the project: MLflow keeps this file beside a registered model, which so gives the same pixels where
the project is not installed.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

LEAST_MARGIN_PX = 64
MOST_GROW_PX = 64
MOST_FEATHER_PX = LEAST_MARGIN_PX  # the band lies within the crop
MOST_CELLS = 256  # along the longer side of the grid on which holes are told apart

Pixels = npt.NDArray[np.uint8]
Missing = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Fill = Callable[[Pixels, Missing], Floats]


@dataclass(frozen=True)
class Settings:
    """How holes are filled.

    Attributes:
        grow: pixels by which holes are widened first, 0 to 64.
        feather: pixels around the widened hole over which the answer fades into the picture, 0 to 64.
        context: share of the hole's longer side that a crop has around it on each side; at least 64 pixels are.
        max_side: pixels; a longer crop is scaled down before it is filled. 0: what suits the model.
    """

    grow: int = 0
    feather: int = 0
    context: float = 0.5
    max_side: int = 0

    def __post_init__(self) -> None:
        ranges = {"grow": (0, MOST_GROW_PX), "feather": (0, MOST_FEATHER_PX), "context": (0, 8), "max_side": (0, 65536)}
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"`{name}` should be from {low} to {high}, but is {value}")
        if 0 < self.max_side < LEAST_MARGIN_PX:
            raise ValueError(f"`max_side` should be 0 or at least {LEAST_MARGIN_PX}, but is {self.max_side}")


class Box(NamedTuple):
    """A part of a picture in pixels: rows from `top` up to `bottom`, columns from `left` up to `right`."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def part(self) -> tuple[slice, slice]:
        """The box as an index of (H, W, ...) arrays."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def widened(self, margin: int, h: int, w: int) -> "Box":
        """Add a margin on each side, as far as a picture of `h` x `w` reaches."""
        top, left = max(0, self.top - margin), max(0, self.left - margin)
        return Box(top, left, min(h, self.bottom + margin), min(w, self.right + margin))


class Padded:
    """A network that takes multiples of a size, for crops of any size.

    Args:
        network: float32 (1, 4, H, W) in [0, 1], RGB with holes zeroed and hole, to (1, 3, H, W).
        multiple: of which H and W are multiples; they are at least twice that.
    """

    def __init__(self, network: Callable[[Floats], Floats], multiple: int) -> None:
        self._network = network
        self._multiple = multiple

    def __call__(self, image: Pixels, missing: Missing) -> Floats:
        """Answer for every pixel of uint8 (H, W, 3) with float32 (H, W, 3) in [0, 1]."""
        h, w = missing.shape
        # By repeating the last row and column, known or missing as they are: no edge appears that is not in the photo.
        padding = [(0, self._padded(side) - side) for side in (h, w)]
        pixels = np.pad(image, [*padding, (0, 0)], mode="edge")
        absent = np.pad(missing, padding, mode="edge")
        holed = np.concatenate([pixels / np.float32(255), absent[..., None]], axis=2, dtype=np.float32)
        holed[absent, :3] = 0
        filled = self._network(np.ascontiguousarray(holed.transpose(2, 0, 1)[None]))
        return filled[0, :, :h, :w].transpose(1, 2, 0)

    def _padded(self, side: int) -> int:
        return max(2 * self._multiple, -(-side // self._multiple) * self._multiple)


def natural_side(facts: Mapping[str, Any]) -> int:
    """Return the `max_side` that suits a model: four times the side of the pictures it was trained on.

    A network continues what it can see from where it stands. Far larger holes than it was trained on are better filled
    small and enlarged than left grey in the middle.
    """
    return max(256, 4 * int(facts.get("tile_size", 0)))


def inpaint(image: Pixels, missing: Missing, fill: Fill, settings: Settings) -> tuple[Pixels, dict[str, Any]]:
    """Fill the holes of one picture.

    Args:
        image: uint8 (H, W, 3); what stands in its holes is ignored.
        missing: bool (H, W), True where `image` is missing.
        fill: answers for a crop: uint8 (h, w, 3) and bool (h, w) to float32 (h, w, 3) in [0, 1].
        settings: with a `max_side` above 0.

    Returns:
        the composite, like `image`; and the report: `hole_share` of the picture, holes widened; `crops` and `changed`,
        the smallest box around all that may differ, as [left, top, right, bottom]; the least `scale`; `ms`.

    Raises:
        ValueError: `image` and `missing` differ in size, or `fill` answers with numbers that are not finite.
    """
    started = time.perf_counter()
    if image.shape != (*missing.shape, 3):
        raise ValueError(f"image should be (H, W, 3) and missing (H, W), but are {image.shape} and {missing.shape}")
    weight = weights(missing, settings.grow, settings.feather)
    absent = weight == 255
    boxes, scale, composite = crops(absent, settings.context), 1.0, image.copy()
    for box in boxes:
        filled, used = _filled(image[box.part], absent[box.part], fill, settings.max_side)
        composite[box.part] = _blended(image[box.part], filled, weight[box.part])
        scale = min(scale, used)
    changed = bounds(weight > 0)
    report = {
        "hole_share": round(np.count_nonzero(absent) / absent.size, 6) if absent.size else 0.0,
        "crops": [_said(box) for box in boxes],
        "changed": _said(changed) if changed else None,
        "scale": round(scale, 4),
        "ms": round(1000 * (time.perf_counter() - started), 1),
    }
    return composite, report


def weights(missing: Missing, grow: int, feather: int) -> Pixels:
    """Return how much of the answer each pixel takes, uint8 (H, W).

    255 up to `grow` pixels from the hole, then falling evenly, 0 beyond `grow + feather`; distances are Euclidean.
    """
    weight = missing.view(np.uint8) * np.uint8(255)
    box = bounds(missing)
    if box is None or grow + feather == 0:
        return weight
    part = box.widened(grow + feather, *missing.shape).part
    beyond = np.sqrt(_squared_distances(missing[part], grow + feather)) - grow
    fading = 255 * (1 - beyond.clip(0) / (feather + 1))
    weight[part] = np.where(beyond <= feather, fading.round(), 0)
    return weight


def _squared_distances(missing: Missing, reach: int) -> npt.NDArray[np.int32]:
    """Return squared distances to the nearest missing pixel, right up to `reach`: along columns, then along rows."""
    h, w = missing.shape
    rows = np.arange(h, dtype=np.int32)[:, None]
    far = np.int32(2 * reach + h)
    above = np.maximum.accumulate(np.where(missing, rows, -far), axis=0)
    below = np.minimum.accumulate(np.where(missing, rows, h + far)[::-1], axis=0)[::-1]
    column = np.minimum(np.minimum(rows - above, below - rows), reach + 1) ** 2
    nearest = column.copy()
    for shift in range(1, min(reach, w - 1) + 1):
        np.minimum(nearest[:, shift:], column[:, :-shift] + shift**2, out=nearest[:, shift:])
        np.minimum(nearest[:, :-shift], column[:, shift:] + shift**2, out=nearest[:, :-shift])
    return nearest


def bounds(missing: Missing) -> Box | None:
    """Return the smallest box around the missing pixels, or None where there are none."""
    rows, columns = np.flatnonzero(missing.any(axis=1)), np.flatnonzero(missing.any(axis=0))
    if not rows.size:
        return None
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


def crops(missing: Missing, context: float) -> list[Box]:
    """Return boxes that hold every hole with its context, and of which no two overlap."""
    h, w = missing.shape
    boxes = []
    whole = bounds(missing) or Box(0, 0, 0, 0)
    for hole in _holes(missing[whole.part]):
        box = Box(whole.top + hole.top, whole.left + hole.left, whole.top + hole.bottom, whole.left + hole.right)
        longer = max(box.bottom - box.top, box.right - box.left)
        boxes.append(box.widened(max(LEAST_MARGIN_PX, round(context * longer)), h, w))
    return _merged(boxes)


def _holes(missing: Missing) -> list[Box]:
    """Return a box around each hole; those that are few pixels apart count as one."""
    h, w = missing.shape
    if not missing.size:
        return []
    cell = max(8, -(-max(h, w) // MOST_CELLS))
    by_row = np.logical_or.reduceat(missing, np.arange(0, h, cell), axis=0)
    waiting = set(zip(*np.nonzero(np.logical_or.reduceat(by_row, np.arange(0, w, cell), axis=1)), strict=True))
    found = []
    while waiting:
        front = [waiting.pop()]
        members = []
        while front:
            row, column = front.pop()
            members.append((row, column))
            beside = {(row + down, column + right) for down in (-1, 0, 1) for right in (-1, 0, 1)} & waiting
            waiting -= beside
            front.extend(beside)
        low, high = np.min(members, axis=0) * cell, (np.max(members, axis=0) + 1) * cell
        found.append(_tight(missing, Box(int(low[0]), int(low[1]), int(high[0]), int(high[1]))))
    return sorted(found)


def _tight(missing: Missing, box: Box) -> Box:
    inner = bounds(missing[box.part])
    if inner is None:
        return box
    return Box(box.top + inner.top, box.left + inner.left, box.top + inner.bottom, box.left + inner.right)


def _merged(boxes: list[Box]) -> list[Box]:
    apart: list[Box] = []
    for new in boxes:
        box = new
        while touching := [other for other in apart if _overlap(box, other)]:
            apart = [other for other in apart if other not in touching]
            low, high = np.min([box, *touching], axis=0), np.max([box, *touching], axis=0)
            box = Box(int(low[0]), int(low[1]), int(high[2]), int(high[3]))
        apart.append(box)
    return sorted(apart)


def _overlap(one: Box, other: Box) -> bool:
    across = one.left < other.right and other.left < one.right
    return across and one.top < other.bottom and other.top < one.bottom


def _filled(image: Pixels, missing: Missing, fill: Fill, max_side: int) -> tuple[Floats, float]:
    h, w = missing.shape
    scale = min(1.0, max_side / max(h, w))
    if scale < 1:
        image, missing = _reduced(image, missing, max(1, round(h * scale)), max(1, round(w * scale)))
    filled = fill(image, missing)
    if not np.isfinite(filled).all():
        raise ValueError("the model answers with numbers that are not finite")
    return (_resized(filled, h, w, Image.Resampling.BICUBIC) if scale < 1 else filled), scale


def _reduced(image: Pixels, missing: Missing, h: int, w: int) -> tuple[Pixels, Missing]:
    """Scale down by the mean of the known pixels; missing is what less than half of is known."""
    known = (~missing).astype(np.float32)[..., None]
    share = _resized(known, h, w, Image.Resampling.BOX)
    colour = _resized(image * known, h, w, Image.Resampling.BOX) / share.clip(1e-6)
    return colour.round().clip(0, 255).astype(np.uint8), share[..., 0] < 0.5


def _resized(floats: Floats, h: int, w: int, how: Image.Resampling) -> Floats:
    channels = [Image.fromarray(np.ascontiguousarray(channel)) for channel in np.moveaxis(floats, 2, 0)]
    return np.stack([np.asarray(channel.resize((w, h), how)) for channel in channels], axis=2)


def _blended(image: Pixels, filled: Floats, weight: Pixels) -> Pixels:
    answer = (filled.clip(0, 1) * np.float32(255)).round().astype(np.int32)
    share = weight[..., None].astype(np.int32)
    return ((answer * share + image * (255 - share) + 127) // 255).astype(np.uint8)


def _said(box: Box) -> list[int]:
    return [box.left, box.top, box.right, box.bottom]
