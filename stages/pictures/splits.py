"""Which photo belongs to which split: by its content, and never apart from its near-duplicates.

    split_of(sha256, val_share=0.1, test_share=0.15)       # "train", "val" or "test", for ever
    groups = near_duplicate_groups(hashes, bits=6)
    splits = join_splits(splits, groups)                   # no group on two sides

A photo added to the folder moves no other, unless it is a near-duplicate that joins two groups.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from imagehash import phash
from PIL import Image

SPLITS = ("train", "val", "test")  # in a group of near-duplicates the later one wins

_HASH_DIGITS = 13  # 52 bits, what a float holds exactly


def split_of(sha256: str, val_share: float, test_share: float) -> str:
    """Return the split of a photo from the hash of its content, so that other photos never move it.

    Args:
        sha256: hexadecimal digits.
        val_share: share of all photos, in expectation, that is "val".
        test_share: the same for "test".
    """
    number = int(sha256[:_HASH_DIGITS], 16) / 16**_HASH_DIGITS  # even in [0, 1)
    if number < test_share:
        return "test"
    return "val" if number < test_share + val_share else "train"


def perceptual_hash(pixels: npt.NDArray[np.uint8]) -> int:
    """Return 64 bits that stay nearly the same when a picture is resized, compressed or made a little brighter.

    The lowest 8 x 8 frequencies of the picture at 32 x 32, each above or below their median (pHash; Zauner,
    "Implementation and benchmarking of perceptual image hash functions", 2010).

    Args:
        pixels: uint8 (H, W, 3).
    """
    bits = phash(Image.fromarray(pixels)).hash
    return int.from_bytes(np.packbits(bits).tobytes())


def near_duplicate_groups(hashes: Sequence[int], bits: int) -> npt.NDArray[np.intp]:
    """Join what differs in at most `bits` bits, directly or through others.

    Every pair is compared, which for 100,000 photos takes seconds where decoding them takes an hour.

    Args:
        hashes: one of `perceptual_hash` for each photo.
        bits: largest Hamming distance of near-duplicates, in 0 ... 64.

    Returns:
        (n,), for each photo the position of the first photo of its group.
    """
    numbers = np.array(hashes, np.uint64)
    groups = np.arange(len(numbers))
    for i in range(len(numbers)):
        near = i + np.flatnonzero(np.bitwise_count(numbers[i:] ^ numbers[i]) <= bits)
        if len(near) > 1:
            joined = np.unique(groups[near])
            groups[np.isin(groups, joined)] = joined[0]
    return groups


def join_splits(splits: Sequence[str], groups: npt.NDArray[np.intp]) -> list[str]:
    """Give every member of a group the same split: test if one of them is test, else val if one is val.

    Args:
        splits: one of `SPLITS` for each photo.
        groups: (n,), as from `near_duplicate_groups`.
    """
    ranks = np.array([SPLITS.index(split) for split in splits], np.intp)
    strongest = np.zeros(len(ranks), np.intp)
    np.maximum.at(strongest, groups, ranks)
    return [SPLITS[rank] for rank in strongest[groups]]
