"""Boxes: any number of rectangles of any size, or two squares of 75 pixels in 256.

hole = draw_boxes((48, 64), 0.15, (0, 0), np.random.default_rng(0))     # uint8 (48, 64), 1 = missing
"""

import numpy as np
import numpy.typing as npt

from stages.imaging.holes import Pixels, Shape

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]

_BOXES = 300
_PAIRS = 64  # of squares; the first pair that does not overlap is used, and at least one in three does not


def draw_boxes(shape: Shape, ratio: float, free: Shape, rng: np.random.Generator) -> Pixels:
    """Draw one to about twenty boxes; their centres lie anywhere outside the margin.

    Args:
        shape: (H, W).
        ratio: share of missing pixels, met closely and never exceeded.
        free: rows at top and bottom, columns at left and right, that stay known.
        rng: source of the random numbers.

    Returns:
        uint8 (H, W), 1 = missing.
    """
    areas = ratio * shape[0] * shape[1] / np.exp(rng.uniform(0, np.log(20))) * np.exp(rng.normal(0, 0.5, _BOXES))
    elongation = np.exp(rng.uniform(-np.log(2), np.log(2), _BOXES))
    top, bottom = _edges(shape[0], free[0], np.sqrt(areas) * elongation, rng)
    left, right = _edges(shape[1], free[1], np.sqrt(areas) / elongation, rng)
    return paint(np.stack([top, left, bottom, right], axis=1).astype(np.int32), ratio, shape)


def _edges(extent: int, free: int, sides: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    low, high = free, extent - free
    first = np.rint(rng.uniform(low, high, len(sides)) - sides / 2)
    return np.clip(first, low, high), np.clip(first + np.maximum(1, np.rint(sides)), low, high)


def draw_challenge(shape: Shape, free: Shape, rng: np.random.Generator) -> Pixels:
    """Draw two squares of 75/256 of the shorter side that do not overlap; arguments and result as for `draw_boxes`."""
    side = _square_px(shape)
    corners = rng.integers(free, np.subtract(shape, free) - side, (_PAIRS, 2, 2), endpoint=True)  # pair, square, axis
    apart = (np.abs(corners[:, 0] - corners[:, 1]) >= side).any(axis=1)
    corner = corners[np.argmax(apart)]
    return paint(np.hstack([corner, corner + side]).astype(np.int32), 1.0, shape)


def challenge_ratio(shape: Shape) -> float:
    """Return the ratio of all `challenge` holes of a shape: 0.1717 at 256, 0.1763 at 64."""
    return 2 * _square_px(shape) ** 2 / (shape[0] * shape[1])


def _square_px(shape: Shape) -> int:
    return round(75 * min(shape) / 256)


def paint(edges: Ints, ratio: float, shape: Shape) -> Pixels:
    """Paint boxes in order; the one that would exceed the ratio loses its lower rows and is the last.

    Args:
        edges: int32 (n, 4): top, left, bottom, right; pixels, the last two excluded.
        ratio: never exceeded.
        shape: (H, W).
    """
    hole = np.zeros(shape, np.uint8)
    left_over = int(ratio * hole.size)
    for top, left, bottom, right in edges.tolist():
        box = hole[top:bottom, left:right]
        newly_missing = np.cumsum(box.shape[1] - np.count_nonzero(box, axis=1))
        rows = int(np.searchsorted(newly_missing, left_over, side="right"))
        box[:rows] = 1
        if rows < len(box):
            break
        left_over -= int(newly_missing[-1]) if rows else 0
    return hole
