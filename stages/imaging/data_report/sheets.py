"""Pictures for a page: contact sheets, and single pictures in the size in which they are shown.

Pictures are uint8 (H, W, 3).
"""

import base64
import math
from collections.abc import Sequence
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from stages.imaging.shards import Tiles

Pixels = npt.NDArray[np.uint8]

_GAP_PX = 3
_PAPER = 255
_MOST_BYTES = 24 * 2**20
_AT_ONCE = 8  # tiles between releases of memory: Linux may map 2 MiB around each
_QUALITY = 88


def contact_sheet(tiles: Sequence[Pixels], columns: int, side_px: int, paper: int = _PAPER) -> str:
    """Lay out pictures in rows on one sheet.

    Args:
        tiles: at least one; larger ones are scaled down, smaller ones enlarged by an integer factor.
        columns: pictures per row.
        side_px: side of the square for each.
        paper: grey level of the background.

    Returns:
        the sheet as a data URI.
    """
    step = side_px + _GAP_PX
    columns = min(columns, len(tiles))
    shape = (math.ceil(len(tiles) / columns) * step - _GAP_PX, columns * step - _GAP_PX, 3)
    sheet = np.full(shape, paper, np.uint8)
    for number, tile in enumerate(tiles):
        y, x = (step * place for place in divmod(number, columns))
        fitted = fit(tile, side_px)
        sheet[y : y + fitted.shape[0], x : x + fitted.shape[1]] = fitted
    return data_uri(sheet)


def fit(pixels: Pixels, side_px: int) -> Pixels:
    """Fit a picture into a square: scaled down as needed, or enlarged by an integer factor without smoothing."""
    longest = max(pixels.shape[:2])
    if longest <= side_px:
        factor = side_px // longest
        return pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    h, w = (max(1, round(side * side_px / longest)) for side in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((w, h), Image.Resampling.BOX))


def data_uri(pixels: Pixels) -> str:
    """Encode a picture as a data URI: PNG if it has at most three colours, else JPEG."""
    is_line_art = len(np.unique(pixels)) <= 3
    kind = "png" if is_line_art else "jpeg"
    options = {"optimize": True} if is_line_art else {"quality": _QUALITY}
    Image.fromarray(pixels).save(file := BytesIO(), kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def some_of(tiles: Tiles, wanted: int) -> Pixels:
    """Return up to `wanted` tiles, evenly spread, as far as they fit into 24 MiB."""
    fitting = max(1, _MOST_BYTES // (3 * tiles.size**2))
    rows = spread(len(tiles), min(wanted, fitting))
    parts = [tiles.gather(rows[:0])]
    for start in range(0, len(rows), _AT_ONCE):
        parts.append(tiles.gather(rows[start : start + _AT_ONCE]))
        tiles.release()
    return np.concatenate(parts)


def spread(count: int, wanted: int) -> npt.NDArray[np.intp]:
    """Return up to `wanted` positions, evenly spread over 0 to count - 1."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).round().astype(np.intp)) if count else np.arange(0)
