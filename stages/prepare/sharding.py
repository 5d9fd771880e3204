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
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from stages.imaging.shards import Pixels
from stages.imaging.splits import SPLITS
from stages.prepare.photo_cache import Piece
from stages.prepare.selection import Placed
from stages.prepare.tiling import TilingConfig
from stages.runtime.files import sha256, write_array

_END_DIGITS = slice(48, 56)  # of a photo's hash; others than those that choose its split


@dataclass(frozen=True)
class Shard:
    """A file of tiles, with the photos that they are from."""

    split: str
    name: str
    members: Sequence[Placed]

    @property
    def num_tiles(self) -> int:
        """Number of tiles in the shard."""
        return sum(one.photo.num_tiles for one in self.members)


@dataclass(frozen=True)
class ShardJob:
    """What a worker needs to make a shard.

    Attributes:
        target: the file to write.
        known: the same shard in the cache; linked afterwards if the file system supports it.
        pieces: its tiles.
    """

    target: Path
    known: Path
    pieces: Sequence[Piece]


def assign_shards(placed: Sequence[Placed], cutting: TilingConfig, shard_bytes: int) -> list[Shard]:
    """Assign photos to shards.

    Args:
        placed: all used photos.
        cutting: how they are cut.
        shard_bytes: size limit of a shard, which holds at least one photo.

    Returns:
        the shards of train, val and test, in the order of their tiles.
    """
    most = max(1, shard_bytes // (3 * cutting.tile_size**2))
    every = max(1, round(most / cutting.max_tiles / 2))

    def place(one: Placed) -> tuple[int, str]:
        return SPLITS.index(one.split), one.photo.source.batch

    ordered = sorted(placed, key=lambda one: (*place(one), one.photo.sha256))
    parts = (list(group) for _, group in groupby(ordered, place))
    return [
        Shard(members[0].split, _name(members, cutting), members)
        for part in parts
        for members in _cut(part, most, every)
    ]


def _cut(photos: Sequence[Placed], most: int, every: int) -> Iterator[list[Placed]]:
    shard: list[Placed] = []
    filled = 0
    for one in photos:
        if shard and filled + one.photo.num_tiles > most:
            yield shard
            shard, filled = [], 0
        shard.append(one)
        filled += one.photo.num_tiles
        if int(one.photo.sha256[_END_DIGITS], 16) % every == 0:
            yield shard
            shard, filled = [], 0
    if shard:
        yield shard


def _name(members: Sequence[Placed], cutting: TilingConfig) -> str:
    settings = f"{cutting.tile_size} {cutting.short_sides} {cutting.max_tiles} {cutting.seed}"
    text = " ".join([settings, *(one.photo.sha256 for one in members)])
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
