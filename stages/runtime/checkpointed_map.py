"""Map-like work whose finished chunks lie on disk: a killed worker or a killed run loses at most its open chunks.

    for rows, records in map_checkpointed(work, {"train-00000": range(200)}, folder, "masks"):
        ...                                     # uint8 (n, ...) and a list of n or more records

A worker writes its chunk itself, so results need no way back but the file system, which a cluster's machines share.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from stages.runtime.files import write_array, write_text
from stages.runtime.parallel import map_ordered

_EMPTY = 128  # bytes: the header of a small `.npy` file

Bytes = npt.NDArray[np.uint8]
Records = list[dict[str, Any]]
Chunk = TypeVar("Chunk")


def map_checkpointed(
    work: Callable[[Chunk], tuple[Bytes, Records]], chunks: Mapping[str, Chunk], folder: Path, label: str
) -> Iterator[tuple[str, Bytes, Records]]:
    """Yield for every chunk, in order, its key and `work(chunk)`; what the folder holds already is not done again.

    Args:
        work: as for `map_ordered`; its array comes back as a memory map, its records (JSON) as they are.
        chunks: by keys that are file names and say all that the result depends on, the folder's name included.
        folder: where finished chunks lie; absolute where machines share the work.
        label: stands before the progress bar.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for key in map_ordered(partial(_finish, work, folder), list(chunks.items()), label, unit="chunk"):
        array, records = read_chunk(folder, key)
        yield key, array, records


def _finish(work: Callable[[Chunk], tuple[Bytes, Records]], folder: Path, item: tuple[str, Chunk]) -> str:
    key, chunk = item
    if not (folder / f"{key}.json").exists():
        array, records = work(chunk)
        write_array(folder / f"{key}.npy", array)
        write_text(folder / f"{key}.json", json.dumps(records, ensure_ascii=False))  # last: it says that both are there
    return key


def read_chunk(folder: Path, key: str) -> tuple[Bytes, Records]:
    """Read a finished chunk."""
    records: Records = json.loads((folder / f"{key}.json").read_text(encoding="utf-8"))
    path = folder / f"{key}.npy"
    mode: Any = "r" if path.stat().st_size > _EMPTY else None  # no bytes, no map
    return np.load(path, mmap_mode=mode, allow_pickle=False), records
