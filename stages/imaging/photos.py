"""A person's photo, kept as it is but for its holes: upright, in its own colours, with its profile and transparency.

    photo = open_photo(path, max_megapixels=100)      # or read_photo(bytes, ...)
    photo.pixels                                      # uint8 (H, W, 3), the numbers of the file, not converted to sRGB
    content = encode(photo, composite, "keep")        # the file's own format

`images` makes what networks train on, all alike in sRGB; here no pixel that is not missing may change.
"""

from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps

from stages.imaging.images import FORMATS, check_size, decode_image, open_picture, refusing

Format = Literal["keep", "png", "jpg"]
JPEG_QUALITY = 95
SUFFIXES = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP",
    ".gif": "GIF", ".avif": "AVIF", ".ppm": "PPM",
}  # fmt: skip
MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
}
_WRITTEN = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
_OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": JPEG_QUALITY, "subsampling": 0},
    "PNG": {"compress_level": 1},
    "WEBP": {"lossless": True, "quality": 20, "exact": True},
    "TIFF": {"compression": "tiff_lzw"},
}

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Photo:
    """A decoded photo and what its file said beside the pixels.

    Attributes:
        pixels: uint8 (H, W, 3), upright, in the colour space of `profile`.
        alpha: uint8 (H, W), 255 = opaque, or None.
        format: Pillow's name of the file's format.
        profile: the ICC profile, or None.
        exif: with its orientation set to upright; b"" where there is none.
        grey: whether the file has one channel.
        notes: what was changed in decoding, for a person.
    """

    pixels: Pixels
    alpha: Pixels | None
    format: str
    profile: bytes | None = None
    exif: bytes = b""
    grey: bool = False
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
    with Image.open(file, formats=FORMATS) as opened:
        check_size(opened, max_megapixels)
        opened.load()
        kind, profile, mode = str(opened.format), opened.info.get("icc_profile"), opened.mode
        if mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
            return _converted(file, kind, mode, max_megapixels)
        frames = getattr(opened, "n_frames", 1)
        notes = (f"the first of {frames} frames",) if frames > 1 and kind != "MPO" else ()
        picture, exif = _upright(opened), _exif(opened)  # in this order: the second takes the orientation away
        transparent = picture.has_transparency_data
        plain = picture.convert("RGBA" if transparent else "RGB")
    array = np.asarray(plain)
    alpha = np.ascontiguousarray(array[..., 3]) if transparent else None
    grey = mode in ("1", "L", "LA")
    return Photo(
        np.ascontiguousarray(array[..., :3]), alpha, "JPEG" if kind == "MPO" else kind, profile, exif, grey, notes
    )


def _converted(file: BinaryIO, kind: str, mode: str, max_megapixels: float) -> Photo:
    """Take what cannot be kept as it is (CMYK, 16 bits) from the one loader: sRGB of 8 bits."""
    file.seek(0)
    return Photo(decode_image(file, max_megapixels), None, kind, notes=(f"{mode} pixels converted to sRGB of 8 bits",))


def _upright(picture: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # damaged EXIF data says nothing of the pixels
        return picture


def _exif(picture: Image.Image) -> bytes:
    try:
        exif = picture.getexif()
        exif.pop(ExifTags.Base.Orientation, None)
        return exif.tobytes() if exif else b""
    except Exception:  # as above
        return b""


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
    return kept if kept in _WRITTEN else "PNG"


def encode(photo: Photo, composite: Pixels, kind: str, quality: int = JPEG_QUALITY, keep_exif: bool = False) -> bytes:
    """Write a composite as the photo was: profile, transparency, one channel where it had one.

    Args:
        photo: where the composite comes from.
        composite: uint8 (H, W, 3).
        kind: Pillow's name of the format; see `target`. JPEG is lossy and has no transparency.
        quality: of JPEG, 1 to 100.
        keep_exif: all but the orientation, which is always upright: camera, time, often the place.
    """
    picture = Image.fromarray(composite)
    if photo.grey:
        picture = picture.convert("L")
    if photo.alpha is not None and kind not in ("JPEG", "BMP"):
        picture.putalpha(Image.fromarray(photo.alpha))
    options = _OPTIONS.get(kind, {}) | ({"quality": quality} if kind == "JPEG" else {})
    if photo.profile and kind != "BMP":
        options["icc_profile"] = photo.profile
    if keep_exif and photo.exif and kind != "BMP":
        options["exif"] = photo.exif
    picture.save(content := BytesIO(), kind, **options)
    return content.getvalue()
