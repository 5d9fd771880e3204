"""Batches of tiles and holes, each a function of (seed, step) alone.

Whoever asks for step 1200 gets the same pictures: in one process or several, in the first run or after an interruption.
"""

import math
from collections.abc import Sequence
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

_ORDER, _HOLES = 0, 1  # which of the two draws a generator is for
_SHOWN = 32  # pictures of a batch that is kept
_HOLES_LOOKED_AT, _DEEPEST = 1000, 95  # how many, and which percentile is said to be the deepest


class Batch(TypedDict):
    """What a training or validation step gets."""

    target: Tensor  # uint8 (N, 3, H, W)
    hole: Tensor  # uint8 (N, 1, H, W), 1 where pixels are missing
    step: int


def to_float(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Return (image, hole, target) of a batch as float32: image and target (N, 3, H, W) in [0, 1], holes zeroed."""
    target = batch["target"].float().div_(255)
    hole = batch["hole"].float()
    return target * (1 - hole), hole, target


class TrainingBatches(Dataset[Batch]):
    """The batch of every step: tiles in an order that is new in every epoch, each with a hole drawn from the mask set.

    Args:
        tiles: folders of shards, all of whose tiles are trained on.
        mask_set: file of holes of the tiles' size; each is also flipped and turned, which no hole minds.
        batch_size: pictures in a batch.
        seed: of everything drawn here.
    """

    def __init__(self, tiles: Sequence[str | Path], mask_set: str | Path, batch_size: int, seed: int) -> None:
        self._tiles = Tiles(tiles)
        self._mask_set = MaskSet(mask_set)
        _check_sizes(self._tiles, self._mask_set)
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = -1
        self._order: npt.NDArray[np.integer[Any]] = np.empty(0, np.int64)

    def __getitem__(self, step: int) -> Batch:
        """Return the batch of a step, counted from 0, without end."""
        first = step * self._batch_size
        indices = np.array([self._tile_at(first + offset) for offset in range(self._batch_size)])
        rng = np.random.default_rng([self._seed, _HOLES, step])
        holes = rng.integers(len(self._mask_set), size=self._batch_size)
        ways = rng.integers(8, size=self._batch_size)
        return _batch(self._tiles.gather(indices), _turn(self._mask_set.gather(holes), ways), step)

    @cached_property
    def reach(self) -> int:
        """How far from the nearest known pixel the missing ones of the deepest training holes are, in pixels."""
        holes = self._mask_set.gather(np.arange(min(len(self._mask_set), _HOLES_LOOKED_AT)))
        deepest = [cv2.distanceTransform(hole, cv2.DIST_L2, cv2.DIST_MASK_PRECISE).max() for hole in holes]
        return max(4, round(float(np.percentile(deepest, _DEEPEST))))

    @property
    def tile_size(self) -> int:
        """Side of the pictures, in pixels."""
        return self._tiles.size

    def _tile_at(self, position: int) -> int:
        epoch, place = divmod(position, len(self._tiles))
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng([self._seed, _ORDER, epoch]).permutation(len(self._tiles))
        return int(self._order[place])


class ValidationBatches(Dataset[Batch]):
    """The same pictures every time: each hole of the mask set with one tile, the tiles spread over all there are.

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
    """Write a batch as a sheet of pictures and as arrays.

    Args:
        folder: made if missing.
        batch: targets and holes.

    Returns:
        the sheet: targets above, what the network saw of them below, holes white. Beside it, as `.npz`, uint8 `target`
        (N, H, W, 3) and `hole` (N, H, W).
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
        raise ValueError(f"holes should be as large as the tiles, {tiles.size} pixels, but are {mask_set.size}")


def _turn(holes: Pixels, ways: npt.NDArray[np.integer[Any]]) -> Pixels:
    """Lay each hole in one of the eight ways that a square has; OpenCV does it ten times as fast as NumPy's views."""
    turned = np.empty_like(holes)
    for hole, out, way in zip(holes, turned, ways, strict=True):
        mirrored = cv2.transpose(hole) if way >= 4 else hole
        if way % 4:
            cv2.flip(mirrored, way % 4 - 2, dst=out)  # about both axes, the horizontal one, the vertical one
        else:
            out[:] = mirrored
    return turned


def _batch(tiles: Pixels, holes: Pixels, step: int) -> Batch:
    target = torch.from_numpy(tiles).permute(0, 3, 1, 2)  # in memory still N, H, W, C: what torch calls channels_last
    return {"target": target, "hole": torch.from_numpy(holes)[:, None], "step": step}
