"""The files to use as photographs: all files in a folder, or those in a list.

A list is a CSV file with the columns of `COLUMNS` and one photo per line:

    package,file,split,sha256
    skimage,data/coffee.png,test,cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7
    ,holiday/0001.jpg,train,

`file` is relative to the installed package or, if `package` is empty, to the list. If `sha256` is given, the file must
match it.
"""

import csv
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from stages.imaging.images import printable_name
from stages.imaging.splits import SPLITS
from stages.runtime.errors import InputError, ParamsError

COLUMNS = ["package", "file", "split", "sha256"]

_SYSTEM_FILES = ("Thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Source:
    """A file that should be a photo.

    Attributes:
        path: absolute, since worker processes may have another working directory.
        name: in the manifest: relative to the folder or list, or package/file.
        split: from the list; "" if the content decides.
        sha256: from the list; "" if it has none.
        problem: why a folder could not be searched; "" for files.
    """

    path: Path
    name: str
    split: str = ""
    sha256: str = ""
    problem: str = ""

    @property
    def batch(self) -> str:
        """The top-level subfolder that contains the file, "" if it is in none."""
        return self.name.partition("/")[0] if "/" in self.name else ""


def find_sources(photos: Path) -> list[Source]:
    """List the files of a folder or of a CSV list in a fixed order.

    Args:
        photos: the folder, searched recursively, or the list. Links to files are followed, links to folders are not.
            Hidden files and those of file managers are ignored.

    Raises:
        ParamsError: `photos` does not exist.
        InputError: the folder is empty, or the list cannot be read or names missing files.
    """
    if not (photos.is_dir() or photos.is_file()):
        raise ParamsError(
            f"`prepare.photos` in params.yaml is {str(photos)!r}, which does not exist; "
            "set it to a folder of photographs, or to a list such as data/embedded.csv"
        )
    found = _search(photos) if photos.is_dir() else _read_list(photos)
    return [replace(source, path=source.path.absolute()) for source in found]


def _search(folder: Path) -> list[Source]:
    problems: dict[Path, str] = {}

    def note(error: OSError) -> None:
        problems[Path(error.filename)] = f"{type(error).__name__}: {error.strerror}"

    paths = sorted([*_walk(folder, note), *problems], key=lambda path: os.fsencode(path.relative_to(folder)))
    if folder in problems:
        raise InputError(f"{folder} cannot be searched ({problems[folder]}); change its permissions")
    if not paths:
        raise InputError(
            f"{folder} is empty; put photographs there, or set `prepare.photos` in params.yaml to another folder"
        )
    named = [(path, printable_name(path.relative_to(folder))) for path in paths]
    return [Source(path, name, problem=problems.get(path, "")) for path, name in named]


def _walk(folder: Path, note: Callable[[OSError], None]) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder, onerror=note):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if Path(parent, name).is_symlink()]  # they end among the rejects, by name
        photos = [name for name in files if not name.startswith(".") and name not in _SYSTEM_FILES]
        yield from (Path(parent, name) for name in links + photos)


def _read_list(path: Path) -> list[Source]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:  # spreadsheets write a byte order mark
            rows = list(csv.reader(lines))
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path} is neither a folder nor a CSV list of photographs: {error}") from None
    if not rows or rows[0] != COLUMNS:
        raise InputError(f"{path} should begin with the line {','.join(COLUMNS)} to be a list of photographs")
    sources = [_listed(path, number, row) for number, row in enumerate(rows[1:], start=2) if row]
    if not sources:
        raise InputError(f"{path} lists no photographs; add a line for each")
    return sources


def _listed(listing: Path, number: int, row: list[str]) -> Source:
    where = f"{listing}, line {number}"
    if len(row) != len(COLUMNS):
        raise InputError(f"{where} should have {len(COLUMNS)} columns ({','.join(COLUMNS)}), but has {len(row)}")
    package, file, split, sha256 = row
    if split not in SPLITS:
        raise InputError(f"{where} ({file}): the split should be one of {', '.join(SPLITS)}, but is {split!r}")
    folder = _package_folder(package, where) if package else listing.parent
    if not (folder / file).exists():
        hint = f"install the locked version of {package}" if package else f"paths are relative to {folder}"
        raise InputError(f"{where}: {folder / file} does not exist; {hint}")
    return Source(folder / file, f"{package}/{file}" if package else file, split, sha256)


def _package_folder(package: str, where: str) -> Path:
    spec = find_spec(package)  # for a top-level package nothing is imported
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"{where}: the package {package} is not installed; install it or remove the line")
    return Path(spec.submodule_search_locations[0])


def check_listed(source: Source, sha256: str) -> None:
    """Compare a file's hash with the list.

    Raises:
        InputError: they differ.
    """
    if source.sha256 and source.sha256 != sha256:
        raise InputError(
            f"{source.path} is not the listed file: its SHA-256 is {sha256}, the list says {source.sha256}; "
            "install the locked version of the package, or correct the list"
        )
