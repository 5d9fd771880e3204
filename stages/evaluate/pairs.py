"""Which hole goes over which test tile: the same for every method, whatever it is called and whenever it is scored."""

import numpy as np
import pandas as pd

from stages.pictures.holes import BUCKETS
from stages.running.errors import InputError

CELLS = [(bucket, border) for bucket in range(len(BUCKETS)) for border in (False, True)]


def pair_up(tiles: pd.DataFrame, holes: pd.DataFrame, pairs_per_cell: int, seed: int) -> pd.DataFrame:
    """Give every cell of hole ratio and border the same number of pairs.

    The holes of a cell come in the bank's order, again from the first when there are too few. Photos are visited in
    laps, each lap in a fresh random order, so that the numbers of visits differ by at most one; a photo shows another
    of its tiles at each visit until it has shown them all.

    Args:
        tiles: one row a test tile, in the order of the tiles on disk, with columns `id` and `photo`.
        holes: one row a hole of the test bank, in its order, with columns `kind`, `ratio`, `bucket` and `border`.
        pairs_per_cell: pairs in each of the 12 cells.
        seed: of the whole pipeline.

    Returns:
        one row a pair, cell by cell from the smallest holes to the largest: `tile` (its id), `tile_row` and `hole_row`
        (positions in `tiles` and `holes`), `photo`, and the hole's `kind`, `ratio`, `bucket` and `border`.

    Raises:
        InputError: there are no test tiles, or a cell has no hole.
    """
    if tiles.empty:
        raise InputError("there are no test tiles, so nothing can be evaluated; give `prepare` more photographs")
    hole_rows = np.concatenate([_holes_of(cell, holes, pairs_per_cell) for cell in CELLS])
    tile_rows = _visit_evenly(tiles["photo"].to_numpy(), len(hole_rows), np.random.default_rng([seed, *b"evaluate"]))
    shown = tiles.iloc[tile_rows].reset_index(drop=True)
    missing = holes.iloc[hole_rows].reset_index(drop=True)
    return pd.DataFrame(
        {
            "tile": shown["id"].astype(str),
            "tile_row": tile_rows,
            "hole_row": hole_rows,
            "photo": shown["photo"],
            **{name: missing[name] for name in ("kind", "ratio", "bucket", "border")},
        }
    )


def _holes_of(cell: tuple[int, bool], holes: pd.DataFrame, count: int) -> np.ndarray:
    bucket, border = cell
    rows = np.flatnonzero((holes["bucket"] == bucket) & (holes["border"] == border))
    if len(rows) == 0:
        side = "with" if border else "without"
        raise InputError(
            f"the test bank has no hole of bucket {bucket} {side} border, but every cell needs one; "
            f"raise `masks.test_per_cell` to 1 or more and run dvc repro"
        )
    return np.resize(rows, count)  # repeats from the first when there are too few


def _visit_evenly(photo_of_tile: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    photos = sorted(set(photo_of_tile))
    tiles_of = {photo: rng.permutation(np.flatnonzero(photo_of_tile == photo)) for photo in photos}
    laps = -(-count // len(photos))
    visits = [photos[number] for _ in range(laps) for number in rng.permutation(len(photos))][:count]
    seen = dict.fromkeys(photos, 0)
    rows = np.empty(count, np.int64)
    for position, photo in enumerate(visits):
        rows[position] = tiles_of[photo][seen[photo] % len(tiles_of[photo])]
        seen[photo] += 1
    return rows


def choose_gallery(pairs: pd.DataFrame, count: int) -> list[int]:
    """Choose the pairs to look at: cell after cell, each time the first pair whose photo was not shown yet.

    Nothing of the pictures or the scores is looked at, so what is shown is what is there.

    Args:
        pairs: from `pair_up`.
        count: how many, as far as there are pairs.

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
