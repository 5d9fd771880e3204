"""Holes like those of Liu et al. (2018), who took the regions that are occluded between two frames of a video.

Their masks are ragged and of all sizes, then dilated, rotated and cropped. Here a hole is where smooth noise is
highest, or a sliver along its level lines; a threshold gives any ratio at once.

hole = draw_blobs((48, 64), 0.15, (0, 0), np.random.default_rng(0))     # uint8 (48, 64), 1 = missing
"""

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from stages.imaging.holes import Pixels, Shape

Floats = npt.NDArray[np.float64]

_NOISE_SIDE = 96  # of the noise that blobs are cut from; its coarsest bumps are a third to a seventh of it
_PIECE_SIDE = 48  # of what is cut from it


def draw_blobs(shape: Shape, ratio: float, free: Shape, rng: np.random.Generator) -> Pixels:
    """Draw smooth noise of three octaves, or its level lines; stretch, rotate, crop and dilate it; apply a threshold.

    Args:
        shape: (H, W).
        ratio: share of missing pixels to aim at.
        free: rows at top and bottom, columns at left and right, that stay known.
        rng: source of the random numbers.

    Returns:
        uint8 (H, W), 1 = missing.
    """
    cells = int(rng.integers(3, 8))
    noise = sum(weight * _smooth(cells * fineness, rng) for fineness, weight in ((1, 1.0), (2, 0.5), (4, 0.25)))
    if rng.random() < 0.4:
        noise = -np.abs(noise)  # slivers, as a moving object leaves along its outline
    piece = cv2.warpAffine(
        noise,
        _cut(rng),
        (_PIECE_SIDE, _PIECE_SIDE),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    grow = int(rng.integers(2, 5))
    piece = cv2.dilate(piece, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (grow, grow)))
    piece = cv2.GaussianBlur(piece, (3, 3), 0)  # no steps between the plateaus that dilation leaves
    low, high = piece.min(), piece.max()
    return paint(np.rint((piece - low) * (255 / (high - low))).astype(np.uint8), ratio, free, shape)


def _smooth(cells: int, rng: np.random.Generator) -> Any:
    values = rng.standard_normal((cells, cells), np.float32)
    return cv2.resize(values, (_NOISE_SIDE, _NOISE_SIDE), interpolation=cv2.INTER_CUBIC)


def _cut(rng: np.random.Generator) -> Floats:
    """Draw the affine map (2, 3) from the cells of the piece to those of the noise."""
    angle, zoom, stretch = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.3), np.exp(rng.uniform(0, np.log(2.5)))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.diag([zoom * np.sqrt(stretch), zoom / np.sqrt(stretch)])
    shift = rng.uniform(0.3, 0.7, 2) * _NOISE_SIDE - linear @ np.full(2, _PIECE_SIDE / 2)
    return np.column_stack([linear, shift])


def paint(noise: Pixels, ratio: float, free: Shape, shape: Shape) -> Pixels:
    """Make a hole where noise is highest.

    Args:
        noise: uint8 (h, w), scaled to the hole's size.
        ratio: of missing pixels, met as closely as 256 levels allow.
        free: margin that stays known; the noise fades out towards it.
        shape: (H, W) of the hole.
    """
    height, width = shape
    level = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    if any(free):
        level = cv2.multiply(level, _fade(shape, free), scale=1 / 255)
    histogram = cv2.calcHist([level], [0], None, [256], [0, 256]).ravel()
    missing = np.cumsum(histogram[:0:-1])[::-1]  # [t]: pixels above t, for t from 0, which the margin never is
    above = np.argmin(np.abs(missing - ratio * level.size))
    return (level > above).astype(np.uint8)


@lru_cache(maxsize=4)
def _fade(shape: Shape, free: Shape) -> Pixels:
    """Return uint8 (H, W): 0 in the margin, then rising to 255 over an eighth of the side, so that blobs end round."""
    inwards = [np.arange(side) - kept + 1 for side, kept in zip(shape, free, strict=True)]
    rows, columns = (np.clip(np.minimum(way, way[::-1]) / (len(way) / 8), 0, 1) for way in inwards)
    return (255 * np.outer(rows * (2 - rows), columns * (2 - columns))).astype(np.uint8)
