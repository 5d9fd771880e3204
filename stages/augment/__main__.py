"""Alter copies of the training tiles by Albumentations: reads data/prepared/train, writes data/augmented.

    python -m stages.augment

`train/` holds the tiles, all first copies, then all second ones, ..., a shard for each shard of sources; row for row
`manifest.parquet` says of each its `source_row` among the prepared training tiles, its `copy`, and as JSON which
transforms were applied and what they drew. `look.html` shows some beside their sources. With `copies: 0` there are
none, and who trains on augmented tiles too trains on the prepared ones alone.

What a tile draws is seeded from (seed, its pixels, copy). So it depends neither on the number of workers nor on that of
the copies nor on the other tiles, and photos that come or go change the shards of those alone that change in prepare.
No hole is altered with its tile: tiles and holes are paired only when a network trains.
"""

import hashlib
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from stages.augment.look import look
from stages.augment.transforms import alter, build
from stages.imaging.shards import Pixels, Tiles, close_folder, entries
from stages.runtime import guard
from stages.runtime.checkpointed_map import Records, map_checkpointed
from stages.runtime.files import atomic_write, fresh_folder, remove_folder, sha256, write_array, write_text
from stages.runtime.log import log
from stages.runtime.params import Settings, read, read_seed
from stages.runtime.remembered import fingerprint, remembered

SOURCE, OUT = "data/prepared/train", "data/augmented"
SCHEMA = pa.schema([("id", pa.string()), ("source_row", pa.int64()), ("copy", pa.int64()), ("transforms", pa.string())])

_CHUNK_BYTES = 4 * 2**20  # of tiles in one piece of work


class AugmentParams(Settings):
    """`augment` in params.yaml."""

    copies: int = Field(ge=0, le=1000)
    transforms: list[dict[str, Any]] = Field(min_length=1)


@dataclass(frozen=True)
class Chunk:
    """Some tiles of a shard, of which one copy is altered; `source` is the shard's file."""

    source: Path
    copy: int
    rows: range


def altered_shards(
    params: AugmentParams, seed: int, source: str, journal: Path
) -> Iterator[tuple[str, Pixels, list[str]]]:
    """Yield for every copy and every shard of sources the altered shard.

    Args:
        params: what is done.
        seed: of the whole pipeline.
        source: folder of tiles.
        journal: where finished chunks wait; it stands for the params, the seed and the code.

    Returns:
        the shard's name, its tiles, uint8 (n, S, S, 3), and for each as JSON what it drew.
    """
    size = Tiles([source]).size
    most = math.ceil(_CHUNK_BYTES / (3 * size**2))
    chunks: dict[str, Chunk] = {}
    names: dict[str, list[str]] = {}
    for copy in range(params.copies):
        for entry in entries(source):
            name = f"{Path(entry['file']).stem}-{copy}.npy"
            for start in range(0, entry["tiles"], most):
                key = f"{entry['sha256'][:32]}-{copy}-{start}"
                chunks[key] = Chunk(
                    Path(source, entry["file"]).absolute(), copy, range(start, min(start + most, entry["tiles"]))
                )
                names.setdefault(name, []).append(key)
    done = map_checkpointed(partial(alter_some, params.transforms, seed), chunks, journal.absolute(), "augment")
    for name, keys in names.items():
        parts = [next(done) for _ in keys]
        drawn = [record["transforms"] for _, _, records in parts for record in records]
        yield name, np.concatenate([tiles for _, tiles, _ in parts]), drawn


def alter_some(transforms: Sequence[Mapping[str, Any]], seed: int, chunk: Chunk) -> tuple[Pixels, Records]:
    """Alter the tiles of a chunk."""
    cv2.setNumThreads(1)  # the processes share the cores already
    tiles = np.load(chunk.source, mmap_mode="r", allow_pickle=False)[chunk.rows.start : chunk.rows.stop]
    compose = build(transforms, tiles.shape[1])
    done = [alter(compose, np.asarray(tile), seed_of(tile, chunk.copy, seed)) for tile in tiles]
    return np.stack([altered for altered, _ in done]), [{"transforms": drawn} for _, drawn in done]


def seed_of(tile: Pixels, copy: int, seed: int) -> int:
    """Return what a copy of a tile is seeded from."""
    content = int.from_bytes(hashlib.sha256(np.ascontiguousarray(tile).data).digest())
    return int(np.random.SeedSequence([seed, *b"augment", content, copy]).generate_state(1)[0])


def main() -> None:
    """Read params, alter the tiles, write them and say how many there are."""
    seed, params = read_seed(), read("augment", AugmentParams)
    build(params.transforms, Tiles([SOURCE]).size)  # mistakes are said before any work is done
    started = time.perf_counter()
    of = fingerprint({"seed": seed, "transforms": params.transforms, "opencv": cv2.__version__})
    with remembered("augment", of) as memory, fresh_folder(OUT) as folder:
        closing: list[dict[str, Any]] = []
        applied: Counter[str] = Counter()
        with atomic_write(folder / "manifest.parquet") as file, pq.ParquetWriter(file, SCHEMA) as manifest:
            for name, tiles, drawn in altered_shards(params, seed, SOURCE, memory / "chunks"):
                manifest.write_table(_table(drawn, sum(entry["tiles"] for entry in closing), len(Tiles([SOURCE]))))
                applied.update(each["name"] for text in drawn for each in json.loads(text))
                write_array(folder / "train" / name, tiles)
                closing.append({"file": name, "tiles": len(tiles), "sha256": sha256(folder / "train" / name)})
        total = close_folder(folder / "train", closing)
        seconds = time.perf_counter() - started
        write_text(folder / "look.html", look(Path(SOURCE), folder, params.copies, applied))
        remove_folder(memory / "chunks")
    speed = total / seconds
    log(f"augment: {total:,} altered tiles in {OUT}, {params.copies} of every training tile; {speed:,.0f} a second")
    log(f"augment: a look at them: {OUT}/look.html")


def _table(drawn: Sequence[str], first: int, num_sources: int) -> pa.Table:
    copies, rows = np.divmod(np.arange(first, first + len(drawn)), num_sources)
    ids = [f"{row:06d}-{copy}" for copy, row in zip(copies, rows, strict=True)]
    return pa.Table.from_arrays([pa.array(ids), pa.array(rows), pa.array(copies), pa.array(drawn)], schema=SCHEMA)


if __name__ == "__main__":
    sys.exit(guard.run("augment", main))
