"""Geometry of holes: bounding boxes, blending weights, depth, tiles."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

LEAST_MARGIN_PX = 64
MOST_CELLS = 256  # along the longer side of the grid on which holes are separated

Pixels = npt.NDArray[np.uint8]
Missing = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]


class Box(NamedTuple):
    """A rectangle in pixels; `bottom` and `right` are excluded."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def part(self) -> tuple[slice, slice]:
        """The box as an index into (H, W, ...) arrays."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def moved(self, by: "Box") -> "Box":
        """Return a box given within `by` as a box of the picture around."""
        return Box(self.top + by.top, self.left + by.left, self.bottom + by.top, self.right + by.left)

    def widened(self, margin: int, h: int, w: int) -> "Box":
        """Add a margin on each side, within a picture of `h` x `w`."""
        top, left = max(0, self.top - margin), max(0, self.left - margin)
        return Box(top, left, min(h, self.bottom + margin), min(w, self.right + margin))


def weights(missing: Missing, grow: int, feather: int) -> Pixels:
    """Return the blending weight of each pixel, uint8 (H, W).

    255 up to `grow` pixels from the hole, then falling linearly to 0 beyond `grow + feather`; distances are Euclidean.
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
    """Return squared distances to the nearest missing pixel, exact up to `reach`: along columns, then along rows."""
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
    """Return the bounding box of the missing pixels, None if there are none."""
    rows, columns = np.flatnonzero(missing.any(axis=1)), np.flatnonzero(missing.any(axis=0))
    if not rows.size:
        return None
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


def crops(missing: Missing, context: float) -> list[Box]:
    """Return disjoint boxes that contain every hole with its context."""
    h, w = missing.shape
    boxes = []
    whole = bounds(missing) or Box(0, 0, 0, 0)
    for hole in _holes(missing[whole.part]):
        box = Box(whole.top + hole.top, whole.left + hole.left, whole.top + hole.bottom, whole.left + hole.right)
        longer = max(box.bottom - box.top, box.right - box.left)
        boxes.append(box.widened(max(LEAST_MARGIN_PX, round(context * longer)), h, w))
    return _merged(boxes)


def _holes(missing: Missing) -> list[Box]:
    """Return the bounding box of each hole; holes a few pixels apart count as one."""
    h, w = missing.shape
    if not missing.size:
        return []
    cell = max(8, -(-max(h, w) // MOST_CELLS))
    words = np.pad(missing, [(0, 0), (0, -w % 8)]).view(np.uint64)  # of eight pixels, in an eighth of the time
    by_row = np.bitwise_or.reduceat(words, np.arange(0, h, cell), axis=0).view(bool)[:, :w]
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


def thick(missing: Missing, reach: int) -> Missing:
    """Return the thick parts of holes: morphological opening by a disc of about `reach` pixels.

    Distances are measured on a coarser grid, which takes a fraction of the time. Beyond the edges of the picture pixels
    count as missing.

    Args:
        missing: bool (H, W).
        reach: radius in pixels. Every pixel farther than this from all known pixels is in the result.
    """
    found = np.zeros_like(missing)
    box = bounds(missing)
    if box is None:
        return found
    part, cell = box.widened(1, *missing.shape).part, max(1, reach // 10)
    inside = missing[part]
    h, w = inside.shape
    by_row = np.logical_and.reduceat(inside, np.arange(0, h, cell), axis=0)
    cells = np.logical_and.reduceat(by_row, np.arange(0, w, cell), axis=1)
    radius = reach / cell - (1.5 if cell > 1 else 0)
    deep = _squared_distances(~cells, math.ceil(radius)) > radius**2
    around = math.ceil(radius) + 2
    opened = _squared_distances(deep, around) <= around**2
    found[part] = inside & opened.repeat(cell, axis=0)[:h].repeat(cell, axis=1)[:, :w]
    return found


def depth(missing: Missing) -> int:
    """Return the approximate depth of the deepest hole: the side, a power of two, of the largest cell within it."""
    side = 1
    while min(missing.shape) > 1 and missing.any():
        h, w = (each // 2 * 2 for each in missing.shape)
        missing = missing[:h:2, :w:2] & missing[1:h:2, :w:2] & missing[:h:2, 1:w:2] & missing[1:h:2, 1:w:2]
        side *= 2
    return side // 2


def tiles(missing: Missing, side: int, margin: int) -> Iterator[tuple[Box, Box]]:
    """Divide the missing pixels into parts to be filled together.

    Args:
        missing: bool (H, W).
        side: maximal side of a tile in pixels. A picture within that size is a single tile.
        margin: context around a part in pixels, within the picture.

    Yields:
        a part with missing pixels, and the tile around it. The parts are disjoint and contain all missing pixels.
    """
    h, w = missing.shape
    if max(h, w) <= side:
        if missing.any():
            yield Box(0, 0, h, w), Box(0, 0, h, w)
        return
    step = side - 2 * margin
    for top in range(0, h, step):
        for left in range(0, w, step):
            cell = Box(top, left, min(h, top + step), min(w, left + step))
            if missing[cell.part].any():
                part = _tight(missing, cell)
                yield part, part.widened(margin, h, w)
