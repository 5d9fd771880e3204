"""Reading `data/prepared/manifest.parquet`, a row per tile, some thousands of rows at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from stages.runtime import machine

MANIFEST = Path("data/prepared/manifest.parquet")


def read_parts(path: str | Path, columns: Sequence[str], splits: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Yield the rows of some splits, in the order of the tiles on disk.

    Args:
        path: of the manifest.
        columns: to read.
        splits: of "train", "val" and "test".

    Yields:
        tables of these columns, none of them empty; the index goes on from one to the next, from 0.
    """
    start = 0
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            # Each thread would keep freed memory for itself.
            part = file.read_row_group(group, [*columns, "split"], use_threads=False).to_pandas(use_threads=False)
            part = part.loc[part["split"].isin(splits), list(columns)]
            if len(part):
                part.index = pd.RangeIndex(start, start + len(part))
                start += len(part)
                yield part
            machine.return_freed_memory()  # else a third more is held after some hundred parts


def hashes_of(path: str | Path, splits: Sequence[str]) -> dict[str, str]:
    """Return the perceptual hash, as `near.as_text` writes it, of each photo of some splits, by its SHA-256."""
    parts = read_parts(path, ["photo", "perceptual_hash"], splits)
    return {photo: text for part in parts for photo, text in zip(part["photo"], part["perceptual_hash"], strict=True)}
