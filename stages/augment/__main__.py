"""Augment the training tiles with Albumentations: reads data/prepared/train, writes data/augmented.

    python -m stages.augment

`train/` holds the tiles: all first copies, then all second ones, and so on, a shard for each shard of prepared tiles.
`manifest.parquet` has a row a tile: its `source_row` among the prepared training tiles, its `copy`, and as JSON the
transforms that were applied with the numbers that they drew. `data_report.html` shows some tiles beside their sources.
With `copies: 0` there are none, and models that train on augmented tiles train on the prepared ones alone.

A tile's random numbers are seeded from (seed, its pixels, copy). They depend neither on the number of workers or copies
nor on other tiles, so new photos change only those shards that change in `prepare`. Holes are not altered: tiles and
holes are paired only in training.
"""

import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from stages.augment.data_report import data_report
from stages.augment.transforms import alter, build
from stages.imaging.shards import Pixels, Tiles, close_folder, entries
from stages.runtime import guard
from stages.runtime.files import atomic_write, fresh_folder, sha256, write_array, write_text
from stages.runtime.log import log
from stages.runtime.parallel import map_ordered
from stages.runtime.params import Settings, read, read_seed

SOURCE, OUT = "data/prepared/train", "data/augmented"
SCHEMA = pa.schema([("id", pa.string()), ("source_row", pa.int64()), ("copy", pa.int64()), ("transforms", pa.string())])


class AugmentParams(Settings):
    """The section `augment` of params.yaml.

    Attributes:
        copies: augmented tiles per training tile, 0 to 1000.
        transforms: Albumentations transforms in order, each with its `name` and arguments.
    """

    copies: int = Field(ge=0, le=1000)
    transforms: list[dict[str, Any]] = Field(min_length=1)


@dataclass(frozen=True)
class ShardJob:
    """One copy of a shard to make: the source shard, the number of the copy, the file to write."""

    source: Path
    copy: int
    target: Path


@dataclass(frozen=True)
class AlteredShard:
    """A shard that was made: its entry in the index, for each tile its transforms as JSON, and how often each came."""

    entry: dict[str, Any]
    drawn: list[str]
    applied: Counter[str]


def alter_shard(transforms: Sequence[Mapping[str, Any]], seed: int, job: ShardJob) -> AlteredShard:
    """Alter the tiles of a shard and write them."""
    cv2.setNumThreads(1)  # the processes share the cores already
    tiles = np.load(job.source, mmap_mode="r", allow_pickle=False)
    compose = build(transforms, tiles.shape[1])
    done = [alter(compose, np.asarray(tile), seed_of(tile, job.copy, seed)) for tile in tiles]
    write_array(job.target, np.stack([altered for altered, _ in done]))
    entry = {"file": job.target.name, "tiles": len(tiles), "sha256": sha256(job.target)}
    drawn = [transforms_drawn for _, transforms_drawn in done]
    return AlteredShard(entry, drawn, Counter(each["name"] for text in drawn for each in json.loads(text)))


def seed_of(tile: Pixels, copy: int, seed: int) -> int:
    """Return the seed of a copy of a tile."""
    content = int.from_bytes(hashlib.sha256(np.ascontiguousarray(tile).data).digest())
    return int(np.random.SeedSequence([seed, *b"augment", content, copy]).generate_state(1)[0])


def main() -> None:
    """Read params, alter the tiles, write them."""
    seed, params = read_seed(), read("augment", AugmentParams)
    build(params.transforms, Tiles([SOURCE]).size)  # report mistakes before any work is done
    started = time.perf_counter()
    with fresh_folder(OUT) as folder:
        jobs = [
            ShardJob(Path(SOURCE, entry["file"]).absolute(), copy, _target(folder, entry["file"], copy))
            for copy in range(params.copies)
            for entry in entries(SOURCE)
        ]
        closing: list[dict[str, Any]] = []
        applied: Counter[str] = Counter()
        first, num_sources = 0, len(Tiles([SOURCE]))
        with atomic_write(folder / "manifest.parquet") as file, pq.ParquetWriter(file, SCHEMA) as manifest:
            for shard in map_ordered(partial(alter_shard, params.transforms, seed), jobs, "augment", "shard"):
                manifest.write_table(_table(shard.drawn, first, num_sources))
                applied += shard.applied
                closing.append(shard.entry)
                first += len(shard.drawn)
        total = close_folder(folder / "train", closing)
        seconds = time.perf_counter() - started
        write_text(folder / "data_report.html", data_report(Path(SOURCE), folder, params.copies, applied))
    speed = total / seconds
    log(f"augment: {total:,} altered tiles in {OUT}, {params.copies} of every training tile; {speed:,.0f} a second")
    log(f"augment: data report: {OUT}/data_report.html")


def _target(folder: Path, name: str, copy: int) -> Path:
    return (folder / "train" / f"{Path(name).stem}-{copy}.npy").absolute()


def _table(drawn: Sequence[str], first: int, num_sources: int) -> pa.Table:
    copies, rows = np.divmod(np.arange(first, first + len(drawn)), num_sources)
    ids = [f"{row:06d}-{copy}" for copy, row in zip(copies, rows, strict=True)]
    return pa.Table.from_arrays([pa.array(ids), pa.array(rows), pa.array(copies), pa.array(drawn)], schema=SCHEMA)


if __name__ == "__main__":
    sys.exit(guard.run("augment", main))
