"""The files to use as photographs: all files in a folder, or those in a list.

A list is a table (CSV, JSON lines or Parquet) with one photo per row. `prepare.columns` names its columns; all but
`file` are optional:

    file       relative to the folder, the installed package or, if both are empty, the list
    package    that has the file
    folder     that has the file: an address such as s3://bucket/photos
    split      train, val (or validation, valid) or test; if empty, the content decides
    group      the person or scene in the photo; photos of one group are in the same split
    sha256     that the file must match
    version    from the storage at that address; a file whose version is known is not read again
"""

import os
import warnings
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from io import BytesIO
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from pydantic import Field

from stages.imaging.images import printable_name
from stages.imaging.source_table import Sources, batch_of, source_row
from stages.imaging.splits import SPLITS
from stages.runtime import remote
from stages.runtime.errors import InputError, ParamsError, os_reason
from stages.runtime.params import Settings
from stages.runtime.remote import Remote

_LIST_SUFFIXES = (".csv", ".jsonl", ".parquet")
_TEXTS = (*_LIST_SUFFIXES, ".json", ".md", ".txt")  # that data sets keep beside their photographs
_SYSTEM_FILES = ("Thumbs.db", "desktop.ini")
_SPLITS = {**{split: split for split in SPLITS}, "validation": "val", "valid": "val", "": ""}


class Columns(Settings):
    """The column names of a list."""

    file: str = "file"
    package: str = "package"
    folder: str = "folder"
    split: str = "split"
    group: str = "group"
    sha256: str = "sha256"
    version: str = "version"


class SourcesParams(Settings):
    """The settings in `prepare` that say where the photographs are.

    Attributes:
        photos: a folder, searched recursively, or a list; on this machine or at an address (`stages.runtime.remote`).
            Links to files are followed, links to folders are not. Hidden files and those of file managers are ignored.
        table: a list in that folder, which then names the photographs; "" for none.
        columns: of the list.
        split_folders: whether top-level folders with the names of splits are the splits; tables and texts, by suffix,
            are ignored in them and beside them.
    """

    photos: str = Field(min_length=1)
    table: str
    columns: Columns
    split_folders: bool


def is_list(params: SourcesParams) -> bool:
    """Return whether a list names the photographs, which need not exist yet, instead of a folder holding them."""
    photos = Path(params.photos)
    return bool(params.table) or photos.is_file() or (photos.suffix in _LIST_SUFFIXES and not photos.is_dir())


def is_folder(params: SourcesParams) -> bool:
    """Return whether a folder of this machine has the photographs, so that others can be put into it."""
    return not (is_list(params) or remote.is_address(params.photos))


def find_sources(params: SourcesParams) -> Sources:
    """List the files of a folder or of a list in a fixed order.

    Raises:
        ParamsError: `photos` or the table does not exist, or no top-level folder has the name of a split.
        InputError: the folder is empty, or the list cannot be read, names missing files or splits a group.
    """
    photos = params.photos
    if remote.is_address(photos):
        listing: Path | Remote = Remote(photos, params.table) if params.table else remote.split(photos)
    else:
        listing = _local_list(Path(photos), params.table)
    if is_list(params):
        rows = _read_list(listing, params.columns)
    elif isinstance(listing, Path):
        rows = _search(listing)
    else:
        rows = (source_row(file.folder, file.name, file.name, file.version) for file in search_remote(photos))
    sources = Sources(_by_folder(rows, is_list(params)) if params.split_folders else rows)
    if params.split_folders and not pc.any(pc.not_equal(sources.table["split"], "")).as_py():
        raise ParamsError(
            f"`prepare.split_folders` in params.yaml is true, but {photos} has no photos in a folder "
            f"{', '.join(filter(None, _SPLITS))}; create them, or set it to false"
        )
    _check_groups(sources)
    return sources


def _by_folder(rows: Iterable[dict[str, str]], listed: bool) -> Iterator[dict[str, str]]:
    """Give each file without a split that of its top-level folder; leave out texts, unless they are listed."""
    for row in rows:
        if listed or PurePosixPath(row["name"]).suffix.lower() not in _TEXTS:
            yield row | {"split": row["split"] or _SPLITS.get(batch_of(row["name"]).lower(), "")}


def _local_list(photos: Path, table: str) -> Path:
    """Return the path of the list, or of the folder, on this machine."""
    if not photos.exists():
        raise ParamsError(
            f"`prepare.photos` in params.yaml is {str(photos)!r}, which does not exist; "
            "set it to a folder of photographs, or to a list such as data/embedded.csv"
        )
    listing = photos / table
    if table and not listing.is_file():
        raise ParamsError(f"`prepare.table` in params.yaml is {table!r}, but {listing} is no file; correct it")
    return listing


def _check_groups(sources: Sources) -> None:
    table = sources.table.select(["group", "split"]).filter(pc.not_equal(sources.table["group"], ""))
    of_group = table.group_by(["group", "split"], use_threads=False).aggregate([]).to_pandas()
    again = of_group[of_group.duplicated("group")]
    if len(again):
        group = again["group"].iloc[0]
        position = int(np.flatnonzero(pc.equal(sources.table["group"], group))[-1])
        splits = of_group.loc[of_group["group"] == group, "split"].iloc[:2]
        said = " and ".join(sorted(repr(each) if each else "none" for each in splits))
        raise InputError(f"{sources[position].name}: the group {group!r} is in the splits {said}; use one, or none")


def _search(folder: Path) -> Iterator[dict[str, str]]:
    found = _walk(folder, "")
    first = next(found, None)
    if first is None:
        raise InputError(
            f"{folder} is empty; put photographs there, or set `prepare.photos` in params.yaml to another folder"
        )
    if first[0] == ".":
        raise InputError(f"{folder} cannot be searched ({first[1]}); change its permissions")
    root = folder.absolute()
    return (source_row(root, file, printable_name(file), problem=problem) for file, problem in chain([first], found))


def search_remote(address: str) -> list[Remote]:
    """List the files at an address that may be photographs; errors as for `find_sources`."""
    found = [file for file in remote.find(address) if not _is_hidden(file.name.split("/"))]
    if not found:
        raise InputError(f"{address} is empty; put photographs there, or set `prepare.photos` to another address")
    return found


def _is_hidden(parts: list[str]) -> bool:
    return any(part.startswith(".") for part in parts) or parts[-1] in _SYSTEM_FILES


def _walk(folder: Path, within: str) -> Iterator[tuple[str, str]]:
    """Yield path, relative to the folder, and problem of each file, in the order of the paths' bytes.

    Links to folders are not followed: they end among the rejects, by name. So does a folder that cannot be searched.
    """
    try:
        with os.scandir(folder / within) as entries:
            shown = [entry for entry in entries if not _is_hidden([entry.name])]
            paths = [f"{within}{entry.name}{'/' * entry.is_dir(follow_symlinks=False)}" for entry in shown]
    except OSError as error:
        yield within.rstrip("/") or ".", f"{type(error).__name__}: {error.strerror}"
        return
    for path in sorted(paths, key=os.fsencode):
        yield from _walk(folder, path) if path.endswith("/") else [(path, "")]


def _read_list(path: Path | Remote, columns: Columns) -> Iterator[dict[str, str]]:
    try:
        table = _read_table(path)
    except OSError as error:  # at an address
        raise InputError(f"{path} cannot be read: {os_reason(error)}; correct `prepare.photos`") from None
    except pd.errors.EmptyDataError:
        raise InputError(f"{path} is empty; it should list photographs, or be a folder of them") from None
    except (ValueError, pd.errors.ParserWarning) as error:
        raise InputError(f"{path} is neither a folder nor a list of photographs: {error}") from None
    called, has = columns.model_dump(), ", ".join(map(str, table.columns))
    for key, name in called.items():
        if name not in table and (key == "file" or name != Columns.model_fields[key].default):
            raise InputError(f"{path} has no column {name!r}, but {has}; set `prepare.columns.{key}` in params.yaml")
    rows = pd.DataFrame({key: table.get(name, "") for key, name in called.items()}, table.index).fillna("").astype(str)
    rows = rows[rows["file"] != ""].drop_duplicates()
    if rows.empty:
        raise InputError(f"{path} lists no photographs; add a line for each")
    if len(twice := rows[rows.duplicated(["package", "file"])]):
        said = f"{path}, line {twice.index[0]}: {twice['file'].iloc[0]} has another folder, split, group or hash above"
        raise InputError(f"{said}; keep one of them")
    return (_listed(path, row) for row in rows.itertuples())


def _read_table(path: Path | Remote) -> pd.DataFrame:
    """Read a table; its index has the line numbers of text editors and spreadsheets."""
    file, suffix = (path, path.suffix) if isinstance(path, Path) else (BytesIO(path.read()), Path(path.name).suffix)
    if suffix == ".parquet":
        table, first = pd.read_parquet(file), 1
    elif suffix == ".jsonl":
        table, first = pd.read_json(file, lines=True, dtype=False), 1
    else:  # spreadsheets write a byte order mark
        with warnings.catch_warnings(action="error", category=pd.errors.ParserWarning):  # more fields than columns
            table = pd.read_csv(file, dtype=str, encoding="utf-8-sig", index_col=False, skip_blank_lines=False)
        first = 2
    return table.set_axis(range(first, first + len(table)))


def _listed(listing: Path | Remote, row: Any) -> dict[str, str]:
    where = f"{listing}, line {row.Index}"
    if row.split.lower() not in _SPLITS:
        wanted = ", ".join(filter(None, _SPLITS))
        raise InputError(f"{where} ({row.file}): the split should be one of {wanted}, but is {row.split!r}")
    name = f"{row.package}/{row.file}" if row.package else row.file
    facts = {"split": _SPLITS[row.split.lower()], "group": row.group, "sha256": row.sha256}
    if remote.is_address(row.folder):
        return source_row(row.folder.rstrip("/"), row.file, name, row.version, **facts)
    if isinstance(listing, Remote) and not row.package:
        return source_row(listing.folder, row.file, name, row.version, **facts)
    return source_row(_folder_of(listing, row, where), row.file, name, **facts)


def _folder_of(listing: Path | Remote, row: Any, where: str) -> Path:
    if row.package or isinstance(listing, Remote):
        folder = _package_folder(row.package, where)
    else:
        folder = listing.parent / row.folder
    if not (folder / row.file).exists():
        hint = f"install the locked version of {row.package}" if row.package else f"paths are relative to {folder}"
        raise InputError(f"{where}: {folder / row.file} does not exist; {hint}")
    return folder.absolute()


def _package_folder(package: str, where: str) -> Path:
    spec = find_spec(package)  # for a top-level package nothing is imported
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"{where}: the package {package} is not installed; install it or remove the line")
    return Path(spec.submodule_search_locations[0])
