"""Filling a photo: shared by command line, server and Python.

filled, report = fill(read_photo("a.jpg", 178), boxed([(10, 20, 200, 120)], 480, 640), inpainter, Settings(grow=4))
content = encode(filled, "JPEG")
"""

from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from stages.imaging import user_mask
from stages.imaging.photos import Photo
from stages.imaging.user_mask import UserMask
from stages.inpainting import edges
from stages.inpainting.cropping import Box, Missing, Pixels, Settings, crops, membrane, weights
from stages.inpainting.inpainter import Inpainter

_DEFAULTS = Settings()


def fill(
    photo: Photo, mask: UserMask, inpainter: Inpainter, settings: Settings = _DEFAULTS
) -> tuple[Photo, dict[str, Any]]:
    """Fill the masked part of a photo.

    Colours of fully transparent pixels are meaningless and are not continued into the hole. These pixels stay
    transparent, unless all transparent pixels nearby are masked; then the filled part becomes opaque.

    Args:
        photo: not modified.
        mask: of the same size.
        inpainter: the model.
        settings: how to fill.

    Returns:
        the filled photo; and the report of `cropping.inpaint` with `warnings` for the user and `is_nearly_all`, whether
        the mask covers nearly the whole photo.

    Raises:
        BadImageError: photo and mask differ in size.
    """
    user_mask.check_size(mask, photo)
    weight = weights(mask.missing, settings.grow, settings.feather)
    pixels, alpha, warnings = photo.pixels, photo.alpha, [*photo.notes, *mask.warnings]
    if alpha is not None:
        pixels = _continued(pixels, alpha == 0, weight == 255, settings.context)
    composite, report = inpainter(pixels, mask.missing, settings)
    if alpha is not None:
        composite[weight == 0] = photo.pixels[weight == 0]
        boxes = [Box(top, left, bottom, right) for left, top, right, bottom in report["crops"]]
        alpha, stays = _opaque(alpha, weight, boxes, mask.source == user_mask.OF_THE_PHOTO)
        if stays:
            warnings.append("transparent pixels in the mask stay transparent; use `alpha` as the mask to fill them")
    if edge := edges.warning(pixels, weight == 255):
        warnings.append(edge)
    deep = photo.deep
    if deep is not None:
        deep = np.where(weight > 0, np.asarray(Image.fromarray(composite).convert("L")).astype(np.uint16) * 257, deep)
    report |= {"warnings": warnings, "is_nearly_all": bool(mask.missing.mean() > user_mask.NEARLY_ALL)}
    return replace(photo, pixels=composite, alpha=alpha, deep=deep), report


def _continued(pixels: Pixels, clear: Missing, absent: Missing, context: float) -> Pixels:
    """Continue the colours of visible pixels into transparent ones near holes."""
    if not (clear & ~absent).any():
        return pixels
    pixels = pixels.copy()
    for box in crops(absent, context):
        here, unknown = pixels[box.part], clear[box.part] | absent[box.part]
        if not unknown.all():
            spread = membrane.spread(here.astype(np.float32), unknown).round().astype(np.uint8)
            pixels[box.part] = np.where(clear[box.part][..., None], spread, here)
    return pixels


def _opaque(alpha: Pixels, weight: Pixels, boxes: list[Box], is_the_hole: bool) -> tuple[Pixels | None, bool]:
    """Make filled pixels opaque; return None if all pixels are, and whether some filled pixels stay transparent."""
    before, alpha, stays = alpha, alpha.copy(), False
    for box in boxes:
        here, share = alpha[box.part], weight[box.part]
        if is_the_hole or not ((here == 0) & (share < 255)).any():
            alpha[box.part] = here + ((255 - here).astype(np.uint16) * share // 255).astype(np.uint8)
        else:
            stays |= bool(((here == 0) & (share == 255)).any())
    return None if (alpha == 255).all() and (before < 255).any() else alpha, stays
