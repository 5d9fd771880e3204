"""Orientation and colour profile: how the pixels of a file are meant to be shown."""

from contextlib import suppress
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageChops, ImageCms

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ROUNDING = 2  # levels of 255 by which two sRGB profiles may differ


def orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 (upright) if there is none or it is invalid.

    From 5 on, width and height of the upright picture are swapped.
    """
    value = None
    with suppress(Exception):  # damaged EXIF data; the pixels are intact
        value = picture.getexif().get(ExifTags.Base.Orientation)
    return int(value) if value in _UPRIGHT else 1


def turn(picture: Image.Image, by: int) -> Image.Image:
    """Turn a picture of the given orientation upright."""
    return picture.transpose(_UPRIGHT[by]) if by in _UPRIGHT else picture


def to_srgb(picture: Image.Image, profile: bytes | None) -> tuple[Image.Image, bool]:
    """Convert a picture to sRGB by its ICC profile, if it has a valid one.

    Returns:
        the picture, RGB, and whether the profile changed it visibly.
    """
    plain = picture.convert("RGB")
    if profile:
        with suppress(ImageCms.PyCMSError, OSError, ValueError):  # broken, or for another colour space
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            given = plain if source.profile.xcolor_space.strip() == "RGB" else picture  # palettes and YCbCr, too
            converted = ImageCms.profileToProfile(given, source, _srgb(), outputMode="RGB")
            if converted is not None:
                most = np.asarray(ImageChops.difference(converted, plain)).max(initial=0)
                return converted, bool(most > _ROUNDING)
    return plain, False


@cache
def _srgb() -> Any:
    return ImageCms.createProfile("sRGB")
