"""Assignment of photos to shards, such that added or removed photos leave most shards unchanged.

Shards depend only on the present photos and the settings, never on earlier runs: two machines with the same photos have
the same shards. A shard per photo would keep all other shards unchanged, but DVC is slow with many files. Instead:

1. A shard contains photos of one split and one top-level folder of `prepare.photos`. A new folder adds new shards and
   changes no other, and so does the removal of a folder.
2. Within a folder photos are sorted by hash. A shard ends after a photo whose hash meets a condition, which happens
   about every half shard, or when it is full. An added or removed photo changes its own shard and, if that was full,
   the following ones up to the next such end.

A shard's name is a hash of its photos and settings, so equal names mean equal bytes.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from stages.imaging.shards import Pixels
from stages.imaging.source_table import batch_of
from stages.imaging.splits import SPLITS
from stages.prepare.tiling import TilingConfig
from stages.runtime.files import sha256, write_array, write_text
from stages.runtime.tables import by_parts, rows_of

Piece = tuple[Path, int, int]

_END_DIGITS = slice(48, 56)  # of a photo's hash; others than those that choose its split


@dataclass(frozen=True, slots=True)
class Shard:
    """A file of tiles, and the rows of the photos that they are from."""

    split: str
    name: str
    rows: slice


@dataclass(frozen=True)
class ShardJob:
    """What a worker needs to make a shard.

    Attributes:
        target: the file to write.
        known: the same shard in the cache; beside it lies its SHA-256.
        pieces: its tiles: for each photo a file, the first tile in it, and how many.
    """

    target: Path
    known: Path
    pieces: Sequence[Piece]


def assign_shards(
    files: pa.Table, placed: pd.DataFrame, cutting: TilingConfig, shard_bytes: int
) -> tuple[pd.DataFrame, pa.Table, list[Shard]]:
    """Assign photos to shards.

    Args:
        files: `name`, `sha256` and `hashes` of all files.
        placed: all used photos, in the order of their hashes.
        cutting: how they are cut.
        shard_bytes: size limit of a shard, which holds at least one photo.

    Returns:
        the photos in the order of their tiles; `name`, `sha256`, `hashes` and `alike`, the SHA-256 of the first photo
        among the near duplicates, of each; and the shards of train, val and test in the same order.
    """
    most = max(1, shard_bytes // (3 * cutting.tile_size**2))
    every = max(1, round(most / cutting.max_tiles / 2))
    number_of: dict[str, int] = {}
    batch, ends = np.zeros(len(placed), np.int32), np.zeros(len(placed), bool)
    as_listed = np.argsort(placed.index)  # reads each part of the table once
    parts = by_parts(files.select(["name", "sha256"]), placed.index.to_numpy()[as_listed])
    facts = (fact for part in parts for fact in zip(part["name"], part["sha256"], strict=True))
    for row, (name, digest) in zip(as_listed, facts, strict=True):
        batch[row] = number_of.setdefault(batch_of(name), len(number_of))
        ends[row] = int(digest[_END_DIGITS], 16) % every == 0
    batch = np.argsort(np.argsort(list(number_of)))[batch].astype(np.int32)  # by name
    order = np.lexsort((batch, placed["split"].cat.codes))  # stable, so by hash within each
    ordered, batch, ends = placed.iloc[order], batch[order], ends[order]
    split = ordered["split"].cat.codes.to_numpy()
    starts = (np.diff(batch) != 0) | (np.diff(split) != 0) | ends[:-1]
    cuts = [0, *_cut(ordered["num_tiles"].to_numpy(), starts, most), len(ordered)]
    rows = [slice(start, stop) for start, stop in pairwise(cuts)]
    texts = rows_of(files.select(["name", "sha256", "hashes"]), ordered.index.to_numpy())
    alike = rows_of(files.select(["sha256"]), ordered["alike"].to_numpy())["sha256"]
    texts = texts.append_column("alike", alike)
    names = (_name(texts["sha256"][each], cutting) for each in rows)
    shards = [Shard(SPLITS[split[each.start]], name, each) for name, each in zip(names, rows, strict=True)]
    return ordered, texts, shards


def _cut(tiles: npt.NDArray[np.int32], starts: npt.NDArray[np.bool_], most: int) -> Iterator[int]:
    """Yield the positions at which a shard begins, but the first."""
    filled = 0
    for position, count in enumerate(tiles):
        begins = position and (starts[position - 1] or filled + count > most)
        if begins:
            yield position
        filled = int(count) if begins else filled + int(count)


def _name(hashes: pa.ChunkedArray, cutting: TilingConfig) -> str:
    settings = f"{cutting.tile_size} {cutting.short_sides} {cutting.max_tiles} {cutting.seed}"
    text = " ".join([settings, *hashes.to_pylist()])
    return f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.npy"


def link_shard(job: ShardJob) -> dict[str, Any] | None:
    """Link a shard from the cache; return its entry in the folder's index, None if it is not what it was."""
    with suppress(FileNotFoundError):
        _link_or_copy(job.known, job.target)
        digest = sha256(job.target)
        if _digest_of(job.known).read_bytes() == digest.encode():
            return _entry(job.target, digest)
    for path in (job.target, job.known):  # one file with two names
        path.unlink(missing_ok=True)
    return None


def write_shard(job: ShardJob) -> dict[str, Any]:
    """Write a shard, and link it in the cache; return its entry in the folder's index."""
    write_array(job.target, np.concatenate([_read(*piece) for piece in job.pieces]))
    digest = sha256(job.target)
    with suppress(OSError):  # as where hard links are impossible: then the next run writes it again
        job.known.unlink(missing_ok=True)  # of a worker that died just here
        os.link(job.target, job.known)
        write_text(_digest_of(job.known), digest)
    return _entry(job.target, digest)


def _entry(shard: Path, digest: str) -> dict[str, Any]:
    return {"file": shard.name, "tiles": len(np.load(shard, mmap_mode="r")), "sha256": digest}


def _digest_of(known: Path) -> Path:
    return known.with_suffix(".sha256")


def _read(path: Path, start: int, count: int) -> Pixels:
    """Read some tiles of a file; a memory map would keep the pages around them in memory, too."""
    held = np.load(path, mmap_mode="r")
    one = held[0].nbytes
    flat = np.fromfile(path, np.uint8, count * one, offset=held.offset + start * one)
    return flat.reshape(count, *held.shape[1:])


def _link_or_copy(known: Path, target: Path) -> None:
    target.unlink(missing_ok=True)  # of a worker that died after this
    try:
        os.link(known, target)
    except OSError:
        shutil.copyfile(known, target)
