import base64
import io

import numpy as np
import pytest
from PIL import Image

from stages.report.pictures import Shown, contact_sheet, data_uri, magnification, with_hole


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, (24, 32, 3)).astype(np.uint8)


def test_missing_pixels_are_white_and_known_ones_untouched(picture):
    hole = np.zeros((24, 32), np.uint8)
    hole[3:7, 10:30] = 1
    shown = with_hole(picture, hole)
    assert (shown[hole == 1] == 255).all()
    assert np.array_equal(shown[hole == 0], picture[hole == 0])


def test_a_data_uri_holds_the_picture_to_the_bit(picture):
    head, content = data_uri(picture).split(",")
    assert head == "data:image/png;base64"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))), picture)


@pytest.mark.parametrize(("side", "factor"), [(16, 8), (64, 2), (100, 1), (512, 1)])
def test_magnification_is_whole(side, factor):
    assert magnification(side) == factor


def test_the_contact_sheet_has_a_row_a_picture_and_a_column_an_answer(picture):
    answers = [np.full_like(picture, 10), np.full_like(picture, 20)]
    gallery = [Shown(0, picture, picture // 2, answers), Shown(1, picture, picture // 3, answers[::-1])]
    sheet = np.asarray(contact_sheet(gallery, ["target", "image", "first", "a method with a very long name"]))
    step_x, step_y = 32 * 4 + 4, 24 * 4 + 4
    assert sheet.shape == (26 + 2 * step_y, 4 + 4 * step_x, 3)
    cells = sheet[26:].reshape(2, step_y, -1, 3)[:, : 24 * 4, 4:].reshape(2, 24 * 4, 4, step_x, 3)[:, :, :, : 32 * 4]
    assert np.array_equal(cells[0, ::4, 0, ::4], picture)
    assert np.array_equal(cells[1, 3::4, 1, 3::4], picture // 3)
    assert (cells[0, :, 2] == 10).all()
    assert (cells[1, :, 2] == 20).all()
    assert (sheet[:26, 4 + 3 * step_x :] < 128).any()  # the long name is written
    assert (sheet[:26, -4:] == 255).all()  # and does not run over
