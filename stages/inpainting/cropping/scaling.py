"""Pictures at other sizes, and networks that take only some sizes."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import Image

from .boxes import Floats, Missing, Pixels


class Padded:
    """A network that takes multiples of a size, for crops of any size.

    Args:
        network: float32 (1, 4, H, W) in [0, 1], RGB with holes zeroed and hole, to (1, 3, H, W).
        multiple: of which H and W are multiples; they are at least twice that.
    """

    def __init__(self, network: Callable[[Floats], Floats], multiple: int) -> None:
        self._network = network
        self._multiple = multiple

    def __call__(self, image: Pixels, missing: Missing) -> Floats:
        """Answer for every pixel of uint8 (H, W, 3) with float32 (H, W, 3) in [0, 1]."""
        h, w = missing.shape
        # By repeating the last row and column, known or missing as they are: no edge appears that is not in the photo.
        padding = [(0, self._padded(side) - side) for side in (h, w)]
        pixels = np.pad(image, [*padding, (0, 0)], mode="edge")
        absent = np.pad(missing, padding, mode="edge")
        holed = np.concatenate([pixels / np.float32(255), absent[..., None]], axis=2, dtype=np.float32)
        holed[absent, :3] = 0
        filled = self._network(np.ascontiguousarray(holed.transpose(2, 0, 1)[None]))
        return filled[0, :, :h, :w].transpose(1, 2, 0)

    def _padded(self, side: int) -> int:
        return max(2 * self._multiple, -(-side // self._multiple) * self._multiple)


def natural_side(facts: Mapping[str, Any]) -> int:
    """Return the side of the largest crop that suits a model: four times that of the pictures it was trained on."""
    return max(256, 4 * int(facts.get("tile_size", 0)))


def natural_reach(facts: Mapping[str, Any]) -> int:
    """Return how far from known pixels a model has learned to answer, in pixels.

    That is how deep its training holes were; of a model that does not say, a third of the side of its training
    pictures, as deep as the default holes are.
    """
    return int(facts.get("reach", 0)) or max(8, int(facts.get("tile_size", 0)) // 3)


def reduced(image: Pixels, missing: Missing, factor: int) -> tuple[Pixels, Missing]:
    """Scale down by the mean of the known pixels of each square; one is missing where any of its pixels is.

    Args:
        image: uint8 (H, W, 3); what stands in its holes is ignored.
        missing: bool (H, W).
        factor: side of the squares; those that reach over the edge repeat the last row or column.
    """
    known = ~_squares(missing[..., None], factor)
    count = known.sum(axis=(1, 3), dtype=np.int32)
    colour = (_squares(image, factor) * known).sum(axis=(1, 3), dtype=np.int32)
    mean = (colour + count // 2) // count.clip(1)
    return mean.astype(np.uint8), count[..., 0] < factor**2


def _squares(pixels: Pixels | Missing, factor: int) -> Any:
    h, w, channels = pixels.shape
    padded = np.pad(pixels, [(0, -h % factor), (0, -w % factor), (0, 0)], mode="edge")
    return padded.reshape(-(-h // factor), factor, -(-w // factor), factor, channels)


def mean_of_squares(floats: Floats, factor: int) -> Floats:
    """Scale float32 (H, W, C) down by the mean of each square of `factor` pixels."""
    mean: Floats = _squares(floats, factor).mean(axis=(1, 3))  # type: ignore[arg-type]
    return mean


def enlarged(floats: Floats, factor: int, h: int, w: int) -> Floats:
    """Scale float32 (H', W', C) up by a whole factor, smoothly, and cut it to (h, w, C)."""
    size = (factor * floats.shape[1], factor * floats.shape[0])
    channels = [Image.fromarray(np.ascontiguousarray(channel)) for channel in np.moveaxis(floats, 2, 0)]
    return np.stack([np.asarray(each.resize(size, Image.Resampling.BICUBIC))[:h, :w] for each in channels], axis=2)
