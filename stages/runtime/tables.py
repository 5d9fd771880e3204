"""Tables of millions of rows, by columns, on disk: mapped files, whose pages take no memory that anything else needs.

    table = on_disk(parts, schema)                  # from tables that follow each other
    rows_of(table, np.array([7, 3]))                # some of its rows
    find(names, table["name"])                      # where in a column each of some texts is

Arrow's own `take` joins all parts of a table in memory first, and its `index_in` cannot hold more than 2 GiB of texts.
Here both are done part by part. The files have no names: they end with the process.
"""

import hashlib
import mmap
from collections.abc import Iterable, Iterator
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from stages.runtime import project

ROWS_AT_ONCE = 2_000  # of a part
_ROWS_TAKEN_AT_ONCE = 5 * ROWS_AT_ONCE  # more, since rows are looked up in every part

Ints = npt.NDArray[np.int64]


def as_series(column: pa.ChunkedArray) -> "pd.Series[Any]":
    """Convert a column; texts stay as compact as they are in Arrow."""
    series: pd.Series[Any] = column.to_pandas(types_mapper={pa.string(): pd.StringDtype("pyarrow")}.get)
    return series


def on_disk(tables: Iterable[pa.Table], schema: pa.Schema) -> pa.Table:
    """Join tables in a file of the project's disk, since the system's temporary folder may be in memory."""
    folder = project.root() / ".remembered"
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=folder) as file:
        write_parts(file, tables, schema)
        file.flush()
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # which outlive the file
    return pa.ipc.open_file(pa.py_buffer(pages)).read_all()


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
    return on_disk(_in_turn(table, positions, _ROWS_TAKEN_AT_ONCE), table.schema)


def by_parts(table: pa.Table, positions: Ints) -> Iterator[dict[str, list[Any]]]:
    """Yield the columns of some rows, some thousands at a time."""
    return (part.to_pydict() for part in _in_turn(table, positions, ROWS_AT_ONCE))


def _in_turn(table: pa.Table, positions: Ints, size: int) -> Iterator[pa.Table]:
    return (few_rows(table, positions[at : at + size]) for at in range(0, len(positions), size))


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


def find(texts: pa.ChunkedArray, among: pa.ChunkedArray) -> Ints:
    """Return for each text its first position among others, -1 if it is not there or empty; 24 bytes for each."""
    wanted, others = (pa.table({"text": column}) for column in (texts, among))
    keys = _keys(others)
    order = np.argsort(keys, kind="stable")
    keys, found = keys[order], np.full(len(texts), -1)
    for start in range(0, len(texts) if len(keys) else 0, ROWS_AT_ONCE):
        part = wanted.slice(start, ROWS_AT_ONCE)
        own = _keys(part)
        at = np.searchsorted(keys, own).clip(max=len(keys) - 1)
        hit = np.flatnonzero(keys[at] == own)
        position = order[at[hit]]
        ours, theirs = part.take(pa.array(hit))["text"], few_rows(others, position)["text"]
        same = np.asarray(pc.and_(pc.equal(ours, theirs), pc.not_equal(ours, "")), bool)
        found[start + hit[same]] = position[same]
    return found


def first_of_each(table: pa.Table) -> Ints:
    """Return the ascending positions of the rows, of texts, that are unlike those before them."""
    return np.sort(np.unique(_keys(table), return_index=True)[1])


def _keys(table: pa.Table) -> npt.NDArray[np.uint64]:
    """Hash rows of texts to 64 bits, which two of 100 million share with a chance of 0.03 %."""
    parts = (table.slice(start, ROWS_AT_ONCE).to_pydict() for start in range(0, len(table), ROWS_AT_ONCE))
    rows = ("\n".join(row).encode() for part in parts for row in zip(*part.values(), strict=True))
    hashed = (int.from_bytes(hashlib.blake2b(row, digest_size=8).digest()) for row in rows)
    return np.fromiter(hashed, np.uint64, len(table))
