"""Harmonic inpainting in NumPy: a membrane over the known pixels, and a net under answers that are far from it."""

import math

import numpy as np
import numpy.typing as npt

from .boxes import Floats, Missing, depth
from .scaling import enlarged

_SWEEPS, _COARSEST_SWEEPS = 4, 8  # at each size
_DAMPED = (0.05, 2.0)  # eigenvalues of a sweep, as in stages/training/membrane.py, which is the same cascade in torch
_LEAST_SIDE = 3

# An answer may differ from the membrane by what nobody sees, and by three times as much as nine in ten known pixels
# differ from the mean of their surroundings: of 1,100 crops of photographs by three trained models, one had more than
# 5 % beyond that. Nowhere may it differ by more than twice what the roughest known pixel does: that concerns smooth
# surroundings alone (of 40 photographs one, by one level).
ALLOWED_LEVELS = 1.5 / 255
ALLOWED_ROUGHNESS = 3.0
MOST_ALLOWED_ROUGHNESS = 2.0
_MOST_BEYOND = 0.05  # of the missing pixels
_DEPTH_PX = 4  # about how deep a hole is at the size at which its answer is looked at
_LEAST_SEEN = 30  # pixels to measure roughness by


def spread(values: Floats, missing: Missing) -> Floats:
    """Solve Laplace's equation in the holes, nearly: from the coarsest size to the finest, a few sweeps at each.

    The cascade of Bornemann and Deuflhard (Numerische Mathematik 75, 1996). Edges are mirrored.

    Args:
        values: float32 (H, W, C); what stands in holes is ignored.
        missing: bool (H, W).

    Returns:
        like `values`, which it equals where nothing is missing; 0 where nothing is known.
    """
    h, w = missing.shape
    known = ~missing[..., None]
    values = values * known
    if min(h, w) <= _LEAST_SIDE:
        mean = values.sum(axis=(0, 1)) / max(1, int(known.sum()))
        return _swept(np.where(known, values, mean.astype(np.float32)), known, _COARSEST_SWEEPS)
    share, total = _halved(known.astype(np.float32)), _halved(values)
    coarse = spread(total / share.clip(0.25), share[..., 0] == 0)
    return _swept(np.where(known, values, enlarged(coarse, 2, h, w)), known, _SWEEPS)


def _halved(values: Floats) -> Floats:
    h, w = values.shape[:2]
    values = np.pad(values, [(0, h % 2), (0, w % 2), (0, 0)], mode="edge")
    return (values[::2, ::2] + values[1::2, ::2] + values[::2, 1::2] + values[1::2, 1::2]) * np.float32(0.25)


def _swept(sheet: Floats, known: npt.NDArray[np.bool_], sweeps: int) -> Floats:
    """Move the unknown values, in place, towards the mean of their four neighbours; edges are mirrored."""
    low, high = _DAMPED
    quarter = np.float32(0.25)
    for number in range(sweeps):
        root = math.cos(math.pi * (2 * number + 1) / (2 * sweeps))
        weight = np.float32(2 / (high + low + (high - low) * root))
        around = np.pad(sheet, [(1, 1), (1, 1), (0, 0)], mode="edge")
        mean = (around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:]) * quarter
        np.add(sheet, weight * (mean - sheet), out=sheet, where=~known)
    return sheet


def known_range(image: Floats, missing: Missing) -> tuple[Floats, Floats]:
    """Return the lowest and the highest known value of each channel, (3,), widened by less than half a level.

    Args:
        image: float32 (H, W, 3) in [0, 1].
        missing: bool (H, W), some pixels known.
    """
    known = ~missing[..., None]
    low, high = (
        reduce(image, axis=(0, 1), initial=first, where=known) for reduce, first in ((np.min, 1.0), (np.max, 0.0))
    )
    return low - np.float32(0.4 / 255), high + np.float32(0.4 / 255)


def strays(image: Floats, missing: Missing, answer: Floats) -> float:
    """Say how far an answer is from a membrane, if that is more than the roughness of the surroundings explains.

    Both are compared at a size at which the hole is a few pixels deep. How far known pixels are there from the mean of
    their own surroundings, over as many pixels as the hole is deep, says what a membrane cannot know.

    Args:
        image: float32 (H, W, 3) in [0, 1]; what stands in its holes is ignored.
        missing: bool (H, W), some pixels known.
        answer: like `image`, for the missing pixels.

    Returns:
        0 for an answer that is close enough, else the largest distance, in [0, 1].
    """
    hole_depth, levels = depth(missing), 0
    while hole_depth > _DEPTH_PX:
        hole_depth, levels = hole_depth // 2, levels + 1
    whole = missing[..., None].astype(np.float32)
    absent = _reduced(whole, levels)
    inside, unknown = absent[..., 0] > 0.5, absent[..., 0] > 0
    known = _reduced(image * (1 - whole), levels) / (1 - absent).clip(1e-3)
    if not inside.any() or inside.all():
        return 0.0
    usual, most = _roughness(known, unknown, max(1, hole_depth))
    allowed, nowhere = ALLOWED_LEVELS + ALLOWED_ROUGHNESS * usual, ALLOWED_LEVELS + MOST_ALLOWED_ROUGHNESS * most

    def found(off: Floats) -> float:
        distance = np.abs(off).max(axis=2)[inside]
        is_far = np.mean(distance > allowed) > _MOST_BEYOND or distance.max() > nowhere
        return float(distance.max()) if is_far else 0.0

    composite = _reduced(np.where(missing[..., None], answer, image), levels)
    if not found(composite - spread(known, unknown)):
        return 0.0
    # A membrane over so few pixels can be off itself. One at full size takes longer, and is rarely asked.
    return found(_reduced((answer - spread(image, missing)) * whole, levels) / absent.clip(1e-3))


def _reduced(values: Floats, levels: int) -> Floats:
    for _ in range(levels):
        values = _halved(values)
    return values


def _roughness(image: Floats, unknown: Missing, reach: int) -> tuple[float, float]:
    """Return how far nine in ten known pixels, and how far all, are at most from the mean of their surroundings.

    The surroundings are the pixels up to `reach` around them, or up to half as many, where too few have so many known
    ones around them; where that leaves none, the harmonic polynomial of second degree that fits all known pixels best.
    """
    while reach:
        side = 2 * reach + 1
        if min(unknown.shape) > side:
            known = _window_means(unknown[..., None].astype(np.float32), side)[..., 0] < 1e-6
            inner = image[reach:-reach, reach:-reach]
            if np.count_nonzero(known) >= _LEAST_SEEN:
                off = np.abs(inner - _window_means(image, side)).max(axis=2)[known]
                return float(np.percentile(off, 90)), float(off.max())
        reach //= 2
    rows, columns = np.nonzero(~unknown)
    if not len(rows):
        return 1.0, 1.0
    y, x = (2 * at / side - 1 for at, side in zip((rows, columns), unknown.shape, strict=True))
    basis = np.stack([np.ones(len(rows)), x, y, x * y, x**2 - y**2], axis=1)
    values = image[rows, columns].astype(np.float64)
    smooth, *_ = np.linalg.lstsq(basis, values, rcond=None)
    off = np.abs(values - basis @ smooth).max(axis=1)
    return float(np.percentile(off, 90)), float(off.max())


def _window_means(values: Floats, side: int) -> Floats:
    """Return the means over all windows of `side` x `side` pixels: (H - side + 1, W - side + 1, C)."""
    sums = np.pad(values, [(1, 0), (1, 0), (0, 0)]).cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
    windows = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    means: Floats = (windows / side**2).astype(np.float32)
    return means
