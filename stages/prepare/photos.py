"""A photo from file to tiles, as done by a worker process."""

import errno
import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from stages.imaging.images import BadImageError, Decoded, Pixels, decode, open_picture
from stages.imaging.near import perceptual_hash
from stages.imaging.source_table import Source
from stages.prepare.tiling import Tiles, TilingConfig, choose_tiles, cut

_READ_AHEAD = 4  # files fetched from remote storage while others are decoded
_TRANSIENT = ("changed", "not_a_file", "unreadable")  # problems of the file system, not of the content


RECORD = pa.schema(
    [
        ("sha256", pa.string()), ("version", pa.string()), ("reason", pa.string()), ("detail", pa.string()),
        ("pixels", pa.uint64()), ("hashes", pa.list_(pa.uint64())), ("height", pa.int32()),
        ("width", pa.int32()), ("kind", pa.string()), ("changes", pa.string()), ("num_tiles", pa.int32()),
    ]
)  # fmt: skip
"""What is known of a file.

    sha256           of the file; identifies the photo; "" if it could not be read
    version          address and version of a file in remote storage, else ""
    reason, detail   why it cannot be used, as a stable word and in words; "" if it can
    pixels           hash of its shape and decoded pixels, at the scale of decoding
    hashes           from `near.perceptual_hash`, flat
    height, width    in pixels, upright
    kind             the format
    changes          conversions by the decoder, joined by `+`; "" for none
    num_tiles        number of tiles cut from it
"""


def take(sources: Sequence[Source], cutting: TilingConfig) -> tuple[Pixels, pa.Table]:
    """Decode files and cut their tiles.

    Returns:
        all tiles, uint8 (n, tile_size, tile_size, 3), and a `RECORD` per file.
    """
    taken = [_take(source, content, cutting) for source, content in zip(sources, _fetched(sources), strict=True)]
    none = np.empty((0, cutting.tile_size, cutting.tile_size, 3), np.uint8)
    records = [
        {"reason": "", "detail": "", "num_tiles": 0, **record, "version": source.version}
        for source, (_, record) in zip(sources, taken, strict=True)
    ]
    return np.concatenate([none, *(tiles for tiles, _ in taken)]), pa.Table.from_pylist(records, RECORD)


def _fetched(sources: Sequence[Source]) -> Iterator["Future[Path | bytes]"]:
    pool, waiting = ThreadPoolExecutor(_READ_AHEAD), deque[Future[Path | bytes]]()
    try:
        for source in sources:
            waiting.append(pool.submit(source.fetch))
            if len(waiting) > _READ_AHEAD:
                yield waiting.popleft()
        yield from waiting
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _take(source: Source, content: "Future[Path | bytes]", cutting: TilingConfig) -> tuple[Pixels, dict[str, Any]]:
    none = np.empty((0, cutting.tile_size, cutting.tile_size, 3), np.uint8)
    sha256, photo = _read(source, content, cutting)
    if isinstance(photo, BadImageError):
        return none, {"sha256": sha256, "reason": photo.code, "detail": photo.detail}
    h, w = photo.shape
    if min(h, w) < cutting.tile_size:
        detail = f"{w} x {h} pixels, smaller than a tile of {cutting.tile_size}"
        return none, {"sha256": sha256, "reason": "too_small", "detail": detail}
    tiles = tiles_of(sha256, photo.shape, cutting)
    record = {
        "sha256": sha256,
        "pixels": _hash_pixels(photo),
        "hashes": perceptual_hash(photo.pixels, cutting.turned).ravel().tolist(),
        "height": h,
        "width": w,
        "kind": photo.kind,
        "changes": "+".join(photo.changes),
        "num_tiles": len(tiles.corners),
    }
    return cut(photo.pixels, photo.shape, tiles, cutting.tile_size), record


def _read(
    source: Source, content: "Future[Path | bytes]", cutting: TilingConfig
) -> tuple[str, Decoded | BadImageError]:
    """Hash and decode a file that is opened once, so that both see the same content; retry after an I/O error."""
    if source.problem:
        return "", BadImageError("unreadable", source.problem)
    refused = BadImageError("unreadable", "")
    for _ in range(2):
        try:
            with open_picture(content.result()) as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                file.seek(0)
                decoded = decode(file, cutting.max_megapixels, max(cutting.short_sides))
        except BadImageError as bad:
            refused = bad
            if bad.code in ("changed", "unreadable") and getattr(bad.__cause__, "errno", errno.EIO) == errno.EIO:
                continue
            return "" if bad.code in _TRANSIENT else sha256, bad
        return sha256, decoded
    return "", refused


def tiles_of(sha256: str, shape: tuple[int, int], cutting: TilingConfig) -> Tiles:
    """Choose the tiles of a photo, always the same ones."""
    return choose_tiles(shape, cutting, np.random.default_rng([cutting.seed, *b"prepare", int(sha256, 16)]))


def _hash_pixels(photo: Decoded) -> int:
    digest = hashlib.sha256(f"{photo.shape} {photo.pixels.shape}".encode())
    digest.update(photo.pixels.data)
    return int.from_bytes(digest.digest()[:8])  # of 100 million photos, two have the same with a chance of 0.03 %


def hash_files(sources: Sequence[Source]) -> list[str]:
    """Return the SHA-256 of each file, "" if it cannot be read."""
    return [_hash_file(source) for source in sources]


def _hash_file(source: Source) -> str:
    with suppress(BadImageError), open_picture(source.fetch()) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
    return ""
