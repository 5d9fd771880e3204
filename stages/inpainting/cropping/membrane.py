"""Harmonic inpainting in NumPy, and detection of predictions that are far from it.

A membrane is the solution of Laplace's equation over the known pixels.
"""

import math

import numpy as np
import numpy.typing as npt

from .boxes import Floats, Missing, depth
from .scaling import enlarged

_SWEEPS, _COARSEST_SWEEPS = 4, 8  # at each size
_DAMPED = (0.05, 2.0)  # eigenvalues of a sweep, as in stages/training/membrane.py, the same algorithm in torch
_LEAST_SIDE = 3

# A prediction may differ from the membrane by an invisible amount plus three times the 90th percentile of how much
# known pixels differ from the mean of their surroundings: of 1,100 crops of photographs filled by three models, one had
# more than 5 % of its pixels beyond that. No pixel may differ by more than twice the maximum over known pixels, which
# matters in smooth surroundings only (one of 40 photographs, by one level).
ALLOWED_LEVELS = 1.5 / 255
ALLOWED_ROUGHNESS = 3.0
MOST_ALLOWED_ROUGHNESS = 2.0
_MOST_BEYOND = 0.05  # of the missing pixels
_DEPTH_PX = 4  # approximate depth of a hole at the size at which predictions are compared
_LEAST_SEEN = 30  # pixels needed to measure roughness


def spread(values: Floats, missing: Missing) -> Floats:
    """Solve Laplace's equation in the holes approximately: a few sweeps at each size, from coarse to fine.

    Cascadic multigrid (Bornemann and Deuflhard, Numerische Mathematik 75, 1996). Edges are mirrored.

    Args:
        values: float32 (H, W, C); values in holes are ignored.
        missing: bool (H, W).

    Returns:
        like `values`, equal to them where they are known; 0 if nothing is known.
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
    """Move unknown values towards the mean of their four neighbours, in place; edges are mirrored."""
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
    """Return the lowest and highest known value of each channel, (3,), widened by less than half a level.

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
    """Return the distance of a prediction from a membrane, if the roughness of the surroundings does not explain it.

    Both are compared at a size at which the hole is a few pixels deep. The distance of known pixels from the mean of
    their own surroundings, over a radius of the hole's depth, is what a membrane cannot reproduce.

    Args:
        image: float32 (H, W, 3) in [0, 1]; its values in holes are ignored.
        missing: bool (H, W), some pixels known.
        answer: the prediction, like `image`.

    Returns:
        0 for a prediction that is close enough, else the largest distance, in [0, 1].
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
    # A membrane of so few pixels may be inaccurate itself. One at full size takes longer, and is rarely needed.
    return found(_reduced((answer - spread(image, missing)) * whole, levels) / absent.clip(1e-3))


def _reduced(values: Floats, levels: int) -> Floats:
    for _ in range(levels):
        values = _halved(values)
    return values


def _roughness(image: Floats, unknown: Missing, reach: int) -> tuple[float, float]:
    """Return the 90th percentile and the maximum of how far known pixels are from the mean of their surroundings.

    The surroundings are the pixels within `reach`, or half of it if too few known pixels have complete surroundings,
    and so on; if none has, pixels are compared with the harmonic polynomial of degree 2 that fits all known ones best.
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
