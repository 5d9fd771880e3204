"""Scaling of pictures, and padding for networks that accept only some sizes."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import Image

from .boxes import Floats, Missing, Pixels


class Padded:
    """Pads crops of any size for a network.

    Args:
        network: maps float32 (1, 4, H, W) in [0, 1], RGB with holes set to 0 and the hole, to (1, 3, H, W).
        multiple: H and W must be multiples of it, and at least twice as large.
    """

    def __init__(self, network: Callable[[Floats], Floats], multiple: int) -> None:
        self._network = network
        self._multiple = multiple

    def __call__(self, image: Pixels, missing: Missing) -> Floats:
        """Predict every pixel of uint8 (H, W, 3): float32 (H, W, 3) in [0, 1]."""
        h, w = missing.shape
        # Repeat the last row and column, known or missing: padding must not add an edge.
        padding = [(0, self._padded(side) - side) for side in (h, w)]
        pixels = np.pad(image, [*padding, (0, 0)], mode="edge")
        absent = np.pad(missing, padding, mode="edge")
        holed = np.concatenate([pixels / np.float32(255), absent[..., None]], axis=2, dtype=np.float32)
        holed[absent, :3] = 0
        prediction = self._network(np.ascontiguousarray(holed.transpose(2, 0, 1)[None]))
        return prediction[0, :, :h, :w].transpose(1, 2, 0)

    def _padded(self, side: int) -> int:
        return max(2 * self._multiple, -(-side // self._multiple) * self._multiple)


def natural_side(facts: Mapping[str, Any]) -> int:
    """Return the side of the largest crop for a model: four times its training tiles, at least 256 pixels."""
    return max(256, 4 * int(facts.get("tile_size", 0)))


def natural_reach(facts: Mapping[str, Any]) -> int:
    """Return the distance from known pixels up to which a model was trained, in pixels.

    That is the depth of its training holes; for a model without that fact, a third of the side of its training tiles,
    the depth of the default holes.
    """
    return int(facts.get("reach", 0)) or max(8, int(facts.get("tile_size", 0)) // 3)


def reduced(image: Pixels, missing: Missing, factor: int) -> tuple[Pixels, Missing]:
    """Scale down by the mean of the known pixels in each square; a square is missing if any of its pixels is.

    Args:
        image: uint8 (H, W, 3); its values in holes are ignored.
        missing: bool (H, W).
        factor: side of the squares; beyond the edge the last row or column is repeated.
    """
    known = _padded(~missing[..., None], factor)
    colours = _padded(image, factor) * known
    count, colour = (  # many times as fast as a sum over axes of so few
        sum(each[row::factor, column::factor].astype(np.int32) for row in range(factor) for column in range(factor))
        for each in (known, colours)
    )
    mean = (colour + count // 2) // count.clip(1)
    return mean.astype(np.uint8), count[..., 0] < factor**2


def _padded(pixels: Any, factor: int) -> Any:
    h, w = pixels.shape[:2]
    return np.pad(pixels, [(0, -h % factor), (0, -w % factor), (0, 0)], mode="edge")


def mean_of_squares(floats: Floats, factor: int) -> Floats:
    """Scale float32 (H, W, C) down by the mean of each square of `factor` pixels."""
    padded = _padded(floats, factor)
    h, w, channels = padded.shape
    mean: Floats = padded.reshape(h // factor, factor, w // factor, factor, channels).mean(axis=(1, 3))
    return mean


def enlarged(floats: Floats, factor: int, h: int, w: int) -> Floats:
    """Scale float32 (H', W', C) up by an integer factor with bicubic interpolation, and crop it to (h, w, C)."""
    size = (factor * floats.shape[1], factor * floats.shape[0])
    channels = [Image.fromarray(np.ascontiguousarray(channel)) for channel in np.moveaxis(floats, 2, 0)]
    return np.stack([np.asarray(each.resize(size, Image.Resampling.BICUBIC))[:h, :w] for each in channels], axis=2)
