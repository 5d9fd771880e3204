"""Photographs to square tiles in data/prepared: reads a folder or list of photos, writes shards and a manifest.

    python -m stages.prepare

It writes shards of tiles in `train/`, `val/` and `test/`; `manifest.parquet`, a row a tile (the box is in the photo's
own pixels, `scale` what they were multiplied by); `rejects.csv`, a row a file that is not used; and `summary.json`.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field

from stages.pictures.images import MOST_MEGAPIXELS, Pixels
from stages.pictures.shards import places, write_tiles
from stages.pictures.splits import SPLITS
from stages.prepare.photos import Reject, take_photos
from stages.prepare.selection import Placed, check_rejects, check_splits, drop_duplicates, place
from stages.prepare.sources import find_sources
from stages.prepare.tiling import Cutting
from stages.running import guard
from stages.running.errors import ParamsError
from stages.running.files import fresh_folder, write_csv, write_json, write_parquet
from stages.running.params import Settings, read, read_seed
from stages.running.say import say

PREPARED = Path("data/prepared")
COLUMNS = ["id", "split", "shard", "row", "photo", "source", "x0", "y0", "x1", "y1", "scale", "group"]


class PrepareParams(Settings):
    """The section `prepare` of params.yaml."""

    photos: str = Field(min_length=1)
    short_sides: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1)
    max_tiles_per_photo: int = Field(ge=1)
    val_share: float = Field(gt=0, lt=1)
    test_share: float = Field(gt=0, lt=1)
    max_megapixels: float = Field(gt=0, le=MOST_MEGAPIXELS)
    near_duplicate_bits: int = Field(ge=0, le=16)
    max_reject_share: float = Field(ge=0, le=1)


def main() -> None:
    """Read params, write data/prepared."""
    params = read("prepare", PrepareParams)
    cutting = _cutting(params, read("tile_size", int), read_seed())
    shares = (params.val_share, params.test_share)
    sources = find_sources(Path(params.photos))
    with fresh_folder(PREPARED) as folder:
        with TemporaryDirectory(dir=folder) as drafts:
            photos, rejects = take_photos(sources, cutting, Path(drafts))
            check_rejects(rejects, len(sources), params.max_reject_share)
            photos, duplicates = drop_duplicates(photos)
            placed = place(photos, shares, params.near_duplicate_bits)
            check_splits(placed, shares)
            manifest = _write_splits(folder, placed, cutting.tile_size)
        write_parquet(folder / "manifest.parquet", manifest)
        write_csv(folder / "rejects.csv", _table_of_rejects([*rejects, *duplicates]))
        summary = _summary(placed, [*rejects, *duplicates], manifest)
        write_json(folder / "summary.json", summary)
    _tell(summary)


def _cutting(params: PrepareParams, tile_size: int, seed: int) -> Cutting:
    if tile_size < 8:
        raise ParamsError(f"params.yaml: `tile_size` should be at least 8, but is {tile_size}")
    if min(params.short_sides) < tile_size:
        raise ParamsError(
            f"params.yaml: `prepare.short_sides` {list(params.short_sides)} should not be below `tile_size` {tile_size}"
        )
    if params.val_share + params.test_share >= 1:
        raise ParamsError(
            f"params.yaml: `prepare.val_share` {params.val_share} and `prepare.test_share` {params.test_share} leave "
            "no photos for training; their sum should be below 1"
        )
    return Cutting(tile_size, params.short_sides, params.max_tiles_per_photo, params.max_megapixels, seed)


def _write_splits(folder: Path, placed: Sequence[Placed], tile_size: int) -> pd.DataFrame:
    tables = []
    for split in SPLITS:
        members = [one for one in placed if one.split == split]
        write_tiles(folder / split, _stream(members, tile_size))
        tables.append(_table_of_tiles(members, places(folder / split), tile_size))
    return pd.concat(tables, ignore_index=True)


def _stream(members: Sequence[Placed], tile_size: int) -> Iterator[Pixels]:
    for one in members:
        yield from np.fromfile(one.photo.draft, np.uint8).reshape(-1, tile_size, tile_size, 3)


def _table_of_tiles(members: Sequence[Placed], where: Sequence[tuple[str, int]], tile_size: int) -> pd.DataFrame:
    photos = pd.DataFrame(
        [(one.split, one.photo.sha256, one.photo.source.name, one.group) for one in members],
        columns=["split", "photo", "source", "group"],
    )
    tiles = photos.loc[photos.index.repeat([len(one.photo.tiles.corners) for one in members])].reset_index(drop=True)
    numbers = tiles.groupby("photo").cumcount().astype(str).str.zfill(3)
    tiles["id"] = tiles["photo"].str[:16] + "-" + numbers
    tiles[["shard", "row"]] = pd.DataFrame(where)
    boxes = [one.photo.tiles.boxes(one.photo.shape, tile_size) for one in members]
    tiles[["x0", "y0", "x1", "y1"]] = np.concatenate(boxes)
    tiles["scale"] = np.concatenate([one.photo.tiles.short_sides / min(one.photo.shape) for one in members])
    return tiles[COLUMNS]


def _table_of_rejects(rejects: Sequence[Reject]) -> pd.DataFrame:
    rows = sorted((reject.path, reject.reason, reject.detail) for reject in rejects)
    return pd.DataFrame(rows, columns=["path", "reason", "detail"])


def _summary(placed: Sequence[Placed], rejects: Sequence[Reject], manifest: pd.DataFrame) -> dict[str, Any]:
    photos = Counter(one.split for one in placed)
    tiles = Counter(manifest["split"])
    groups = Counter(one.group for one in placed)
    reasons = Counter(reject.reason for reject in rejects)
    return {
        "files": len(placed) + len(rejects),
        "kept": len(placed),
        "rejected": len(rejects),
        **{f"rejected_{reason}": n for reason, n in sorted(reasons.items())},
        "near_duplicates": sum(n for n in groups.values() if n > 1),
        "moved_from_listed_split": sum(one.photo.source.split not in ("", one.split) for one in placed),
        **{f"photos_{split}": photos[split] for split in SPLITS},
        **{f"tiles_{split}": tiles[split] for split in SPLITS},
    }


def _tell(summary: dict[str, Any]) -> None:
    made = [f"{summary[f'tiles_{split}']} {split} tiles from {summary[f'photos_{split}']} photos" for split in SPLITS]
    say(f"prepare: {', '.join(made)}, in {PREPARED}")
    if moved := summary["moved_from_listed_split"]:
        say(f"prepare: {moved} photos are not in the split that the list says, but in that of their near-duplicates")
    if summary["rejected"]:
        say(f"prepare: {summary['rejected']} of {summary['files']} files are not used; {PREPARED}/rejects.csv says why")


if __name__ == "__main__":
    sys.exit(guard.run("prepare", main))
