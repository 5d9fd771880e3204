"""Tiles on disk: `.npy` files of uint8 (N, H, W, 3), memory-mapped.

    write_tiles(folder, tiles)             # 00000.npy, 00001.npy, ... and shards.json, the index
    tiles = Tiles(["data/prepared/train", "data/augmented/train"])
    tiles.gather(np.array([5, 0, 9]))      # uint8 (3, H, W, 3)

A shard holds many tiles, since DVC is slow with many files: a checkout of ten thousand takes ten times as long.
"""

import hashlib
import json
import mmap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.runtime.errors import InputError
from stages.runtime.files import inside, sha256, write_array, write_json

SHARD_BYTES = 32 * 2**20
MOST_OPEN = 256  # shards at once; each is an open file, of which a process may have 1,024
_INDEX = "shards.json"

Pixels = npt.NDArray[np.uint8]


def write_tiles(folder: str | Path, tiles: Iterable[Pixels], shard_bytes: int = SHARD_BYTES) -> int:
    """Write tiles in order, as many per shard as fit, then the index.

    Args:
        folder: for the shards.
        tiles: uint8 (H, W, 3) each, all of one size.
        shard_bytes: size limit of a shard, which holds at least one tile.

    Returns:
        the number of tiles.
    """
    folder = Path(folder)
    shards: list[dict[str, Any]] = []
    for number, shard in enumerate(_batches(tiles, shard_bytes)):
        path = folder / f"{number:05d}.npy"
        write_array(path, shard)
        shards.append({"file": path.name, "tiles": len(shard), "sha256": sha256(path)})
    return close_folder(folder, shards)


def close_folder(folder: str | Path, shards: Sequence[Mapping[str, Any]]) -> int:
    """Write the index of a folder of shards, last, so that a folder without one is known to be incomplete.

    Args:
        folder: of the shards.
        shards: the shards in order; `file` (name), `tiles` (how many) and `sha256` of each.

    Returns:
        the number of tiles.
    """
    total: int = sum(shard["tiles"] for shard in shards)
    write_json(Path(folder) / _INDEX, {"tiles": total, "shards": list(shards)})
    return total


def _batches(tiles: Iterable[Pixels], shard_bytes: int) -> Iterator[Pixels]:
    batch: list[Pixels] = []
    for tile in tiles:
        batch.append(tile)
        if (len(batch) + 1) * tile.nbytes > shard_bytes:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)


class Tiles:
    """The tiles of one or more folders as one sequence; a shard is opened when a tile of it is asked for.

    Args:
        folders: folders with an index, in order.

    Raises:
        InputError: a folder or its index is missing, or there are no tiles. Here for the first shard of each folder, in
            `gather` for the others: a shard is missing or does not match the index, or the tiles differ in size.
    """

    def __init__(self, folders: Sequence[str | Path]) -> None:
        self._folders = [Path(folder) for folder in folders]
        held = [(folder, entry) for folder in self._folders for entry in _read_index(folder)["shards"]]
        if not held:
            raise InputError(f"no tiles in {', '.join(map(str, folders))}; the stage that writes them found no photos")
        self._files = [(folder, str(entry["file"])) for folder, entry in held]
        self.shard_sizes = np.array([entry["tiles"] for _, entry in held])
        self._ends = np.cumsum(self.shard_sizes)
        self._open: dict[int, Pixels] = {}  # by number, least recently used first
        self._shape = self._open_shard(0).shape[1:]
        for number in range(1, len(held)):
            if held[number][0] != held[number - 1][0]:
                self._shard(number)

    def __len__(self) -> int:
        """Return the number of tiles."""
        return int(self._ends[-1])

    @property
    def size(self) -> int:
        """Side of a tile in pixels."""
        height: int = self._shape[0]
        return height

    def gather(self, indices: npt.NDArray[np.integer[Any]]) -> Pixels:
        """Copy some tiles into memory.

        Args:
            indices: (n,), each in [0, len(self)).

        Returns:
            uint8 (n, H, W, 3), in the order of `indices`.
        """
        shard_of = np.searchsorted(self._ends, indices, side="right")
        out = np.empty((len(indices), *self._shape), np.uint8)
        for position, (index, shard) in enumerate(zip(indices, shard_of.tolist(), strict=True)):
            out[position] = self._shard(shard)[index - self._ends[shard]]  # a negative index, from the shard's end
        return out

    def _shard(self, number: int) -> Pixels:
        shard = self._open.pop(number, None)
        if shard is None:
            if len(self._open) == MOST_OPEN:
                self._open.pop(next(iter(self._open)))
            shard = self._open_shard(number)
            if shard.shape[1:] != self._shape:
                sizes = sorted({self._shape, shard.shape[1:]})
                where = ", ".join(map(str, self._folders))
                raise InputError(f"{where} contain tiles of different sizes: {sizes}; run dvc repro")
        self._open[number] = shard
        return shard

    def _open_shard(self, number: int) -> Pixels:
        folder, name = self._files[number]
        path, tiles = inside(folder, name), self.shard_sizes[number]
        try:
            shard: Pixels = np.load(path, mmap_mode="r", allow_pickle=False)
        except (FileNotFoundError, EOFError, ValueError) as error:
            raise InputError(f"{path} is missing or damaged ({error}); run dvc repro or dvc checkout") from None
        if len(shard) != tiles:
            raise InputError(f"{path} contains {len(shard)} tiles, but the index says {tiles}; run dvc repro")
        return shard

    def release(self) -> None:
        """Release the memory of pages that were read, if the system supports it; `gather` reads them again."""
        for shard in self._open.values():
            if hasattr(mmap, "MADV_DONTNEED") and isinstance(shard.base, mmap.mmap):
                shard.base.madvise(mmap.MADV_DONTNEED)


def entries(folder: str | Path) -> list[dict[str, Any]]:
    """Return the index of a folder: `file` name, number of `tiles` and `sha256` of each shard, in order."""
    shards: list[dict[str, Any]] = _read_index(Path(folder))["shards"]
    return shards


def summary(folder: str | Path) -> dict[str, Any]:
    """Return the number of `tiles` in a folder and `digest`, a hash of all of them, from the index."""
    index = _read_index(Path(folder))
    hashes = "".join(shard["sha256"] for shard in index["shards"])
    return {"tiles": index["tiles"], "digest": hashlib.sha256(hashes.encode()).hexdigest()}


def _read_index(folder: Path) -> dict[str, Any]:
    try:
        index: dict[str, Any] = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder / _INDEX} is missing, so its folder is incomplete; run dvc repro") from None
    except ValueError as error:
        raise InputError(f"{folder / _INDEX} is damaged ({error}); run dvc repro or dvc checkout") from None
    return index
