import numpy as np
import pytest

from stages.report.pictures import Shown, contact_sheet, with_hole


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, (24, 32, 3)).astype(np.uint8)


def test_missing_pixels_are_white_and_known_ones_untouched(picture):
    hole = np.zeros((24, 32), np.uint8)
    hole[3:7, 10:30] = 1
    shown = with_hole(picture, hole)
    assert (shown[hole == 1] == 255).all()
    assert np.array_equal(shown[hole == 0], picture[hole == 0])


def test_the_contact_sheet_has_a_row_a_picture_and_a_column_an_answer(picture):
    answers = [np.full_like(picture, 10), np.full_like(picture, 20)]
    hole = picture[..., 0]
    gallery = [Shown(0, picture, picture // 2, answers, hole), Shown(1, picture, picture // 3, answers[::-1], hole)]
    sheet = np.asarray(contact_sheet(gallery, ["target", "image", "first", "a method with a very long name"]))
    step_x, step_y = 128 + 4, 96 + 4
    assert sheet.shape == (26 + 2 * step_y, 4 + 4 * step_x, 3)
    cells = sheet[26:].reshape(2, step_y, -1, 3)[:, :96, 4:].reshape(2, 96, 4, step_x, 3)[:, :, :, :128]
    assert np.abs(cells[0, ::4, 0, ::4].mean() - picture.mean()) < 5
    assert (cells[0, :, 2] == 10).all()
    assert (cells[1, :, 2] == 20).all()
    assert (sheet[:26, 4 + 3 * step_x :] < 128).any()  # the long name is written
    assert (sheet[:26, -4:] == 255).all()  # and does not run over
