"""Which photos share a shard, so that photos that come or go leave the other shards as they are.

A shard's bytes follow from its photos and the settings alone, and which photos share it follows from the photos that
are there, never from an earlier run: two machines with the same photos have the same shards, however they came to
them. To leave every old shard untouched whatever photo is added, such a rule has but one way, a shard a photo, and DVC
pays for every file. So it is left untouched where it can be said beforehand, by two rules:

1. Photos share a shard only with those of the same folder, at the top of `prepare.photos`, and split. A new folder of
   photos so means new shards and no other change, and so does the end of one.
2. Within a folder photos stand in the order of their hashes, and a shard ends where a photo's hash says so, about every
   half shard, or where it is full. A photo that comes or goes changes the shard it stands in, and, where that was full,
   those up to the next such end.

A shard is named by the photos that it holds and how they are cut, so the same name means the same bytes.
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

_END_DIGITS = slice(48, 56)  # of a photo's hash: far from those that choose its split


@dataclass(frozen=True)
class Shard:
    """A file of tiles, and whose they are."""

    split: str
    name: str
    members: Sequence[Placed]

    @property
    def num_tiles(self) -> int:
        """How many tiles the shard holds."""
        return sum(one.photo.num_tiles for one in self.members)


@dataclass(frozen=True)
class ShardJob:
    """What a worker needs to make a shard.

    Attributes:
        target: where it is to stand.
        known: where it may stand already, and stands afterwards where the file system can.
        pieces: its tiles.
    """

    target: Path
    known: Path
    pieces: Sequence[Piece]


def assign_shards(placed: Sequence[Placed], cutting: TilingConfig, shard_bytes: int) -> list[Shard]:
    """Put photos into shards.

    Args:
        placed: all photos that stay.
        cutting: how they are cut.
        shard_bytes: size that no shard exceeds (but by its first photo).

    Returns:
        the shards of train, then val, then test, in the order in which their tiles count.
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


def write_shard(order: ShardJob) -> dict[str, Any]:
    """Write a shard, or link it where it is known; return its entry in the folder's closing record."""
    if order.known.exists():
        _link_or_copy(order.known, order.target)
    else:
        write_array(order.target, np.concatenate([_read(*piece) for piece in order.pieces]))
        with suppress(OSError):  # another file system, or one without links: the next run does the work again
            os.link(order.target, order.known)
    tiles_held = len(np.load(order.target, mmap_mode="r"))
    return {"file": order.target.name, "tiles": tiles_held, "sha256": sha256(order.target)}


def _read(path: Path, start: int, count: int) -> Pixels:
    """Read some tiles of a file; through a memory map, pages around them would stay in memory as well."""
    held = np.load(path, mmap_mode="r")
    one = held[0].nbytes
    flat = np.fromfile(path, np.uint8, count * one, offset=held.offset + start * one)
    return flat.reshape(count, *held.shape[1:])


def _link_or_copy(known: Path, target: Path) -> None:
    try:
        os.link(known, target)
    except OSError:
        shutil.copyfile(known, target)
