import numpy as np
import pytest

from stages.inpainting import classical
from stages.inpainting.classical import fill

METHODS = [method for method in classical.METHODS if not classical.problem(method)]


@pytest.fixture
def picture() -> np.ndarray:
    """48 x 64: a ramp to the right in red, downwards in green, constant in blue."""
    rows, columns = np.mgrid[:48, :64]
    return np.stack([3 * columns, 4 * rows, np.full_like(rows, 90)], axis=2).astype(np.uint8)


@pytest.fixture
def hole() -> np.ndarray:
    hole = np.zeros((48, 64), np.uint8)
    hole[10:20, 30:45] = 1
    hole[40:, :5] = 1  # in a corner
    return hole


@pytest.mark.parametrize("method", METHODS)
def test_known_pixels_come_back_and_what_the_holes_hold_is_ignored(method, picture, hole):
    scribbled = picture.copy()
    scribbled[hole == 1] = np.random.default_rng(0).integers(0, 256, (int(hole.sum()), 3))
    filled = fill(method, picture, hole)
    assert filled.dtype == np.float32
    assert filled.shape == (48, 64, 3)
    assert np.array_equal(filled[hole == 0], picture[hole == 0].astype(np.float32) / np.float32(255))
    assert np.array_equal(filled, fill(method, scribbled, hole))


@pytest.mark.parametrize("method", METHODS)
def test_without_holes_the_picture_comes_back(method, picture):
    assert np.array_equal(fill(method, picture, np.zeros((48, 64), np.uint8)), picture.astype(np.float32) / 255)


@pytest.mark.parametrize("method", METHODS)
def test_where_nothing_is_known_it_is_grey(method, picture):
    assert (fill(method, picture, np.ones((48, 64), np.uint8)) == 0.5).all()


@pytest.mark.parametrize(
    ("method", "steps"), [("mean", 0), ("telea", 12), ("navier_stokes", 0), ("harmonic", 0), ("biharmonic", 0)]
)
def test_one_known_pixel_colours_everything(method, steps, picture):
    """Telea's method rounds to 8 bits pixel after pixel, so it drifts by some steps of 255 over a hole so large."""
    hole = np.ones((48, 64), np.uint8)
    hole[7, 50] = 0
    assert np.abs(fill(method, picture, hole) - picture[7, 50] / np.float32(255)).max() <= steps / 255 + 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_inputs_are_left_as_they_were(method, picture, hole):
    before = picture.copy(), hole.copy()
    fill(method, picture, hole)
    assert np.array_equal(picture, before[0])
    assert np.array_equal(hole, before[1])


def test_mean_is_the_mean_of_the_known_pixels_of_each_channel():
    image = np.array([[[10, 20, 30], [30, 20, 10]], [[255, 255, 255], [20, 20, 80]]], np.uint8)
    hole = np.array([[0, 0], [1, 0]], np.uint8)
    assert fill("mean", image, hole)[1, 0] == pytest.approx(np.array([20, 20, 40]) / 255)


def test_harmonic_takes_the_mean_of_four_neighbours():
    image = np.arange(27, dtype=np.uint8).reshape(3, 3, 3) ** 2
    hole = np.zeros((3, 3), np.uint8)
    hole[1, 1] = hole[0, 0] = 1  # in the middle, and in a corner, which has two neighbours
    filled = fill("harmonic", image, hole)
    wanted = [
        (image[0, 1] / 2 + image[1, 0] / 2) / 255,
        (image[0, 1] / 4 + image[1, 0] / 4 + image[1, 2] / 4 + image[2, 1] / 4) / 255,
    ]
    np.testing.assert_allclose(filled[[0, 1], [0, 1]], wanted, atol=1e-6)


def test_biharmonic_continues_a_ramp_and_the_others_beat_the_mean(picture, hole):
    error = {method: np.abs(fill(method, picture, hole) - picture / 255)[hole == 1].mean() for method in METHODS}
    assert error["biharmonic"] < 1e-3
    assert max(error["telea"], error["navier_stokes"], error["harmonic"]) < 0.5 * error["mean"]


def test_an_unknown_method_is_named_with_those_there_are(picture, hole):
    with pytest.raises(ValueError, match="magic"):
        fill("magic", picture, hole)


def test_a_hole_of_another_size_is_refused(picture, hole):
    with pytest.raises(ValueError, match=r"they are \(48, 64, 3\) and \(64, 48\)"):
        fill("mean", picture, hole.T)
