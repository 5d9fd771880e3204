"""Files that should be photographs, one by one as `Source`, or millions by columns as `Sources`."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stages.imaging.images import BadImageError
from stages.runtime import remote
from stages.runtime.errors import InputError, os_reason
from stages.runtime.remote import Remote
from stages.runtime.tables import ROWS_AT_ONCE, Ints, by_parts, few_rows, on_disk

_SOURCE_SCHEMA = pa.schema(
    [
        ("folder", pa.string()), ("file", pa.binary()), ("version", pa.string()), ("name", pa.string()),
        ("split", pa.string()), ("group", pa.string()), ("sha256", pa.string()), ("problem", pa.string()),
    ]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Source:
    """A file that should be a photo.

    Attributes:
        path: absolute, since worker processes may have another working directory; or in remote storage.
        name: in the manifest: relative to the folder or list, or package/file.
        split: from the list or folder; "" if the group or the content decides.
        group: from the list; "" if it has none.
        sha256: from the list; "" if it has none.
        problem: why a folder could not be searched; "" for files.
    """

    path: Path | Remote
    name: str
    split: str = ""
    group: str = ""
    sha256: str = ""
    problem: str = ""

    @property
    def version(self) -> str:
        """Address and version of a file in remote storage, which stand for its content; "" if unknown."""
        return f"{self.path} {self.path.version}" if isinstance(self.path, Remote) and self.path.version else ""

    def fetch(self) -> Path | bytes:
        """Return what `open_picture` opens: the path, or the content of a file in remote storage.

        Raises:
            BadImageError: this one file cannot be read.
            InputError: the storage does not answer.
        """
        if isinstance(self.path, Path):
            return self.path
        try:
            return self.path.read()
        except OSError as error:
            raise BadImageError("unreadable", os_reason(error), str(self.path)) from None


def batch_of(name: str) -> str:
    """Return the top-level subfolder that contains a file, "" if it is in none."""
    return name.partition("/")[0] if "/" in name else ""


class Sources:
    """Files that should be photos, as a table on disk, since as many `Source` would not fit into memory.

    Args:
        rows: a row per file: `folder` (absolute, or an address), `file` (in it), `version`, and all but `path` of a
            `Source`.
    """

    def __init__(self, rows: Iterable[Mapping[str, str]]) -> None:
        self.table = on_disk(_tables(rows), _SOURCE_SCHEMA)

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self.table)

    def __getitem__(self, at: int) -> Source:
        """Return a file."""
        return self.take([range(len(self))[at]])[0]

    def __iter__(self) -> Iterator[Source]:
        """Yield all files, some thousands at a time."""
        for start in range(0, len(self), ROWS_AT_ONCE):
            yield from self.take(range(start, min(start + ROWS_AT_ONCE, len(self))))

    def take(self, positions: Sequence[int] | Ints) -> list[Source]:
        """Return the files at some positions."""
        return [_source(row) for row in few_rows(self.table, np.asarray(positions, np.int64)).to_pylist()]

    def is_remote(self) -> "npt.NDArray[np.bool_]":
        """Return which files are in remote storage."""
        folders = (part["folder"] for part in by_parts(self.table.select(["folder"]), np.arange(len(self))))
        return np.array([remote.is_address(folder) for some in folders for folder in some], bool)

    def versions(self) -> pa.ChunkedArray:
        """Return `Source.version` of all files: address and version of those in remote storage, else ""."""
        schema = pa.schema([("version", pa.string())])
        parts = by_parts(self.table.select(["folder", "file", "version"]), np.arange(len(self)))
        return on_disk((pa.table({"version": _versions(**part)}, schema) for part in parts), schema)["version"]


def _versions(folder: list[str], file: list[bytes], version: list[str]) -> list[str]:
    rows = zip(folder, file, version, strict=True)
    return [f"{where}/{os.fsdecode(name)} {which}" if which else "" for where, name, which in rows]


def _tables(rows: Iterable[Mapping[str, str]]) -> Iterator[pa.Table]:
    left = iter(rows)
    while some := [{**row, "file": os.fsencode(row["file"])} for row in islice(left, ROWS_AT_ONCE)]:
        yield pa.Table.from_pylist(some, _SOURCE_SCHEMA)


def _source(row: dict[str, Any]) -> Source:
    folder, file, version = row.pop("folder"), os.fsdecode(row.pop("file")), row.pop("version")
    return Source(Remote(folder, file, version) if remote.is_address(folder) else Path(folder, file), **row)


def source_row(folder: str | Path, file: str | Path, name: str, version: str = "", **others: str) -> dict[str, str]:
    """Return a row of `Sources`; what is not given is empty."""
    return dict.fromkeys(_SOURCE_SCHEMA.names, "") | {
        "folder": str(folder), "file": str(file), "name": name, "version": version, **others
    }  # fmt: skip


def check_listed(source: Source, sha256: str) -> None:
    """Compare a file's hash with the list.

    Raises:
        InputError: they differ.
    """
    if source.sha256 and source.sha256 != sha256:
        raise InputError(
            f"{source.path} is not the listed file: its SHA-256 is {sha256}, the list says {source.sha256}; "
            "correct the list, or restore the file (of a package: install its locked version)"
        )
