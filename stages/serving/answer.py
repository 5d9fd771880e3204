"""What the server answers to one request, whoever asks: bytes in, bytes out, no HTTP.

answered = answer(asked, inpainter, max_megapixels=64)
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from stages.imaging import user_mask
from stages.imaging.images import BadImageError
from stages.imaging.photos import MEDIA_TYPES, Photo, encode, lost, read_photo, target
from stages.imaging.user_mask import HoleIs, UserMask
from stages.inpainting.cropping import Settings
from stages.inpainting.inpainter import Inpainter
from stages.inpainting.photo import fill
from stages.runtime.errors import InputError

AnswerFormat = Literal["keep", "png", "jpg", "patch"]
MOST_CROPS_SAID = 20  # headers are short


@dataclass(frozen=True)
class Asked:
    """A request.

    Attributes:
        image: the photo's file.
        hole: the hole picture's file; b"" where it is given otherwise.
        hole_at: left, top: where a hole picture smaller than the photo lies on it; None: it has the photo's size.
        hole_is: the colour that means "missing".
        boxes: "left,top,right,bottom ..." that are missing.
        alpha: what is transparent in the photo is missing.
        patches: answers of the format "patch", laid on the photo first, in this order, each with its left and top.
        settings: of the crops.
        format: of the answer: a whole picture, or a "patch": the smallest box around what has changed, as PNG.
        quality: of JPEG; None: as the photo's own.
    """

    image: bytes
    hole: bytes = b""
    hole_at: tuple[int, int] | None = None
    hole_is: HoleIs = "white"
    boxes: str = ""
    alpha: bool = False
    patches: Sequence[tuple[bytes, tuple[int, int]]] = ()
    settings: Settings = field(default_factory=Settings)
    format: AnswerFormat = "png"
    quality: int | None = None


@dataclass(frozen=True)
class Answered:
    """An answer: the picture's bytes, its media type, and what is to be said of it."""

    content: bytes
    media_type: str
    report: dict[str, Any]


def answer(asked: Asked, inpainter: Inpainter, max_megapixels: float) -> Answered:
    """Fill a hole.

    Raises:
        BadImageError: a picture cannot be read or used, or hole and photo differ in size.
        InputError: no hole was given, or it cannot be used.
    """
    started = time.perf_counter()
    photo = _patched(read_photo(asked.image, max_megapixels), asked.patches, max_megapixels)
    written, report = fill(photo, _hole(asked, photo, max_megapixels), inpainter, asked.settings)
    if asked.format == "patch":
        left, top, right, bottom = report["changed"] or [0, 0, 1, 1]
        written = _cut(written, (slice(top, bottom), slice(left, right)))
    kind = "PNG" if asked.format == "patch" else target(photo, asked.format)
    content = encode(written, kind, asked.quality)
    said = {
        **report,
        "crops": report["crops"][:MOST_CROPS_SAID],
        "warnings": [*report["warnings"], *lost(written, kind)],
        "total_ms": round(1000 * (time.perf_counter() - started), 1),
    }
    return Answered(content, MEDIA_TYPES.get(kind, f"image/{kind.lower()}"), said)


def _cut(photo: Photo, part: tuple[slice, slice]) -> Photo:
    alpha = None if photo.alpha is None else photo.alpha[part]
    return Photo(photo.pixels[part], alpha, "PNG", photo.metadata, photo.grey)


def _patched(photo: Photo, patches: Sequence[tuple[bytes, tuple[int, int]]], max_megapixels: float) -> Photo:
    if not patches:
        return photo
    pixels, alpha = photo.pixels.copy(), None if photo.alpha is None else photo.alpha.copy()
    for content, at in patches:
        patch = read_photo(content, max_megapixels)
        part = _place(at, patch.pixels.shape[:2], photo, "a patch")
        pixels[part] = patch.pixels
        if alpha is not None:
            alpha[part] = 255 if patch.alpha is None else patch.alpha
    return replace(photo, pixels=pixels, alpha=alpha)


def _place(at: tuple[int, int], size: tuple[int, ...], photo: Photo, what: str) -> tuple[slice, slice]:
    (left, top), (h, w), (photo_h, photo_w) = at, size, photo.pixels.shape[:2]
    if left + w > photo_w or top + h > photo_h:
        raise BadImageError(
            "size_mismatch",
            f"{what} of {w} x {h} pixels at {left},{top} reaches beyond the photo of {photo_w} x {photo_h}",
        )
    return slice(top, top + h), slice(left, left + w)


def _hole(asked: Asked, photo: Photo, max_megapixels: float) -> UserMask:
    h, w = photo.pixels.shape[:2]
    if asked.alpha:
        return user_mask.transparent(photo)
    if asked.boxes:
        return user_mask.boxed(user_mask.parse_boxes(asked.boxes), h, w)
    if not asked.hole:
        if asked.patches:  # what has been filled before is asked for as a whole
            return UserMask(np.zeros((h, w), bool), "nothing")
        raise InputError("no hole was given: send a picture of it as `hole`, `boxes`, or `alpha`")
    given = user_mask.read_hole(asked.hole, asked.hole_is, max_megapixels)
    if asked.hole_at is not None:
        part = _place(asked.hole_at, given.missing.shape, photo, "a hole")
        whole = np.zeros((h, w), bool)
        whole[part] = given.missing
        return user_mask.doubted(whole, given.source)
    return given
