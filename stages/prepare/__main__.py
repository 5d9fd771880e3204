"""Cut photographs into square tiles: reads a folder or list of photos, writes shards and a manifest to data/prepared.

    python -m stages.prepare

Outputs: shards of tiles in `train/`, `val/` and `test/`; `manifest.parquet`, a row per tile (its box in pixels of the
photo, and its `scale`); `rejects.csv`, a row per unused file; `near_duplicates.csv`, pairs that connect each group;
`summary.json`, the counts; and `data_report.html`.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from pydantic import Field

from stages.imaging.images import MOST_MEGAPIXELS
from stages.imaging.near import Hashes
from stages.imaging.shards import SHARD_BYTES, close_folder
from stages.imaging.source_table import Sources
from stages.imaging.sources import SourcesParams, find_sources
from stages.imaging.splits import SPLITS
from stages.prepare.data_report import data_report
from stages.prepare.manifest import write_manifest
from stages.prepare.photo_cache import PhotoCache, open_cache
from stages.prepare.selection import Selection, check_rejects, check_splits, select, sort_out
from stages.prepare.sharding import Piece, Shard, ShardJob, assign_shards, link_shard, write_shard
from stages.prepare.tiling import TilingConfig
from stages.runtime import guard, machine
from stages.runtime.errors import ParamsError
from stages.runtime.files import fresh_folder, write_csv, write_json, write_text
from stages.runtime.log import log
from stages.runtime.parallel import Lazy, map_ordered
from stages.runtime.params import read, read_seed, read_tile_size

PREPARED = Path("data/prepared")
SEEN_BY_BASE = Path("data/base/photographs.npy")  # perceptual hashes, uint64 (n, 2)


class PrepareParams(SourcesParams):
    """The section `prepare` of params.yaml.

    Attributes:
        short_sides: pixels; each photo is scaled down to these and cut at each scale. Not below `tile_size`.
        max_tiles_per_photo: from 1; photos with more tiles keep a random choice.
        val_share: expected share of photos in the validation split, between 0 and 1.
        test_share: expected share in the test split; both shares together are below 1.
        max_megapixels: larger photos are rejected before they are decoded; up to 178.
        near_duplicate_bits: largest distance of the perceptual hashes of near duplicates, 0 to 16 of 64 bits.
        near_duplicate_turns: whether flips and rotations count as near duplicates; takes 8 times as long to hash.
        max_reject_share: the stage fails if a larger share of the files is unusable, 0 to 1.
    """

    short_sides: tuple[Annotated[int, Field(ge=1, le=10**5)], ...] = Field(min_length=1)
    max_tiles_per_photo: int = Field(ge=1, le=10**6)
    val_share: float = Field(gt=0, lt=1)
    test_share: float = Field(gt=0, lt=1)
    max_megapixels: float = Field(gt=0, le=MOST_MEGAPIXELS)
    near_duplicate_bits: int = Field(ge=0, le=16)
    near_duplicate_turns: bool
    max_reject_share: float = Field(ge=0, le=1)


def main() -> None:
    """Read params, write data/prepared."""
    params = read("prepare", PrepareParams)
    cutting = _cutting(params, read_tile_size(), read_seed())
    shares = (params.val_share, params.test_share)
    sources = find_sources(params)
    with open_cache(cutting) as cache, fresh_folder(PREPARED) as folder:
        selection, rejects = _select(sources, cache, params, shares)
        selection.placed, texts, shards = assign_shards(selection.files, selection.placed, cutting, SHARD_BYTES)
        _write_shards(folder, sources, selection.placed, shards, cache)
        machine.return_freed_memory()
        write_manifest(folder / "manifest.parquet", selection.placed, texts, shards, cutting)
        machine.return_freed_memory()
        write_csv(folder / "rejects.csv", rejects.sort_values(list(rejects.columns)))
        write_csv(folder / "near_duplicates.csv", selection.pairs.drop(columns=["one", "other"]))
        summary = summarise(selection, rejects)
        write_json(folder / "summary.json", summary)
        cache.tidy(shard.name for shard in shards)  # before the report, whose packages take memory, too
        machine.return_freed_memory()
        write_text(folder / "data_report.html", data_report(folder, sources, selection, rejects, summary))
    _tell(summary)


def _select(
    sources: Sources, cache: PhotoCache, params: PrepareParams, shares: tuple[float, float]
) -> tuple[Selection, pd.DataFrame]:
    """Return the photos that are used, and all unused files."""
    files, photos, rejects = sort_out(sources, cache.look_at(sources))
    check_rejects(rejects, len(sources), params.max_reject_share)
    selection = select(files, photos, shares, params.near_duplicate_bits, _seen_by_base())
    check_splits(selection.placed, shares, bool(np.asarray(pc.not_equal(files["split"], ""))[photos.index].any()))
    return selection, pd.concat([rejects, selection.left_out], ignore_index=True)


def _seen_by_base() -> Hashes:
    return np.load(SEEN_BY_BASE) if SEEN_BY_BASE.exists() else np.empty((0, 2), np.uint64)


def _cutting(params: PrepareParams, tile_size: int, seed: int) -> TilingConfig:
    if min(params.short_sides) < tile_size:
        raise ParamsError(
            f"params.yaml: `prepare.short_sides` {list(params.short_sides)} should not be below `tile_size` {tile_size}"
        )
    if params.val_share + params.test_share >= 1:
        raise ParamsError(
            f"params.yaml: `prepare.val_share` {params.val_share} and `prepare.test_share` {params.test_share} leave "
            "no photos for training; their sum should be below 1"
        )
    return TilingConfig(
        tile_size,
        params.short_sides,
        params.max_tiles_per_photo,
        params.max_megapixels,
        params.near_duplicate_turns,
        seed,
    )


def _write_shards(
    folder: Path, sources: Sources, placed: pd.DataFrame, shards: Sequence[Shard], cache: PhotoCache
) -> None:
    for split in SPLITS:
        (folder / split).mkdir()

    def job(number: int, pieces: Sequence[Piece] = ()) -> ShardJob:
        shard = shards[number]
        return ShardJob((folder / shard.split / shard.name).absolute(), (cache.shards / shard.name).absolute(), pieces)

    known = [number for number in range(len(shards)) if job(number).known.exists()]
    linked = map_ordered(link_shard, Lazy(job, known), "prepare: known shards", unit="shard")
    entries = {number: entry for number, entry in zip(known, linked, strict=True) if entry is not None}
    new = [number for number in range(len(shards)) if number not in entries]
    is_new = np.zeros(len(placed), bool)
    for number in new:
        is_new[shards[number].rows] = True
    chunk_of, start_of = np.zeros((2, len(placed)), np.int32)
    chunk_of[is_new], start_of[is_new] = cache.bring_tiles(sources, placed.index.to_numpy()[is_new])
    machine.return_freed_memory()  # of the search for near duplicates among millions
    counts = placed["num_tiles"].to_numpy()

    def full_job(number: int) -> ShardJob:
        rows = range(shards[number].rows.start, shards[number].rows.stop)
        return job(number, [(cache.tiles_in(chunk_of[row]), int(start_of[row]), int(counts[row])) for row in rows])

    made = map_ordered(write_shard, Lazy(full_job, new), "prepare: shards", unit="shard")
    entries |= zip(new, made, strict=True)
    for split in SPLITS:
        close_folder(folder / split, [entries[n] for n, shard in enumerate(shards) if shard.split == split])


def summarise(selection: Selection, rejects: pd.DataFrame) -> dict[str, Any]:
    """Count the files by category, the conversions, and the photos and tiles of each split.

    Args:
        selection: the photos.
        rejects: all unused files.
    """
    placed = selection.placed
    converted = Counter[str]()
    for changes, count in placed["changes"].cat.remove_unused_categories().value_counts().items():
        converted.update(dict.fromkeys(filter(None, str(changes).split("+")), int(count)))
    num_converted = int((placed["changes"] != "").sum())
    reasons = Counter(rejects["reason"].value_counts().astype(int).to_dict())
    duplicates = reasons.pop("duplicate", 0)
    photos = placed["split"].value_counts().astype(int)
    tiles = placed.groupby("split", observed=False)["num_tiles"].sum().astype(int)
    return {
        "files": len(placed) + len(rejects),
        "kept": len(placed) - num_converted,
        "converted": num_converted,
        "duplicates": duplicates,
        "rejected": reasons.total(),
        **{f"converted_{change}": n for change, n in sorted(converted.items())},
        **{f"rejected_{reason}": n for reason, n in sorted(reasons.items())},
        "near_duplicates": len(np.unique(selection.pairs[["one", "other"]])),
        **{f"photos_{split}": int(photos[split]) for split in SPLITS},
        **{f"tiles_{split}": int(tiles[split]) for split in SPLITS},
    }


def _tell(summary: dict[str, Any]) -> None:
    made = [f"{summary[f'tiles_{split}']} {split} tiles from {summary[f'photos_{split}']} photos" for split in SPLITS]
    log(f"prepare: {', '.join(made)}, in {PREPARED}")
    if gone := summary.get("rejected_near_duplicate", 0):
        log(f"prepare: left out {gone} photos that look like others in a stronger split (test before val before train)")
    if gone := summary.get("rejected_seen_by_base", 0):
        log(f"prepare: left out {gone} photos of val or test that the base weights were trained on")
    fates = ", ".join(f"{summary[fate]} {fate}" for fate in ("kept", "converted", "duplicates", "rejected"))
    log(f"prepare: {summary['files']} files: {fates}; {PREPARED}/rejects.csv says why")
    log(f"prepare: data report: {PREPARED}/data_report.html")


if __name__ == "__main__":
    sys.exit(guard.run("prepare", main))
