"""A request to fill a photo, and its reply: bytes in, bytes out, no HTTP.

reply = answer(FillRequest(photo, mask), inpainter, Limits())
"""

import json
import math
import re
import sys
import time
from base64 import b64encode
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from stages.imaging import user_mask
from stages.imaging.formats import check_megapixels, size_of
from stages.imaging.images import BadImageError, open_picture
from stages.imaging.photos import Photo, encode, lost, read_photo, target
from stages.imaging.user_mask import HoleIs, UserMask
from stages.inpainting.cropping import Settings
from stages.inpainting.inpainter import Inpainter
from stages.inpainting.photo import fill
from stages.runtime.errors import InpaintError, InputError
from stages.serving.limits import Limits

Placed = tuple[bytes, tuple[int, int]]  # a picture's file, and its left and top in the photo
AnswerFormat = Literal["keep", "png", "jpg", "patch", "patches"]
MOST_PATCHES = 50  # beyond, one holds all that has changed
MOST_CROPS_REPORTED = 20  # the report travels in a header
_STATUS = {"too_many_pixels": 413, "size_mismatch": 422}
_NO_MEMORY = re.compile(
    r"bad_?alloc|bad allocation|failed to allocate|can't allocate|not enough memory|malloc fails", re.IGNORECASE
)


@dataclass(frozen=True)
class FillRequest:
    """A request.

    Attributes:
        image: the photo's file.
        mask: as for `user_mask.mask_of`, or pictures of parts of the mask; "" is allowed with `patches` only.
        hole_is: the colour that means "missing" in mask pictures.
        patches: answers of the format "patch", which are pasted into the photo first, in this order.
        settings: how to fill.
        format: of the answer: a whole picture; a "patch": the smallest box around all changes, as PNG; "patches": such
            boxes around each hole, as JSON: a list of `left`, `top` and `image`, a PNG in base64.
        quality: of JPEG, 1 to 100; None: as the photo's own.
    """

    image: bytes
    mask: bytes | str | Sequence[Placed]
    hole_is: HoleIs = "white"
    patches: Sequence[Placed] = ()
    settings: Settings = field(default_factory=Settings)
    format: AnswerFormat = "png"
    quality: int | None = None


@dataclass(frozen=True)
class FillReply:
    """A picture, or why there is none.

    Attributes:
        status: of HTTP.
        info: `model`, `media_type` and `report` of a picture; `error` and `detail` of an error.
        content: the picture's file.
    """

    status: int
    info: dict[str, Any]
    content: bytes = b""


def answer(request: FillRequest, inpainter: Inpainter, limits: Limits) -> FillReply:
    """Fill a photo; every exception becomes a reply."""
    try:
        _check_sizes(request, limits)
        return _filled(request, inpainter, limits.max_megapixels)
    except Exception as error:
        if _is_lack_of_memory(error):
            most = f"{limits.memory_bytes / 1e9:.1f} GB"
            detail = f"this takes more memory than the {most} that the server has for it; send a smaller photo or hole"
            return _refusal(413, "too_much_memory", detail)
        if isinstance(error, BadImageError):
            damaged = error.code in ("truncated", "corrupt")
            detail = f"the file is damaged ({error.detail})" if damaged else error.detail
            return _refusal(_STATUS.get(error.code, 400), error.code, detail)
        if isinstance(error, InpaintError):
            return _refusal(422, "unusable_hole", str(error))
        sys.excepthook(type(error), error, error.__traceback__)  # for whoever runs the server
        return _refusal(500, "failed", f"the server failed: {type(error).__name__}")


def _refusal(status: int, code: str, detail: str) -> FillReply:
    return FillReply(status, {"error": code, "detail": detail})


def _is_lack_of_memory(error: BaseException | None) -> bool:
    """Recognize what NumPy, Pillow, OpenCV and ONNX Runtime raise, even as the cause of another exception."""
    if error is None:
        return False
    is_it = isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error)))
    return bool(is_it) or _is_lack_of_memory(error.__cause__)


def _check_sizes(request: FillRequest, limits: Limits) -> None:
    """Refuse, by the headers of all pictures, what would take long to decode."""
    masks = [(request.mask, (0, 0))] if isinstance(request.mask, bytes) else request.mask
    placed = [*masks, *request.patches] if not isinstance(masks, str) else request.patches
    total = 0.0
    for content in (request.image, *(content for content, _ in placed)):
        with open_picture(content) as file:
            megapixels = math.prod(size_of(file)) / 1e6
            check_megapixels(megapixels, limits.max_megapixels)
        total += megapixels
    if total > limits.most_megapixels_in_all:
        detail = f"{total:.1f} megapixels in all pictures, more than the {limits.most_megapixels_in_all:g} allowed"
        raise BadImageError("too_many_pixels", detail)


def _filled(request: FillRequest, inpainter: Inpainter, max_megapixels: float) -> FillReply:
    started = time.perf_counter()
    photo = _patched(read_photo(request.image, max_megapixels), request.patches, max_megapixels)
    filled, report = fill(photo, _mask(request, photo, max_megapixels), inpainter, request.settings)
    content, kind = _encoded(filled, request, report)
    report |= {
        "crops": report["crops"][:MOST_CROPS_REPORTED],
        "parts": report["parts"][:MOST_PATCHES],
        "warnings": [*report["warnings"], *lost(filled, "PNG" if kind == "JSON" else kind)],
        "total_ms": round(1000 * (time.perf_counter() - started), 1),
    }
    media_type = "application/json" if kind == "JSON" else f"image/{kind.lower()}"
    model = {"name": inpainter.about.name, "version": inpainter.about.version, "digest": inpainter.about.digest}
    return FillReply(200, {"model": model, "media_type": media_type, "report": report}, content)


def _patched(photo: Photo, patches: Sequence[Placed], max_megapixels: float) -> Photo:
    if not patches:
        return photo
    pixels, alpha, deep = photo.pixels.copy(), copy(photo.alpha), copy(photo.deep)
    for content, at in patches:
        patch = read_photo(content, max_megapixels)
        part = _place(at, patch.pixels.shape[:2], photo, "a patch")
        pixels[part] = patch.pixels
        if alpha is not None:
            alpha[part] = 255 if patch.alpha is None else patch.alpha
        if deep is not None:
            deep[part] = patch.pixels[..., 0].astype(np.uint16) * 257 if patch.deep is None else patch.deep
    return replace(photo, pixels=pixels, alpha=alpha, deep=deep)


def _mask(request: FillRequest, photo: Photo, max_megapixels: float) -> UserMask:
    given, whole = request.mask, np.zeros(photo.pixels.shape[:2], bool)
    if not given:
        if request.patches:  # earlier answers are to be returned as a whole picture
            return UserMask(whole, "nothing")
        raise InputError("no hole was given: send a picture of it as `hole`, `boxes`, or `alpha`")
    if isinstance(given, (bytes, str)):
        return user_mask.mask_of(photo, given, request.hole_is, max_megapixels)
    sources, taken = set(), set()
    for content, at in given:
        mask = user_mask.read_hole(content, request.hole_is, max_megapixels)
        whole[_place(at, mask.missing.shape, photo, "a hole")] |= mask.missing
        sources.add(mask.source)
        taken.add(mask.taken)
    return user_mask.with_warnings(whole, " and ".join(sorted(sources)), taken.pop() if len(taken) == 1 else "")


def _place(at: tuple[int, int], size: tuple[int, ...], photo: Photo, what: str) -> tuple[slice, slice]:
    (left, top), (h, w), (photo_h, photo_w) = at, size, photo.pixels.shape[:2]
    if left + w > photo_w or top + h > photo_h:
        raise BadImageError(
            "size_mismatch",
            f"{what} of {w} x {h} pixels at {left},{top} reaches beyond the photo of {photo_w} x {photo_h}",
        )
    return slice(top, top + h), slice(left, left + w)


def _encoded(filled: Photo, request: FillRequest, report: dict[str, Any]) -> tuple[bytes, str]:
    """Return the content of the answer, and its format."""
    changed = [report["changed"]] if report["changed"] else []
    if request.format == "patch":
        return _patch(filled, *(changed or [[0, 0, 1, 1]])), "PNG"
    if request.format == "patches":
        boxes = report["parts"] if len(report["parts"]) <= MOST_PATCHES else changed
        patches = [
            {"left": box[0], "top": box[1], "image": b64encode(_patch(filled, box)).decode("ascii")} for box in boxes
        ]
        return json.dumps({"patches": patches}).encode(), "JSON"
    kind = target(filled, request.format)
    return encode(filled, kind, request.quality), kind


def _patch(photo: Photo, box: list[int]) -> bytes:
    left, top, right, bottom = box
    part = slice(top, bottom), slice(left, right)
    alpha = None if photo.alpha is None else photo.alpha[part]
    deep = None if photo.deep is None else photo.deep[part]
    return encode(Photo(photo.pixels[part], alpha, "PNG", photo.metadata, photo.grey, deep=deep), "PNG")
