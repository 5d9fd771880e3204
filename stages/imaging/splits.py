"""The split of a photo, which depends on its content alone, so that other photos never change it.

    split_of(sha256, val_share=0.1, test_share=0.15)       # "train", "val" or "test"
    leaks_across_splits(ranks, groups)                     # which photos have a near duplicate in a stronger split

Near duplicates in two splits would leak training data into the test. They are not moved, since that would change a test
set on which other models were measured; those in the weaker split are left out.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

SPLITS = ("train", "val", "test")  # from weak to strong: of near duplicates, those in the strongest split stay

_HASH_DIGITS = 13  # 52 bits, which a float represents exactly


def split_of(sha256: str, val_share: float, test_share: float) -> str:
    """Return the split of a photo, derived from the hash of its content.

    Args:
        sha256: of the file, hexadecimal.
        val_share: expected share of photos in "val".
        test_share: expected share in "test".
    """
    number = int(sha256[:_HASH_DIGITS], 16) / 16**_HASH_DIGITS  # uniform in [0, 1)
    if number < test_share:
        return "test"
    return "val" if number < test_share + val_share else "train"


def leaks_across_splits(ranks: npt.NDArray[np.integer[Any]], groups: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Return which photos have a near duplicate in a stronger split (test before val before train).

    Args:
        ranks: (n,), the split of each photo by its position in `SPLITS`.
        groups: (n,), from `stages.imaging.near.near_duplicates`.

    Returns:
        (n,), True for the photos to leave out, so that no group is in two splits.
    """
    strongest = np.zeros_like(ranks)
    np.maximum.at(strongest, groups, ranks)
    return np.asarray(ranks < strongest[groups], np.bool_)
