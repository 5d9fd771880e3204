"""Holes out of a COCO file, as Label Studio, CVAT and others write it: every annotated object is one.

for hole in read_annotations("instances.json"):     # uint8 (H, W), 1 = missing
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from stages.imaging.holes import Pixels
from stages.imaging.images import MOST_MEGAPIXELS, BadImageError, refusing

_LEAST_NUMBERS = 6  # of a polygon: three corners


def read_annotations(path: Path) -> Iterator[Pixels]:
    """Draw the objects of a COCO file, one after the other, each in the size of its picture.

    Objects without a polygon or a run-length encoded mask are passed over.

    Raises:
        BadImageError: that is no COCO file, one that contradicts itself, or one without any polygon or mask.
    """
    with refusing(str(path)):
        said = json.loads(path.read_bytes(), parse_constant=float)
        if not (isinstance(said, dict) and {"images", "annotations"} <= said.keys()):
            raise BadImageError("not_an_image", "no COCO file; of Label Studio, export COCO or brush labels to PNG")
        sizes = {each["id"]: (int(each["height"]), int(each["width"])) for each in said["images"]}
        if not any(each.get("segmentation") for each in said["annotations"]):
            raise BadImageError("not_an_image", "a COCO file without polygons or masks; export those, not boxes alone")
        for each in said["annotations"]:
            h, w = sizes[each["image_id"]]
            if not 0 < h * w <= MOST_MEGAPIXELS * 1e6:
                raise ValueError(f"picture {each['image_id']} is said to be {w} x {h} pixels")
            if drawn := each.get("segmentation"):
                yield _polygons(drawn, h, w) if isinstance(drawn, list) else _runs(drawn["counts"], h, w)


def _polygons(polygons: list[list[float]], h: int, w: int) -> Pixels:
    picture = Image.new("L", (w, h))
    for each in (polygon for polygon in polygons if len(polygon) >= _LEAST_NUMBERS):
        corners = np.nan_to_num(np.array(each, np.float64)).reshape(-1, 2).clip(0, (w, h))
        ImageDraw.Draw(picture).polygon(corners.ravel().tolist(), fill=1)
    return np.array(picture)


def _runs(counts: list[int] | str, h: int, w: int) -> Pixels:
    """Lay out runs of known and missing pixels in turn, column by column."""
    lengths = np.array(_decompressed(counts) if isinstance(counts, str) else counts, np.int64)
    if lengths.min() < 0 or lengths.sum() != h * w:
        raise ValueError(f"a mask has runs of {lengths.sum()} pixels for a picture of {w} x {h}")
    return np.repeat(np.arange(len(lengths)) % 2, lengths).astype(np.uint8).reshape(w, h).T


def _decompressed(text: str) -> list[int]:
    """Read numbers of five bits a character, lowest first; from the fourth on, what is added to the last but one."""
    counts: list[int] = []
    value = bits = 0
    for character in text.encode("ascii"):
        part = character - 48
        value |= (part & 31) << bits
        bits += 5
        if part & 32:  # more follow
            continue
        if part & 16:  # the sign
            value -= 1 << bits
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = bits = 0
    return counts
