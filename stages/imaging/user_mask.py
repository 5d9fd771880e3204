"""The hole that a person gives: a picture of either polarity, the photo's own transparency, or boxes.

    given = read_hole(content, hole_is="white")       # or open_hole(path, ...)
    given = transparent(photo)
    given = boxed([(10, 20, 200, 120)], 480, 640)     # left, top, right, bottom

White is missing unless said otherwise, from 128 on. A picture with transparency that varies is read by it (opaque is
painted, so missing); one without, by its brightness.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from stages.imaging.images import WHITE_FROM, BadImageError
from stages.imaging.photos import Photo, open_photo, read_photo
from stages.runtime.errors import InputError

HoleIs = Literal["white", "black"]
SHARE_TO_DOUBT = 0.6  # beyond, the polarity may be the wrong one
NEARLY_ALL = 0.98  # beyond, hardly anything is known to continue from
GREY_TO_DOUBT = 0.01  # more mid-grey than this: not a picture of a hole
_GREYS = (64, 192)

Missing = npt.NDArray[np.bool_]
BoxPixels = tuple[int, int, int, int]


@dataclass(frozen=True)
class UserMask:
    """A hole, upright like its photo.

    Attributes:
        missing: bool (H, W), True where pixels are missing.
        source: what it was read from: "brightness", "transparency", "transparency of the photo", "boxes".
        warnings: what a person should look at.
    """

    missing: Missing
    source: str
    warnings: tuple[str, ...] = ()


def open_hole(path: str | Path, hole_is: HoleIs, max_megapixels: float) -> UserMask:
    """Decode a picture of a hole.

    Raises:
        BadImageError: the file cannot be read or used.
    """
    return _from_picture(open_photo(path, max_megapixels), hole_is)


def read_hole(content: bytes, hole_is: HoleIs, max_megapixels: float) -> UserMask:
    """Decode a picture of a hole from memory; the rest as `open_hole`."""
    return _from_picture(read_photo(content, max_megapixels), hole_is)


def transparent(photo: Photo) -> UserMask:
    """Take what is transparent in the photo itself.

    Raises:
        InputError: the photo has no transparency.
    """
    if photo.alpha is None:
        raise InputError("the photo has no transparency to take the hole from; give a picture of the hole")
    return doubted(photo.alpha < WHITE_FROM, "transparency of the photo")


def boxed(boxes: Sequence[BoxPixels], h: int, w: int) -> UserMask:
    """Make a hole of boxes (left, top, right, bottom) in pixels, right and bottom not included.

    Raises:
        InputError: a box has no area, or reaches beyond a picture of `h` x `w` pixels.
    """
    missing = np.zeros((h, w), bool)
    for left, top, right, bottom in boxes:
        if not (0 <= left < right <= w and 0 <= top < bottom <= h):
            raise InputError(
                f"a box should be left,top,right,bottom within the {w} x {h} pixels of the photo, "
                f"but is {left},{top},{right},{bottom}"
            )
        missing[top:bottom, left:right] = True
    return doubted(missing, "boxes")


def parse_boxes(text: str) -> list[BoxPixels]:
    """Read "10,20,200,120 300,20,340,60".

    Raises:
        InputError: that is not four whole numbers a box.
    """
    boxes = []
    for part in text.split():
        numbers = part.split(",")
        if len(numbers) != 4 or not all(number.strip().isdecimal() and len(number) < 8 for number in numbers):
            raise InputError(f"boxes should be left,top,right,bottom in pixels, separated by blanks, but are {text!r}")
        left, top, right, bottom = (int(number) for number in numbers)
        boxes.append((left, top, right, bottom))
    return boxes


def check_size(hole: UserMask, photo: Photo) -> None:
    """Refuse a hole of another size than the photo's.

    Raises:
        BadImageError: `size_mismatch`.
    """
    (h, w), (hole_h, hole_w) = photo.pixels.shape[:2], hole.missing.shape
    if (h, w) != (hole_h, hole_w):
        said = f"the photo is {w} x {h} pixels, but the hole {hole_w} x {hole_h}, both turned upright"
        raise BadImageError("size_mismatch", said)


def _from_picture(picture: Photo, hole_is: HoleIs) -> UserMask:
    if picture.alpha is not None and picture.alpha.min() != picture.alpha.max():
        return doubted(picture.alpha >= WHITE_FROM, "transparency")
    red, green, blue = (picture.pixels[..., channel].astype(np.uint32) for channel in range(3))
    brightness = (299 * red + 587 * green + 114 * blue + 500) // 1000
    is_white = brightness >= WHITE_FROM
    grey = float(((brightness > _GREYS[0]) & (brightness < _GREYS[1])).mean())
    extra = (f"{grey:.0%} of the hole picture is neither black nor white; is it a picture of a hole?",)
    given = doubted(is_white if hole_is == "white" else ~is_white, "brightness")
    return UserMask(given.missing, given.source, given.warnings + (extra if grey > GREY_TO_DOUBT else ()))


def doubted(missing: Missing, source: str) -> UserMask:
    """Take a hole with what a person should look at: an empty one, one that may be the wrong way round."""
    share = float(missing.mean()) if missing.size else 0.0
    if share == 0:
        return UserMask(missing, source, ("nothing is missing: the hole is empty",))
    if share > NEARLY_ALL:
        said = f"{share:.1%} of the picture is missing: hardly anything is known to fill it from"
        return UserMask(missing, source, (said,))
    if share > SHARE_TO_DOUBT:
        return UserMask(missing, source, (f"{share:.0%} of the picture is missing; is white the hole, or black?",))
    return UserMask(missing, source)
