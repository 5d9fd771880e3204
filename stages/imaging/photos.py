"""A user's photo: read and written without changing anything outside its holes.

    photo = read_photo(path, max_megapixels=100)      # or the file's content
    photo.pixels                                      # uint8 (H, W, 3), as in the file, not converted to sRGB
    content = encode(photo, "PNG")

`images` decodes to sRGB for training; here known pixels keep their values, colour space, bit depth and quality.
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
from stages.imaging.images import BadImageError, Opened, decode_image, open_picture, opened
from stages.imaging.metadata import Metadata

Format = Literal["keep", "png", "jpg"]
SUFFIXES = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".mpo": "JPEG", ".png": "PNG", ".webp": "WEBP",
    ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP", ".gif": "GIF", ".avif": "AVIF", ".ppm": "PPM", ".pgm": "PPM",
    ".pbm": "PPM", ".pnm": "PPM", ".heic": "HEIF", ".heif": "HEIF", ".hif": "HEIF", ".jxl": "JXL",
    **dict.fromkeys((".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw"), "RAW"),
}  # fmt: skip
CAMERA = ("HEIF", "JXL", "RAW")  # written as JPEG
WRITTEN = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF")
_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {"compress_level": 1},
    "WEBP": {"lossless": True, "quality": 20, "exact": True},
    "TIFF": {"compression": "tiff_lzw", "tiffinfo": {317: 2}},  # differences of neighbours: a third fewer bytes
    "AVIF": {"quality": 90},
}
_LYING = 5  # EXIF orientations from here on exchange width and height
_ACROSS = 1  # Pillow's number of 4:2:2
_LOSSY_WEBP = {"quality": 90, "exact": True}
_HEAD_BYTES = 2**20  # that contain a WebP's chunk headers
_WITHOUT_TRANSPARENCY = ("JPEG", "BMP")
_MOST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}
_DEEP = ("PNG", "TIFF")  # that can hold 16 bits per channel

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Photo:
    """A decoded photo.

    Attributes:
        pixels: uint8 (H, W, 3), upright, in the colour space of its profile.
        alpha: uint8 (H, W), 255 = opaque, or None.
        format: Pillow's name of the file's format.
        metadata: of the file.
        grey: whether the file has one channel.
        deep: uint16 (H, W), the pixels of a 16-bit grey picture, or None.
        encoding: options of Pillow's `save` that keep the quality of the file.
        notes: what decoding changed, for the user.
    """

    pixels: Pixels
    alpha: Pixels | None
    format: str
    metadata: Metadata = field(default_factory=Metadata)
    grey: bool = False
    deep: npt.NDArray[np.uint16] | None = None
    encoding: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = field(default=())


def read_photo(source: str | Path | bytes, max_megapixels: float) -> Photo:
    """Decode a photo.

    Args:
        source: a file, or a file's content.
        max_megapixels: a larger photo is refused by its header.

    Raises:
        BadImageError: the file cannot be read or used.
    """
    with open_picture(source) as file, opened(file, max_megapixels) as found:
        picture, kind = found.picture, str(found.picture.format)
        notes = [f"the file is damaged, and part of the picture may be, too: {found.damage}"] if found.damage else []
        stored = metadata.read(picture)
        if picture.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "YCbCr", "I;16", "I;16B"):  # CMYK, Lab
            file.seek(0)
            notes.append(f"{picture.mode} pixels converted to 8-bit sRGB")
            pixels = decode_image(file, max_megapixels)
            return Photo(pixels, None, kind, replace(stored, profile=None), notes=tuple(notes))
        encoding, upright = _own_encoding(found, file), turn(picture, found.orientation)
        is_deep_grey = picture.mode in ("I;16", "I;16B")
        grey = is_deep_grey or found.is_grey or picture.mode in ("1", "L", "LA")
        deep = np.asarray(upright).astype(np.uint16) if is_deep_grey else None
        if found.is_deep and deep is None:
            notes.append("more than 8 bits per channel become 8, also in known pixels")
        if deep is not None:
            upright = Image.fromarray(((deep.astype(np.uint32) + 128) // 257).astype(np.uint8))
        transparent = upright.has_transparency_data
        array = np.asarray(upright.convert("RGBA" if transparent else "RGB"))
        if kind != "MPO" and found.is_animated():  # in MPO they are previews
            notes.append("only the first of several frames is used")
    alpha = np.ascontiguousarray(array[..., 3]) if transparent else None
    pixels = np.ascontiguousarray(array[..., :3])
    return Photo(pixels, alpha, "JPEG" if kind == "MPO" else kind, stored, grey, deep, encoding, tuple(notes))


def _own_encoding(found: Opened, file: BinaryIO) -> dict[str, Any]:
    """Return the encoding of a lossy file: to re-encode with other tables costs more quality and bytes."""
    picture = found.picture
    if picture.format in ("JPEG", "MPO"):
        tables, sampling = picture.quantization, max(0, get_sampling(picture))  # type: ignore[attr-defined]
        if found.orientation >= _LYING:  # what was across is upright now; Pillow cannot halve colour so (4:4:0)
            tables = {number: np.reshape(table, (8, 8)).T.ravel().tolist() for number, table in tables.items()}
            sampling = 0 if sampling == _ACROSS else sampling
        progressive = bool(picture.info.get("progressive"))
        return {"qtables": tables, "subsampling": sampling, "progressive": progressive}
    if picture.format == "WEBP":
        file.seek(0)
        head = file.read(_HEAD_BYTES)
        return _LOSSY_WEBP if b"VP8 " in head and b"VP8L" not in head else {}
    return {}


def kind_of(path: Path) -> str:
    """Return Pillow's name of the format that a file's suffix stands for, "" for an unknown suffix."""
    return SUFFIXES.get(path.suffix.lower(), "")


def target(photo: Photo, wanted: Format, suffix: str = "") -> str:
    """Return Pillow's name of the format in which to write a photo.

    Args:
        photo: the photo that was read.
        wanted: "keep" for the format of `suffix` or, without one, that of the photo.
        suffix: of the file to write, such as ".png".
    """
    if wanted != "keep":
        return {"png": "PNG", "jpg": "JPEG"}[wanted]
    kept = SUFFIXES.get(suffix.lower(), photo.format)
    return kept if kept in WRITTEN else "JPEG" if kept in CAMERA else "PNG"


def encode(photo: Photo, kind: str, quality: int | None = None, keep_exif: bool = False) -> bytes:
    """Encode a photo with its profile, density, transparency, single channel and 16 bits, as far as the format allows.

    Args:
        photo: upright.
        kind: Pillow's name of the format, from `target`; `lost` lists what it cannot hold.
        quality: of JPEG, 1 to 100. None: that of the original JPEG, or 95.
        keep_exif: whether to keep camera, time, place and comments. The orientation is always upright.

    Raises:
        BadImageError: the photo is too large for the format.
    """
    side, most = max(photo.pixels.shape[:2]), _MOST_SIDE.get(kind, 2**31)
    if side > most:
        detail = f"{kind} allows at most {most} pixels per side, but the photo has {side}; use PNG or TIFF"
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
    """Return a photo as a Pillow image of mode L, LA, RGB, RGBA or I;16."""
    picture = Image.fromarray(photo.pixels if photo.deep is None else photo.deep)
    if photo.grey and picture.mode == "RGB":
        picture = picture.convert("L")
    if photo.alpha is not None:
        picture.putalpha(Image.fromarray(photo.alpha))
    if photo.metadata.profile:
        picture.info["icc_profile"] = photo.metadata.profile
    return picture


def lost(photo: Photo, kind: str, keep_exif: bool = False) -> list[str]:
    """List what a format cannot hold of a photo; arguments as for `encode`."""
    names = photo.metadata.lost(kind) if keep_exif else []
    said = [f"{kind} cannot hold {name}, which {'are' if name == 'comments' else 'is'} dropped" for name in names]
    if photo.deep is not None and kind not in _DEEP:
        said.append(f"{kind} holds 8 bits per channel, so 16 become 8")
    if photo.alpha is not None and kind in _WITHOUT_TRANSPARENCY and photo.alpha.min() < 255:
        said.append(f"{kind} cannot hold transparency, which is dropped")
    return said
