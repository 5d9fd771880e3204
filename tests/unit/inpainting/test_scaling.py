"""Pictures at other sizes: no missing pixel is lost, and what stands in holes has no part in any colour."""

import numpy as np
import pytest

from stages.inpainting.cropping.scaling import enlarged, mean_of_squares, reduced


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_a_square_is_missing_where_any_of_its_pixels_is(factor: int) -> None:
    rng = np.random.default_rng(factor)
    image, missing = rng.integers(0, 256, (37, 50, 3), np.uint8), rng.random((37, 50)) < 0.05
    _, absent = reduced(image, missing, factor)
    assert absent.shape == (-(-37 // factor), -(-50 // factor))
    back = absent.repeat(factor, axis=0)[:37].repeat(factor, axis=1)[:, :50]
    assert back[missing].all()
    assert absent.sum() <= missing.sum() + factor * (37 + 50)  # the last row and column are repeated


def test_a_colour_is_the_mean_of_what_is_known() -> None:
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    missing = np.zeros((4, 4), bool)
    missing[0, :2] = True
    scribbled = np.where(missing[..., None], np.uint8(255), image)
    small, absent = reduced(scribbled, missing, 2)
    assert small[0, 0].tolist() == [14, 15, 16]  # of 12 and 15, 13 and 16, 14 and 17, halves rounded up
    assert absent.tolist() == [[True, False], [False, False]]


def test_enlarging_what_was_reduced_keeps_shades() -> None:
    rows, columns = np.mgrid[:40, :60]
    shade = np.stack([rows * 2.0, columns * 3.0], axis=2).astype(np.float32)
    again = enlarged(mean_of_squares(shade, 4), 4, 40, 60)
    assert np.abs(again - shade)[6:-6, 6:-6].max() < 0.5
