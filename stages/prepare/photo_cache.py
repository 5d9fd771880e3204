"""What is known of the files, by their content: from this run, from one that was killed, from those before.

In the folder that `stages.runtime.remembered` holds lie

    chunks/<key>.npy, .json   tiles and records of the files that were decoded, chunk by chunk, until a run succeeds
    records.jsonl             a record a file, of the last run that succeeded
    shards/<name>.npy         its shards; hard links, so they take no room while data/prepared holds the same

So a file whose content is known is hashed and not decoded; only where the shard that it belongs to changes, for other
photos came beside it or went, is it decoded again.
"""

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from stages.imaging.sources import Source, check_listed
from stages.prepare.photos import Photo, Reject, as_found, hash_files, take
from stages.prepare.tiling import TilingConfig
from stages.runtime.checkpointed_map import map_checkpointed
from stages.runtime.errors import InputError
from stages.runtime.files import atomic_write, remove_folder
from stages.runtime.machine import workers
from stages.runtime.parallel import map_ordered

Piece = tuple[Path, int, int]  # file of tiles, the first, how many

_CHUNK_BYTES = 32 * 2**20  # of tiles in one chunk at most, but by its first file: a worker has one in memory
_CHUNK_FILES = 32
_CHUNKS_A_WORKER = 4  # at least, so that none waits long for the last one
_HASHED_AT_ONCE = 256


class PhotoCache:
    """Records and tiles by the hash of a file's content.

    Args:
        folder: held by `stages.runtime.remembered`.
        cutting: how photos are cut.
    """

    def __init__(self, folder: Path, cutting: TilingConfig) -> None:
        self.shards = folder / "shards"
        self._chunks, self._kept, self._cutting = folder / "chunks", folder / "records.jsonl", cutting
        self._records: dict[str, str] = {}  # as text: a tenth of the memory
        self._tiles: dict[str, Piece] = {}
        for folder_made in (self.shards, self._chunks):
            folder_made.mkdir(exist_ok=True)
        if self._kept.exists():
            lines = self._kept.read_text(encoding="utf-8").splitlines()
            self._records = {json.loads(line)["sha256"]: line for line in lines}
        for path in sorted(self._chunks.glob("*.json")):
            self._add(path.stem, json.loads(path.read_text(encoding="utf-8")))

    def _add(self, key: str, records: Iterable[dict[str, Any]]) -> None:
        start = 0
        for record in records:
            count = record.get("num_tiles", 0)
            if record["sha256"]:
                self._records[record["sha256"]] = json.dumps(record, ensure_ascii=False)
                self._tiles[record["sha256"]] = (self._chunks / f"{key}.npy", start, count)
            start += count

    def look_at(self, sources: Sequence[Source]) -> tuple[list[Photo], list[Reject]]:
        """Find out what each file is; what is known already is not decoded.

        Returns:
            what can be used and what cannot, each in the order of `sources`.

        Raises:
            InputError: a file is not the one that its list describes.
        """
        verdicts = list(self._known(sources))
        new = [number for number, verdict in enumerate(verdicts) if verdict is None]
        for number, record in zip(new, self._take([sources[number] for number in new]), strict=True):
            _check_listed(sources[number], record["sha256"])
            verdicts[number] = as_found(sources[number], record)
        return (
            [verdict for verdict in verdicts if isinstance(verdict, Photo)],
            [verdict for verdict in verdicts if isinstance(verdict, Reject)],
        )

    def _known(self, sources: Sequence[Source]) -> Iterator[Photo | Reject | None]:
        if not self._records:
            yield from [None] * len(sources)
            return
        chunks = [sources[start : start + _HASHED_AT_ONCE] for start in range(0, len(sources), _HASHED_AT_ONCE)]
        for chunk, hashes in zip(chunks, map_ordered(hash_files, chunks, "prepare: known files"), strict=True):
            for source, sha256 in zip(chunk, hashes, strict=True):
                _check_listed(source, sha256)
                yield as_found(source, json.loads(self._records[sha256])) if sha256 in self._records else None

    def _take(self, sources: Sequence[Source]) -> Iterator[dict[str, Any]]:
        tiles_bytes = self._cutting.max_tiles * self._cutting.tile_size**2 * 3
        fair = -(-len(sources) // (_CHUNKS_A_WORKER * workers()))
        size = max(1, min(_CHUNK_FILES, _CHUNK_BYTES // tiles_bytes, fair))
        run = uuid.uuid4().hex[:8]  # a name says nothing of its file's content, so no other run's chunk will do
        chunks = {f"{run}-{at:09d}": tuple(sources[at : at + size]) for at in range(0, len(sources), size)}
        work = partial(take, cutting=self._cutting)
        for key, _, records in map_checkpointed(work, chunks, self._chunks.absolute(), "prepare"):
            self._add(key, records)
            yield from records

    def bring_tiles(self, photos: Sequence[Photo]) -> None:
        """Decode those photos again that are known, but whose tiles are not here.

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

    def keep(self, hashes: Iterable[str], shards: Iterable[str]) -> None:
        """Leave to the next run what this one found, and nothing of files and shards that are gone."""
        with atomic_write(self._kept) as file:
            for sha256 in sorted(set(hashes) & set(self._records)):
                file.write(f"{self._records[sha256]}\n".encode())
        wanted = set(shards)
        for path in self.shards.iterdir():
            if path.name not in wanted:
                path.unlink()
        remove_folder(self._chunks)


def _check_listed(source: Source, sha256: str) -> None:
    if sha256:  # else it could not be read, and ends among the rejects
        check_listed(source, sha256)
