"""Choice and cutting of tiles.

tiles = choose_tiles((427, 640), cutting, rng)     # boxes in the photo's own pixels
cut(pixels, (427, 640), tiles, 64)                 # uint8 (n, 64, 64, 3)
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TilingConfig:
    """How photos are decoded and cut.

    Attributes:
        tile_size: side of a tile in pixels.
        short_sides: pixels, none below `tile_size`; a photo's short side is scaled down to each.
        max_tiles: per photo.
        max_megapixels: larger photos are rejected.
        turned: whether to hash flips and rotations, too.
        seed: of the choice of tiles.
    """

    tile_size: int
    short_sides: tuple[int, ...]
    max_tiles: int
    max_megapixels: float
    turned: bool
    seed: int


def scaled_shape(shape: tuple[int, int], short_side: int) -> tuple[int, int]:
    """Return (height, width) scaled to a short side of `short_side` pixels."""
    h, w = shape
    return round(h * short_side / min(shape)), round(w * short_side / min(shape))


@dataclass(frozen=True)
class Tiles:
    """The tiles of one photo, from coarse to fine, then from top to bottom, then from left to right.

    Attributes:
        short_sides: (n,), pixels; the photo's short side at the scale of each tile.
        corners: (n, 2), x and y of the top left corner at that scale.
    """

    short_sides: Ints
    corners: Ints

    def boxes(self, shape: tuple[int, int], tile_size: int) -> Ints:
        """Return the boxes of the tiles in pixels of the photo.

        Args:
            shape: (height, width) of the photo.
            tile_size: pixels at the tile's scale.

        Returns:
            (n, 4): x0, y0, x1, y1; x1 and y1 are excluded.
        """
        scaled = np.array([scaled_shape(shape, int(side)) for side in self.short_sides])
        ratio = np.array(shape[::-1]) / scaled[:, ::-1]
        corners = [self.corners * ratio, (self.corners + tile_size) * ratio]
        return np.concatenate(corners, axis=1).round().astype(np.int64)


def choose_tiles(shape: tuple[int, int], cutting: TilingConfig, rng: np.random.Generator) -> Tiles:
    """Choose tiles from a covering grid at every scale, at random if there are too many.

    Args:
        shape: (height, width) of the photo; neither below `cutting.tile_size`.
        cutting: how photos are cut; a scale above the photo's own counts as its own.
        rng: for the choice. Scales take turns, so that a scale with few tiles keeps all of them.
    """
    sides = sorted({min(side, *shape) for side in cutting.short_sides})
    grids = [_grid(scaled_shape(shape, side), cutting.tile_size) for side in sides]
    turns = np.concatenate([rng.permutation(len(grid)) for grid in grids])
    side_of = np.repeat(sides, [len(grid) for grid in grids])
    chosen = np.sort(np.argsort(turns, kind="stable")[: cutting.max_tiles])
    return Tiles(side_of[chosen], np.concatenate(grids)[chosen])


def _grid(shape: tuple[int, int], tile_size: int) -> Ints:
    ys, xs = (_starts(side, tile_size) for side in shape)
    return np.array([(x, y) for y, x in product(ys, xs)])


def _starts(side: int, tile_size: int) -> list[int]:
    """Return the fewest evenly spaced starts of tiles that cover the side."""
    count = -(-side // tile_size)
    return [round(start) for start in np.linspace(0, side - tile_size, count)]


def cut(pixels: Pixels, shape: tuple[int, int], tiles: Tiles, tile_size: int) -> Pixels:
    """Cut tiles out of a photo, which is scaled down once per scale.

    Args:
        pixels: uint8 (h, w, 3), the photo, or a smaller version that is at least as large as every scale of the tiles.
        shape: (H, W) of the photo.
        tiles: from `choose_tiles` for (H, W).
        tile_size: pixels.

    Returns:
        uint8 (n, tile_size, tile_size, 3).
    """
    out = np.empty((len(tiles.corners), tile_size, tile_size, 3), np.uint8)
    picture = Image.fromarray(pixels)
    for side in np.unique(tiles.short_sides):
        scaled = _scale_down(picture, scaled_shape(shape, int(side)))
        for number in np.flatnonzero(tiles.short_sides == side):
            x, y = tiles.corners[number]
            out[number] = scaled[y : y + tile_size, x : x + tile_size]
    return out


def _scale_down(picture: Image.Image, shape: tuple[int, int]) -> Pixels:
    h, w = shape
    if picture.size != (w, h):
        picture = picture.resize((w, h), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return np.asarray(picture)
