"""The cache of `prepare`: what earlier runs, finished or killed, found out about a file, by the file's hash.

`.remembered/prepare/<fingerprint>/` in the project's root holds

    chunks/<name>.arrow    a record for each file of a chunk of work, written by the worker that decoded them
    chunks/<name>.npy      their tiles, until a run succeeds
    shards/<name>.npy      hard links to the shards of the last run, which take no room of their own

A file with a record is hashed and not decoded; in remote storage its address and version stand for the hash. It is
decoded again only if its shard changes because other photographs came or went. The fingerprint stands for settings,
code and libraries; other fingerprints are deleted. The cache only saves time: with it or without, `prepare` writes the
same bytes.
"""

import fcntl
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import feather

from stages.imaging.source_table import Source, Sources, as_series, check_listed, rows_of
from stages.prepare.photos import RECORD, hash_files, take
from stages.prepare.tiling import TilingConfig
from stages.runtime import project
from stages.runtime.errors import InputError
from stages.runtime.files import atomic_write, remove_folder, write_array
from stages.runtime.locks import flock
from stages.runtime.machine import workers
from stages.runtime.parallel import Lazy, map_ordered

_LIBRARIES = ("imagehash", "numpy", "pillow", "scipy")  # whose other versions may give other pixels or hashes
_CHUNK_BYTES = 32 * 2**20  # of tiles; a worker holds one chunk in memory
_CHUNK_FILES = 32
_CHUNKS_A_WORKER = 4  # at least, so that none waits long for the last one
_HASHED_AT_ONCE = 256
_HELD = RECORD.append(pa.field("chunk", pa.int32())).append(pa.field("start", pa.int32()))
_KEPT = ["sha256", "version", "num_tiles", "chunk", "start"]  # of the records, once the others have been returned
_COMBINED = 32  # chunks; each would take some kilobytes on its own

Ints = npt.NDArray[np.int64]


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
        for needed in (self.shards, self._chunks):
            needed.mkdir(parents=True, exist_ok=True)
        self._files: list[Path] = []  # of chunks
        self._records = _readable(_combined(self._load(path) for path in sorted(self._chunks.glob("*.arrow"))))

    def _load(self, path: Path) -> pa.Table:
        """Read the records of a chunk, and add where the tiles of each lie: `chunk`, a number, and `start`."""
        records, number = feather.read_table(path, memory_map=False), len(self._files)
        self._files.append(path)
        ends = pc.cumulative_sum(records["num_tiles"])
        chunk = pa.array(np.full(len(records), number), pa.int32())
        return records.append_column("chunk", chunk).append_column("start", pc.subtract(ends, records["num_tiles"]))

    def look_at(self, sources: Sources) -> pa.Table:
        """Find out what each file is; known files are not decoded.

        Returns:
            a `RECORD` per file, in the order of `sources`.

        Raises:
            InputError: a file is not the one that its list describes.
        """
        sha256 = self._hashes(sources)
        _check_listed(sources, sha256)
        new = np.flatnonzero(pc.invert(pc.is_in(sha256, self._records["sha256"])))
        taken = self._take(sources, new)
        known = pa.concat_tables([self._records, taken])
        of_file = np.asarray(pc.index_in(sha256, known["sha256"]).fill_null(0)).astype(np.int64)
        again = np.asarray(pc.index_in(taken["sha256"], known["sha256"])).astype(np.int64)
        own = np.arange(len(self._records), len(known))  # what could not be read has no hash and only its own record
        of_file[new] = np.where(pc.equal(taken["sha256"], ""), own, again)
        self._records = _readable(known).select(_KEPT)
        return rows_of(known, of_file).select(RECORD.names)

    def _hashes(self, sources: Sources) -> pa.ChunkedArray:
        """Return the hash of each file, "" if it is unknown; of one in remote storage from its version."""
        if not len(self._records):
            return pa.chunked_array([pa.nulls(len(sources), pa.string()).fill_null("")])
        with_version = self._records.filter(pc.not_equal(self._records["version"], ""))
        known = with_version["sha256"].take(pc.index_in(sources.versions(), with_version["version"]))
        is_local = ~sources.is_remote()
        local = np.flatnonzero(is_local)
        chunks = Lazy(
            lambda start: sources.take(local[start : start + _HASHED_AT_ONCE].tolist()),
            range(0, len(local), _HASHED_AT_ONCE),
        )
        hashed = [pa.array(some, pa.string()) for some in map_ordered(hash_files, chunks, "prepare: known files")]
        own = pa.concat_arrays([*hashed, pa.array([], pa.string())])
        return pa.chunked_array(
            [pc.replace_with_mask(pc.fill_null(known, "").combine_chunks(), pa.array(is_local), own)]
        )

    def _take(self, sources: Sources, positions: Ints) -> pa.Table:
        """Decode files in chunks; a killed run loses only the chunks that workers had not finished."""
        tiles_bytes = self._tiling.max_tiles * self._tiling.tile_size**2 * 3
        fair = -(-len(positions) // (_CHUNKS_A_WORKER * workers()))
        size = max(1, min(_CHUNK_FILES, _CHUNK_BYTES // tiles_bytes, fair))
        folder, run = self._chunks.absolute(), uuid.uuid4().hex[:8]  # absolute, for workers of a cluster

        def chunk(at: int) -> tuple[Path, Sequence[Source]]:
            return folder / f"{run}-{at:09d}.arrow", sources.take(positions[at : at + size].tolist())

        chunks = Lazy(chunk, range(0, len(positions), size))
        made = map_ordered(partial(_take_chunk, self._tiling), chunks, "prepare", unit="chunk")
        return _combined(self._load(path) for path in made)

    def bring_tiles(self, sources: Sources, photos: pd.DataFrame) -> tuple[Ints, Ints]:
        """Find the tiles of photos; decode those again whose records are known and whose tiles are gone.

        Args:
            sources: all files.
            photos: by position in `sources`; `sha256` and `num_tiles` of each.

        Returns:
            (n,), the number of the file of tiles (see `tiles_in`), and (n,), the first tile in it, of each photo.

        Raises:
            InputError: a file is no longer what it was a moment ago.
        """
        held = np.array([path.with_suffix(".npy").exists() for path in self._files], bool)
        records = self._records.filter(pa.array(held[np.asarray(self._records["chunk"])]))
        sha256 = pa.array(photos["sha256"], pa.string())
        missing = np.flatnonzero(pc.index_in(sha256, records["sha256"]).is_null())
        taken = self._take(sources, photos.index.to_numpy()[missing]).select(_KEPT)
        before = photos.iloc[missing]
        same = np.asarray(taken["num_tiles"]) == before["num_tiles"].to_numpy()
        same &= as_series(taken["sha256"]).to_numpy() == before["sha256"].to_numpy()
        if not same.all():
            changed = sources[int(before.index.to_numpy()[np.argmin(same)])]
            raise InputError(f"{changed.path} changed while the stage ran; run it again")
        self._records = pa.concat_tables([self._records, taken])
        records = pa.concat_tables([records, taken])
        places = records.select(["chunk", "start"]).take(pc.index_in(sha256, records["sha256"]))
        return np.asarray(places["chunk"]).astype(np.int64), np.asarray(places["start"]).astype(np.int64)

    def tiles_in(self, chunk: int) -> Path:
        """Return a file of tiles by its number."""
        return self._files[chunk].with_suffix(".npy")

    def tidy(self, shards: Iterable[str]) -> None:
        """Delete what the next run does not need: tiles, which are in shards now, repeated records, other shards."""
        records = pd.DataFrame({name: as_series(self._records[name]) for name in ("sha256", "version", "chunk")})
        news = ~records.duplicated("sha256") | (records["version"] != "") & ~records.duplicated("version")
        needed = set(records["chunk"][news])
        repeats = (path for number, path in enumerate(self._files) if number not in needed)
        unneeded = {path.name for path in self.shards.iterdir()} - set(shards)
        for path in [*self._chunks.glob("*.npy"), *repeats, *(self.shards / name for name in unneeded)]:
            path.unlink()


def _combined(tables: Iterable[pa.Table]) -> pa.Table:
    done, waiting = [_HELD.empty_table()], list[pa.Table]()
    for table in tables:
        waiting.append(table)
        if len(waiting) == _COMBINED:
            done.append(pa.concat_tables(waiting).combine_chunks())
            waiting = []
    return pa.concat_tables([*done, *waiting]).combine_chunks()


def _take_chunk(tiling: TilingConfig, chunk: tuple[Path, Sequence[Source]]) -> Path:
    path, sources = chunk
    tiles, records = take(sources, tiling)
    for source, sha256 in zip(sources, records["sha256"].to_pylist(), strict=True):
        if sha256:  # else it could not be read, and ends among the rejects
            check_listed(source, sha256)
    write_array(path.with_suffix(".npy"), tiles)
    with atomic_write(path) as file:  # last: it says that both are there
        feather.write_feather(records, file, compression="uncompressed")
    return path


def _readable(records: pa.Table) -> pa.Table:
    """Leave out the records of files that could not be read: by the next run they may be."""
    return records.filter(pc.not_equal(records["sha256"], ""))


def _check_listed(sources: Sources, sha256: pa.ChunkedArray) -> None:
    listed, found = sources.column("sha256"), as_series(sha256)
    known = (listed != "") & (found != "")
    for position in np.flatnonzero(known & (listed != found)):
        check_listed(sources[int(position)], found[position])
