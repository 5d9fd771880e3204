"""Tiles on disk: `.npy` files of uint8 (N, H, W, 3), read by memory map.

    write_tiles(folder, tiles)             # 00000.npy, 00001.npy, ... and shards.json, the closing record
    tiles = Tiles(["data/prepared/train", "data/augmented/train"])
    tiles.gather(np.array([5, 0, 9]))      # uint8 (3, H, W, 3)

A few files of many tiles, not a file a tile: DVC pays for every file (tenfold in a checkout of ten thousand).
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
MOST_OPEN = 256  # shards at once, as each holds a file open, of which systems allow a process 1,024
_RECORD = "shards.json"

Pixels = npt.NDArray[np.uint8]


def write_tiles(folder: str | Path, tiles: Iterable[Pixels], shard_bytes: int = SHARD_BYTES) -> int:
    """Write tiles in the order given, as many to a shard as fit, then the record that closes the folder.

    Args:
        folder: where the shards go.
        tiles: uint8 (H, W, 3) each, all of one size.
        shard_bytes: size that no shard exceeds (but by its first tile).

    Returns:
        how many tiles were written.
    """
    folder = Path(folder)
    shards: list[dict[str, Any]] = []
    for number, shard in enumerate(_batches(tiles, shard_bytes)):
        path = folder / f"{number:05d}.npy"
        write_array(path, shard)
        shards.append({"file": path.name, "tiles": len(shard), "sha256": sha256(path)})
    return close_folder(folder, shards)


def close_folder(folder: str | Path, shards: Sequence[Mapping[str, Any]]) -> int:
    """Write the record that closes a folder of shards.

    Args:
        folder: where the shards are.
        shards: of each, in the order in which its tiles count, `file` (its name), `tiles` (how many) and `sha256`.

    Returns:
        how many tiles there are in all.
    """
    total: int = sum(shard["tiles"] for shard in shards)
    write_json(Path(folder) / _RECORD, {"tiles": total, "shards": list(shards)})
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
    """The tiles of one or more folders as one sequence.

    Args:
        folders: folders that `write_tiles` closed, in the order in which their tiles count.

    Raises:
        InputError: a folder, its record or a shard is missing, a shard has another number of tiles than recorded, the
            folders hold tiles of different sizes, or there are no tiles at all.
    """

    def __init__(self, folders: Sequence[str | Path]) -> None:
        self._files = [(Path(folder), entry) for folder in folders for entry in _read_record(Path(folder))["shards"]]
        if not self._files:
            raise InputError(f"no tiles in {', '.join(map(str, folders))}; the stage that makes them found no photos")
        self._open: dict[int, Pixels] = {}  # by number, the one longest not read first
        shapes = [self._shard(number).shape for number in range(len(self._files))]
        sizes = {shape[1:] for shape in shapes}
        if len(sizes) > 1:
            raise InputError(
                f"{', '.join(map(str, folders))} hold tiles of different sizes: {sorted(sizes)}; run dvc repro"
            )
        (self._shape,) = sizes
        self._ends = np.cumsum([shape[0] for shape in shapes])

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
            out[position] = self._shard(shard)[index - self._ends[shard]]  # negative: counted from the shard's end
        return out

    def _shard(self, number: int) -> Pixels:
        shard = self._open.pop(number, None)
        if shard is None:
            if len(self._open) == MOST_OPEN:
                self._open.pop(next(iter(self._open)))
            shard = _open_shard(*self._files[number])
        self._open[number] = shard
        return shard

    def release(self) -> None:
        """Give back the memory of pages that were read, where the system can; the next `gather` reads them again."""
        for shard in self._open.values():
            if hasattr(mmap, "MADV_DONTNEED") and isinstance(shard.base, mmap.mmap):
                shard.base.madvise(mmap.MADV_DONTNEED)


def entries(folder: str | Path) -> list[dict[str, Any]]:
    """Return of each shard of the folder, in order, its `file` name, its number of `tiles` and its `sha256`."""
    shards: list[dict[str, Any]] = _read_record(Path(folder))["shards"]
    return shards


def summary(folder: str | Path) -> dict[str, Any]:
    """Return `tiles`, how many the folder has, and `digest`, a hash of them all, from its closing record."""
    record = _read_record(Path(folder))
    hashes = "".join(shard["sha256"] for shard in record["shards"])
    return {"tiles": record["tiles"], "digest": hashlib.sha256(hashes.encode()).hexdigest()}


def _read_record(folder: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder / _RECORD} is missing, so the tiles there are not complete; run dvc repro") from None
    except ValueError as error:
        raise InputError(f"{folder / _RECORD} is damaged ({error}); run dvc repro or dvc checkout") from None
    return record


def _open_shard(folder: Path, entry: dict[str, Any]) -> Pixels:
    path = inside(folder, entry["file"])
    try:
        shard: Pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, EOFError, ValueError) as error:
        raise InputError(f"{path} is missing or damaged ({error}); run dvc repro or dvc checkout") from None
    if len(shard) != entry["tiles"]:
        raise InputError(f"{path} holds {len(shard)} tiles, its record says {entry['tiles']}; run dvc repro")
    return shard
