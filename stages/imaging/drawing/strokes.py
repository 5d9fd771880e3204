"""Free-form brush strokes, after Yu et al. (2019, Free-Form Image Inpainting with Gated Convolution).

hole = draw_strokes((48, 64), 0.15, (0, 0), np.random.default_rng(0))     # uint8 (48, 64), 1 = missing
"""

import math

import cv2
import numpy as np
import numpy.typing as npt

from stages.imaging.holes import Pixels, Shape

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]

_WIDTHS, _LENGTHS = (0.03, 0.13), (0.02, 0.16)  # of a stroke and of each straight piece of it; shares of the side
_MOST_STEPS = 12


def draw_strokes(shape: Shape, ratio: float, free: Shape, rng: np.random.Generator) -> Pixels:
    """Draw random walks that turn a little at each step, until `ratio` of the pixels are missing.

    Args:
        shape: (H, W).
        ratio: share of missing pixels to aim at.
        free: rows at top and bottom, columns at left and right, that stay known.
        rng: source of the random numbers.

    Returns:
        uint8 (H, W), 1 = missing.
    """
    side, walks = min(shape), math.ceil(10 + 130 * ratio)  # nearly always more than are needed
    steps = rng.integers(2, _MOST_STEPS, (walks, 1), endpoint=True)
    widths = np.maximum(1, np.rint(side * np.exp(rng.uniform(math.log(_WIDTHS[0]), math.log(_WIDTHS[1]), (walks, 1)))))
    lengths = side * rng.uniform(*_LENGTHS, (walks, _MOST_STEPS))
    turns = rng.normal(rng.normal(0, 0.2, (walks, 1)), 0.5, (walks, _MOST_STEPS))
    headings = np.cumsum(turns, axis=1) + rng.uniform(0, 2 * np.pi, (walks, 1))
    x0, x1 = _walk(shape[1], free[1], lengths * np.cos(headings), widths, rng)
    y0, y1 = _walk(shape[0], free[0], lengths * np.sin(headings), widths, rng)
    pieces = np.stack([x0, y0, x1, y1, np.broadcast_to(widths, x0.shape)], axis=-1)  # (walks, steps, 5)
    return paint(pieces[np.arange(_MOST_STEPS) < steps].astype(np.int32), ratio, shape)


def _walk(extent: int, free: int, moves: Floats, widths: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return the start and the end of each step along one axis; walks turn back at both ends of the free range."""
    inset = free + widths / 2 + 1 if free else np.zeros_like(widths)  # the whole brush keeps out of the margin
    span = np.maximum(extent - 1 - 2 * inset, 1)
    way = np.empty((len(moves), moves.shape[1] + 1))
    way[:, :1] = rng.uniform(0, span)
    way[:, 1:] = way[:, :1] + np.cumsum(moves, axis=1)
    places = np.rint(inset + np.abs((way + span) % (2 * span) - span))  # a triangle wave: 0 ... span ... 0
    return places[:, :-1], places[:, 1:]


def paint(pieces: Ints, ratio: float, shape: Shape) -> Pixels:
    """Paint straight pieces with round caps, in order, until `ratio` of the pixels are missing.

    Args:
        pieces: int32 (n, 5): x and y of one end, x and y of the other, width; pixels.
        ratio: where to stop.
        shape: (H, W).
    """
    hole = np.zeros(shape, np.uint8)
    enough = ratio * hole.size
    widths = pieces[:, 4] + 2  # a rasterised line may be a little wider
    areas = widths * (np.hypot(*(pieces[:, 2:4] - pieces[:, :2]).T) + widths)
    missing_at_most = 0.0  # counting takes longer than painting, so only count when the end may be reached
    for (x0, y0, x1, y1, width), area in zip(pieces.tolist(), areas.tolist(), strict=True):
        cv2.line(hole, (x0, y0), (x1, y1), 1, width)
        missing_at_most += area
        if missing_at_most >= enough:
            missing_at_most = float(cv2.countNonZero(hole))
            if missing_at_most >= enough:
                break
    return hole
