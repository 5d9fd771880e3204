"""The one place where pictures are decoded: a file in, upright sRGB out, or a refusal that says why.

    pixels = load_image("holiday/0001.jpg", max_megapixels=100)    # uint8 (H, W, 3)
    hole = load_hole("holes/scratch.png", hole_is="white")         # uint8 (H, W), 1 = missing

Outside the pipeline a picture is RGB uint8 (H, W, 3); inside float32 (N, 3, H, W) in [0, 1]. Pillow decodes, because it
is the only common decoder that refuses a truncated file; what it would get wrong (rotation, colour profiles, 16 bits,
transparency) is put right here.
"""

import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from stages.running.errors import InputError
from stages.running.files import atomic_write

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "PPM")  # JPEG is also what opens MPO
MOST_MEGAPIXELS = 178  # beyond, Pillow itself refuses
WHITE_FROM = 128

_HOLE_MEGAPIXELS = 100
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Pixels = npt.NDArray[np.uint8]


class BadImageError(InputError):
    """A picture that cannot be used.

    Attributes:
        code: the reason, a word that does not change: `not_a_file`, `unreadable`, `not_an_image`, `truncated`,
            `corrupt`, `too_many_pixels`, `float_image`, `bit_depth`, `mostly_transparent`.
        detail: the same in words.
        name: of the file, where it has one.
    """

    def __init__(self, code: str, detail: str, name: str = "") -> None:
        super().__init__(code, detail, name)
        self.code, self.detail, self.name = code, detail, name

    def __str__(self) -> str:
        return f"{self.name or 'the picture'}: {self.detail} ({self.code})"


def load_image(path: str | Path, max_megapixels: float) -> Pixels:
    """Decode a picture file whole, turn it upright and convert it to sRGB.

    Args:
        path: a regular file (or a link to one) in one of `FORMATS`, whatever its suffix; of several frames, the first.
        max_megapixels: above this the picture is refused from its header, before anything is decoded; at most
            `MOST_MEGAPIXELS`.

    Returns:
        uint8 (H, W, 3). Grey is repeated in all channels, 16-bit grey divided by 257, transparency laid on white.

    Raises:
        BadImageError: the file cannot be read or used.
    """
    with open_picture(path) as file:
        return decode_image(file, max_megapixels)


def load_hole(path: str | Path, hole_is: Literal["white", "black"]) -> Pixels:
    """Decode a picture of holes.

    Args:
        path: as for `load_image`.
        hole_is: the colour that means "missing".

    Returns:
        uint8 (H, W), 1 where the luminance is on the missing side of 128 (128 is white), 0 elsewhere.

    Raises:
        BadImageError: the file cannot be read or used.
    """
    grey = np.asarray(Image.fromarray(load_image(path, _HOLE_MEGAPIXELS)).convert("L"))
    is_white = grey >= WHITE_FROM
    return (is_white if hole_is == "white" else ~is_white).astype(np.uint8)


def save_png(path: str | Path, pixels: Pixels) -> None:
    """Write a picture as PNG, atomically.

    Args:
        path: where it is to stand.
        pixels: uint8 (H, W, 3), RGB.

    Raises:
        ValueError: `pixels` has another shape or type.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"`pixels` should be uint8 (H, W, 3), but is {pixels.dtype} {pixels.shape}")
    Image.fromarray(pixels).save(encoded := BytesIO(), "PNG")  # into a file, Pillow would hide that the disk is full
    with atomic_write(path) as file:
        file.write(encoded.getbuffer())


def printable_name(path: str | Path) -> str:
    r"""Return a path as text that every file can hold: bytes that are not UTF-8 become `\xff` and the like."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@contextmanager
def open_picture(path: str | Path) -> Iterator[BufferedReader]:
    """Open a regular file for reading; what fails inside the block becomes a `BadImageError` that names the file."""
    with _refusing(printable_name(path)):
        if not stat.S_ISREG(Path(path).stat().st_mode):  # to open a pipe would wait for ever
            raise BadImageError("not_a_file", "a folder, pipe, socket or device, where a picture file was wanted")
        with Path(path).open("rb") as file:
            yield file


def decode_image(file: BinaryIO, max_megapixels: float) -> Pixels:
    """Decode a picture from an open file or `BytesIO`; the rest as `load_image`."""
    with _refusing(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow warns of is refused, or harmless, such as odd metadata
        with Image.open(file, formats=FORMATS) as picture:
            _check_size(picture, max_megapixels)
            picture.load()
            return np.array(_to_rgb(_upright(picture)))  # a copy: Pillow's own memory is read-only


@contextmanager
def _refusing(name: str = "") -> Iterator[None]:
    try:
        yield
    except BadImageError as bad:
        raise BadImageError(bad.code, bad.detail, name or bad.name) from bad.__cause__
    except Exception as error:  # damaged files make Pillow raise almost anything
        raise BadImageError(*_reason(error), name) from error


def _reason(error: Exception) -> tuple[str, str]:
    words = f"{type(error).__name__}: {error}"
    if isinstance(error, UnidentifiedImageError):
        return "not_an_image", f"not a picture in a format that is read ({', '.join(FORMATS)})"
    if isinstance(error, Image.DecompressionBombError):
        return "too_many_pixels", words
    if isinstance(error, MemoryError) or getattr(error, "errno", None) is not None:
        return "unreadable", words
    if isinstance(error, EOFError) or "truncated" in str(error).lower():
        return "truncated", words
    return "corrupt", words


def _check_size(picture: Image.Image, max_megapixels: float) -> None:
    megapixels = picture.width * picture.height / 1e6
    if megapixels > max_megapixels:
        raise BadImageError("too_many_pixels", f"{megapixels:.1f} megapixels, more than the {max_megapixels:g} allowed")


def _upright(picture: Image.Image) -> Image.Image:
    orientation = None
    with suppress(Exception):  # damaged EXIF data says nothing of the pixels, which are whole
        orientation = picture.getexif().get(ExifTags.Base.Orientation)
    return picture.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else picture


def _to_rgb(picture: Image.Image) -> Image.Image:
    profile = picture.info.get("icc_profile")
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray(((np.asarray(picture).astype(np.uint32) + 128) // 257).astype(np.uint8))
    if picture.mode == "F":
        raise BadImageError("float_image", "pixels are floating-point numbers, whose black and white nothing says")
    if picture.mode == "I":
        raise BadImageError("bit_depth", "pixels are 32-bit or signed integers, whose black and white nothing says")
    if not picture.has_transparency_data:
        return _to_srgb(picture, profile)
    return _on_white(picture.convert("RGBA"), profile)


def _on_white(picture: Image.Image, profile: bytes | None) -> Image.Image:
    alpha = picture.getchannel("A")
    opacity = float(np.asarray(alpha).mean()) / 255
    if opacity < 0.5:
        raise BadImageError("mostly_transparent", f"{1 - opacity:.0%} of the picture is transparent")
    page = Image.new("RGB", picture.size, "white")
    page.paste(_to_srgb(picture.convert("RGB"), profile), mask=alpha)
    return page


def _to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    if profile:
        with suppress(ImageCms.PyCMSError, OSError, ValueError):  # a broken or foreign one says nothing
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            converted = ImageCms.profileToProfile(picture, source, _srgb(), outputMode="RGB")
            if converted is not None:
                return converted
    return picture.convert("RGB")


@cache
def _srgb() -> Any:
    return ImageCms.createProfile("sRGB")
