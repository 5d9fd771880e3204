"""Detection of masks that are too tight: the rim of an object is left along the border of the hole.

Along each row and column that leaves the hole, the first known pixel is compared with the one where a mask with enough
room would end, and that one with the next. With random ellipses, strokes and boxes in 54 photographs at most 39 % of
the border had a strong edge; with masks that covered only the core of a pasted object, 94 % had more than 40 %.
"""

import numpy as np

from stages.inpainting.cropping import Missing, Pixels, crops

ROOM_PX = 6  # that a mask should leave around an object
_BEYOND_PX = 2 * ROOM_PX
_LEAST_LEVELS = 16  # of 255; a smaller step is not an edge
_STEEPER = 2  # times the step that follows it
_STRONG_SHARE = 0.4
_LEAST_SEEN = 40  # places along the border


def warning(image: Pixels, missing: Missing) -> str:
    """Return a warning that part of an object may be left, "" if there is no sign of it.

    Args:
        image: uint8 (H, W, 3).
        missing: bool (H, W), already widened.
    """
    strong = seen = 0
    for box in crops(missing, 0):
        for turned in (False, True):
            pixels, absent = image[box.part], missing[box.part]
            if turned:
                pixels, absent = pixels.transpose(1, 0, 2), absent.T
            for way in (slice(None), slice(None, None, -1)):
                found, of = _strong(pixels[:, way], absent[:, way])
                strong, seen = strong + found, seen + of
    if seen < _LEAST_SEEN or strong < _STRONG_SHARE * seen:
        return ""
    return (
        f"a strong edge runs along {strong / seen:.0%} of the mask's border: if it belongs to what you want to remove, "
        f"widen the mask, for instance with a `grow` of {ROOM_PX}"
    )


def _strong(image: Pixels, missing: Missing) -> tuple[int, int]:
    """Count the strong edges where rows leave the hole to the right, and the positions examined."""
    width = missing.shape[1] - _BEYOND_PX
    rows, columns = np.nonzero(missing[:, : width - 1] & ~missing[:, 1:width])
    columns += 1
    free = ~(
        missing[rows, columns + ROOM_PX // 2] | missing[rows, columns + ROOM_PX] | missing[rows, columns + _BEYOND_PX]
    )
    rows, columns = rows[free], columns[free]
    near, room, beyond = (image[rows, columns + at].astype(np.int16) for at in (0, ROOM_PX, _BEYOND_PX))
    edge, after = np.abs(near - room).max(axis=1, initial=0), np.abs(room - beyond).max(axis=1, initial=0)
    return int(np.count_nonzero((edge > _LEAST_LEVELS) & (edge > _STEEPER * after))), len(rows)
