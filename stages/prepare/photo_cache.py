"""The cache of `prepare`: what earlier runs, finished or killed, found out about a file, by the file's hash.

`.remembered/prepare/<fingerprint>/` in the project's root holds

    records.arrow          a record for each known file
    chunks/<name>.arrow    the same for a chunk of work, written by the worker that decoded it, until a run succeeds
    chunks/<name>.npy      their tiles, until then
    shards/<name>.npy      hard links to the shards of the last run, which take no room of their own
    shards/<name>.sha256   their hashes, by which a damaged one is recognised and made again

A file with a record is hashed and not decoded; in remote storage its address and version stand for the hash. It is
decoded again only if its shard changes because other photographs came or went. The fingerprint stands for settings,
code and libraries; other fingerprints are deleted. Records of files that are gone stay, 0.3 kB each, for the day when
they come back. Without hard links there are no shards here, and every run decodes all photos. The cache only saves
time: with it or without, `prepare` writes the same bytes.
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
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import feather

from stages.imaging.source_table import Source, Sources, check_listed
from stages.prepare.photos import RECORD, hash_files, take
from stages.prepare.tiling import TilingConfig
from stages.runtime import project
from stages.runtime.errors import InputError
from stages.runtime.files import atomic_write, remove_folder, write_array
from stages.runtime.locks import flock
from stages.runtime.log import log
from stages.runtime.machine import workers
from stages.runtime.parallel import Lazy, map_ordered
from stages.runtime.tables import Ints, find, first_of_each, on_disk, rows_of, write_parts

_LIBRARIES = ("imagehash", "numpy", "pillow", "scipy")  # whose other versions may give other pixels or hashes
_CHUNK_BYTES = 32 * 2**20  # of tiles; a worker holds one chunk in memory
_CHUNK_FILES = 32
_CHUNKS_A_WORKER = 4  # at least, so that none waits long for the last one
_HASHED_AT_ONCE = 256
_HELD = RECORD.append(pa.field("chunk", pa.int32())).append(pa.field("start", pa.int32()))
_NOWHERE = -1  # the chunk of a photo whose tiles are gone

Int32s = npt.NDArray[np.int32]


@contextmanager
def open_cache(tiling: TilingConfig) -> Iterator["PhotoCache"]:
    """Open the cache for some settings; waits while another process has it open."""
    home = project.root() / ".remembered" / "prepare"
    home.mkdir(parents=True, exist_ok=True)
    libraries = {name: version(name) for name in _LIBRARIES}
    folder = home / project.fingerprint({"cutting": asdict(tiling), **libraries})[:32]
    with (home / ".lock").open("a") as lock:
        try:
            flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log("prepare: waiting for a process that prepares photos in another checkout")
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
        self._tiling, self.shards = tiling, folder / "shards"
        self._chunks = (folder / "chunks").absolute()  # workers of a cluster have other working directories
        for needed in (self.shards, self._chunks):
            needed.mkdir(parents=True, exist_ok=True)
        self._kept = folder / "records.arrow"
        # of a run that was killed; one that is killed in `tidy` may leave records without tiles
        whole = (path for path in self._chunks.glob("*.arrow") if path.with_suffix(".npy").exists())
        self._names = sorted(path.name for path in whole)
        parts = (_readable(_load(self._chunks / name, number)) for number, name in enumerate(self._names))
        left = on_disk(parts, _HELD)
        self._known = pa.concat_tables([left, self._load_kept()])  # of equal ones the first counts: it has tiles
        self._new = self._seen = _HELD.empty_table()  # made by this run; of each file

    def _load_kept(self) -> pa.Table:
        if not self._kept.exists():
            return _HELD.empty_table()
        kept = feather.read_table(self._kept, memory_map=True)
        nowhere = pa.array(np.full(len(kept), _NOWHERE, np.int32))
        return kept.append_column("chunk", nowhere).append_column("start", nowhere)

    def look_at(self, sources: Sources) -> pa.Table:
        """Find out what each file is; known files are not decoded.

        Returns:
            a `RECORD` per file, in the order of `sources`.

        Raises:
            InputError: a file is not the one that its list describes.
        """
        of_file = self._find(sources)
        self._check_listed(sources, of_file)
        new = np.flatnonzero(of_file < 0)
        self._new = self._take(sources, new)
        of_file[new] = len(self._known) + np.arange(len(new))
        self._seen = rows_of(pa.concat_tables([self._known, self._new]), of_file)
        return self._seen.select(RECORD.names)

    def _find(self, sources: Sources) -> Ints:
        """Return the position of each file's record, -1 if there is none; files in remote storage by their versions."""
        if not len(self._known):
            return np.full(len(sources), -1)
        found = find(sources.versions(), self._known["version"])
        local = np.flatnonzero(~sources.is_remote())
        chunks = Lazy(
            lambda start: sources.take(local[start : start + _HASHED_AT_ONCE]),
            range(0, len(local), _HASHED_AT_ONCE),
        )
        hashed = (pa.table({"sha256": some}) for some in map_ordered(hash_files, chunks, "prepare: known files"))
        sha256 = on_disk(hashed, pa.schema([("sha256", pa.string())]))["sha256"]
        found[local] = find(sha256, self._known["sha256"])
        return found

    def _check_listed(self, sources: Sources, of_file: Ints) -> None:
        listed = sources.table.select(["sha256"])
        both = np.flatnonzero(pc.not_equal(listed["sha256"], "").to_numpy() & (of_file >= 0))
        wanted = rows_of(listed, both)["sha256"]
        sha256 = rows_of(self._known.select(["sha256"]), of_file[both])["sha256"]
        for at in np.flatnonzero(pc.not_equal(wanted, sha256)):
            check_listed(sources[int(both[at])], sha256[int(at)].as_py())

    def _take(self, sources: Sources, positions: Ints) -> pa.Table:
        """Decode files in chunks; a killed run loses only the chunks that workers had not finished."""
        tiles_bytes = self._tiling.max_tiles * self._tiling.tile_size**2 * 3
        fair = -(-len(positions) // (_CHUNKS_A_WORKER * workers()))
        size = max(1, min(_CHUNK_FILES, _CHUNK_BYTES // tiles_bytes, fair))
        run = uuid.uuid4().hex[:8]

        def chunk(at: int) -> tuple[Path, Sequence[Source]]:
            return self._chunks / f"{run}-{at:09d}.arrow", sources.take(positions[at : at + size])

        def taken() -> Iterator[pa.Table]:
            chunks = Lazy(chunk, range(0, len(positions), size))
            for path in map_ordered(partial(_take_chunk, self._tiling), chunks, "prepare", unit="chunk"):
                self._names.append(path.name)
                yield _load(path, len(self._names) - 1)

        return on_disk(taken(), _HELD)

    def bring_tiles(self, sources: Sources, positions: Ints) -> tuple[Int32s, Int32s]:
        """Find the tiles of photos; decode those again whose records are known and whose tiles are gone.

        Args:
            sources: all files.
            positions: of the photos among them.

        Returns:
            (n,), the number of the file of tiles (see `tiles_in`), and (n,), the first tile in it, of each photo.

        Raises:
            InputError: a file is no longer what it was a moment ago.
        """
        chunk, start = (self._seen[name].to_numpy()[positions] for name in ("chunk", "start"))
        missing = np.flatnonzero(chunk == _NOWHERE)
        taken = self._take(sources, positions[missing])
        before = rows_of(self._seen.select(["sha256"]), positions[missing])
        for at in np.flatnonzero(pc.not_equal(taken["sha256"], before["sha256"])):
            changed = sources[int(positions[missing[at]])]
            raise InputError(f"{changed.path} changed while the stage ran; run it again")
        chunk[missing], start[missing] = taken["chunk"], taken["start"]
        return chunk, start

    def tiles_in(self, chunk: int) -> Path:
        """Return a file of tiles by its number."""
        return (self._chunks / self._names[chunk]).with_suffix(".npy")

    def tidy(self, shards: Iterable[str]) -> None:
        """Keep what the next run needs: the records in one file, and these shards; the tiles are in them."""
        records = pa.concat_tables([self._known, self._new]).select(RECORD.names)
        unlike = rows_of(records, first_of_each(records.select(["sha256", "version"])))
        with atomic_write(self._kept) as file:
            write_parts(file, (_readable(pa.Table.from_batches([part])) for part in unlike.to_batches()), RECORD)
        needed = {Path(name).stem for name in shards}
        unneeded = [path for path in self.shards.iterdir() if path.stem not in needed]
        for path in [*self._chunks.iterdir(), *unneeded]:
            path.unlink(missing_ok=True)  # a worker of a killed run may rename its draft just now


def _readable(records: pa.Table) -> pa.Table:
    """Leave out files that could not be read: by the next run they may be."""
    return records.filter(pc.not_equal(records["sha256"], ""))


def _load(path: Path, number: int) -> pa.Table:
    """Read the records of a chunk, and add where the tiles of each lie: `chunk`, a number, and `start`."""
    records = feather.read_table(path, memory_map=False)
    chunk = pa.array(np.full(len(records), number, np.int32))
    start = pc.subtract(pc.cumulative_sum(records["num_tiles"]), records["num_tiles"])
    return records.append_column("chunk", chunk).append_column("start", start)


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
