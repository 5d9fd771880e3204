"""Which photos stay, and in which split each stands.

Photos are rows of a table in memory, by their positions among the files: numbers and categories of `photos.RECORD`,
and once they are placed `split`, and `alike`, the position of the first photo among the near duplicates of each. The
rest stays on disk, in a table of all files: `name`, `split` and `group` as given, `sha256` and `hashes`.
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
from stages.imaging.source_table import Sources
from stages.imaging.splits import SPLITS, leaks_across_splits, split_of
from stages.runtime.errors import InputError
from stages.runtime.tables import Ints, as_series, by_parts, rows_of

_UNLIKELY = 0.05  # the chance of an empty split at which a folder counts as large enough
_NUMBERS, _CATEGORIES = ("pixels", "height", "width", "num_tiles"), ("kind", "changes")
_SPLIT = pd.CategoricalDtype(list(SPLITS), ordered=True)

Bools = npt.NDArray[np.bool_]


@dataclass
class Selection:
    """What becomes of the photos that can be used.

    Attributes:
        files: what stays on disk, of all files.
        placed: the photos that stay, in the order of their hashes.
        left_out: `path`, `reason` and `detail` of those that do not: duplicates, and near duplicates of photos in a
            stronger split.
        pairs: near duplicates, enough of them to join every group: `one` and `other`, positions among the files; the
            name and split of each (and whether it is left out there); and in how many `bits` they differ.
    """

    files: pa.Table
    placed: pd.DataFrame
    left_out: pd.DataFrame
    pairs: pd.DataFrame


def sort_out(sources: Sources, records: pa.Table) -> tuple[pa.Table, pd.DataFrame, pd.DataFrame]:
    """Divide the files into photos that can be used, and others.

    Args:
        sources: the files.
        records: of each, a `photos.RECORD`.

    Returns:
        what stays on disk, of all files; the photos; and `path`, `reason` and `detail` of the others.
    """
    files = sources.table.select(["name", "split", "group"])
    for name in ("sha256", "hashes"):
        files = files.append_column(name, records[name])
    usable = pc.equal(records["reason"], "").to_numpy()
    good, bad = np.flatnonzero(usable), np.flatnonzero(~usable)
    held = rows_of(records.select([*_NUMBERS, *_CATEGORIES]), good)
    facts = {name: held[name].to_numpy() for name in _NUMBERS}
    facts |= {name: as_series(held[name].dictionary_encode()).array for name in _CATEGORIES}
    photos = pd.DataFrame(facts, index=pd.Index(good))
    said = rows_of(records.select(["reason", "detail"]), bad)
    rejects = {"path": as_series(rows_of(files.select(["name"]), bad)["name"])}
    return files, photos, pd.DataFrame(rejects | {name: as_series(said[name]) for name in said.column_names})


def _hashes_of(files: pa.Table, photos: pd.DataFrame) -> Hashes:
    """Return the perceptual hashes of photos, uint64 (n, ways, 2)."""
    order = np.argsort(photos.index)  # reads each part of the table once
    held = rows_of(files.select(["hashes"]), photos.index.to_numpy()[order])["hashes"]
    flat: Hashes = held.combine_chunks().flatten().to_numpy()
    hashes = np.empty((len(photos), len(flat) // (2 * len(photos)) if len(photos) else 1, 2), np.uint64)
    hashes[order] = flat.reshape(hashes.shape)
    return hashes


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
    files: pa.Table, photos: pd.DataFrame, shares: tuple[float, float], near_duplicate_bits: int, seen: Hashes
) -> Selection:
    """Give each photo its split, from its list or folder, else by its group or content, and enforce that none leaks.

    Of photos with the same pixels the one in the strongest split stays, of those the first of the list. Of near
    duplicates in several splits those in the strongest stay: test before val, val before train.

    Args:
        files: from `sort_out`; its `split` is that of the list or folder, "" if there is none.
        photos: in the order of the folder or list, from `sort_out`.
        shares: of val and of test, for photos whose split is not given.
        near_duplicate_bits: largest distance of the hashes of near duplicates.
        seen: of the photos that the base weights were trained on, (n, 2): what looks like one is left out of val and
            test.
    """
    photos = photos.assign(split=pd.Categorical.from_codes(_wished(files, photos, shares), dtype=_SPLIT))
    photos, twins = _drop_duplicates(files, photos)
    photos, by_base = _drop_seen(files, _by_hash(files, photos), seen, near_duplicate_bits)
    groups, near = near_duplicates(_hashes_of(files, photos), near_duplicate_bits)
    photos["alike"] = photos.index.to_numpy()[groups]
    gone = leaks_across_splits(photos["split"].cat.codes.to_numpy(), groups)
    left_out = pd.concat([twins, by_base, _leaks(files, photos, gone)], ignore_index=True)
    return Selection(files, photos[~gone], left_out, _pairs(files, photos, gone, near))


def _wished(files: pa.Table, photos: pd.DataFrame, shares: tuple[float, float]) -> npt.NDArray[np.int8]:
    wished = (
        SPLITS.index(split or split_of(hashlib.sha256(group.encode()).hexdigest() if group else sha256, *shares))
        for part in by_parts(files.select(["split", "group", "sha256"]), photos.index.to_numpy())
        for split, group, sha256 in zip(*part.values(), strict=True)
    )
    return np.fromiter(wished, np.int8, len(photos))


def _by_hash(files: pa.Table, photos: pd.DataFrame) -> pd.DataFrame:
    order = pc.sort_indices(rows_of(files.select(["sha256"]), photos.index.to_numpy()), [("sha256", "ascending")])
    ordered: pd.DataFrame = photos.iloc[order.to_numpy()]
    return ordered


def names_of(files: pa.Table, photos: pd.DataFrame) -> list[str]:
    """Return the names of photos, of which there should be few."""
    names: list[str] = rows_of(files.select(["name"]), photos.index.to_numpy())["name"].to_pylist()
    return names


def _left_out(files: pa.Table, photos: pd.DataFrame, reason: str, details: list[str]) -> pd.DataFrame:
    names = names_of(files, photos)
    return pd.DataFrame({"path": names, "reason": reason, "detail": details}, dtype=pd.StringDtype("pyarrow"))


def _drop_duplicates(files: pa.Table, photos: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    by_strength = photos[["split", "pixels"]].sort_values("split", ascending=False, kind="stable")
    stays = ~by_strength.duplicated("pixels").sort_index()
    kept, twins = photos[stays], photos[~stays]
    originals = kept[kept["pixels"].isin(twins["pixels"])]
    name_of = dict(zip(originals["pixels"], names_of(files, originals), strict=True))
    details = [f"the same pixels as {name_of[pixels]}" for pixels in twins["pixels"]]
    return kept.drop(columns="pixels"), _left_out(files, twins, "duplicate", details)


def _drop_seen(files: pa.Table, photos: pd.DataFrame, seen: Hashes, bits: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Take out of val and test what base weights were trained on: scores on it would say nothing."""
    hashes = _hashes_of(files, photos)
    of_base = np.repeat(seen[:, None], hashes.shape[1], axis=1)
    groups, _ = near_duplicates(np.concatenate([of_base, hashes]), bits)
    known = np.isin(groups[len(seen) :], groups[: len(seen)])
    gone = known & (photos["split"] != "train").to_numpy()
    said = "the base weights were trained on a photo that looks like it, and it would be in {}"
    lost = photos[gone]
    return photos[~gone].copy(), _left_out(files, lost, "seen_by_base", [said.format(split) for split in lost["split"]])


def _leaks(files: pa.Table, photos: pd.DataFrame, gone: Bools) -> pd.DataFrame:
    lost = photos[gone]
    stronger = photos[~gone & photos["alike"].isin(lost["alike"])].drop_duplicates("alike", keep="last")
    stronger = stronger.assign(name=names_of(files, stronger)).set_index("alike")
    details = [
        f"looks like {stronger['name'][alike]}, which is in {stronger['split'][alike]}, and would be in {split}"
        for alike, split in zip(lost["alike"], lost["split"], strict=True)
    ]
    return _left_out(files, lost, "near_duplicate", details)


def _pairs(files: pa.Table, photos: pd.DataFrame, gone: Bools, near: Ints) -> pd.DataFrame:
    table: dict[str, Any] = {}
    for key, path, split, column in (("one", "path", "split", 0), ("other", "near", "split_of_near", 1)):
        rows = photos.iloc[near[:, column]]
        table[key], table[path] = rows.index, names_of(files, rows)
        left = gone[near[:, column]]
        table[split] = [f"{each}, left out" if out else each for each, out in zip(rows["split"], left, strict=True)]
    one, other = (_hashes_of(files, photos.iloc[near[:, column]]) for column in (0, 1))
    table["bits"] = np.bitwise_count(one[:, :1] ^ other).min(axis=(1, 2), initial=64).astype(int)
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
