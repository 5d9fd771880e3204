"""Which photos stay, and in which split each stands.

Photos are rows of a table, by their positions among the files, with columns of `photos.RECORD`; `hash0`, `hash1` and so
on instead of `hashes`; `name` and `group` of the file; and once they are placed `split`, and `alike`, the hash of the
first photo among the near duplicates of each.
"""

import hashlib
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from stages.imaging.near import Hashes, near_duplicates
from stages.imaging.source_table import Sources, as_series, rows_of
from stages.imaging.splits import SPLITS, leaks_across_splits, split_of
from stages.runtime.errors import InputError

_UNLIKELY = 0.05  # the chance of an empty split at which a folder counts as large enough
_OF_FEW_TEXTS = ("kind", "changes")
_UNUSED = ("version", "reason", "detail", "hashes")  # columns of a photo that can be used

Ints = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]


@dataclass
class Selection:
    """What becomes of the photos that can be used.

    Attributes:
        placed: those that stay, in the order of their hashes.
        left_out: `path`, `reason` and `detail` of those that do not: duplicates, and near duplicates of photos in a
            stronger split.
        pairs: near duplicates, enough of them to join every group: `one` and `other`, positions among the files; the
            name and split of each (and whether it is left out there); and in how many `bits` they differ.
    """

    placed: pd.DataFrame
    left_out: pd.DataFrame
    pairs: pd.DataFrame


def sort_out(sources: Sources, records: pa.Table) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Divide the files into photos that can be used, and `path`, `reason` and `detail` of the others.

    Args:
        sources: the files.
        records: of each, a `photos.RECORD`.
    """
    usable = pc.equal(records["reason"], "")
    good, bad = np.flatnonzero(usable), np.flatnonzero(pc.invert(usable))
    few = [pa.field(name, pa.dictionary(pa.int32(), pa.string()) if name in _OF_FEW_TEXTS else records[name].type)
           for name in records.column_names]  # fmt: skip
    held = rows_of(records, good).cast(pa.schema(few))
    photos = pd.DataFrame({name: as_series(held[name]) for name in held.column_names if name not in _UNUSED})
    photos.index = pd.Index(good)
    photos["name"], photos["group"] = sources.column("name"), sources.column("group")
    if len(good):
        hashes = np.asarray(held["hashes"].combine_chunks().flatten()).reshape(len(good), -1)
        photos[[f"hash{number}" for number in range(hashes.shape[1])]] = hashes
    said = {name: as_series(records[name].take(pa.array(bad))) for name in ("reason", "detail")}
    return photos, pd.DataFrame({"path": sources.column("name").iloc[bad].reset_index(drop=True), **said})


def hashes_of(photos: pd.DataFrame) -> Hashes:
    """Return the perceptual hashes of photos, uint64 (n, ways, 2)."""
    columns = [name for name in photos.columns if str(name).startswith("hash")]
    return photos[columns].to_numpy(np.uint64).reshape(len(photos), max(1, len(columns) // 2), 2)


def check_rejects(rejects: pd.DataFrame, num_files: int, max_share: float) -> None:
    """Refuse to go on with what is left of a folder that is mostly something else.

    Raises:
        InputError: all files were rejected, or a larger share than `max_share`.
    """
    if len(rejects) <= max_share * num_files and len(rejects) < num_files:
        return
    first = rejects.drop_duplicates("reason").set_index("reason")
    counted = Counter(rejects["reason"]).most_common(5)
    lines = [f"  {n} {why}, e.g. {first['path'][why]}: {first['detail'][why]}" for why, n in counted]
    limit = "" if len(rejects) == num_files else f", more than `prepare.max_reject_share` {max_share:g} allows"
    what_to_do = "take them out or mend them" if len(rejects) == num_files else "take them out, or raise the share"
    raise InputError(f"{len(rejects)} of {num_files} files cannot be used{limit}; {what_to_do}:\n" + "\n".join(lines))


def select(
    photos: pd.DataFrame,
    given: "pd.Series[str]",
    shares: tuple[float, float],
    near_duplicate_bits: int,
    seen: Hashes,
) -> Selection:
    """Give each photo its split, from its list or folder, else by its group or content, and enforce that none leaks.

    Of photos with the same pixels the one in the strongest split stays, of those the first of the list. Of near
    duplicates in several splits those in the strongest stay: test before val, val before train.

    Args:
        photos: in the order of the folder or list, from `sort_out`.
        given: the split of each file from its list or folder; "" if there is none.
        shares: of val and of test, for photos whose split is not given.
        near_duplicate_bits: largest distance of the hashes of near duplicates.
        seen: of the photos that the base weights were trained on, (n, 2): what looks like one is left out of val and
            test.
    """
    wished = [
        split or split_of(hashlib.sha256(group.encode()).hexdigest() if group else sha256, *shares)
        for split, group, sha256 in zip(given[photos.index], photos["group"], photos["sha256"], strict=True)
    ]
    photos = photos.assign(split=pd.Categorical(wished, SPLITS, ordered=True))
    photos, twins = _drop_duplicates(photos)
    photos, by_base = _drop_seen(photos.sort_values("sha256"), seen, near_duplicate_bits)
    groups, near = near_duplicates(hashes_of(photos), near_duplicate_bits)
    photos["alike"] = photos["sha256"].take(groups).array
    gone = leaks_across_splits(photos["split"].to_list(), groups)
    return Selection(
        photos[~gone], pd.concat([twins, by_base, _leaks(photos, gone)], ignore_index=True), _pairs(photos, gone, near)
    )


def _left_out(photos: pd.DataFrame, reason: str, details: list[str]) -> pd.DataFrame:
    names = photos["name"].to_list()
    return pd.DataFrame({"path": names, "reason": reason, "detail": details}, dtype=pd.StringDtype("pyarrow"))


def _drop_duplicates(photos: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    by_strength = photos[["split", "pixels_sha256"]].sort_values("split", ascending=False, kind="stable")
    stays = ~by_strength.duplicated("pixels_sha256").sort_index()
    kept = photos[stays]
    twins = photos[~stays]
    twin_of = kept[kept["pixels_sha256"].isin(twins["pixels_sha256"])].set_index("pixels_sha256")["name"]
    details = [f"the same pixels as {name}" for name in twins["pixels_sha256"].map(twin_of)]
    return kept.drop(columns="pixels_sha256"), _left_out(twins, "duplicate", details)


def _drop_seen(photos: pd.DataFrame, seen: Hashes, bits: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Take out of val and test what base weights were trained on: scores on it would say nothing."""
    hashes = hashes_of(photos)
    of_base = np.repeat(seen[:, None], hashes.shape[1], axis=1)
    groups, _ = near_duplicates(np.concatenate([of_base, hashes]), bits)
    known = np.isin(groups[len(seen) :], groups[: len(seen)])
    gone = known & (photos["split"] != "train").to_numpy()
    said = "the base weights were trained on a photo that looks like it, and it would be in {}"
    lost = photos[gone]
    return photos[~gone].copy(), _left_out(lost, "seen_by_base", [said.format(split) for split in lost["split"]])


def _leaks(photos: pd.DataFrame, gone: Bools) -> pd.DataFrame:
    lost = photos[gone]
    stronger = photos[~gone & photos["alike"].isin(lost["alike"])].drop_duplicates("alike", keep="last")
    stronger = stronger.set_index("alike")
    details = [
        f"looks like {stronger['name'][alike]}, which is in {stronger['split'][alike]}, and would be in {split}"
        for alike, split in zip(lost["alike"], lost["split"], strict=True)
    ]
    return _left_out(lost, "near_duplicate", details)


def _pairs(photos: pd.DataFrame, gone: Bools, near: Ints) -> pd.DataFrame:
    hashes = hashes_of(photos)
    table: dict[str, Any] = {}
    for key, path, split, column in (("one", "path", "split", 0), ("other", "near", "split_of_near", 1)):
        rows = photos.iloc[near[:, column]]
        table[key], table[path] = rows.index, rows["name"].to_numpy()
        left = gone[near[:, column]]
        table[split] = [f"{each}, left out" if out else each for each, out in zip(rows["split"], left, strict=True)]
    upright = hashes[near[:, 0], :1]
    table["bits"] = np.bitwise_count(upright ^ hashes[near[:, 1]]).min(axis=(1, 2), initial=64).astype(int)
    return pd.DataFrame(table)


def check_splits(placed: pd.DataFrame, shares: tuple[float, float], is_given: bool) -> None:
    """Refuse to go on when a split has no photo.

    Args:
        placed: all photos.
        shares: as for `select`; from them comes how many photos it takes.
        is_given: whether a list or folders give the splits.

    Raises:
        InputError: train, val or test is empty.
    """
    found_splits = set(placed["split"])
    empty = [split for split in SPLITS if split not in found_splits]
    if not empty:
        return
    found = f"{len(placed)} photos can be used, and none of them is in {' or '.join(empty)}"
    if is_given:
        raise InputError(f"{found}; add photos of each split (of near duplicates, those in test stay)")
    smallest = min(*shares, 1 - sum(shares))
    enough = math.ceil(math.log(_UNLIKELY) / math.log1p(-smallest))
    raise InputError(
        f"{found}; the share of that split is met by chance. Add photos (with about {enough} an empty split is "
        "unlikely), or write a list that names the split of each, such as data/embedded.csv"
    )
