"""Which photo belongs to which split: by its content alone, so that no other photo ever moves it.

    split_of(sha256, val_share=0.1, test_share=0.15)       # "train", "val" or "test", for ever
    leaks_across_splits(splits, groups)                              # whose near duplicates stand in a stronger split

Near duplicates in two splits would let a test see what was trained on. None is moved, for that would change a test set
that others were measured on: those in the weaker split are left out.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

SPLITS = ("train", "val", "test")  # from weak to strong: a later one keeps a near duplicate that an earlier one loses

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


def leaks_across_splits(splits: Sequence[str], groups: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Say which photos have a near duplicate in a stronger split: test before val, val before train.

    Args:
        splits: one of `SPLITS` for each photo.
        groups: (n,), from `stages.imaging.near.near_duplicates`.

    Returns:
        (n,), True for those that must go, so that no group stands on two sides.
    """
    ranks = np.array([SPLITS.index(split) for split in splits], np.intp)
    strongest = np.zeros(len(ranks), np.intp)
    np.maximum.at(strongest, groups, ranks)
    return np.asarray(ranks < strongest[groups], np.bool_)
