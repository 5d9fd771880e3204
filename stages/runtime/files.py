"""Files that are whole or not there: write beside, fsync, rename.

write_json("data/report/summary.json", {"psnr": 24.1})
with atomic_write("model.pt2") as file:
    torch.save(state, file)
with fresh_folder("data/prepared") as folder:
    (folder / "a.txt").write_text("whole, or not there")
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
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from stages.runtime import processes
from stages.runtime.errors import InputError

if TYPE_CHECKING:  # a second to import, in every worker process, for the annotations alone
    import pandas as pd

_ASIDE, _DRAFT = ".before", ".draft"
_LONGEST_NAME = 100  # bytes, of which a file system takes 255; a draft's own name has the writer's in it


@contextmanager
def atomic_write(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a file for writing in binary; it appears under `path` when the block ends without an error.

    Args:
        path: where the file is to stand; its folder is made. Until the block ends, `path` is as it was.
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
        for part in draft.rglob("*"):  # what was not written by `atomic_write`
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
        if aside.exists():  # after an earlier try of this process, which the disk did not let end
            shutil.rmtree(aside)
        path.rename(aside)
        sync(path.parent)
        shutil.rmtree(aside, ignore_errors=True)


def _draft_of(path: Path) -> Path:
    name = path.name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return path.with_name(f".{name}.{processes.named(os.getpid())}{_DRAFT}")


def clear_drafts(folder: Path, alone: bool = False) -> None:
    """Delete the drafts in a folder that nobody writes any more; see `abandoned_drafts`."""
    for path in abandoned_drafts(folder, alone):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def abandoned_drafts(folder: Path, alone: bool = False) -> list[Path]:
    """List the drafts in a folder whose processes were killed.

    Args:
        folder: is not searched in depth.
        alone: nothing else is at work in the project, so those of other machines and containers were abandoned, too.
    """
    return sorted(path for path in folder.glob(f".*{_DRAFT}") if _is_abandoned(path, alone))


@cache
def _clear_drafts_once(folder: Path) -> None:
    clear_drafts(folder)


def _is_abandoned(draft: Path, alone: bool) -> bool:
    living = processes.lives(draft.name.removesuffix(_DRAFT).removesuffix(_ASIDE))
    return not living if alone else living is False


def sync(path: Path) -> None:
    """Make what a file or folder holds survive a power cut; of a folder, which names it has."""
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
    """Write JSON that a person can read, atomically.

    Raises:
        ValueError: a number is not finite, which is no JSON and which DVC would print as it is.
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
    np.save(content := BytesIO(), array, allow_pickle=False)  # into a file, NumPy would hide that the disk is full
    with atomic_write(path) as file:
        file.write(content.getbuffer())


def inside(folder: str | Path, name: str) -> Path:
    """Return the path of a file that a list names, which may have come from anybody.

    Args:
        folder: that the file has to be in, or in a folder of it.
        name: relative to the folder.

    Raises:
        InputError: it leads elsewhere.
    """
    place = Path(os.path.normpath(Path(folder) / name))
    if Path(name).is_absolute() or not place.is_relative_to(os.path.normpath(folder)):
        raise InputError(f"{name!r} leads out of {folder}; a list may only name files of its own folder")
    return place


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
