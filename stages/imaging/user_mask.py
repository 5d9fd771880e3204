"""A user's mask: a picture of either polarity, the photo's own transparency, or boxes.

    mask = mask_of(photo, Path("mask.png"), "white", max_megapixels=100)
    mask = mask_of(photo, "10,20,200,120", "white", max_megapixels=100)    # left, top, right, bottom

In a mask picture white means missing, or black on request; values from 128 are white. If the transparency of the
picture varies, only that counts: opaque, as if painted on a layer, is white, and transparent is black.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from stages.imaging.appearance import turn
from stages.imaging.images import BadImageError, open_picture, opened
from stages.imaging.photos import Photo
from stages.runtime.errors import InputError

HoleIs = Literal["white", "black"]
ALPHA = "alpha"  # as a mask: what is transparent in the photo
WHITE_FROM = 128
LARGEST_USUAL_SHARE = 0.6  # of missing pixels; above, the polarity may be wrong
NEARLY_ALL = 0.98  # above, there is hardly anything to fill from
OF_THE_PHOTO = "transparency of the photo"
MOST_GREY = 0.01  # share of mid-grey pixels; above, it is probably not a mask
_GREYS = (64, 192)
_BOXES = re.compile(r"\s*\d+,\d+,\d+,\d+(\s+\d+,\d+,\d+,\d+)*\s*")
_OTHERS = {  # by what was taken for missing: the contrary, and the option for it
    "white": ("black", "black"), "black": ("white", "white"),
    "opaque": ("transparent", "black"), "transparent": ("opaque", "white"),
}  # fmt: skip

Missing = npt.NDArray[np.bool_]
BoxPixels = tuple[int, int, int, int]


@dataclass(frozen=True)
class UserMask:
    """A mask, upright like its photo.

    Attributes:
        missing: bool (H, W), True where pixels are missing.
        source: how it was read, such as "brightness (white is missing)" or "boxes".
        warnings: for the user.
        taken: which pixels of a mask picture were taken as missing: white, black, opaque or transparent; else "".
    """

    missing: Missing
    source: str
    warnings: tuple[str, ...] = ()
    taken: str = ""


def mask_of(photo: Photo, given: Path | bytes | str, hole_is: HoleIs, max_megapixels: float) -> UserMask:
    """Return the mask that a user gives for a photo.

    Args:
        photo: that is to be filled.
        given: a mask picture, as a path or a file's content; or text: `ALPHA` for the transparent pixels of the photo,
            else boxes such as "10,20,200,120 300,20,340,60".
        hole_is: the colour that means missing in a mask picture.
        max_megapixels: a larger mask picture is refused by its header.

    Raises:
        BadImageError: the picture cannot be read or used, or differs in size from the photo.
        InputError: there is no transparency or picture, or a box is not within the photo.
    """
    if given == ALPHA:
        return transparent(photo)
    if isinstance(given, str):
        return boxed(parse_boxes(given), *photo.pixels.shape[:2])
    if isinstance(given, Path) and not given.exists():
        raise InputError(f"{given} does not exist; expected a mask picture, a folder of them, boxes or `{ALPHA}`")
    mask = read_hole(given, hole_is, max_megapixels)
    check_size(mask, photo)
    return mask


def is_text(mask: str) -> bool:
    """Return whether a mask is text as for `mask_of`, and not the name of a file."""
    return mask == ALPHA or bool(_BOXES.fullmatch(mask))


def transparent(photo: Photo) -> UserMask:
    """Use the transparent pixels of the photo as the mask.

    Raises:
        InputError: the photo has no transparency.
    """
    if photo.alpha is None:
        raise InputError("the photo has no transparency to use as a mask; give a mask picture")
    return with_warnings(photo.alpha < WHITE_FROM, OF_THE_PHOTO)


def boxed(boxes: Sequence[BoxPixels], h: int, w: int) -> UserMask:
    """Make a mask of boxes (left, top, right, bottom) in pixels; right and bottom are excluded.

    Raises:
        InputError: a box is empty, or extends beyond a picture of `h` x `w` pixels.
    """
    missing = np.zeros((h, w), bool)
    for left, top, right, bottom in boxes:
        if not (0 <= left < right <= w and 0 <= top < bottom <= h):
            raise InputError(
                f"a box should be left,top,right,bottom within the {w} x {h} pixels of the photo, "
                f"but is {left},{top},{right},{bottom}"
            )
        missing[top:bottom, left:right] = True
    return with_warnings(missing, "boxes")


def parse_boxes(text: str) -> list[BoxPixels]:
    """Parse boxes such as "10,20,200,120 300,20,340,60".

    Raises:
        InputError: a box is not four integers.
    """
    boxes = []
    for part in text.split():
        numbers = part.split(",")
        if len(numbers) != 4 or not all(number.strip().isdecimal() and len(number) < 8 for number in numbers):
            raise InputError(f"boxes should be left,top,right,bottom in pixels, separated by spaces, but are {text!r}")
        left, top, right, bottom = (int(number) for number in numbers)
        boxes.append((left, top, right, bottom))
    return boxes


def check_size(hole: UserMask, photo: Photo) -> None:
    """Require that mask and photo have the same size.

    Raises:
        BadImageError: `size_mismatch`.
    """
    (h, w), (hole_h, hole_w) = photo.pixels.shape[:2], hole.missing.shape
    if (h, w) != (hole_h, hole_w):
        detail = f"the photo is {w} x {h} pixels, but the mask {hole_w} x {hole_h}, both turned upright"
        raise BadImageError("size_mismatch", detail)


def read_hole(source: str | Path | bytes, hole_is: HoleIs, max_megapixels: float) -> UserMask:
    """Decode a mask picture from a file or a file's content; only one channel, which takes few bytes per pixel.

    Raises:
        BadImageError: the file cannot be read or used.
    """
    with open_picture(source) as file, opened(file, max_megapixels) as found:
        picture, damage = turn(found.picture, found.orientation), found.damage
        alpha = picture.convert("RGBA").getchannel("A") if picture.has_transparency_data else None
        low, high = alpha.getextrema() if alpha else (0, 0)
        by_alpha = low != high
        channel = alpha if alpha and by_alpha else _brightness(picture)
    said = {"white": "opaque", "black": "transparent"}[hole_is] if by_alpha else hole_is
    source = f"{'transparency' if by_alpha else 'brightness'} ({said} is missing)"
    shade = np.asarray(channel)
    given = with_warnings(shade >= WHITE_FROM if hole_is == "white" else shade < WHITE_FROM, source, said)
    counts = channel.histogram()
    grey = sum(counts[_GREYS[0] + 1 : _GREYS[1]]) / max(1, shade.size) if not by_alpha else 0
    extra = [f"{grey:.0%} of the mask picture is neither black nor white; is it a mask?"]
    damaged = [f"the file is damaged, and part of the mask may be, too: {damage}"] if damage else []
    return UserMask(given.missing, source, (*given.warnings, *(extra if grey > MOST_GREY else ()), *damaged), said)


def _brightness(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    return (picture if picture.mode in ("1", "L", "LA", "RGB", "RGBA") else picture.convert("RGB")).convert("L")


def with_warnings(missing: Missing, source: str, taken: str = "") -> UserMask:
    """Return a mask with warnings: if it is empty, nearly full, or its polarity may be wrong.

    Args:
        missing: bool (H, W), True where pixels are missing.
        source: how it was read.
        taken: as in `UserMask`.
    """
    share = float(missing.mean()) if missing.size else 0.0
    if share == 0:
        return UserMask(missing, source, ("nothing is missing: the mask is empty",))
    if share > NEARLY_ALL:
        return UserMask(missing, source, (f"{share:.1%} of the picture is missing: hardly anything to fill it from",))
    if share > LARGEST_USUAL_SHARE:
        warning = f"{share:.0%} of the picture is missing"
        if taken:
            other, option = _OTHERS[taken]
            warning += f"; is {taken} the hole, or {other}? --mask-is {option} says {other}"
        return UserMask(missing, source, (warning,))
    return UserMask(missing, source)
