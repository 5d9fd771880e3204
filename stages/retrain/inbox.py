"""Moves new photographs from the inbox into the project, or out of the way.

    data/inbox/       whatever people and cameras put there, including folders
    <photos>/NAME/    one folder per call, named by the date, so that earlier shards stay as they are
    data/refused/     batches that would have made the models worse, for a person to look at

A file is moved by one rename or, across file systems, copied, synced, renamed, then removed: a killed call loses none,
and the next one goes on. The newest files may still be being written; they wait for the next call.
"""

import os
import shutil
import time
from pathlib import Path

from stages.runtime.errors import InputError
from stages.runtime.files import sha256, sync

_DAY_S = 86_400
SETTLED_S = 60  # seconds since the last write, before which a file may be incomplete


def waiting(inbox: Path, now: float | None = None) -> list[Path]:
    """List the complete files of the inbox in a fixed order, without hidden ones.

    Args:
        inbox: the folder; it need not exist.
        now: seconds since 1970, for tests.
    """
    at = time.time() if now is None else now
    files = (Path(parent, name) for parent, _, names in os.walk(inbox) for name in names if not name.startswith("."))
    return sorted(path for path in files if at - _written(path.lstat(), at) >= SETTLED_S)


def _written(stat: os.stat_result, now: float) -> float:
    """Return when a file was written: its modification time, unless a camera's clock was ahead."""
    return stat.st_mtime if stat.st_mtime <= now else stat.st_ctime


def is_worth_it(files: list[Path], least: int, days: float, now: float | None = None) -> bool:
    """Return whether there are enough files to train on, or one has waited too long.

    Args:
        files: of the inbox.
        least: number of files that is enough.
        days: longest wait since a file came into the inbox, whenever its photograph was taken.
        now: seconds since 1970, for tests.
    """
    at = time.time() if now is None else now
    return len(files) >= least or any(at - path.lstat().st_ctime > days * _DAY_S for path in files)


def new_batch(photos: Path, refused: Path, today: str) -> str:
    """Return a name for a batch that is free in both folders."""
    names = (today if number == 1 else f"{today}-{number}" for number in range(1, 10_000))
    return next(name for name in names if not (photos / name).exists() and not (refused / name).exists())


def move(files: list[Path], inbox: Path, folder: Path) -> None:
    """Move files of the inbox into a folder, keeping their relative paths, and remove folders that become empty.

    Raises:
        InputError: `folder` has a different file of this name.
    """
    for path in files:
        place = folder / path.relative_to(inbox)
        if _is_copy(place, path):  # a call was killed before it removed the file
            path.unlink()
            continue
        if place.exists():
            raise InputError(f"{path} cannot be moved: {place} is there already; give it another name")
        place.parent.mkdir(parents=True, exist_ok=True)
        _move(path, place)
    for parent, _, _ in os.walk(inbox, topdown=False):
        if Path(parent) != inbox and not any(Path(parent).iterdir()):
            Path(parent).rmdir()


def _is_copy(place: Path, path: Path) -> bool:
    return place.is_file() and path.is_file() and sha256(place) == sha256(path)


def _move(path: Path, place: Path) -> None:
    try:
        path.rename(place)
    except OSError:  # another file system
        draft = place.with_name(f".{place.name}.draft")
        with path.open("rb") as source, draft.open("wb") as file:
            shutil.copyfileobj(source, file)
            file.flush()
            os.fsync(file.fileno())
        shutil.copystat(path, draft)
        draft.replace(place)
        path.unlink()
    sync(place.parent)


def put_aside(folder: Path, refused: Path) -> None:
    """Move a whole batch out of the photographs; if that was done before, do nothing."""
    if folder.is_dir():
        files = [Path(parent, name) for parent, _, names in os.walk(folder) for name in names]
        move(files, folder, refused)
        folder.rmdir()
