"""Reading `data/prepared/manifest.parquet`, a row per tile, some thousands of rows at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

_AS_ARROW = {pa.string(): pd.StringDtype("pyarrow")}.get  # half the memory of Python's strings


def read_parts(path: str | Path, columns: Sequence[str], splits: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Yield the rows of some splits, in the order of the tiles on disk.

    Args:
        path: of the manifest.
        columns: to read.
        splits: of "train", "val" and "test".

    Yields:
        tables of these columns, without empty ones; their index counts the rows of all of them.
    """
    start = 0
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            part = file.read_row_group(group, [*columns, "split"], use_threads=False)
            part = part.to_pandas(types_mapper=_AS_ARROW, use_threads=False)
            part = part.loc[part["split"].isin(splits), list(columns)]
            if len(part):
                part.index = pd.RangeIndex(start, start + len(part))
                start += len(part)
                yield part
