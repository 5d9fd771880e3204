"""Pictures within a page: contact sheets, and single ones no larger than they are shown.

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
_AT_ONCE = 8  # tiles, before the pages around them are given back, of which Linux may map 2 MiB for each
_QUALITY = 88


def contact_sheet(tiles: Sequence[Pixels], columns: int, side_px: int, paper: int = _PAPER) -> str:
    """Lay pictures side by side in rows, on one sheet.

    Args:
        tiles: at least one; larger ones are scaled down, smaller ones enlarged by a whole factor.
        columns: pictures in a row.
        side_px: of the square that each gets.
        paper: the grey between them.

    Returns:
        the sheet, as `data_uri` writes it.
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
    """Bring a picture into a square: smaller as needed, larger by a whole factor and without smoothing."""
    longest = max(pixels.shape[:2])
    if longest <= side_px:
        factor = side_px // longest
        return pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    h, w = (max(1, round(side * side_px / longest)) for side in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((w, h), Image.Resampling.BOX))


def data_uri(pixels: Pixels) -> str:
    """Return a picture as the text that stands for it in a page: JPEG, or PNG where it is of few colours."""
    is_line_art = len(np.unique(pixels)) <= 3
    kind = "png" if is_line_art else "jpeg"
    options = {"optimize": True} if is_line_art else {"quality": _QUALITY}
    Image.fromarray(pixels).save(file := BytesIO(), kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def some_of(tiles: Tiles, wanted: int) -> Pixels:
    """Return tiles evenly spread over all, no more than are wanted and than fit into some megabytes."""
    fitting = max(1, _MOST_BYTES // (3 * tiles.size**2))
    rows = spread(len(tiles), min(wanted, fitting))
    parts = [tiles.gather(rows[:0])]
    for start in range(0, len(rows), _AT_ONCE):
        parts.append(tiles.gather(rows[start : start + _AT_ONCE]))
        tiles.release()
    return np.concatenate(parts)


def spread(count: int, wanted: int) -> npt.NDArray[np.intp]:
    """Choose positions in 0 ... count - 1, evenly spread, all of them where there are no more than are wanted."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).round().astype(np.intp)) if count else np.arange(0)
