"""The one place where pictures are decoded: a file in, upright sRGB out, or a refusal that says why.

    pixels = load_image("holiday/0001.jpg", max_megapixels=100)    # uint8 (H, W, 3)

Outside the pipeline a picture is RGB uint8 (H, W, 3); inside float32 (N, 3, H, W) in [0, 1]. Pillow decodes, because it
is the only common decoder that refuses a truncated file; what it would get wrong (rotation, colour profiles, 16 bits,
transparency, damaged JPEG data) is put right here.
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

from stages.imaging.appearance import orientation, to_srgb, turn
from stages.imaging.formats import NO_TONES, FormatError, identify
from stages.imaging.jpeg import complaint
from stages.runtime.errors import InputError
from stages.runtime.files import atomic_write

MOST_MEGAPIXELS = 178  # beyond, Pillow itself refuses

_DRAFT_GAP = 2  # a JPEG decoded at 1/2, 1/4 or 1/8 keeps so many times the side that is needed, as in thumbnails
_MODES = {"1": "one_bit", "L": "grey", "LA": "grey", "La": "grey", "P": "palette", "PA": "palette"}
_UNCHANGED = ("RGB", "RGBA", "RGBX", "RGBa")

Pixels = npt.NDArray[np.uint8]


class BadImageError(InputError):
    """A picture that cannot be used.

    Attributes:
        code: the reason, a word that does not change: `not_a_file`, `unreadable`, `changed`, `not_an_image`,
            `needs_extra`, `truncated`, `corrupt`, `too_many_pixels`, `float_image`, `bit_depth`, `mostly_transparent`,
            `size_mismatch`, `too_large_for_format`.
        detail: the same in words.
        name: of the file, where it has one.
    """

    def __init__(self, code: str, detail: str, name: str = "") -> None:
        super().__init__(code, detail, name)
        self.code, self.detail, self.name = code, detail, name

    def __str__(self) -> str:
        return f"{self.name or 'the picture'}: {self.detail} ({self.code})"


@dataclass(frozen=True)
class Decoded:
    """A picture and what the loader saw and did.

    Attributes:
        pixels: uint8 (h, w, 3), sRGB, upright; smaller than the file's where that was allowed.
        shape: (height, width) of the upright picture in the file.
        kind: the format, one of `formats.FORMATS`, MPO, HEIF or RAW.
        changes: what makes the pixels other than those in the file, in this order: `sixteen_bit`, `turned` (by EXIF),
            `one_bit`, `grey`, `palette` or another colour space's name such as `cmyk`, `transparency` (laid on white),
            `profile` (colours by the embedded ICC profile), `first_frame` (of several); empty for plain RGB.
    """

    pixels: Pixels
    shape: tuple[int, int]
    kind: str
    changes: tuple[str, ...]


def load_image(path: str | Path, max_megapixels: float) -> Pixels:
    """Decode a picture file whole, turn it upright and convert it to sRGB.

    Args:
        path: a regular file (or a link to one) of any format of `stages.imaging.formats`, whatever its suffix; of
            several frames, the first.
        max_megapixels: above this the picture is refused from its header, before anything is decoded; at most
            `MOST_MEGAPIXELS`.

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
    """Open a regular file for reading; what fails inside the block becomes a `BadImageError` that names the file.

    That holds, too, for a file that is written to while the block reads it.
    """
    with refusing(printable_name(path)):
        if not stat.S_ISREG(Path(path).stat().st_mode):  # to open a pipe would wait for ever
            raise BadImageError("not_a_file", "a folder, pipe, socket or device, where a picture file was wanted")
        with Path(path).open("rb") as file:
            before = os.fstat(file.fileno())
            yield file
            after = os.fstat(file.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise BadImageError("changed", "the file was written to while it was read")


def decode(file: BinaryIO, max_megapixels: float, short_side: int | None = None) -> Decoded:
    """Decode a picture from an open file or `BytesIO`, and say what was done to it.

    Args:
        file: at the picture's first byte.
        max_megapixels: as for `load_image`.
        short_side: pixels of the short side that are enough. A JPEG is then decoded at 1/2, 1/4 or 1/8 where that
            leaves twice as many: in a fraction of the time and memory, and read to its end all the same.

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
    """A picture as Pillow decodes it, and what Pillow does not say of it.

    Attributes:
        picture: decoded, in the file's own mode.
        orientation: by which `turn` makes it upright; 1 for TIFF, which Pillow turns.
        shape: (height, width) of the upright picture in the file.
        is_turned: whether it is stored otherwise than upright.
        is_deep: whether a channel has 16 bits, of which Pillow keeps 8 in colour.
        damage: what is wrong with a JPEG's data, "" where nothing is known to be.
    """

    picture: Image.Image
    orientation: int
    shape: tuple[int, int]
    is_turned: bool
    is_deep: bool
    damage: str

    def is_animated(self) -> bool:
        """Tell whether other frames follow; asked last, since Pillow may leave the first one for that."""
        with suppress(Exception):  # what follows may be damaged; the first frame is all that is wanted
            return bool(getattr(self.picture, "is_animated", False))
        return False


@contextmanager
def opened(file: BinaryIO, max_megapixels: float, short_side: int | None = None) -> Iterator[Opened]:
    """Open a picture of any format and decode it; the arguments and errors are those of `decode`."""
    with refusing(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow warns of is refused, or harmless, such as odd metadata
        with identify(file, max_megapixels) as picture:
            check_size(picture, max_megapixels)
            size, damage = picture.size, ""
            said = orientation(picture) if picture.format == "TIFF" else 1  # Pillow turns TIFF itself
            is_deep = ";16" in f"{picture.mode} {getattr(picture, 'tile', '')}"
            if short_side and isinstance(picture, ImageFile):
                picture.draft(picture.mode, (short_side * _DRAFT_GAP,) * 2)
            picture.load()  # before all that swallows errors: a second attempt can succeed with half a picture
            if picture.format in ("JPEG", "MPO"):
                damage = complaint(file, size[0] * size[1])
            still = orientation(picture)
            shape = size if still >= 5 else size[::-1]
            yield Opened(picture, still, shape, max(said, still) > 1, is_deep, damage)


def decode_image(file: BinaryIO, max_megapixels: float) -> Pixels:
    """Decode a picture from an open file or `BytesIO`; the rest as `load_image`."""
    return decode(file, max_megapixels).pixels


@contextmanager
def refusing(name: str = "") -> Iterator[None]:
    """Turn whatever a damaged picture makes Pillow raise into a `BadImageError`, which names the file, if given."""
    try:
        yield
    except BadImageError as bad:
        raise BadImageError(bad.code, bad.detail, name or bad.name) from bad.__cause__
    except Exception as error:  # damaged files make Pillow raise almost anything
        raise BadImageError(*_reason(error), name) from error


def _reason(error: Exception) -> tuple[str, str]:
    words = f"{type(error).__name__}: {error}"
    if isinstance(error, FormatError):
        return error.code, error.detail
    if isinstance(error, Image.DecompressionBombError):
        return "too_many_pixels", words
    if isinstance(error, MemoryError) or getattr(error, "errno", None) is not None:
        return "unreadable", words
    if isinstance(error, EOFError) or "truncated" in str(error).lower():
        return "truncated", words
    return "corrupt", words


def check_size(picture: Image.Image, max_megapixels: float) -> None:
    """Refuse a picture by its header.

    Raises:
        BadImageError: it has more than `max_megapixels`.
    """
    megapixels = picture.width * picture.height / 1e6
    if megapixels > max_megapixels:
        raise BadImageError("too_many_pixels", f"{megapixels:.1f} megapixels, more than the {max_megapixels:g} allowed")


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
