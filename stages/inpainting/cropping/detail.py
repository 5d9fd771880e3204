"""Texture for holes: patches of the known picture, copied by PatchMatch, on the large shapes predicted by a model.

A network is good at large shapes and poor at fine texture; copying is the opposite (HiFill, Yi et al., CVPR 2020;
guided PatchMatch, Zhang et al., ECCV 2022). The crop is scaled to a size that PatchMatch fills in half a second. The
smooth parts of its result and of the model's are averaged, since their errors differ. If the crop was scaled down, the
finest detail is copied from places in the picture that look the same at the smaller size.

PatchMatch (Barnes et al., SIGGRAPH 2009) is that of the package pypatchmatch (MIT), whose wheels need NumPy alone.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

from . import membrane
from .boxes import Floats, Missing, Pixels
from .scaling import enlarged, mean_of_squares, reduced

THINNEST_PX = 2  # depth; in thinner parts the prediction is nearly as sharp as the picture
LEAST_DEPTH_PX = 12  # of a hole after scaling down for PatchMatch
MOST_PLACES = 32  # in a picture, each processed in half a second
# Patch size in pixels. With 2 the perceptual distance on 40 photographs was 0.959 instead of 0.966, but grass became
# noise and gravel became sand; 7 takes three times as long.
RADIUS_PX = 3
WORK_SIDE_PX = 384  # larger crops are scaled down; PatchMatch takes half a second for this size
# Share of the model in what is coarser than this sigma. With the base weights of pconv, 149 photographs get 20.23 dB at
# a sharpness of 0.83 (PatchMatch alone: 20.00 and 0.84). With a sigma of 2 they get 20.41 dB at the same perceptual
# distance, but a hole in bricks, gravel or grass shows as a patch of less contrast. A larger share blurs edges.
MODELS_SHARE, SMOOTH_PX = 0.7, 8.0
APART_LEVELS = 75.0  # difference of both at which the share falls to a third, since their mean would be hazy
GRAIN_PX = 1.5  # sigma; finer detail is texture
FLAT_LEVELS, TEXTURED_LEVELS = 1.0, 2.5  # of texture: counts as none, counts as full
FLAT_SHARE, TEXTURED_SHARE = 0.02, 0.2  # of surroundings with texture: only the model is used, only copies are
GRAIN_LEVELS = 2.0  # of copied grain in flat parts; more would show as seams
_LEAST_KNOWN, _LEAST_SHARE = 400, 0.05  # pixels to copy from, and their share of the crop; with fewer, copies repeat
_TEXTURE_PX = 8  # side of the squares in which texture is measured
_MOST_COMPARED = 30_000  # positions; of a larger picture only a subset is compared
_BATCH = 512  # rows of a distance matrix, so that it fits into the cache

Ints = npt.NDArray[np.int64]


@cache
def problem() -> str:
    """Return why no texture can be copied on this machine, "" if it can."""
    try:
        import patchmatch
    except (ImportError, OSError) as error:
        return f"pypatchmatch cannot be imported ({type(error).__name__}); pip install pypatchmatch"
    if not patchmatch.patchmatch_available:
        return "pypatchmatch has no library for this machine"
    return ""


def patchmatch_fill(image: Pixels, missing: Missing) -> Pixels:
    """Fill holes by PatchMatch alone.

    Args:
        image: uint8 (H, W, 3).
        missing: bool (H, W), some pixels known.
    """
    import patchmatch

    image = np.where(missing[..., None], np.uint8(0), image)
    patchmatch.set_random_seed(0)  # every call starts from it, so threads get the same answers without a lock
    filled: Pixels = patchmatch.inpaint(image, missing.astype(np.uint8), patch_size=RADIUS_PX)
    return filled


def textured(filled: Pixels, missing: Missing, factor: int) -> Pixels | None:
    """Add texture to filled holes.

    Args:
        filled: uint8 (H, W, 3), the picture with its holes filled by a model.
        missing: bool (H, W), the filled pixels.
        factor: by which to scale the picture down for PatchMatch; 1 for none.

    Returns:
        like `filled`, changed only where `missing`; None if too little is known to copy from.
    """
    small, absent = reduced(filled, missing, factor) if factor > 1 else (filled, missing)
    if np.count_nonzero(~absent) < max(_LEAST_KNOWN, _LEAST_SHARE * absent.size):
        return None
    model = mean_of_squares(filled.astype(np.float32), factor)
    copied = patchmatch_fill(small, absent).astype(np.float32)
    apart = _smooth(np.where(absent[..., None], model - copied, 0), SMOOTH_PX)
    trust = np.exp(-np.square(np.abs(apart).max(axis=2, keepdims=True) / APART_LEVELS))
    mixed = copied + MODELS_SHARE * trust * apart
    grain = (copied - _smooth(copied, GRAIN_PX)).clip(-GRAIN_LEVELS, GRAIN_LEVELS)
    texture = _texture(small.astype(np.float32), absent)
    share = ((texture - FLAT_SHARE) / (TEXTURED_SHARE - FLAT_SHARE)).clip(0, 1)
    mixed = np.where(absent[..., None], share * mixed + (1 - share) * (model + grain), small)
    if factor > 1:
        mixed = _sharpened(filled, mixed, small.astype(np.float32), absent, factor)
    answer: Pixels = mixed.round().clip(0, 255).astype(np.uint8)
    return answer


def _texture(picture: Floats, absent: Missing) -> Floats:
    """Measure texture, and in holes the texture of their surroundings.

    Args:
        picture: float32 (H, W, 3), in levels.
        absent: bool (H, W).

    Returns:
        float32 (H, W, 1), from 0 (flat) to 1, by the mean distance from the smoothed picture.
    """
    fine = np.abs(picture - _smooth(picture, GRAIN_PX)).mean(axis=2, keepdims=True)
    near_hole = _smooth(absent[..., None].astype(np.float32), GRAIN_PX) > 1e-3  # their smoothed values include the hole
    seen = (~near_hole).astype(np.float32)
    weight, total = mean_of_squares(seen, _TEXTURE_PX), mean_of_squares(fine * seen, _TEXTURE_PX)
    level = ((total / weight.clip(1e-3) - FLAT_LEVELS) / (TEXTURED_LEVELS - FLAT_LEVELS)).clip(0, 1)
    level = membrane.spread(level, weight[..., 0] < 0.25)
    return enlarged(level, _TEXTURE_PX, *absent.shape).clip(0, 1)


def _smooth(values: Floats, sigma: float) -> Floats:
    """Blur float32 (H, W, C) by a Gaussian of `sigma` pixels; edges are mirrored."""
    reach = round(3 * sigma)
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2).astype(np.float32)
    for axis in (0, 1):
        pad = [(reach, reach) if each == axis else (0, 0) for each in range(3)]
        around = np.moveaxis(np.pad(values, pad, mode="symmetric"), axis, 0)
        length = values.shape[axis]
        blurred = sum(tap * around[start : start + length] for start, tap in enumerate(taps / taps.sum()))
        values = np.moveaxis(np.asarray(blurred), 0, axis)
    return values


def _sharpened(filled: Pixels, mixed: Floats, small: Floats, absent: Missing, factor: int) -> Floats:
    """Enlarge `mixed`, and add to each pixel the detail that enlarging loses at a similar known place.

    Args:
        filled: uint8 (H, W, 3), the picture at its own size.
        mixed: float32 (h, w, 3), with its holes filled, at the smaller size.
        small: float32 (h, w, 3), the picture at that size.
        absent: bool (h, w), the holes at that size.
        factor: between the two.
    """
    h, w = filled.shape[:2]
    rows, columns = absent.shape
    whole = np.pad(filled, [(0, rows * factor - h), (0, columns * factor - w), (0, 0)], mode="edge").astype(np.float32)
    lost = whole - enlarged(small, factor, *whole.shape[:2])
    squares = lost.reshape(rows, factor, columns, factor, 3)
    source = _alike(mixed, absent)
    y, x = np.nonzero(absent)
    squares[y, :, x] = squares[source // columns, :, source % columns]
    sharp: Floats = enlarged(mixed, factor, *whole.shape[:2]) + squares.reshape(whole.shape)
    return sharp[:h, :w]


def _alike(picture: Floats, absent: Missing) -> Ints:
    """Find for each missing pixel a known one with similar surroundings.

    Every fourth pixel in each direction is compared with all; the others try the position next to their neighbour's
    match, so that large pieces are copied together.

    Args:
        picture: float32 (H, W, 3), filled.
        absent: bool (H, W).

    Returns:
        (N,), for each missing pixel, row by row, the index of the known one in the flattened picture.
    """
    h, w = absent.shape
    around = np.pad(picture, [(2, 2), (2, 2), (0, 0)], mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(around, (5, 5), axis=(0, 1)).reshape(h * w, 75)
    unknown = np.pad(absent, 2, constant_values=True)
    usable = ~np.lib.stride_tricks.sliding_window_view(unknown, (5, 5)).any(axis=(2, 3)).ravel()
    if not usable.any():
        usable = ~absent.ravel()
    known = np.flatnonzero(usable)
    looked_at = known[:: -(-len(known) // _MOST_COMPARED)]
    y, x = np.nonzero(absent)
    place = np.full((h, w), -1)
    place[y, x] = np.arange(len(y))
    wanted = windows[y * w + x]
    source = np.full(len(y), known[0])
    seeds = np.flatnonzero((y % 4 == 0) & (x % 4 == 0))
    source[seeds] = looked_at[_nearest(wanted[seeds], windows[looked_at])]
    distance = np.full(len(y), np.inf, np.float32)
    distance[seeds] = np.square(wanted[seeds] - windows[source[seeds]]).sum(axis=1)
    for step in (2, 1, 2, 1, 1):
        for down, right in ((0, step), (step, 0), (0, -step), (-step, 0)):
            beside = (y + down, x + right)
            inside = (beside[0] >= 0) & (beside[0] < h) & (beside[1] >= 0) & (beside[1] < w)
            from_ = np.where(inside, place[beside[0].clip(0, h - 1), beside[1].clip(0, w - 1)], -1)
            row, column = source[from_] // w - down, source[from_] % w - right
            offered = (from_ >= 0) & (row >= 0) & (row < h) & (column >= 0) & (column < w)
            offered &= usable[np.where(offered, row * w + column, 0)]
            which = np.flatnonzero(offered & np.isfinite(distance[from_]))
            there = (row * w + column)[which]
            found = np.square(wanted[which] - windows[there]).sum(axis=1)
            closer = found < distance[which]
            source[which[closer]], distance[which[closer]] = there[closer], found[closer]
    return source


def _nearest(wanted: Floats, offered: Floats) -> Ints:
    """Return for each row of `wanted` (N, D) the index of the nearest row of `offered` (M, D)."""
    lengths = np.square(offered).sum(axis=1) / 2
    found = [
        np.argmin(lengths - wanted[start : start + _BATCH] @ offered.T, axis=1)
        for start in range(0, len(wanted), _BATCH)
    ]
    return np.concatenate(found) if found else np.zeros(0, np.int64)
