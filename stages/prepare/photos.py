"""One photo from file to tiles: what a worker process does, and what it reports."""

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from stages.pictures.images import BadImageError, Pixels, decode_image, open_picture
from stages.pictures.splits import perceptual_hash
from stages.prepare.sources import Source, check_listed
from stages.prepare.tiling import Cutting, Tiles, choose_tiles, cut
from stages.running.parallel import map_ordered


@dataclass(frozen=True)
class Photo:
    """A photo that can be used; its tiles wait on disk until all photos are known.

    Attributes:
        source: the file.
        sha256: of the file's bytes; the photo's name everywhere.
        pixels_sha256: of its shape and decoded pixels.
        look: its perceptual hash, 64 bits.
        shape: (height, width) in pixels.
        tiles: which were cut.
        draft: file of the bytes of the cut tiles, uint8 (n, tile_size, tile_size, 3).
    """

    source: Source
    sha256: str
    pixels_sha256: str
    look: int
    shape: tuple[int, int]
    tiles: Tiles
    draft: Path


@dataclass(frozen=True)
class Reject:
    """A file that is not used, with the reason as a word that does not change and in words."""

    path: str
    reason: str
    detail: str


def take_photos(sources: list[Source], cutting: Cutting, drafts: Path) -> tuple[list[Photo], list[Reject]]:
    """Decode every file once and cut its tiles, by all workers.

    Tiles go to a draft file a photo: only when all photos are known is it clear which are duplicates and which split
    each is in, and by then memory could not hold the tiles of a large folder, nor should it be decoded twice.

    Args:
        sources: the files.
        cutting: how to cut.
        drafts: an empty folder for the draft files.

    Returns:
        what can be used and what cannot, each in the order of `sources`.

    Raises:
        InputError: a file is not the one that its list describes.
    """
    numbered = [(source, drafts / f"{number:08d}") for number, source in enumerate(sources)]
    photos, rejects = [], []
    for result in map_ordered(partial(_take_photo, cutting=cutting), numbered, "prepare", "photo"):
        if isinstance(result, Reject):
            rejects.append(result)
        else:
            check_listed(result.source, result.sha256)
            photos.append(result)
    return photos, rejects


def _take_photo(item: tuple[Source, Path], cutting: Cutting) -> Photo | Reject:
    source, draft = item
    try:
        sha256, pixels = _read(source.path, cutting.max_megapixels)
    except BadImageError as bad:
        return Reject(source.name, bad.code, bad.detail)
    h, w, _ = pixels.shape
    if min(h, w) < cutting.tile_size:
        return Reject(source.name, "too_small", f"{w} x {h} pixels, less than a tile of {cutting.tile_size}")
    rng = np.random.default_rng([cutting.seed, *b"prepare", int(sha256, 16)])
    tiles = choose_tiles((h, w), cutting, rng)
    draft.write_bytes(cut(pixels, tiles, cutting.tile_size).data)
    return Photo(source, sha256, _hash_pixels(pixels), perceptual_hash(pixels), (h, w), tiles, draft)


def _read(path: Path, max_megapixels: float) -> tuple[str, Pixels]:
    with open_picture(path) as file:  # hashed and decoded from one opening: the same file, even if it is replaced
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        return sha256, decode_image(file, max_megapixels)


def _hash_pixels(pixels: Pixels) -> str:
    digest = hashlib.sha256(f"{pixels.shape}".encode())
    digest.update(pixels.data)
    return digest.hexdigest()
