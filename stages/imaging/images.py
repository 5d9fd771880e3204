"""Decoding: a picture file becomes upright sRGB, or is refused with a reason.

    pixels = load_image("holiday/0001.jpg", max_megapixels=100)    # uint8 (H, W, 3)

On disk a picture is RGB uint8 (H, W, 3); in the pipeline it is float32 (N, 3, H, W) in [0, 1]. Pillow decodes, because
it is the only common decoder that refuses truncated files; this module adds what Pillow leaves out (rotation, colour
profiles, 16 bits, transparency, damaged JPEG data).
"""

import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.ImageFile import ImageFile

from stages.imaging import jpeg
from stages.imaging.appearance import orientation, to_srgb, turn
from stages.imaging.formats import NO_TONES, FormatError, check_megapixels, identify
from stages.runtime.errors import InputError, os_reason
from stages.runtime.files import atomic_write

MOST_MEGAPIXELS = 178  # Pillow refuses larger pictures

_DRAFT_GAP = 2  # a JPEG decoded at 1/2, 1/4 or 1/8 keeps at least this many times the side that is needed
_MODES = {"1": "one_bit", "L": "grey", "LA": "grey", "La": "grey", "P": "palette", "PA": "palette"}
_UNCHANGED = ("RGB", "RGBA", "RGBX", "RGBa")

Pixels = npt.NDArray[np.uint8]


class BadImageError(InputError):
    """A picture that cannot be used.

    Attributes:
        code: the reason as a stable word: `not_a_file`, `unreadable`, `changed`, `not_an_image`,
            `needs_extra`, `truncated`, `corrupt`, `too_many_pixels`, `float_image`, `bit_depth`, `mostly_transparent`,
            `size_mismatch`, `too_large_for_format`.
        detail: the reason in words.
        name: of the file, "" if the picture is not from a file.
    """

    def __init__(self, code: str, detail: str, name: str = "") -> None:
        super().__init__(code, detail, name)
        self.code, self.detail, self.name = code, detail, name

    def __str__(self) -> str:
        return f"{self.name or 'the picture'}: {self.detail} ({self.code})"


@dataclass(frozen=True)
class Decoded:
    """A decoded picture and the conversions that were applied.

    Attributes:
        pixels: uint8 (h, w, 3), sRGB, upright; smaller than in the file if `short_side` allowed it.
        shape: (height, width) of the upright picture in the file.
        kind: the format: one of `formats.FORMATS`, MPO, HEIF or RAW.
        changes: the conversions, in this order: `sixteen_bit`, `turned` (by EXIF), `one_bit`, `grey`, `palette` or
            another colour space such as `cmyk`, `transparency` (laid on white), `profile` (by the embedded ICC
            profile), `first_frame` (of several); empty for plain RGB.
    """

    pixels: Pixels
    shape: tuple[int, int]
    kind: str
    changes: tuple[str, ...]


def load_image(path: str | Path, max_megapixels: float) -> Pixels:
    """Decode a picture file, turn it upright and convert it to sRGB.

    Args:
        path: a regular file, or a link to one, in any format of `stages.imaging.formats`; the suffix is ignored. Of
            several frames the first is decoded.
        max_megapixels: a larger picture is refused by its header, before it is decoded; at most `MOST_MEGAPIXELS`.

    Returns:
        uint8 (H, W, 3). Grey is repeated in all channels, 16-bit grey divided by 257, transparency laid on white.

    Raises:
        BadImageError: the file cannot be read or used.
    """
    with open_picture(path) as file:
        return decode_image(file, max_megapixels)


def save_png(path: str | Path, pixels: Pixels) -> None:
    """Write a picture as PNG, atomically.

    Args:
        path: of the file.
        pixels: uint8 (H, W, 3), RGB.

    Raises:
        ValueError: `pixels` has another shape or type.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"`pixels` should be uint8 (H, W, 3), but is {pixels.dtype} {pixels.shape}")
    Image.fromarray(pixels).save(encoded := BytesIO(), "PNG")  # to a file, Pillow would not report a full disk
    with atomic_write(path) as file:
        file.write(encoded.getbuffer())


def printable_name(path: str | Path) -> str:
    r"""Return a path as valid text: bytes that are not UTF-8 become `\xff` and the like."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@contextmanager
def open_picture(source: str | Path | bytes) -> Iterator[BufferedReader | BytesIO]:
    """Open a regular file, or a file's content; any failure inside the block becomes a `BadImageError`.

    The error names the file. A file that is modified while the block reads it fails, too.
    """
    if isinstance(source, bytes):
        with refusing():
            yield BytesIO(source)
        return
    path = source
    with refusing(printable_name(path)):
        if not stat.S_ISREG(Path(path).stat().st_mode):  # opening a pipe would block
            raise BadImageError("not_a_file", "a folder, pipe, socket or device instead of a picture file")
        with Path(path).open("rb") as file:
            before = os.fstat(file.fileno())
            yield file
            after = os.fstat(file.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise BadImageError("changed", "the file was modified while it was read")


def decode(file: BinaryIO, max_megapixels: float, short_side: int | None = None) -> Decoded:
    """Decode a picture from an open file or `BytesIO`, and list the conversions.

    Args:
        file: at the picture's first byte.
        max_megapixels: as for `load_image`.
        short_side: pixels that are needed along the short side. If a JPEG has twice as many at 1/2, 1/4 or 1/8 of its
            size, it is decoded at that size, in a fraction of the time and memory; the file is still read to its end.

    Raises:
        BadImageError: the file cannot be read or used.
    """
    with opened(file, max_megapixels, short_side) as found:
        if found.damage:
            raise BadImageError("corrupt", found.damage)
        changes = ["sixteen_bit"] * found.is_deep + ["turned"] * found.is_turned
        upright = turn(found.picture, found.orientation)
        pixels = np.array(_to_rgb(upright, changes))  # a copy: Pillow's own memory is read-only
        changes += ["first_frame"] * found.is_animated()
        return Decoded(pixels, found.shape, found.picture.format or "", tuple(changes))


@dataclass(frozen=True)
class Opened:
    """A picture decoded by Pillow, and what Pillow does not report.

    Attributes:
        picture: decoded, in the file's own mode.
        orientation: for `turn`; 1 for TIFF, which Pillow turns upright itself.
        shape: (height, width) of the upright picture in the file.
        is_turned: whether the file stores it in another orientation.
        is_deep: whether a channel has more than 8 bits, of which Pillow keeps 8 in colour pictures.
        is_grey: whether it is grey with transparency and 16 bits, which Pillow decodes to RGBA.
        damage: what is wrong with a JPEG's data, "" if no damage is known.
    """

    picture: Image.Image
    orientation: int
    shape: tuple[int, int]
    is_turned: bool
    is_deep: bool
    is_grey: bool
    damage: str

    def is_animated(self) -> bool:
        """Return whether other frames follow; call it last, since Pillow may seek away from the first one."""
        with suppress(Exception):  # the next frame may be damaged; only the first one matters
            return bool(getattr(self.picture, "is_animated", False))
        return False


@contextmanager
def opened(file: BinaryIO, max_megapixels: float, short_side: int | None = None) -> Iterator[Opened]:
    """Open and decode a picture of any format; arguments and errors as for `decode`."""
    with refusing(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow warns about is refused here, or harmless
        with identify(file, max_megapixels) as picture:
            check_megapixels(picture.width * picture.height / 1e6, max_megapixels)
            size, damage = picture.size, ""
            stored = orientation(picture) if picture.format == "TIFF" else 1  # Pillow turns TIFF itself
            raw_mode = f"{picture.mode} {getattr(picture, 'tile', '')}"
            is_deep, is_grey = ";16" in raw_mode or picture.info.get("bit_depth", 8) > 8, "LA;16" in raw_mode
            if short_side and isinstance(picture, ImageFile):
                picture.draft(picture.mode, (short_side * _DRAFT_GAP,) * 2)
            picture.load()  # first: a later attempt could succeed with half a picture
            if picture.format in ("JPEG", "MPO"):
                damage = jpeg.damage(file, size[0] * size[1])
            still = orientation(picture)
            shape = size if still >= 5 else size[::-1]
            yield Opened(picture, still, shape, max(stored, still) > 1, is_deep, is_grey, damage)


def decode_image(file: BinaryIO, max_megapixels: float) -> Pixels:
    """Decode a picture from an open file or `BytesIO`; otherwise like `load_image`."""
    return decode(file, max_megapixels).pixels


@contextmanager
def refusing(name: str = "") -> Iterator[None]:
    """Turn any exception of the block into a `BadImageError` that names the file, if a name is given."""
    try:
        yield
    except BadImageError as bad:
        raise BadImageError(bad.code, bad.detail, name or bad.name) from bad.__cause__
    except Exception as error:  # Pillow may raise almost anything for a damaged file
        raise BadImageError(*_reason(error), name) from error


def _reason(error: Exception) -> tuple[str, str]:
    if isinstance(error, FormatError):
        return error.code, error.detail
    if isinstance(error, Image.DecompressionBombError):
        return "too_many_pixels", f"more than {MOST_MEGAPIXELS} megapixels, which is the most that can be read"
    if isinstance(error, MemoryError):
        return "unreadable", "there is too little memory to decode it"
    if isinstance(error, OSError) and error.errno is not None:
        return "unreadable", os_reason(error)
    if isinstance(error, EOFError) or "truncated" in str(error).lower():
        return "truncated", "the file is truncated: its end is missing"
    return "corrupt", f"the file is damaged: {error}" if str(error) else "the file is damaged"


def _to_rgb(picture: Image.Image, changes: list[str]) -> Image.Image:
    profile = picture.info.get("icc_profile")
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray(((np.asarray(picture).astype(np.uint32) + 128) // 257).astype(np.uint8))
    if picture.mode in ("F", "I"):
        raise BadImageError(*NO_TONES[picture.mode == "F"])
    if picture.mode not in _UNCHANGED:
        changes.append(_MODES.get(picture.mode, picture.mode.lower()))
    if not picture.has_transparency_data:
        return _to_srgb(picture, profile, changes)
    return _on_white(picture.convert("RGBA"), profile, changes)


def _on_white(picture: Image.Image, profile: bytes | None, changes: list[str]) -> Image.Image:
    alpha = picture.getchannel("A")
    opacity = float(np.asarray(alpha).mean()) / 255
    if opacity < 0.5:
        raise BadImageError("mostly_transparent", f"{1 - opacity:.0%} of the picture is transparent")
    if opacity < 1:
        changes.append("transparency")
    page = Image.new("RGB", picture.size, "white")
    page.paste(_to_srgb(picture.convert("RGB"), profile, changes), mask=alpha)
    return page


def _to_srgb(picture: Image.Image, profile: bytes | None, changes: list[str]) -> Image.Image:
    converted, is_changed = to_srgb(picture, profile)
    changes += ["profile"] * is_changed
    return converted
