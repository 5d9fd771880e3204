"""How a stored picture is meant to look, by what its file says beside the pixels: what is up, and which red is red."""

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
_ROUNDING = 2  # of 255; what one sRGB profile makes of another


def orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation, 1 ... 8; 1, upright, where the file says nothing that can be understood.

    From 5 on, the upright picture is as wide as the stored one is high.
    """
    said = None
    with suppress(Exception):  # damaged EXIF data says nothing of the pixels, which are whole
        said = picture.getexif().get(ExifTags.Base.Orientation)
    return int(said) if said in _UPRIGHT else 1


def turn(picture: Image.Image, by: int) -> Image.Image:
    """Turn a picture upright that has the given orientation."""
    return picture.transpose(_UPRIGHT[by]) if by in _UPRIGHT else picture


def to_srgb(picture: Image.Image, profile: bytes | None) -> tuple[Image.Image, bool]:
    """Convert colours to sRGB by the profile, where there is one and it can be used.

    Returns:
        the picture, RGB, and whether the profile changed it visibly.
    """
    plain = picture.convert("RGB")
    if profile:
        with suppress(ImageCms.PyCMSError, OSError, ValueError):  # a broken or foreign one says nothing
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            told = plain if source.profile.xcolor_space.strip() == "RGB" else picture  # of a palette or YCbCr, too
            converted = ImageCms.profileToProfile(told, source, _srgb(), outputMode="RGB")
            if converted is not None:
                most = np.asarray(ImageChops.difference(converted, plain)).max(initial=0)
                return converted, bool(most > _ROUNDING)
    return plain, False


@cache
def _srgb() -> Any:
    return ImageCms.createProfile("sRGB")
