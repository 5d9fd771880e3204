"""One photo from file to tiles: what a worker process does, and what it reports."""

import errno
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.imaging.images import BadImageError, Decoded, Pixels, decode, open_picture
from stages.imaging.near import perceptual_hash
from stages.imaging.sources import Source
from stages.prepare.tiling import Tiles, TilingConfig, choose_tiles, cut

_PASSING = ("changed", "not_a_file", "unreadable")  # of the file system and not of the content


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo that can be used; its tiles wait on disk until all photos are known.

    Attributes:
        source: the file.
        sha256: of the file's bytes; the photo's name everywhere.
        pixels_sha256: of its shape and decoded pixels, at the scale at which they were decoded.
        hashes: as `near.perceptual_hash` makes it, flat.
        shape: (height, width) in pixels, upright.
        kind: the true format.
        changes: what the loader did, in one word or several joined by `+`; "" for a photo that is as it was.
        num_tiles: how many are cut from it.
    """

    source: Source
    sha256: str
    pixels_sha256: str
    hashes: tuple[int, ...]
    shape: tuple[int, int]
    kind: str
    changes: str
    num_tiles: int

    def tiles(self, cutting: TilingConfig) -> Tiles:
        """Choose the tiles again, the same ones each time."""
        return _tiles_of(self.sha256, self.shape, cutting)


@dataclass(frozen=True, slots=True)
class Reject:
    """A file that is not used, with the reason as a word that does not change and in words."""

    path: str
    reason: str
    detail: str


def take(sources: Sequence[Source], cutting: TilingConfig) -> tuple[Pixels, list[dict[str, Any]]]:
    """Decode files once each and cut their tiles.

    Returns:
        the tiles of all, uint8 (n, tile_size, tile_size, 3), and a record a file: what `as_found` reads.
    """
    taken = [_take(source, cutting) for source in sources]
    none = np.empty((0, cutting.tile_size, cutting.tile_size, 3), np.uint8)
    return np.concatenate([none, *(tiles for tiles, _ in taken)]), [record for _, record in taken]


def _take(source: Source, cutting: TilingConfig) -> tuple[Pixels, dict[str, Any]]:
    none = np.empty((0, cutting.tile_size, cutting.tile_size, 3), np.uint8)
    sha256, photo = _read(source, cutting)
    if isinstance(photo, BadImageError):
        return none, {"sha256": sha256, "reason": photo.code, "detail": photo.detail}
    h, w = photo.shape
    if min(h, w) < cutting.tile_size:
        detail = f"{w} x {h} pixels, less than a tile of {cutting.tile_size}"
        return none, {"sha256": sha256, "reason": "too_small", "detail": detail}
    tiles = _tiles_of(sha256, photo.shape, cutting)
    record = {
        "sha256": sha256,
        "pixels_sha256": _hash_pixels(photo),
        "hashes": perceptual_hash(photo.pixels, cutting.turned).ravel().tolist(),
        "shape": [h, w],
        "kind": photo.kind,
        "changes": "+".join(photo.changes),
        "num_tiles": len(tiles.corners),
    }
    return cut(photo.pixels, photo.shape, tiles, cutting.tile_size), record


def _read(source: Source, cutting: TilingConfig) -> tuple[str, Decoded | BadImageError]:
    """Hash and decode from one opening: the same file, even if it is replaced. What may pass is tried twice."""
    if source.problem:
        return "", BadImageError("unreadable", source.problem)
    refused = BadImageError("unreadable", "")
    for _ in range(2):
        try:
            with open_picture(source.path) as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                file.seek(0)
                decoded = decode(file, cutting.max_megapixels, max(cutting.short_sides))
        except BadImageError as bad:
            refused = bad
            if bad.code in ("changed", "unreadable") and getattr(bad.__cause__, "errno", errno.EIO) == errno.EIO:
                continue
            return "" if bad.code in _PASSING else sha256, bad
        return sha256, decoded
    return "", refused


def _tiles_of(sha256: str, shape: tuple[int, int], cutting: TilingConfig) -> Tiles:
    return choose_tiles(shape, cutting, np.random.default_rng([cutting.seed, *b"prepare", int(sha256, 16)]))


def _hash_pixels(photo: Decoded) -> str:
    digest = hashlib.sha256(f"{photo.shape} {photo.pixels.shape}".encode())
    digest.update(photo.pixels.data)
    return digest.hexdigest()


def as_found(source: Source, record: dict[str, Any]) -> Photo | Reject:
    """Return what a record says of a file."""
    if "reason" in record:
        return Reject(source.name, record["reason"], record["detail"])
    facts = record | {"hashes": tuple(record["hashes"]), "shape": tuple(record["shape"])}
    return Photo(source, **facts)


def hash_files(sources: Sequence[Source]) -> list[str]:
    """Return the SHA-256 of each file, "" where it cannot be read."""
    return [_hash_file(source) for source in sources]


def _hash_file(source: Source) -> str:
    with suppress(BadImageError), open_picture(source.path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
    return ""
