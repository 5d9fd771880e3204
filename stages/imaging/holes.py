"""Holes: the words, the ratio buckets, and the bit-packed mask sets that training and evaluation read.

A hole is uint8 (H, W): 1 where pixels are missing, 0 where they are known. How holes come about is in `drawing/`.

    mask_set = MaskSet("data/masks/train.npy")
    holes = mask_set.gather(np.array([5, 0, 9]))     # uint8 (3, size, size)
    bucket_of(hole_ratio(holes[0]))              # 0 ... 5, or None
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.runtime.errors import InputError

# Shares of missing pixels as in Liu et al. (2018, Table 1): more than the left edge, at most the right one.
BUCKETS = ((0.01, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 0.5), (0.5, 0.6))

# Holes "without border" leave 50 of 512 pixels free along every edge, in the paper; here the same share of any side.
_FREE_PX, _OF_PX = 50, 512

Pixels = npt.NDArray[np.uint8]
Shape = tuple[int, int]  # height, width


def hole_ratio(hole: Pixels) -> float:
    """Return the share of missing pixels, count / size in one float64 division, so that one in ten is exactly 0.1."""
    return int(np.count_nonzero(hole)) / hole.size


def bucket_of(ratio: float) -> int | None:
    """Return the bucket that a ratio lies in, None outside all of them.

    Args:
        ratio: from `hole_ratio`; a float32 copy of it may fall on the other side of an edge.
    """
    return next((number for number, (low, high) in enumerate(BUCKETS) if low < ratio <= high), None)


def margin(shape: Shape) -> Shape:
    """Return how many rows, at top and bottom, and columns, at left and right, a hole without border leaves free.

    Those whose pixel centres lie within 50/512 of the side: 50 at 512 pixels, 25 at 256, 6 at 64.
    """
    height, width = ((2 * _FREE_PX * side + _OF_PX) // (2 * _OF_PX) for side in shape)
    return height, width


def touches_border(hole: Pixels) -> bool:
    """Tell whether some pixel within the margin is missing, for a hole (H, W)."""
    rows, columns = margin((hole.shape[0], hole.shape[1]))
    bottom, right = hole.shape[0] - rows, hole.shape[1] - columns
    strips = (hole[:rows], hole[bottom:], hole[:, :columns], hole[:, right:])
    return any(bool(strip.any()) for strip in strips)


def pack(holes: Pixels) -> Pixels:
    """Pack holes, a bit a pixel.

    Args:
        holes: uint8 (N, S, S), 0 or 1.

    Returns:
        uint8 (N, S, ceil(S / 8)), the leftmost pixel in the highest bit, the bits past the right edge 0.
    """
    return np.packbits(holes, axis=2)


class MaskSet:
    """The holes of one split, read by memory map.

    Args:
        path: `.npy` file of what `pack` returned.

    Raises:
        InputError: the file is missing, damaged, or holds something else.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            self._packed: Pixels = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{path} is missing or damaged ({error}); run dvc repro masks, or dvc checkout") from None
        if self._packed.dtype != np.uint8 or self._packed.ndim != 3 or -(-self.size // 8) != self._packed.shape[2]:
            raise InputError(
                f"{path} should hold packed holes, uint8 (N, S, ceil(S / 8)), but holds "
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
        """Unpack some holes into memory.

        Args:
            rows: (n,), each in [0, len(self)).

        Returns:
            uint8 (n, size, size), 1 = missing, in the order of `rows`.
        """
        return np.unpackbits(self._packed[rows], axis=2, count=self.size)
