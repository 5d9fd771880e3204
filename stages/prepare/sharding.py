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
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages.imaging.shards import Pixels
from stages.imaging.source_table import batch_of
from stages.prepare.tiling import TilingConfig
from stages.runtime.files import sha256, write_array

_END_DIGITS = slice(48, 56)  # of a photo's hash; others than those that choose its split


@dataclass(frozen=True)
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
        known: the same shard in the cache; linked afterwards if the file system supports it.
        pieces: its tiles: for each photo a file, the first tile in it, and how many.
    """

    target: Path
    known: Path
    pieces: list[tuple[Path, int, int]]


def assign_shards(placed: pd.DataFrame, cutting: TilingConfig, shard_bytes: int) -> tuple[pd.DataFrame, list[Shard]]:
    """Assign photos to shards.

    Args:
        placed: all used photos, in the order of their hashes.
        cutting: how they are cut.
        shard_bytes: size limit of a shard, which holds at least one photo.

    Returns:
        the photos in the order of their tiles, and the shards of train, val and test in the same order.
    """
    most = max(1, shard_bytes // (3 * cutting.tile_size**2))
    every = max(1, round(most / cutting.max_tiles / 2))
    batch = pd.Categorical([sys.intern(batch_of(name)) for name in placed["name"]])
    order = np.lexsort((batch.codes, placed["split"].cat.codes))  # stable, so by hash within each
    ordered, part = placed.iloc[order], list(zip(placed["split"].iloc[order], batch.codes[order], strict=True))
    ends = [int(sha256[_END_DIGITS], 16) % every == 0 for sha256 in ordered["sha256"]]
    cuts = [0, *_cut(ordered["num_tiles"].to_list(), part, ends, most), len(ordered)]
    rows = [slice(start, stop) for start, stop in pairwise(cuts)]
    return ordered, [
        Shard(ordered["split"].iloc[each.start], _name(ordered["sha256"].iloc[each], cutting), each) for each in rows
    ]


def _cut(tiles: Sequence[int], part: Sequence[object], ends: Sequence[bool], most: int) -> Iterator[int]:
    """Yield the positions at which a shard begins, but the first."""
    filled = 0
    for position, count in enumerate(tiles):
        begins = position and (part[position] != part[position - 1] or ends[position - 1] or filled + count > most)
        if begins:
            yield position
        filled = count if begins else filled + count


def _name(hashes: "pd.Series[str]", cutting: TilingConfig) -> str:
    settings = f"{cutting.tile_size} {cutting.short_sides} {cutting.max_tiles} {cutting.seed}"
    text = " ".join([settings, *hashes])
    return f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.npy"


def write_shard(job: ShardJob) -> dict[str, Any]:
    """Write a shard, or link it from the cache; return its entry in the folder's index."""
    if job.known.exists():
        _link_or_copy(job.known, job.target)
    else:
        write_array(job.target, np.concatenate([_read(*piece) for piece in job.pieces]))
        with suppress(OSError):  # no hard links possible: the next run writes it again
            os.link(job.target, job.known)
    tiles_held = len(np.load(job.target, mmap_mode="r"))
    return {"file": job.target.name, "tiles": tiles_held, "sha256": sha256(job.target)}


def _read(path: Path, start: int, count: int) -> Pixels:
    """Read some tiles of a file; a memory map would keep the pages around them in memory, too."""
    held = np.load(path, mmap_mode="r")
    one = held[0].nbytes
    flat = np.fromfile(path, np.uint8, count * one, offset=held.offset + start * one)
    return flat.reshape(count, *held.shape[1:])


def _link_or_copy(known: Path, target: Path) -> None:
    try:
        os.link(known, target)
    except OSError:
        shutil.copyfile(known, target)
