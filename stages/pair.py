"""Pair test tiles with test holes: reads data/prepared and data/masks, writes data/pairs.csv, the tile test.

    python -m stages.pair

The protocol of Liu et al. (2018): equally many pairs in every cell of hole ratio and border. One row per pair:

| column | means |
|---|---|
| `pair` | id: largest % of missing pixels, `b`order or `n`o border, number; `30b0007` |
| `tile`, `photo` | ids in data/prepared/manifest.parquet |
| `tile_row`, `hole_row` | rows among the test tiles and in the test mask set |
| `kind`, `ratio`, `bucket`, `border` | of the hole |
| `shown` | whether the report's gallery shows it |
| `sha256` | first 16 digits, of the bytes of tile (RGB, row by row) and hole (0 or 1) |
"""

import hashlib
import sys
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pandas as pd
from pydantic import Field

from stages.imaging.holes import BUCKETS, MaskSet
from stages.imaging.manifest import MANIFEST, read_parts
from stages.imaging.shards import Tiles
from stages.runtime import files, guard
from stages.runtime.errors import InputError
from stages.runtime.log import log
from stages.runtime.params import Settings, read, read_seed

OUT = "data/pairs.csv"

CELLS = [(bucket, border) for bucket in range(len(BUCKETS)) for border in (False, True)]
_CHUNK = 256  # pairs held in memory at once
_DIGITS = 16  # of a hash


class PairsParams(Settings):
    """The section `pairs` of params.yaml.

    Attributes:
        per_cell: pairs in each of the 12 cells; more of them give narrower intervals.
        gallery: pairs shown in the report, 1 to 1000.
    """

    per_cell: int = Field(ge=1, le=10**6)
    gallery: int = Field(ge=1, le=1000)


def pair_up(tiles_of: Mapping[str, int], holes: pd.DataFrame, pairs_per_cell: int, seed: int) -> pd.DataFrame:
    """Make the same number of pairs in every cell of hole ratio and border.

    The holes of a cell are used in the order of the mask set, and repeated if there are too few. Photos are visited in
    laps, each in a new random order, so that the numbers of visits differ by at most one. Every visit uses another tile
    of the photo until all were used.

    Args:
        tiles_of: number of test tiles by photo, in the order on disk, where those of a photo follow each other.
        holes: one row per hole of the test mask set, in order, with columns `kind`, `ratio`, `bucket` and `border`.
        pairs_per_cell: pairs in each of the 12 cells.
        seed: of the pipeline.

    Returns:
        one row per pair, from the cells of the smallest holes to the largest, without `tile`, `shown` and `sha256`.

    Raises:
        InputError: there are no test tiles, or a cell has no hole.
    """
    if not tiles_of:
        raise InputError("there are no test tiles to evaluate on; add photographs")
    hole_rows = np.concatenate([_holes_of(cell, holes, pairs_per_cell) for cell in CELLS])
    photos, tile_rows = _visit_evenly(tiles_of, len(hole_rows), np.random.default_rng([seed, *b"evaluate"]))
    missing = holes.iloc[hole_rows].reset_index(drop=True)
    return pd.DataFrame(
        {
            "pair": [_name(cell, number) for cell in CELLS for number in range(pairs_per_cell)],
            "photo": photos,
            "tile_row": tile_rows,
            "hole_row": hole_rows,
            **{name: missing[name] for name in ("kind", "ratio", "bucket", "border")},
        }
    )


def _name(cell: tuple[int, bool], number: int) -> str:
    bucket, border = cell
    return f"{100 * BUCKETS[bucket][1]:.0f}{'b' if border else 'n'}{number:04d}"


def _holes_of(cell: tuple[int, bool], holes: pd.DataFrame, count: int) -> np.ndarray:
    bucket, border = cell
    rows = np.flatnonzero((holes["bucket"] == bucket) & (holes["border"] == border))
    if len(rows) == 0:
        side = "with" if border else "without"
        raise InputError(
            f"the test mask set has no hole of bucket {bucket} {side} border, but every cell needs one; "
            f"set `masks.test_per_cell` to 1 or more and run dvc repro"
        )
    return np.resize(rows, count)  # repeats them if there are too few


def _visit_evenly(tiles_of: Mapping[str, int], count: int, rng: np.random.Generator) -> tuple[list[str], np.ndarray]:
    """Return the photo and the row among the test tiles of each visit."""
    names, on_disk = [*tiles_of], np.array([*tiles_of.values()])
    order = np.array(sorted(range(len(names)), key=names.__getitem__))
    counts, first = on_disk[order], (on_disk.cumsum() - on_disk)[order]
    laps = -(-count // len(order))
    used = np.minimum(counts, laps)
    ends = used.cumsum()
    rows = np.empty(used.sum(), np.int64)  # of each photo as many as are used, in random order
    for start, number, most, end in zip(first, counts, used, ends, strict=True):
        rows[end - most : end] = start + rng.permutation(number)[:most]
    visited = np.concatenate([rng.permutation(len(order)) for _ in range(laps)])[:count]
    lap = np.arange(count) // len(order)
    return [names[photo] for photo in order[visited]], rows[(ends - used)[visited] + lap % counts[visited]]


def choose_gallery(pairs: pd.DataFrame, count: int) -> list[int]:
    """Choose pairs for the gallery: from each cell in turn, the first pair whose photo was not shown yet.

    The choice depends neither on pictures nor on scores, so it is representative.

    Args:
        pairs: from `pair_up`.
        count: number of pairs, at most all.

    Returns:
        positions in `pairs`, ascending: from small holes to large ones.
    """
    waiting = [list(rows) for rows in pairs.groupby(["bucket", "border"], sort=True).indices.values()]
    chosen: list[int] = []
    shown: set[str] = set()
    while len(chosen) < count and any(waiting):
        for rows in filter(None, waiting):
            if len(chosen) == count:
                break
            fresh = next((row for row in rows if pairs["photo"].iloc[row] not in shown), rows[0])
            rows.remove(fresh)
            shown.add(pairs["photo"].iloc[fresh])
            chosen.append(int(fresh))
    return sorted(chosen)


def digests(pairs: pd.DataFrame, tiles: Tiles, mask_set: MaskSet) -> list[str]:
    """Hash the pixels of every pair, so that others can check that they test on the same ones."""
    found: list[str] = []
    for start in range(0, len(pairs), _CHUNK):
        chunk = pairs.iloc[start : start + _CHUNK]
        targets, holes = tiles.gather(chunk["tile_row"].to_numpy()), mask_set.gather(chunk["hole_row"].to_numpy())
        for target, hole in zip(targets, holes, strict=True):
            found.append(hashlib.sha256(target.tobytes() + hole.tobytes()).hexdigest()[:_DIGITS])
    return found


def _count_tiles() -> dict[str, int]:
    """Count the test tiles of each photo; a name and a number a photo are held in memory."""
    counts = Counter[str]()
    for part in read_parts(MANIFEST, ["photo"], ["test"]):
        counts.update(part["photo"])
    return counts


def _ids(rows: "pd.Series[int]") -> list[str]:
    """Find the ids of some test tiles."""
    parts = (part["id"] for part in read_parts(MANIFEST, ["id"], ["test"]))
    ids: pd.Series[str] = pd.concat([part[part.index.isin(rows)] for part in parts])
    return ids.loc[rows].to_list()


def main() -> None:
    """Read tiles and holes, pair them up, write the table."""
    seed, params = read_seed(), read("pairs", PairsParams)
    tiles, mask_set = Tiles(["data/prepared/test"]), MaskSet("data/masks/test.npy")
    tiles_of = _count_tiles()
    if sum(tiles_of.values()) != len(tiles):
        raise InputError(
            f"data/prepared has {len(tiles)} test tiles, but its manifest lists {sum(tiles_of.values())}; run dvc repro"
        )
    if mask_set.size != tiles.size:
        raise InputError(f"test tiles are {tiles.size} pixels wide, test holes {mask_set.size}; run dvc repro")
    pairs = pair_up(tiles_of, pd.read_parquet("data/masks/test.parquet"), params.per_cell, seed)
    pairs.insert(1, "tile", _ids(pairs["tile_row"]))
    shown = choose_gallery(pairs, params.gallery)
    pairs = pairs.assign(shown=pairs.index.isin(shown), sha256=digests(pairs, tiles, mask_set))
    files.write_csv(OUT, pairs)
    log(f"{OUT}: {len(pairs)} pairs of {pairs['tile'].nunique()} tiles from {pairs['photo'].nunique()} photos")


if __name__ == "__main__":
    sys.exit(guard.run("pair", main))
