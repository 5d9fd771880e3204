"""Batches of tiles and holes; each depends on seed and step only, so a resumed training sees the same ones."""

import math
from collections.abc import Sequence
from copy import copy
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, TypedDict

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from stages.imaging.holes import MaskSet
from stages.imaging.images import save_png
from stages.imaging.shards import Tiles
from stages.runtime.files import atomic_write

Pixels = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.integer[Any]]

_ORDER, _HOLES = 0, 1  # streams of random numbers
_WINDOW = 2**16  # tiles that are shuffled together; 3 GB of 128 x 128 pixels
_SHOWN = 32  # pictures on the sheet of a saved batch
_HOLES_LOOKED_AT, _DEEPEST = 1000, 95  # how many, and the percentile of their depths that counts


class Batch(TypedDict):
    """The input of a training or validation step."""

    target: Tensor  # uint8 (N, 3, H, W)
    hole: Tensor  # uint8 (N, 1, H, W), 1 where pixels are missing
    step: int


def to_float(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Return (image, hole, target) of a batch as float32: image and target (N, 3, H, W) in [0, 1], holes zeroed."""
    target = batch["target"].float().div_(255)
    hole = batch["hole"].float()
    return target * (1 - hole), hole, target


class TrainingBatches(Dataset[Batch]):
    """The batch of every step: tiles in a new order in every epoch, each with a random hole.

    Up to 65,536 tiles are shuffled as a whole. Of more, shards are shuffled first, then the tiles within each window of
    about so many: memory grows with the number of shards alone, and the disk reads a few shards at a time.

    Args:
        tiles: folders of shards.
        mask_set: file of holes of the tiles' size, which are randomly flipped and rotated.
        batch_size: pictures in a batch.
        seed: of the order and the holes.
    """

    def __init__(self, tiles: Sequence[str | Path], mask_set: str | Path, batch_size: int, seed: int) -> None:
        self._tiles = Tiles(tiles)
        self._mask_set = MaskSet(mask_set)
        _check_sizes(self._tiles, self._mask_set)
        self._batch_size, self._seed = batch_size, seed
        self._part = slice(None)
        self._order = _Order(self._tiles.shard_sizes, seed)

    def __getitem__(self, step: int) -> Batch:
        """Return the batch of a step, counted from 0, without end."""
        first = step * self._batch_size
        indices = np.array([self._order.tile_at(first + offset) for offset in range(self._batch_size)])[self._part]
        rng = np.random.default_rng([self._seed, _HOLES, step])
        holes = rng.integers(len(self._mask_set), size=self._batch_size)[self._part]
        ways = rng.integers(8, size=self._batch_size)[self._part]
        return _batch(self._tiles.gather(indices), _turn(self._mask_set.gather(holes), ways), step)

    def part(self, number: int, of: int) -> "TrainingBatches":
        """Return the same batches, but of each only one of several equal parts, counted from 0."""
        share, part = self._batch_size // of, copy(self)
        part._part = slice(number * share, (number + 1) * share)
        return part

    @cached_property
    def reach(self) -> int:
        """The depth of the deepest training holes: the distance to the nearest known pixel, in pixels."""
        holes = self._mask_set.gather(np.arange(min(len(self._mask_set), _HOLES_LOOKED_AT)))
        deepest = [cv2.distanceTransform(hole, cv2.DIST_L2, cv2.DIST_MASK_PRECISE).max() for hole in holes]
        return max(4, round(float(np.percentile(deepest, _DEEPEST))))

    @property
    def tile_size(self) -> int:
        """Side of the pictures in pixels."""
        return self._tiles.size


class _Order:
    """The order of the tiles in every epoch; holds one window of it.

    Args:
        shard_sizes: tiles in each shard.
        seed: of the order.
    """

    def __init__(self, shard_sizes: Ints, seed: int) -> None:
        self._sizes, self._starts = shard_sizes, np.cumsum(shard_sizes) - shard_sizes
        self._num_tiles = int(shard_sizes.sum())
        self._seed = [seed, _ORDER]
        self._epoch = self._window = -1

    def tile_at(self, position: int) -> int:
        """Return the tile at a position, counted from 0 over all epochs."""
        epoch, place = divmod(position, self._num_tiles)
        if epoch != self._epoch:
            self._begin_epoch(epoch)
        window = int(np.searchsorted(self._window_ends, place, side="right"))
        if window != self._window:
            self._begin_window(window)
        return int(self._tiles[place - self._window_ends[window]])  # negative: counted from the window's end

    def _begin_epoch(self, epoch: int) -> None:
        self._shards = np.arange(len(self._sizes))
        if self._num_tiles > _WINDOW:
            np.random.default_rng([*self._seed, epoch]).shuffle(self._shards)
        ends = np.cumsum(self._sizes[self._shards])
        of_window = (ends - self._sizes[self._shards]) // _WINDOW if self._num_tiles > _WINDOW else np.zeros_like(ends)
        self._last_shards = np.flatnonzero(np.diff(of_window, append=-1))
        self._window_ends: Ints = ends[self._last_shards]
        self._epoch, self._window = epoch, -1

    def _begin_window(self, window: int) -> None:
        shards = self._shards[: self._last_shards[window] + 1]
        shards = shards[self._last_shards[window - 1] + 1 :] if window else shards
        held = [np.arange(self._starts[shard], self._starts[shard] + self._sizes[shard]) for shard in shards]
        seed = [*self._seed, self._epoch, *([window] if len(self._window_ends) > 1 else [])]
        self._tiles: Ints = np.random.default_rng(seed).permutation(np.concatenate(held))
        self._window = window


class ValidationBatches(Dataset[Batch]):
    """Fixed batches: each hole of the mask set with one tile, evenly spread over all tiles.

    Args:
        tiles: folder of shards.
        mask_set: file of holes of the tiles' size.
        batch_size: pictures in a batch; the last may be smaller.
    """

    def __init__(self, tiles: str | Path, mask_set: str | Path, batch_size: int) -> None:
        self._tiles = Tiles([tiles])
        self._mask_set = MaskSet(mask_set)
        _check_sizes(self._tiles, self._mask_set)
        self._batch_size = batch_size

    def __len__(self) -> int:
        """Return the number of batches."""
        return math.ceil(len(self._mask_set) / self._batch_size)

    def __getitem__(self, number: int) -> Batch:
        """Return a batch, counted from 0."""
        rows = np.arange(number * self._batch_size, min((number + 1) * self._batch_size, len(self._mask_set)))
        if len(rows) == 0:
            raise IndexError(number)
        indices = rows * len(self._tiles) // len(self._mask_set)
        return _batch(self._tiles.gather(indices), self._mask_set.gather(rows), number)


def keep_batch(folder: Path, batch: Batch) -> Path:
    """Save a batch as a sheet of pictures and as arrays.

    Args:
        folder: created if missing.
        batch: targets and holes.

    Returns:
        the path of the sheet: targets above, images with white holes below. An `.npz` file of the same name holds uint8
        `target` (N, H, W, 3) and `hole` (N, H, W).
    """
    target = batch["target"].permute(0, 2, 3, 1).numpy()
    hole = batch["hole"][:, 0].numpy()
    image = np.where(hole[..., None] == 1, np.uint8(255), target)
    path = folder / f"step_{batch['step'] + 1:06d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_png(path, np.concatenate([np.concatenate(row[:_SHOWN], axis=1) for row in (target, image)]))
    np.savez_compressed(content := BytesIO(), target=target, hole=hole)
    with atomic_write(path.with_suffix(".npz")) as file:
        file.write(content.getbuffer())
    return path


def _check_sizes(tiles: Tiles, mask_set: MaskSet) -> None:
    if tiles.size != mask_set.size:
        raise ValueError(f"holes should have the size of the tiles, {tiles.size} pixels, but have {mask_set.size}")


def _turn(holes: Pixels, ways: npt.NDArray[np.integer[Any]]) -> Pixels:
    """Flip and rotate each hole by one of the eight symmetries of a square; OpenCV is ten times as fast as NumPy."""
    turned = np.empty_like(holes)
    for hole, out, way in zip(holes, turned, ways, strict=True):
        mirrored = cv2.transpose(hole) if way >= 4 else hole
        if way % 4:
            cv2.flip(mirrored, way % 4 - 2, dst=out)  # about both axes, the horizontal one, the vertical one
        else:
            out[:] = mirrored
    return turned


def _batch(tiles: Pixels, holes: Pixels, step: int) -> Batch:
    target = torch.from_numpy(tiles).permute(0, 3, 1, 2)  # a view, so channels_last
    return {"target": target, "hole": torch.from_numpy(holes)[:, None], "step": step}
