"""Files of the image-reconstruction challenge: pictures with two missing boxes in, a table of their pixels out.

    boxes = read_boxes("masked_info.csv")                  # {"7.jpg": ((12, 30), (140, 9)), ...}
    hole = hole_of(boxes["7.jpg"], (256, 256))              # uint8 (256, 256), 1 = missing
    write_submission("submission.csv", ((name, boxes[name], restored(name)) for name in boxes))

`masked_info.csv` has a header and a line per picture: file name, then row and column of the upper left corner of both
boxes, which are 75 pixels wide and high; a leading column of line numbers, as pandas writes it, is ignored.
`submission.csv` has a line per value, such as `7.jpg_box1_12_30_0,0.5019608`: box 1, then box 2, in the order of rows,
columns and channels (red, green, blue), from 0 to 1, not stretched per channel.
"""

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stages.runtime.errors import InputError
from stages.runtime.files import atomic_write

BOX_PX = 75
HEADINGS = ("filename_box_pixel", "value")

Corner = tuple[int, int]  # row, column
Boxes = tuple[Corner, Corner]


def read_boxes(path: str | Path) -> dict[str, Boxes]:
    """Read the boxes of each picture.

    Args:
        path: `masked_info.csv`.

    Returns:
        the corners by file name, in the order of the file.

    Raises:
        InputError: the file is missing or empty, or a line is invalid; the message names the line.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            lines = [(number, line) for number, line in enumerate(csv.reader(file), start=1) if line]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); it should be the challenge's masked_info.csv") from None
    boxes: dict[str, Boxes] = {}
    for number, line in lines[1:]:
        name, corners = _read_line(line, f"{path}, line {number}")
        if "," in name or '"' in name:
            raise InputError(
                f"{path}, line {number}: {name} contains a comma or a quotation mark, which submission.csv cannot have"
            )
        if name in boxes:
            raise InputError(f"{path}, line {number}: {name} is listed twice; keep one line per picture")
        boxes[name] = corners
    if not boxes:
        raise InputError(f"{path} has no line after its header; it should have one per picture")
    return boxes


def _read_line(line: list[str], where: str) -> tuple[str, Boxes]:
    *front, name, top1, left1, top2, left2 = line if len(line) >= 5 else [*line, *[""] * (5 - len(line))]
    try:
        rows_and_columns = [int(float(text)) if float(text).is_integer() else -1 for text in (top1, left1, top2, left2)]
    except (ValueError, OverflowError):
        rows_and_columns = [-1]
    if len(front) > 1 or not name.strip() or min(rows_and_columns) < 0:
        raise InputError(
            f"{where}: should be a file name and four integers, row and column of both boxes, but is {','.join(line)}"
        )
    first_row, first_column, second_row, second_column = rows_and_columns
    return name.strip(), ((first_row, first_column), (second_row, second_column))


def hole_of(boxes: Boxes, shape: tuple[int, int], name: str = "the picture") -> npt.NDArray[np.uint8]:
    """Make a hole of the two boxes.

    Args:
        boxes: their corners.
        shape: (H, W) of the picture.
        name: of the picture, for the error message.

    Returns:
        uint8 (H, W), 1 where pixels are missing.

    Raises:
        InputError: a box extends beyond the picture.
    """
    hole = np.zeros(shape, np.uint8)
    for number, (row, column) in enumerate(boxes, start=1):
        if row + BOX_PX > shape[0] or column + BOX_PX > shape[1]:
            raise InputError(
                f"{name}: box {number} starts at row {row}, column {column} and is {BOX_PX} pixels wide and high, "
                f"which extends beyond the picture of {shape[0]} rows and {shape[1]} columns"
            )
        hole[row : row + BOX_PX, column : column + BOX_PX] = 1
    return hole


def write_submission(
    path: str | Path, restored: Iterable[tuple[str, Boxes, npt.NDArray[np.uint8] | npt.NDArray[np.float32]]]
) -> int:
    """Write the pixels of all boxes.

    Args:
        path: `submission.csv`, written atomically.
        restored: file name, boxes and filled picture, (H, W, 3), uint8 or float in [0, 1]; read one at a time.

    Returns:
        the number of lines below the header.

    Raises:
        InputError: a box extends beyond its picture, or a value is outside [0, 1].
    """
    lines = 0
    with atomic_write(path) as file:
        file.write((",".join(HEADINGS) + "\n").encode())
        for name, boxes, picture in restored:
            hole_of(boxes, (picture.shape[0], picture.shape[1]), name)
            values = np.asarray(picture / np.float32(255) if picture.dtype == np.uint8 else picture, np.float64)
            if not (np.min(values) >= 0 and np.max(values) <= 1):
                raise InputError(f"{name}: values should be in [0, 1], but some are outside or NaN")
            for number, corner in enumerate(boxes, start=1):
                file.write(_box_lines(f"{name}_box{number}", corner, values).encode())
                lines += 3 * BOX_PX**2
    return lines


def _box_lines(box: str, corner: Corner, values: npt.NDArray[np.float64]) -> str:
    top, left = corner
    return "".join(
        f"{box}_{row}_{column}_{channel},{values[row, column, channel]:.7g}\n"
        for row in range(top, top + BOX_PX)
        for column in range(left, left + BOX_PX)
        for channel in range(3)
    )
