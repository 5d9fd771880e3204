"""The cache of `prepare`: what earlier runs, finished or killed, found out about a file, by the file's hash.

`.remembered/prepare/<fingerprint>/` in the project's root holds

    chunks/<name>.json    a record for each file of a chunk of work, written by the worker that decoded them
    chunks/<name>.npy     their tiles, until a run succeeds
    shards/<name>.npy     hard links to the shards of the last run, which take no room of their own

A file with a record is hashed and not decoded; in remote storage its address and version stand for the hash. It is
decoded again only if its shard changes because other photographs came or went. The fingerprint stands for settings,
code and libraries; other fingerprints are deleted. The cache only saves time: with it or without, `prepare` writes the
same bytes.
"""

import fcntl
import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

from stages.imaging.sources import Source, check_listed
from stages.prepare.photos import Facts, Photo, Reject, as_found, facts_of, hash_files, take
from stages.prepare.tiling import TilingConfig
from stages.runtime import project
from stages.runtime.errors import InputError
from stages.runtime.files import remove_folder, write_array, write_text
from stages.runtime.locks import flock
from stages.runtime.machine import workers
from stages.runtime.parallel import map_ordered

Piece = tuple[Path, int, int]  # file of tiles, the first, how many

_LIBRARIES = ("imagehash", "numpy", "pillow", "scipy")  # whose other versions may give other pixels or hashes
_CHUNK_BYTES = 32 * 2**20  # of tiles; a worker holds one chunk in memory
_CHUNK_FILES = 32
_CHUNKS_A_WORKER = 4  # at least, so that none waits long for the last one
_HASHED_AT_ONCE = 256


@contextmanager
def open_cache(tiling: TilingConfig) -> Iterator["PhotoCache"]:
    """Open the cache for some settings; waits while another process has it open."""
    home = project.root() / ".remembered" / "prepare"
    home.mkdir(parents=True, exist_ok=True)
    libraries = {name: version(name) for name in _LIBRARIES}
    folder = home / project.fingerprint({"cutting": asdict(tiling), **libraries})[:32]
    with (home / ".lock").open("a") as lock:
        flock(lock, fcntl.LOCK_EX)
        yield PhotoCache(folder, tiling)
        for other in home.iterdir():
            if other.is_dir() and other != folder:
                remove_folder(other)


class PhotoCache:
    """Records and tiles by the hash of a file's content.

    Args:
        folder: of the cache, made if missing; see `open_cache`.
        tiling: how photos are cut.
    """

    def __init__(self, folder: Path, tiling: TilingConfig) -> None:
        self.shards, self._chunks, self._tiling = folder / "shards", folder / "chunks", tiling
        self._known_facts: dict[str, Facts] = {}
        self._versions: dict[str, str] = {}  # hash of a file in remote storage, by address and version
        self._tiles: dict[str, Piece] = {}
        self._repeats: list[Path] = []  # chunks of files that were decoded again, whose records stand elsewhere
        for needed in (self.shards, self._chunks):
            needed.mkdir(parents=True, exist_ok=True)
        for path in sorted(self._chunks.glob("*.json")):
            self._load(path)

    def _load(self, path: Path) -> list[dict[str, Any]]:
        """Read the records of a chunk."""
        records: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        tiles, start = path.with_suffix(".npy"), 0
        has_tiles = tiles.exists()
        if all(record["sha256"] in self._known_facts and not self._is_news(record["version"]) for record in records):
            self._repeats.append(path)
        for record in records:
            count = record.get("num_tiles", 0)
            if record["sha256"]:
                self._known_facts[record["sha256"]] = facts_of(record)
                if record["version"]:
                    self._versions[record["version"]] = record["sha256"]
                if has_tiles:
                    self._tiles[record["sha256"]] = (tiles, start, count)
            start += count
        return records

    def _is_news(self, version: str) -> bool:
        return version != "" and version not in self._versions

    def look_at(self, sources: Sequence[Source]) -> tuple[list[Photo], list[Reject]]:
        """Find out what each file is; known files are not decoded.

        Returns:
            what can be used and what cannot, each in the order of `sources`.

        Raises:
            InputError: a file is not the one that its list describes.
        """
        verdicts = list(self._known(sources))
        new = [number for number, verdict in enumerate(verdicts) if verdict is None]
        for number, record in zip(new, self._take([sources[number] for number in new]), strict=True):
            _check_listed(sources[number], record["sha256"])
            verdicts[number] = as_found(sources[number], self._known_facts.get(record["sha256"]) or facts_of(record))
        return (
            [verdict for verdict in verdicts if isinstance(verdict, Photo)],
            [verdict for verdict in verdicts if isinstance(verdict, Reject)],
        )

    def _known(self, sources: Sequence[Source]) -> Iterator[Photo | Reject | None]:
        if not self._known_facts:
            yield from [None] * len(sources)
            return
        for source, sha256 in zip(sources, self._hashes(sources), strict=True):
            _check_listed(source, sha256)
            yield as_found(source, self._known_facts[sha256]) if sha256 in self._known_facts else None

    def _hashes(self, sources: Sequence[Source]) -> Iterator[str]:
        """Yield the hash of each file; of one in remote storage from its version, "" if that is unknown."""
        local = [source for source in sources if isinstance(source.path, Path)]
        chunks = [local[start : start + _HASHED_AT_ONCE] for start in range(0, len(local), _HASHED_AT_ONCE)]
        hashed = chain.from_iterable(map_ordered(hash_files, chunks, "prepare: known files"))
        for source in sources:
            yield next(hashed) if isinstance(source.path, Path) else self._versions.get(source.version, "")

    def _take(self, sources: Sequence[Source]) -> Iterator[dict[str, Any]]:
        """Decode files in chunks; a killed run loses only the chunks that workers had not finished."""
        tiles_bytes = self._tiling.max_tiles * self._tiling.tile_size**2 * 3
        fair = -(-len(sources) // (_CHUNKS_A_WORKER * workers()))
        size = max(1, min(_CHUNK_FILES, _CHUNK_BYTES // tiles_bytes, fair))
        folder, run = self._chunks.absolute(), uuid.uuid4().hex[:8]  # absolute, for workers of a cluster
        chunks = [(folder / f"{run}-{at:09d}.json", sources[at : at + size]) for at in range(0, len(sources), size)]
        for path in map_ordered(partial(_take_chunk, self._tiling), chunks, "prepare", unit="chunk"):
            yield from self._load(path)

    def bring_tiles(self, photos: Sequence[Photo]) -> None:
        """Decode those photos again whose records are known and whose tiles are gone.

        Raises:
            InputError: a file is no longer what it was a moment ago.
        """
        missing = [photo for photo in photos if photo.sha256 not in self._tiles]
        for photo, record in zip(missing, self._take([photo.source for photo in missing]), strict=True):
            if record["sha256"] != photo.sha256 or record.get("num_tiles") != photo.num_tiles:
                raise InputError(f"{photo.source.path} changed while the stage ran; run it again")

    def tiles_of(self, photo: Photo) -> Piece:
        """Return where the tiles of a photo lie."""
        return self._tiles[photo.sha256]

    def tidy(self, shards: Iterable[str]) -> None:
        """Delete what the next run does not need: tiles, which are in shards now, repeated records, other shards."""
        unneeded = {path.name for path in self.shards.iterdir()} - set(shards)
        for path in [*self._chunks.glob("*.npy"), *self._repeats, *(self.shards / name for name in unneeded)]:
            path.unlink()


def _take_chunk(tiling: TilingConfig, chunk: tuple[Path, Sequence[Source]]) -> Path:
    path, sources = chunk
    tiles, records = take(sources, tiling)
    write_array(path.with_suffix(".npy"), tiles)
    write_text(path, json.dumps(records, ensure_ascii=False))  # last: it says that both are there
    return path


def _check_listed(source: Source, sha256: str) -> None:
    if sha256:  # else it could not be read, and ends among the rejects
        check_listed(source, sha256)
