"""Which photos stay, and in which split each stands."""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.imaging.near import Hashes, near_duplicates
from stages.imaging.splits import SPLITS, leaks_across_splits, split_of
from stages.prepare.photos import Photo, Reject
from stages.runtime.errors import InputError
from stages.runtime.remote import Remote

_UNLIKELY = 0.05  # the chance of an empty split at which a folder counts as large enough


@dataclass(frozen=True, slots=True)
class Placed:
    """A photo in its split; `group` is the hash of the first photo among its near duplicates."""

    photo: Photo
    split: str
    group: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Two near duplicates, the split of each (and whether it is left out there), and in how many bits they differ."""

    one: Photo
    other: Photo
    split_of_one: str
    split_of_other: str
    bits: int


@dataclass(frozen=True)
class Selection:
    """What becomes of the photos that can be used.

    Attributes:
        placed: those that stay, in the order of their hashes.
        left_out: those that do not: duplicates, and near duplicates of photos in a stronger split.
        pairs: near duplicates, enough of them to join every group.
    """

    placed: list[Placed]
    left_out: list[Reject]
    pairs: list[Pair]


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


def select(photos: Sequence[Photo], shares: tuple[float, float], near_duplicate_bits: int, seen: Hashes) -> Selection:
    """Give each photo its split, from its list or folder, else by its group or content, and enforce that none leaks.

    Of photos with the same pixels the one in the strongest split stays, of those the first of the list. Of near
    duplicates in several splits those in the strongest stay: test before val, val before train.

    Args:
        photos: in the order of the folder or list.
        shares: of val and of test, for photos whose split is not given.
        near_duplicate_bits: largest distance of the hashes of near duplicates.
        seen: of the photos that the base weights were trained on, (n, 2): what looks like one is left out of val and
            test.
    """
    wished = {photo.source.path: photo.source.split or split_of(_split_hash(photo), *shares) for photo in photos}
    stay, left_out = _drop_duplicates(photos, wished)
    stay.sort(key=lambda photo: photo.sha256)
    stay, by_base = _drop_seen(stay, wished, seen, near_duplicate_bits)
    left_out += by_base
    splits = [wished[photo.source.path] for photo in stay]
    hashes = np.array([photo.hashes for photo in stay], np.uint64).reshape(len(stay), -1, 2)
    groups, pairs = near_duplicates(hashes, near_duplicate_bits)
    gone = leaks_across_splits(splits, groups).tolist()
    placed = [
        Placed(photo, split, stay[group].sha256)
        for photo, split, group, goes in zip(stay, splits, groups, gone, strict=True)
        if not goes
    ]
    strongest = {one.group: one for one in placed}
    for position in np.flatnonzero(gone):
        kept = strongest[stay[groups[position]].sha256]
        detail = f"looks like {kept.photo.source.name}, which is in {kept.split}, and would be in {splits[position]}"
        left_out.append(Reject(stay[position].source.name, "near_duplicate", detail))
    return Selection(placed, left_out, [_pair(stay, splits, gone, one, other) for one, other in pairs.tolist()])


def _split_hash(photo: Photo) -> str:
    """Return the hash that decides the split: of the photo's group, or else of its content."""
    group = photo.source.group
    return hashlib.sha256(group.encode()).hexdigest() if group else photo.sha256


def _drop_duplicates(photos: Sequence[Photo], wished: Mapping[Path | Remote, str]) -> tuple[list[Photo], list[Reject]]:
    best: dict[str, Photo] = {}
    for photo in photos:
        kept = best.setdefault(photo.pixels_sha256, photo)
        if SPLITS.index(wished[photo.source.path]) > SPLITS.index(wished[kept.source.path]):
            best[photo.pixels_sha256] = photo
    twins = [photo for photo in photos if best[photo.pixels_sha256] is not photo]
    said = "the same pixels as {}"
    return list(best.values()), [
        Reject(photo.source.name, "duplicate", said.format(best[photo.pixels_sha256].source.name)) for photo in twins
    ]


def _drop_seen(
    photos: Sequence[Photo], wished: Mapping[Path | Remote, str], seen: Hashes, bits: int
) -> tuple[list[Photo], list[Reject]]:
    """Take out of val and test what base weights were trained on: scores on it would say nothing."""
    hashes = np.array([photo.hashes for photo in photos], np.uint64).reshape(len(photos), -1, 2)
    of_base = np.repeat(seen[:, None], hashes.shape[1], axis=1)
    groups, _ = near_duplicates(np.concatenate([of_base, hashes]), bits)
    known = np.isin(groups[len(seen) :], groups[: len(seen)])
    gone = [bool(k) and wished[photo.source.path] != "train" for photo, k in zip(photos, known, strict=True)]
    said = "the base weights were trained on a photo that looks like it, and it would be in {}"
    return [photo for photo, goes in zip(photos, gone, strict=True) if not goes], [
        Reject(photo.source.name, "seen_by_base", said.format(wished[photo.source.path]))
        for photo, goes in zip(photos, gone, strict=True)
        if goes
    ]


def _pair(photos: Sequence[Photo], splits: Sequence[str], gone: Sequence[bool], one: int, other: int) -> Pair:
    said = [f"{splits[each]}, left out" if gone[each] else splits[each] for each in (one, other)]
    hashes = [np.array(photos[each].hashes, np.uint64).reshape(-1, 2) for each in (one, other)]
    bits = int(np.bitwise_count(hashes[0][0] ^ hashes[1]).min())
    return Pair(photos[one], photos[other], said[0], said[1], bits)


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
        raise InputError(f"{found}; add photos of each split (of near duplicates, those in test stay)")
    smallest = min(*shares, 1 - sum(shares))
    enough = math.ceil(math.log(_UNLIKELY) / math.log1p(-smallest))
    raise InputError(
        f"{found}; the share of that split is met by chance. Add photos (with about {enough} an empty split is "
        "unlikely), or write a list that names the split of each, such as data/embedded.csv"
    )
