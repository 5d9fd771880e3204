import csv
from pathlib import Path

import numpy as np
import pytest

from stages.inpainting.challenge import BOX_PX, hole_of, read_boxes, write_submission
from stages.runtime.errors import InputError

H, W = 160, 200
BOXES = ((2, 5), (80, 121))


def test_boxes_are_read_with_and_without_line_numbers(tmp_path: Path) -> None:
    (tmp_path / "numbered.csv").write_text(",filename,r1,c1,r2,c2\n0,a.jpg,2,5,80,121\n1,b.jpg,0,0,85,125\n")
    (tmp_path / "plain.csv").write_text("filename,r1,c1,r2,c2\na.jpg,2,5,80,121\nb.jpg,0.0,0,85,125\n")
    for name in ("numbered.csv", "plain.csv"):
        assert read_boxes(tmp_path / name) == {"a.jpg": BOXES, "b.jpg": ((0, 0), (85, 125))}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.jpg,2,5,80", r"line 3: should be a file name and four integers.*but is a.jpg,2,5,80"),
        ("a.jpg,2,5,80,x", "line 3: should be a file name"),
        ("a.jpg,2,5,80,-1", "line 3: should be a file name"),
        ("a.jpg,2,5,80,1.5", "line 3: should be a file name"),
        ("ok.jpg,2,5,80,121", "line 3: ok.jpg is listed twice"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "masked_info.csv").write_text(f"filename,r1,c1,r2,c2\nok.jpg,0,0,85,100\n{line}\n")
    with pytest.raises(InputError, match=message):
        read_boxes(tmp_path / "masked_info.csv")


def test_a_missing_and_an_empty_file_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.csv cannot be read"):
        read_boxes(tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_text("filename,r1,c1,r2,c2\n")
    with pytest.raises(InputError, match="no line after its header"):
        read_boxes(tmp_path / "empty.csv")


def test_a_box_that_leaves_the_picture_is_named() -> None:
    with pytest.raises(InputError, match="a.jpg: box 2 starts at row 80, column 126"):
        hole_of(((0, 0), (80, 126)), (H, W), "a.jpg")
    assert hole_of(BOXES, (H, W)).sum() == 2 * BOX_PX**2


@pytest.mark.parametrize("as_floats", [True, False])
def test_a_submission_holds_the_pixels_as_the_picture_has_them(tmp_path: Path, as_floats: bool) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (H, W, 3)).astype(np.uint8)
    given = picture / np.float32(255) if as_floats else picture
    assert write_submission(tmp_path / "submission.csv", [("a.jpg", BOXES, given)]) == 2 * 3 * BOX_PX**2
    with (tmp_path / "submission.csv").open(newline="") as file:
        heading, *lines = list(csv.reader(file))
    assert heading == ["filename_box_pixel", "value"]
    assert [name for name, _ in lines[:4]] == [
        "a.jpg_box1_2_5_0",
        "a.jpg_box1_2_5_1",
        "a.jpg_box1_2_5_2",
        "a.jpg_box1_2_6_0",
    ]
    back = np.zeros_like(picture)
    for name, value in lines:
        row, column, channel = map(int, name.split("_")[-3:])
        back[row, column, channel] = round(255 * float(value))
    hole = hole_of(BOXES, (H, W)) > 0
    assert np.array_equal(back[hole], picture[hole])
    assert not back[~hole].any()


def test_values_that_are_none_are_refused(tmp_path: Path) -> None:
    for wrong in (1.5, -0.1, np.nan):
        with pytest.raises(InputError, match=r"a.jpg: values should be in \[0, 1\]"):
            write_submission(tmp_path / "submission.csv", [("a.jpg", BOXES, np.full((H, W, 3), wrong, np.float32))])
    assert not (tmp_path / "submission.csv").exists()
