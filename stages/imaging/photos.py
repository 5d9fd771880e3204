"""A person's photo, kept as it is but for its holes: upright, in its own colours, depth and quality.

    photo = open_photo(path, max_megapixels=100)      # or read_photo(bytes, ...)
    photo.pixels                                      # uint8 (H, W, 3), the numbers of the file, not converted to sRGB
    content = encode(photo, "PNG")

`images` makes what networks train on, all alike in sRGB; here no pixel that is not missing may change.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.JpegImagePlugin import get_sampling

from stages.imaging import metadata
from stages.imaging.appearance import turn
from stages.imaging.images import BadImageError, Opened, decode_image, open_picture, opened, refusing
from stages.imaging.metadata import Metadata

Format = Literal["keep", "png", "jpg"]
SUFFIXES = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".mpo": "JPEG", ".png": "PNG", ".webp": "WEBP",
    ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP", ".gif": "GIF", ".avif": "AVIF", ".ppm": "PPM", ".pgm": "PPM",
    ".pbm": "PPM", ".pnm": "PPM", ".heic": "HEIF", ".heif": "HEIF", ".hif": "HEIF", ".jxl": "JXL",
    **dict.fromkeys((".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw"), "RAW"),
}  # fmt: skip
MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
}
CAMERA = ("HEIF", "JXL", "RAW")  # formats that are written back as JPEG
WRITTEN = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF")
_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {"compress_level": 1},
    "WEBP": {"lossless": True, "quality": 20, "exact": True},
    "TIFF": {"compression": "tiff_lzw"},
    "AVIF": {"quality": 90},
}
_LOSSY_WEBP = {"quality": 90, "exact": True}
_HEAD_BYTES = 2**20  # in which a WebP says how it is stored
_WITHOUT_TRANSPARENCY = ("JPEG", "BMP")
_MOST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}
_DEEP = ("PNG", "TIFF")  # formats that hold 16 bits

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Photo:
    """A decoded photo and what its file said beside the pixels.

    Attributes:
        pixels: uint8 (H, W, 3), upright, in the colour space of its profile.
        alpha: uint8 (H, W), 255 = opaque, or None.
        format: Pillow's name of the file's format.
        metadata: what the file says beside the pixels.
        grey: whether the file has one channel.
        deep: uint16 (H, W), the pixels of a grey picture of 16 bits, or None.
        encoding: options of Pillow's `save` by which the format keeps the file's own quality.
        notes: what was changed in decoding, for a person.
    """

    pixels: Pixels
    alpha: Pixels | None
    format: str
    metadata: Metadata = field(default_factory=Metadata)
    grey: bool = False
    deep: npt.NDArray[np.uint16] | None = None
    encoding: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = field(default=())


def open_photo(path: str | Path, max_megapixels: float) -> Photo:
    """Decode a photo file whole.

    Raises:
        BadImageError: the file cannot be read or used.
    """
    with open_picture(path) as file:
        return _decode(file, max_megapixels)


def read_photo(content: bytes, max_megapixels: float) -> Photo:
    """Decode a photo from memory; the rest as `open_photo`."""
    with refusing():
        return _decode(BytesIO(content), max_megapixels)


def _decode(file: BinaryIO, max_megapixels: float) -> Photo:
    with opened(file, max_megapixels) as found:
        picture, kind = found.picture, str(found.picture.format)
        notes = [f"the file is damaged, and so may be part of the picture: {found.damage}"] if found.damage else []
        said = metadata.read(picture)
        if picture.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "YCbCr", "I;16", "I;16B"):  # CMYK, Lab
            file.seek(0)
            notes.append(f"{picture.mode} pixels converted to sRGB of 8 bits")
            pixels = decode_image(file, max_megapixels)
            return Photo(pixels, None, kind, replace(said, profile=None), notes=tuple(notes))
        encoding, upright = _own_encoding(found, file), turn(picture, found.orientation)
        grey, is_deep_grey = picture.mode in ("1", "L", "LA", "I;16", "I;16B"), picture.mode in ("I;16", "I;16B")
        deep = np.asarray(upright).astype(np.uint16) if is_deep_grey else None
        if found.is_deep and deep is None:
            notes.append("16 bits a channel become 8, in known pixels, too")
        if deep is not None:
            upright = Image.fromarray(((deep.astype(np.uint32) + 128) // 257).astype(np.uint8))
        transparent = upright.has_transparency_data
        array = np.asarray(upright.convert("RGBA" if transparent else "RGB"))
        if kind != "MPO" and found.is_animated():  # whose other frames are previews
            notes.append("the first of several frames")
    alpha = np.ascontiguousarray(array[..., 3]) if transparent else None
    pixels = np.ascontiguousarray(array[..., :3])
    return Photo(pixels, alpha, "JPEG" if kind == "MPO" else kind, said, grey, deep, encoding, tuple(notes))


def _own_encoding(found: Opened, file: BinaryIO) -> dict[str, Any]:
    """Return how a lossy file was stored: a second loss by other tables costs more, in quality and in bytes."""
    picture = found.picture
    if picture.format in ("JPEG", "MPO"):
        tables = {"qtables": picture.quantization, "subsampling": max(0, get_sampling(picture))}  # type: ignore[attr-defined]
        return tables | {"progressive": bool(picture.info.get("progressive"))}
    if picture.format == "WEBP":
        file.seek(0)
        head = file.read(_HEAD_BYTES)
        return _LOSSY_WEBP if b"VP8 " in head and b"VP8L" not in head else {}
    return {}


def kind_of(path: Path) -> str:
    """Return the format that a file's name promises, Pillow's name; "" where it promises none that is read."""
    return SUFFIXES.get(path.suffix.lower(), "")


def target(photo: Photo, wanted: Format, suffix: str = "") -> str:
    """Return the format in which a photo is written: Pillow's name.

    Args:
        photo: the one that was read.
        wanted: "keep" for that of `suffix`, where it has one, else the photo's own.
        suffix: of the file to be written, ".png" and the like.
    """
    if wanted != "keep":
        return {"png": "PNG", "jpg": "JPEG"}[wanted]
    kept = SUFFIXES.get(suffix.lower(), photo.format)
    return kept if kept in WRITTEN else "JPEG" if kept in CAMERA else "PNG"


def encode(photo: Photo, kind: str, quality: int | None = None, keep_exif: bool = False) -> bytes:
    """Write a photo in a format: with profile, density and transparency, in one channel or 16 bits where it has them.

    Args:
        photo: upright.
        kind: Pillow's name of the format; see `target`, and `lost` for what it cannot hold.
        quality: of JPEG, 1 to 100. None: the file's own tables, where it was a JPEG, else 95.
        keep_exif: all but the orientation, which is always upright: camera, time, often the place, and comments.

    Raises:
        BadImageError: the photo has more pixels a side than the format can hold.
    """
    side, most = max(photo.pixels.shape[:2]), _MOST_SIDE.get(kind, 2**31)
    if side > most:
        detail = f"{kind} holds at most {most} pixels a side, and the photo has {side}; write it as PNG or TIFF"
        raise BadImageError("too_large_for_format", detail)
    options = dict((kind == photo.format and photo.encoding) or _OPTIONS.get(kind, {}))
    if kind == "JPEG" and quality is not None:
        options = {"quality": quality, "subsampling": options["subsampling"]}
    held = replace(
        photo,
        deep=photo.deep if kind in _DEEP else None,
        alpha=None if kind in _WITHOUT_TRANSPARENCY else photo.alpha,
    )
    picture = as_pillow(held)
    picture.save(content := BytesIO(), kind, **options | photo.metadata.save_options(kind, keep_exif))
    return content.getvalue()


def as_pillow(photo: Photo) -> Image.Image:
    """Return a photo as a Pillow picture of its mode: L, LA, RGB, RGBA or I;16."""
    picture = Image.fromarray(photo.pixels if photo.deep is None else photo.deep)
    if photo.grey and picture.mode == "RGB":
        picture = picture.convert("L")
    if photo.alpha is not None:
        picture.putalpha(Image.fromarray(photo.alpha))
    if photo.metadata.profile:
        picture.info["icc_profile"] = photo.metadata.profile
    return picture


def lost(photo: Photo, kind: str, keep_exif: bool = False) -> list[str]:
    """Say what a format cannot hold of a photo; the arguments are those of `encode`."""
    said = [f"{kind} holds no {name}: not kept" for name in photo.metadata.lost(kind)] if keep_exif else []
    if photo.deep is not None and kind not in _DEEP:
        said.append(f"{kind} holds 8 bits a channel: 16 become 8")
    if photo.alpha is not None and kind in _WITHOUT_TRANSPARENCY and photo.alpha.min() < 255:
        said.append(f"{kind} holds no transparency: it is lost")
    return said
