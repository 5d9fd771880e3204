"""Holes: ratios, ratio buckets, and the bit-packed mask sets that training and evaluation read.

A hole is uint8 (H, W): 1 where pixels are missing, 0 where they are known. `drawing/` makes them.

    mask_set = MaskSet("data/masks/train.npy")
    holes = mask_set.gather(np.array([5, 0, 9]))     # uint8 (3, size, size)
    bucket_of(hole_ratio(holes[0]))              # 0 ... 5, or None
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.runtime.errors import InputError

# Ratios as in Liu et al. (2018, Table 1): the left edge is excluded, the right one included.
BUCKETS = ((0.01, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 0.5), (0.5, 0.6))

# In the paper holes "without border" leave 50 of 512 pixels free along every edge; here the same share of any side.
_FREE_PX, _OF_PX = 50, 512

Pixels = npt.NDArray[np.uint8]
Shape = tuple[int, int]  # height, width


def hole_ratio(hole: Pixels) -> float:
    """Return the share of missing pixels as float64, so that one in ten is exactly 0.1."""
    return int(np.count_nonzero(hole)) / hole.size


def bucket_of(ratio: float) -> int | None:
    """Return the index of a ratio's bucket, None if it is outside all of them.

    Args:
        ratio: from `hole_ratio`; rounded to float32 it might fall into another bucket.
    """
    return next((number for number, (low, high) in enumerate(BUCKETS) if low < ratio <= high), None)


def margin(shape: Shape) -> Shape:
    """Return the rows (top and bottom) and columns (left and right) that a hole without border leaves free.

    These are the pixels whose centres lie within 50/512 of the side: 50 at 512 pixels, 25 at 256, 6 at 64.
    """
    height, width = ((2 * _FREE_PX * side + _OF_PX) // (2 * _OF_PX) for side in shape)
    return height, width


def touches_border(hole: Pixels) -> bool:
    """Return whether some pixel within the margin is missing, for a hole (H, W)."""
    rows, columns = margin((hole.shape[0], hole.shape[1]))
    bottom, right = hole.shape[0] - rows, hole.shape[1] - columns
    strips = (hole[:rows], hole[bottom:], hole[:, :columns], hole[:, right:])
    return any(bool(strip.any()) for strip in strips)


def pack(holes: Pixels) -> Pixels:
    """Pack holes with one bit per pixel.

    Args:
        holes: uint8 (N, S, S), 0 or 1.

    Returns:
        uint8 (N, S, ceil(S / 8)); the leftmost pixel is the highest bit, bits beyond the right edge are 0.
    """
    return np.packbits(holes, axis=2)


class MaskSet:
    """The holes of one split, memory-mapped.

    Args:
        path: `.npy` file with the result of `pack`.

    Raises:
        InputError: the file is missing, damaged, or contains something else.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            self._packed: Pixels = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{path} is missing or damaged ({error}); run dvc repro masks, or dvc checkout") from None
        if self._packed.dtype != np.uint8 or self._packed.ndim != 3 or -(-self.size // 8) != self._packed.shape[2]:
            raise InputError(
                f"{path} should contain packed holes, uint8 (N, S, ceil(S / 8)), but contains "
                f"{self._packed.dtype} {self._packed.shape}; run dvc repro masks"
            )

    def __len__(self) -> int:
        """Return the number of holes."""
        return len(self._packed)

    @property
    def size(self) -> int:
        """Side of a hole in pixels."""
        return int(self._packed.shape[1])

    def gather(self, rows: npt.NDArray[np.integer[Any]]) -> Pixels:
        """Unpack some holes.

        Args:
            rows: (n,), each in [0, len(self)).

        Returns:
            uint8 (n, size, size), 1 = missing, in the order of `rows`.
        """
        return np.unpackbits(self._packed[rows], axis=2, count=self.size)
