"""Harmonic inpainting in NumPy: a membrane over the known pixels, and a net under answers that are far from it."""

import math

import numpy as np
import numpy.typing as npt

from .boxes import Floats, Missing
from .scaling import enlarged

_SWEEPS, _COARSEST_SWEEPS = 4, 8  # at each size
_DAMPED = (0.05, 2.0)  # eigenvalues of a sweep, as in stages/fitting/membrane.py, which is the same cascade in torch
_LEAST_SIDE = 3

# An answer may differ from the membrane by so much: what nobody sees, and a part of how much the surroundings vary.
ALLOWED_LEVELS = 1.5 / 255
ALLOWED_DEVIATIONS = 2.0
_LOOKED_AT = 64  # pixels; answers are looked at no larger than this


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
    """Return the lowest and the highest known value of each channel, a little wider, which rounding takes away: (3,).

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
    """Say how far an answer is from a membrane, beyond what its surroundings give reason for.

    Both are compared without their texture, at `_LOOKED_AT` pixels.

    Args:
        image: float32 (H, W, 3) in [0, 1]; what stands in its holes is ignored.
        missing: bool (H, W), some pixels known.
        answer: like `image`, for the missing pixels.

    Returns:
        0 for an answer that is close enough, else the largest distance, in [0, 1].
    """
    composite = np.where(missing[..., None], answer, image)
    absent = missing[..., None].astype(np.float32)
    image = image * (1 - absent)
    while max(absent.shape) > _LOOKED_AT:
        composite, image, absent = _halved(composite), _halved(image), _halved(absent)
    inside = absent[..., 0] > 0.5
    image = image / (1 - absent).clip(1e-3)
    if not inside.any() or inside.all():
        return 0.0
    distance = np.abs(composite - spread(image, absent[..., 0] > 0))[inside]
    allowed = ALLOWED_LEVELS + ALLOWED_DEVIATIONS * image[absent[..., 0] < 0.5].std(axis=0).max()
    return float(distance.max()) if (distance > allowed).any() else 0.0
