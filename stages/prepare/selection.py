"""Which photos stay, and in which split each stands."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from stages.pictures.splits import SPLITS, join_splits, near_duplicate_groups, split_of
from stages.prepare.photos import Photo, Reject
from stages.running.errors import InputError

_UNLIKELY = 0.05  # the chance of an empty split at which a folder counts as large enough


@dataclass(frozen=True)
class Placed:
    """A photo in its split; `group` is the hash of the first photo among its near-duplicates."""

    photo: Photo
    split: str
    group: str


def check_rejects(rejects: Sequence[Reject], num_files: int, max_share: float) -> None:
    """Refuse to go on with what is left of a folder that is mostly something else.

    Raises:
        InputError: all files were rejected, or a larger share than `max_share`.
    """
    if len(rejects) <= max_share * num_files and len(rejects) < num_files:
        return
    counted = Counter(reject.reason for reject in rejects).most_common(5)
    first = {reject.reason: reject for reject in reversed(rejects)}
    lines = [f"  {n} {reason}, e.g. {first[reason].path}: {first[reason].detail}" for reason, n in counted]
    limit = "" if len(rejects) == num_files else f", more than `prepare.max_reject_share` {max_share:g} allows"
    what_to_do = "take them out or mend them" if len(rejects) == num_files else "take them out, or raise the share"
    raise InputError(f"{len(rejects)} of {num_files} files cannot be used{limit}; {what_to_do}:\n" + "\n".join(lines))


def drop_duplicates(photos: Sequence[Photo]) -> tuple[list[Photo], list[Reject]]:
    """Keep the first of the photos that have the same pixels, whatever their files are called or say beside."""
    first: dict[str, Photo] = {}
    rejects = []
    for photo in photos:
        kept = first.setdefault(photo.pixels_sha256, photo)
        if kept is not photo:
            rejects.append(Reject(photo.source.name, "duplicate", f"the same pixels as {kept.source.name}"))
    return list(first.values()), rejects


def place(photos: Sequence[Photo], shares: tuple[float, float], near_duplicate_bits: int) -> list[Placed]:
    """Give each photo its split: the one its list says, else by its content; near-duplicates the same.

    Args:
        photos: without duplicates, in any order.
        shares: of val and of test, for photos without a listed split.
        near_duplicate_bits: largest distance of the hashes of near-duplicates.

    Returns:
        the photos in the order of their hashes.
    """
    photos = sorted(photos, key=lambda photo: photo.sha256)
    wished = [photo.source.split or split_of(photo.sha256, *shares) for photo in photos]
    groups = near_duplicate_groups([photo.look for photo in photos], near_duplicate_bits)
    splits = join_splits(wished, groups)
    return [
        Placed(photo, split, photos[group].sha256) for photo, split, group in zip(photos, splits, groups, strict=True)
    ]


def check_splits(placed: Sequence[Placed], shares: tuple[float, float]) -> None:
    """Refuse to go on when a split has no photo.

    Args:
        placed: all photos.
        shares: as for `place`; from them comes how many photos it takes.

    Raises:
        InputError: train, val or test is empty.
    """
    counted = Counter(photo.split for photo in placed)
    empty = [split for split in SPLITS if not counted[split]]
    if not empty:
        return
    found = f"{len(placed)} photos can be used, and none of them is in {' or '.join(empty)}"
    if placed[0].photo.source.split:
        raise InputError(
            f"{found}; give the list a line for each split (near-duplicates stand in one: test before val)"
        )
    smallest = min(*shares, 1 - sum(shares))
    enough = math.ceil(math.log(_UNLIKELY) / math.log1p(-smallest))
    raise InputError(
        f"{found}; the share of that split is met by chance. Add photos (with about {enough} an empty split is "
        "unlikely), or write a list that names the split of each, such as data/embedded.csv"
    )
