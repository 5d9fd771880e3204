"""What the server answers to one request, whoever asks: bytes in, bytes out, no HTTP.

answered = answer(asked, inpainter, max_megapixels=64)
"""

import json
import time
from base64 import b64encode
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

AnswerFormat = Literal["keep", "png", "jpg", "patch", "patches"]
MOST_PATCHES = 50  # beyond, one holds all that has changed
_MEDIA_TYPES = MEDIA_TYPES | {"JSON": "application/json"}
MOST_CROPS_SAID = 20  # headers are short


@dataclass(frozen=True)
class Asked:
    """A request.

    Attributes:
        image: the photo's file.
        hole: the hole picture's file, of the photo's size; b"" where it is given otherwise.
        parts: pictures of parts of the hole, each with its left and top.
        hole_is: the colour that means "missing".
        boxes: "left,top,right,bottom ..." that are missing.
        alpha: what is transparent in the photo is missing.
        patches: answers of the format "patch", laid on the photo first, in this order, each with its left and top.
        settings: of the crops.
        format: of the answer: a whole picture; a "patch": the smallest box around what has changed, as PNG; "patches":
            such boxes around each hole, as JSON: a list of `left`, `top` and `image`, a PNG in base64.
        quality: of JPEG; None: as the photo's own.
    """

    image: bytes
    hole: bytes = b""
    parts: Sequence[tuple[bytes, tuple[int, int]]] = ()
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
    content, kind = _encoded(written, asked, report)
    said = {
        **report,
        "crops": report["crops"][:MOST_CROPS_SAID],
        "parts": report["parts"][:MOST_PATCHES],
        "warnings": [*report["warnings"], *lost(written, kind)],
        "total_ms": round(1000 * (time.perf_counter() - started), 1),
    }
    return Answered(content, _MEDIA_TYPES.get(kind, f"image/{kind.lower()}"), said)


def _encoded(written: Photo, asked: Asked, report: dict[str, Any]) -> tuple[bytes, str]:
    """Return what is answered, and its format."""
    changed = [report["changed"]] if report["changed"] else []
    if asked.format == "patch":
        return encode(_cut(written, *(changed or [[0, 0, 1, 1]])), "PNG"), "PNG"
    if asked.format == "patches":
        boxes = report["parts"] if len(report["parts"]) <= MOST_PATCHES else changed
        patches = [
            {"left": box[0], "top": box[1], "image": b64encode(encode(_cut(written, box), "PNG")).decode("ascii")}
            for box in boxes
        ]
        return json.dumps({"patches": patches}).encode(), "JSON"
    kind = target(written, asked.format)
    return encode(written, kind, asked.quality), kind


def _cut(photo: Photo, box: list[int]) -> Photo:
    left, top, right, bottom = box
    part = slice(top, bottom), slice(left, right)
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
    if asked.parts:
        whole, sources = np.zeros((h, w), bool), set()
        for content, at in asked.parts:
            given = user_mask.read_hole(content, asked.hole_is, max_megapixels)
            whole[_place(at, given.missing.shape, photo, "a hole")] |= given.missing
            sources.add(given.source)
        return user_mask.with_warnings(whole, " and ".join(sorted(sources)))
    if asked.hole:
        return user_mask.read_hole(asked.hole, asked.hole_is, max_megapixels)
    if asked.patches:  # what has been filled before is asked for as a whole
        return UserMask(np.zeros((h, w), bool), "nothing")
    raise InputError("no hole was given: send a picture of it as `hole`, `boxes`, or `alpha`")
