"""Projects that were moved or copied: MLflow stores absolute paths of artifacts.

path = healed(Path("mlflow.db"), root)     # the same, or a temporary copy if the database is read-only

A moved project would otherwise lose its models, and a copy would write into the original.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from stages.runtime.errors import TrackingError
from stages.runtime.files import temporary_folder

_ARTIFACTS = "/mlartifacts/"
_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
_WRITE_VERSION_AT, _UNKNOWN_VERSION = 18, b"\3"  # in an SQLite file; one with an unknown write version is read-only


def healed(database: Path, root: Path) -> Path:
    """Let the paths of artifacts in a database lead below the project's root.

    Returns:
        the database; if it is read-only and has other paths, a temporary copy that SQLite refuses to write, since
        changes to it would be lost.

    Raises:
        TrackingError: the artifacts are missing, or the database cannot be used.
    """
    home = root / "mlartifacts"
    try:
        with closing(sqlite3.connect(database, timeout=10)) as tables, tables:
            named = {str(place) for (place,) in tables.execute("SELECT artifact_location FROM experiments")}
            homes = {place[: place.rindex(_ARTIFACTS)] for place in named if _ARTIFACTS in place}
            if homes and not home.is_dir():
                raise TrackingError(
                    f"MLflow's artifacts should be in {home}, which is missing; restore the folder, or delete "
                    f"{database}: the next dvc repro creates both"
                )
            elsewhere = homes - {root.as_uri()}
            try:
                _replace(tables, elsewhere, root)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
                    raise
                tables.rollback()
                return _healed_copy(tables, database, elsewhere, root)
    except sqlite3.Error as error:
        raise TrackingError(f"MLflow's database {database} cannot be used: {error}") from None
    return database


def _healed_copy(tables: sqlite3.Connection, database: Path, elsewhere: Iterable[str], root: Path) -> Path:
    """Return the copy of this state of a database; made once a process, since a server asks again and again."""
    state = database.stat()
    path = temporary_folder("mlflow") / f"{state.st_ino}-{state.st_mtime_ns}.db"
    if path.exists():
        return path
    draft = path.with_suffix(".draft")
    with closing(sqlite3.connect(draft)) as copied, copied:
        tables.backup(copied)
        _replace(copied, elsewhere, root)
    with draft.open("r+b") as file:
        file.seek(_WRITE_VERSION_AT)
        file.write(_UNKNOWN_VERSION)
    return draft.replace(path)


def _replace(tables: sqlite3.Connection, elsewhere: Iterable[str], root: Path) -> None:
    for old in elsewhere:
        for table, column in _PLACES:
            tables.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE {column} LIKE ?",  # noqa: S608
                (root.as_uri(), len(old) + 1, f"{old}{_ARTIFACTS}%"),
            )
