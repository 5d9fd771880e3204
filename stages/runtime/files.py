"""Atomic writes: write to a draft beside the target, fsync, rename.

write_json("data/report/summary.json", {"psnr": 24.1})
with atomic_write("model.pt2") as file:
    torch.save(state, file)
with fresh_folder("data/prepared") as folder:
    (folder / "a.txt").write_text("complete or absent")
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from stages.runtime import processes
from stages.runtime.errors import InputError

if TYPE_CHECKING:  # importing pandas takes each worker process a second
    import pandas as pd

_ASIDE, _DRAFT = ".before", ".draft"
_LONGEST_NAME = 100  # bytes; file systems allow 255, and a draft's name also contains that of its process


@contextmanager
def atomic_write(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a binary file for writing; it replaces `path` when the block ends without an error.

    Args:
        path: of the file; missing parent folders are created.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear_drafts_once(path.parent)
    draft = _draft_of(path)
    try:
        with draft.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    sync(path.parent)


@contextmanager
def fresh_folder(path: str | Path) -> Iterator[Path]:
    """Make a folder beside `path`; it replaces `path` when the block ends without an error.

    Args:
        path: of the folder. Whatever was there before is deleted.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_drafts(path.parent)
    draft = _draft_of(path)
    draft.mkdir()
    try:
        yield draft
        for part in draft.rglob("*"):  # for files that were not written by `atomic_write`
            sync(part)
        sync(draft)
        remove_folder(path)  # DVC has done so before it starts a stage; a person who starts one may not have
        draft.rename(path)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    sync(path.parent)


def remove_folder(path: Path) -> None:
    """Delete a folder, if it is there, by renaming it first: a killed process leaves no half of it under its name."""
    clear_drafts(path.parent)
    if path.exists():
        aside = path.with_name(f"{_draft_of(path).name.removesuffix(_DRAFT)}{_ASIDE}{_DRAFT}")
        if aside.exists():  # left by an earlier, failed attempt of this process
            shutil.rmtree(aside)
        path.rename(aside)
        sync(path.parent)
        shutil.rmtree(aside, ignore_errors=True)


def _draft_of(path: Path) -> Path:
    name = path.name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return path.with_name(f".{name}.{processes.named(os.getpid())}{_DRAFT}")


def clear_drafts(folder: Path, exclusive: bool = False) -> None:
    """Delete abandoned drafts; arguments as for `abandoned_drafts`."""
    for path in abandoned_drafts(folder, exclusive):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def abandoned_drafts(folder: Path, exclusive: bool = False) -> list[Path]:
    """List the drafts that killed processes left in a folder.

    Args:
        folder: searched without its subfolders.
        exclusive: no other process works in the project, so drafts of other machines and containers are abandoned, too.
    """
    return sorted(path for path in folder.glob(f".*{_DRAFT}") if _is_abandoned(path, exclusive))


@cache
def _clear_drafts_once(folder: Path) -> None:
    clear_drafts(folder)


def _is_abandoned(draft: Path, exclusive: bool) -> bool:
    living = processes.lives(draft.name.removesuffix(_DRAFT).removesuffix(_ASIDE))
    return not living if exclusive else living is False


def sync(path: Path) -> None:
    """Flush a file, or the list of names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text, atomically."""
    with atomic_write(path) as file:
        file.write(text.encode())


def write_json(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write indented JSON, atomically.

    Raises:
        ValueError: a number is not finite, which JSON cannot represent.
    """
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(path: str | Path, table: "pd.DataFrame") -> None:
    """Write a table as CSV without its index, atomically."""
    write_text(path, table.to_csv(index=False, lineterminator="\n"))


def write_parquet(path: str | Path, table: "pd.DataFrame") -> None:
    """Write a table as Parquet without its index, atomically."""
    with atomic_write(path) as file:
        table.to_parquet(file, index=False)


def write_array(path: str | Path, array: np.ndarray[Any, Any]) -> None:
    """Write an array as `.npy`, atomically."""
    np.save(content := BytesIO(), array, allow_pickle=False)  # to a file, NumPy would not report a full disk
    with atomic_write(path) as file:
        file.write(content.getbuffer())


def inside(folder: str | Path, name: str) -> Path:
    """Return the path of a file named by an untrusted list.

    Args:
        folder: that must contain the file, possibly in a subfolder.
        name: relative to the folder.

    Raises:
        InputError: the name leads out of the folder.
    """
    place = Path(os.path.normpath(Path(folder) / name))
    if Path(name).is_absolute() or not place.is_relative_to(os.path.normpath(folder)):
        raise InputError(f"{name!r} leads out of {folder}; a list may only name files in its own folder")
    return place


def temporary_folder(name: str) -> Path:
    """Return a folder for temporary files of a kind, which is deleted when this process ends."""
    folder = Path(_temporary().name, name)
    folder.mkdir(exist_ok=True)
    return folder


@cache
def _temporary() -> TemporaryDirectory[str]:
    return TemporaryDirectory()


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
