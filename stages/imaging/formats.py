"""Formats that can be read: those of Pillow, and with the extra `camera` HEIC, JPEG XL and RAW.

picture = identify(file, max_megapixels=100)           # a Pillow image, possibly not decoded yet
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Any, BinaryIO

from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "PPM")  # JPEG also opens MPO

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_RAW_BEGINS = (b"FUJIFILMCCD-RAW", b"IIU\0", b"IIRO", b"IIRS", b"MMOR")  # Fujifilm, Panasonic, Olympus
_TIFF_BEGINS = (b"II*\0", b"MM\0*")
_JXL_BEGINS = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
_SUBFILE_TYPE, _MAKE, _ORIENTATION, _SUB_IFDS, _SAMPLE_FORMAT, _DNG_VERSION = 254, 271, 274, 330, 339, 50706
_FLOATING = 3
NO_TONES = {
    True: ("float_image", "floating-point pixels, for which black and white are not defined"),
    False: ("bit_depth", "32-bit or signed integer pixels, for which black and white are not defined"),
}
_EXTRAS = {"HEIC": "pi_heif", "JPEG XL": "pyjpegxl", "RAW": "rawpy"}
_INSTALL = "to read it, pip install 'image-reconstruction[camera]'"


class FormatError(ValueError):
    """A file in an unsupported format; `code` and `detail` are those of a `BadImageError`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.code, self.detail = code, detail


def identify(file: BinaryIO, max_megapixels: float) -> Image.Image:
    """Open a picture; its first bytes decide the format.

    Args:
        file: at the picture's first byte.
        max_megapixels: a larger RAW or JPEG XL file is refused before it is decoded.

    Raises:
        FormatError: the format is not supported.
    """
    head, tags = _beginning(file)
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS and b"avif" not in head:
        return _heif(file)
    if _is_raw(head, tags):
        return _developed(file, max_megapixels)
    if head.startswith(_JXL_BEGINS):
        return _jpeg_xl(file, max_megapixels)
    try:
        return Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        if samples := tags.get(_SAMPLE_FORMAT):
            raise FormatError(*NO_TONES[samples[0] == _FLOATING]) from None
        if not head:
            raise FormatError("not_an_image", "the file is empty") from None
        if head.startswith(_TIFF_BEGINS):
            raise FormatError("corrupt", "a TIFF or RAW file that is damaged, or of a kind that is not read") from None
        known = [*FORMATS, *(kind for kind, package in _EXTRAS.items() if find_spec(package))]
        raise FormatError("not_an_image", f"not a picture in a supported format ({', '.join(known)})") from None


def size_of(file: BinaryIO) -> tuple[int, int]:
    """Return width and height from a picture's header, as stored; arguments and errors as for `identify`."""
    head, tags = _beginning(file)
    if _is_raw(head, tags):
        with _opened_raw(file) as raw:
            return raw.sizes.width, raw.sizes.height
    if head.startswith(_JXL_BEGINS):
        header = _pyjpegxl().probe(file.read())
        return header.width, header.height
    with identify(file, math.inf) as picture:
        return picture.size


def _beginning(file: BinaryIO) -> tuple[bytes, dict[int, tuple[int, ...]]]:
    """Return a file's first bytes and, if it is a valid TIFF, the tags of its first directory."""
    head, tags = file.read(64), {}
    if head.startswith(_TIFF_BEGINS):
        with suppress(Exception):
            directory = ImageFileDirectory_v2(head[:8])
            file.seek(directory.next)
            directory.load(file)
            tags = {tag: value if isinstance(value, tuple) else (value,) for tag, value in directory.items()}
    file.seek(0)
    return head, tags


def _is_raw(head: bytes, tags: dict[int, tuple[int, ...]]) -> bool:
    """Return whether it is a camera's RAW file, of which Pillow would open the preview."""
    by_head = head.startswith(_RAW_BEGINS) or head[4:12] == b"ftypcrx " or (bool(tags) and head[8:10] == b"CR")
    is_preview = tags.get(_SUBFILE_TYPE) == (1,) and _SUB_IFDS in tags and _MAKE in tags
    return by_head or is_preview or _DNG_VERSION in tags


def _heif(file: BinaryIO) -> Image.Image:
    try:
        import pi_heif
    except ImportError:
        raise FormatError("needs_extra", f"a HEIC picture; {_INSTALL}") from None
    pi_heif.register_heif_opener()
    try:
        return Image.open(file, formats=["HEIF"])
    except UnidentifiedImageError:
        raise FormatError("corrupt", "the HEIC picture is damaged or truncated") from None


@contextmanager
def _opened_raw(file: BinaryIO) -> Iterator[Any]:
    try:
        import rawpy
    except ImportError:
        raise FormatError("needs_extra", f"a camera's RAW file; {_INSTALL}") from None
    try:
        with rawpy.imread(file) as raw:
            yield raw
    except rawpy.LibRawError:
        raise FormatError("corrupt", "the RAW file is damaged or truncated") from None


def _developed(file: BinaryIO, max_megapixels: float) -> Image.Image:
    with _opened_raw(file) as raw:
        check_megapixels(raw.sizes.width * raw.sizes.height / 1e6, max_megapixels)
        picture = Image.fromarray(raw.postprocess(use_camera_wb=True))
    picture.format = "RAW"
    return picture


def _jpeg_xl(file: BinaryIO, max_megapixels: float) -> Image.Image:
    library, content = _pyjpegxl(), file.read()
    header = library.probe(content)
    check_megapixels(header.width * header.height / 1e6, max_megapixels)
    _, pixels = library.decode_to_numpy(content, dtype="uint8")
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    picture.format = "JXL"
    picture.info.update(icc_profile=header.icc, bit_depth=header.bits_per_sample)
    with suppress(Exception):  # damaged EXIF data do not matter for the pixels, which are upright already
        picture.getexif().load(header.exif[4:])
        del picture.getexif()[_ORIENTATION]
    return picture


def _pyjpegxl() -> Any:
    try:
        import pyjpegxl
    except ImportError:
        raise FormatError("needs_extra", f"a JPEG XL picture; {_INSTALL}") from None
    return pyjpegxl


def check_megapixels(megapixels: float, most: float) -> None:
    """Refuse a picture that is too large, by its header.

    Raises:
        FormatError: it has more than `most` megapixels.
    """
    if megapixels > most:
        raise FormatError("too_many_pixels", f"{megapixels:.1f} megapixels, more than the {most:g} allowed")
