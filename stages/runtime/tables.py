"""Tables of millions of rows, by columns, on disk: mapped files, whose pages take no memory that anything else needs.

    table = on_disk(parts, schema)                  # from tables that follow each other
    rows_of(table, np.array([7, 3]))                # some of its rows

Arrow's own `take` joins all parts of a table in memory first. Here rows are taken part by part.
"""

from collections.abc import Iterable, Iterator
from tempfile import NamedTemporaryFile
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

ROWS_AT_ONCE = 10_000  # of a part

Ints = npt.NDArray[np.int64]


def as_series(column: pa.ChunkedArray) -> "pd.Series[Any]":
    """Convert a column; texts stay as compact as they are in Arrow."""
    series: pd.Series[Any] = column.to_pandas(types_mapper={pa.string(): pd.StringDtype("pyarrow")}.get)
    return series


def on_disk(tables: Iterable[pa.Table], schema: pa.Schema) -> pa.Table:
    """Join tables in a temporary file, which disappears with the last table that is made from it."""
    with NamedTemporaryFile(prefix="inpaint-") as file:
        write_parts(file, tables, schema)
        file.flush()
        return pa.ipc.open_file(pa.memory_map(file.name)).read_all()


def write_parts(file: IO[bytes], tables: Iterable[pa.Table], schema: pa.Schema) -> None:
    """Write tables to an Arrow file, in parts that are neither small nor large."""
    with pa.ipc.new_file(file, schema) as writer:
        for table in _evenly(tables):
            writer.write_table(table.combine_chunks())


def _evenly(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    waiting = list[pa.Table]()
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) < ROWS_AT_ONCE:
            continue
        joined = pa.concat_tables(waiting)
        full = len(joined) // ROWS_AT_ONCE * ROWS_AT_ONCE
        yield from (joined.slice(start, ROWS_AT_ONCE) for start in range(0, full, ROWS_AT_ONCE))
        waiting = [joined.slice(full)]
    if waiting:
        yield pa.concat_tables(waiting)


def rows_of(table: pa.Table, positions: Ints) -> pa.Table:
    """Return some rows of a table: the table itself if they are all of them in order, and many of them `on_disk`."""
    if len(positions) == len(table) and np.array_equal(positions, np.arange(len(table))):
        return table
    if len(positions) <= ROWS_AT_ONCE:
        return few_rows(table, positions)
    starts = range(0, len(positions), ROWS_AT_ONCE)
    return on_disk((few_rows(table, positions[start : start + ROWS_AT_ONCE]) for start in starts), table.schema)


def few_rows(table: pa.Table, positions: Ints) -> pa.Table:
    """Return some rows of a table, in memory."""
    order = np.argsort(positions, kind="stable")
    part = positions[order] // ROWS_AT_ONCE
    runs = np.split(positions[order], np.flatnonzero(np.diff(part)) + 1) if len(positions) else []
    taken = []
    for run in runs:
        start = run[0] // ROWS_AT_ONCE * ROWS_AT_ONCE
        taken.append(table.slice(start, ROWS_AT_ONCE).take(pa.array(run - start)))
    if not taken:
        return table.slice(0, 0)
    return pa.concat_tables(taken).combine_chunks().take(pa.array(np.argsort(order)))


def by_parts(table: pa.Table, positions: Ints) -> Iterator[dict[str, list[Any]]]:
    """Yield the columns of some rows, some thousands at a time."""
    for start in range(0, len(positions), ROWS_AT_ONCE):
        yield few_rows(table, positions[start : start + ROWS_AT_ONCE]).to_pydict()
