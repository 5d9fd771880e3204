import numpy as np
import pytest
from scipy.signal import convolve2d
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from stages.evaluate.scores import PSNR_CAP_DB, Answer, composite, score

H, W = 24, 40


@pytest.fixture
def target() -> np.ndarray:
    rows, columns = np.mgrid[:H, :W]
    return np.stack([5 * rows, 3 * columns, 128 + 0 * rows], axis=2).astype(np.uint8)


@pytest.fixture
def hole() -> np.ndarray:
    hole = np.zeros((H, W), np.uint8)
    hole[4:10, 20:36] = 1
    return hole


def as_floats(picture: np.ndarray) -> np.ndarray:
    return picture.astype(np.float32) / np.float32(255)


def test_the_composite_keeps_known_pixels_and_takes_missing_ones(target, hole):
    filled = np.full((H, W, 3), 0.25, np.float32)
    made = composite(Answer(target, hole, filled))
    assert made.dtype == np.float32
    assert np.array_equal(made[hole == 0], as_floats(target)[hole == 0])
    assert (made[hole == 1] == 0.25).all()


def test_a_known_error_scores_what_one_can_work_out(target, hole):
    scored = score(Answer(target, hole, as_floats(target) + np.float32(0.1)))
    share = hole.mean()
    assert scored["hole_psnr"] == pytest.approx(20, abs=1e-4)  # 10 log10(1 / 0.1^2)
    assert scored["hole_l1_percent"] == pytest.approx(10, rel=1e-5)
    assert scored["l1_percent"] == pytest.approx(10 * share, rel=1e-5)
    assert scored["psnr"] == pytest.approx(20 - 10 * np.log10(share), abs=1e-4)
    assert scored["raw_psnr"] == pytest.approx(20, abs=1e-4)
    assert scored["raw_l1_percent"] == pytest.approx(10, rel=1e-5)


def test_a_perfect_answer_scores_finitely(target, hole):
    scored = score(Answer(target, hole, as_floats(target)))
    assert scored["hole_psnr"] == scored["psnr"] == scored["raw_psnr"] == PSNR_CAP_DB
    assert scored["ssim"] == 1
    assert scored["hole_ssim"] == scored["raw_ssim"] == scored["sharpness"] == 1
    assert scored["l1_percent"] == scored["hole_l1_percent"] == 0


def test_without_missing_pixels_the_hole_scores_are_perfect(target, hole):
    scored = score(Answer(target, 0 * hole, np.zeros((H, W, 3), np.float32)))
    assert scored["hole_psnr"] == PSNR_CAP_DB
    assert scored["hole_l1_percent"] == 0
    assert scored["raw_psnr"] < 20


def test_what_a_method_answers_where_pixels_are_known_counts_in_raw_scores_only(target, hole):
    good = as_floats(target).copy()
    good[hole == 1] = 0.4
    bad = good.copy()
    bad[hole == 0] = 0
    one, other = score(Answer(target, hole, good)), score(Answer(target, hole, bad))
    raw = {name for name in one if name.startswith("raw_")}
    assert {name for name in one if one[name] != other[name]} == raw


def ssim_by_the_book(picture: np.ndarray, target: np.ndarray) -> float:
    """Wang et al. (2004), equation 13, over all places where the whole 11 x 11 window lies within the picture."""
    taps = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(taps, taps) / np.outer(taps, taps).sum()

    def blur(values: np.ndarray) -> np.ndarray:
        return np.stack([convolve2d(values[..., channel], window, "valid") for channel in range(3)])

    x, y = picture.astype(float), target.astype(float)
    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float((top / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean())


def test_scores_agree_with_other_peoples(target, hole):
    rng = np.random.default_rng(0)
    filled = (as_floats(target) + rng.normal(0, 0.1, target.shape)).clip(0, 1).astype(np.float32)
    scored = score(Answer(target, hole, filled))
    psnr = peak_signal_noise_ratio(as_floats(target), filled, data_range=1)
    assert scored["raw_psnr"] == pytest.approx(psnr, abs=1e-4)
    assert scored["raw_ssim"] == pytest.approx(ssim_by_the_book(filled, as_floats(target)), abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_ssim_is_that_of_scikit_image(seed):
    rng = np.random.default_rng(seed)
    target, hole = rng.integers(0, 256, (H, W, 3)).astype(np.uint8), (rng.random((H, W)) < 0.3).astype(np.uint8)
    filled = (as_floats(target) + rng.normal(0, 0.05 * (seed + 1), target.shape)).clip(0, 1).astype(np.float32)
    answer = Answer(target, hole, filled)
    scored = score(answer)
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    for name, picture in (("ssim", composite(answer)), ("raw_ssim", filled)):
        theirs, by_pixel = structural_similarity(
            as_floats(target).astype(float), picture.astype(float), channel_axis=2, full=True, **settings
        )
        assert scored[name] == pytest.approx(theirs, abs=1e-5)
        if name == "ssim":
            assert scored["hole_ssim"] == pytest.approx(by_pixel[hole > 0].mean(), abs=1e-5)


@pytest.mark.parametrize("side", [2, 5, 12])
def test_psnr_of_the_whole_is_that_of_the_hole_and_its_share(target, side):
    hole = np.zeros((H, W), np.uint8)
    hole[3 : 3 + side, 5 : 5 + 2 * side] = 1
    noise = np.random.default_rng(0).normal(0, 0.1, target.shape)
    scored = score(Answer(target, hole, (as_floats(target) + noise).astype(np.float32)))
    assert scored["psnr"] == pytest.approx(scored["hole_psnr"] + 10 * np.log10(1 / hole.mean()), abs=1e-4)


def test_sharpness_is_gradient_energy_against_the_targets(hole):
    stripes = (np.indices((H, W)).sum(axis=0) % 2 * 100)[..., None].repeat(3, axis=2).astype(np.uint8)
    half = as_floats(stripes) / 2
    assert score(Answer(stripes, hole, half))["sharpness"] == pytest.approx(0.25, rel=0.01)  # energy is a square
    assert score(Answer(stripes, hole, np.full_like(half, 0.2)))["sharpness"] < 0.01
    flat = np.full_like(stripes, 77)
    assert score(Answer(flat, hole, as_floats(flat) + np.float32(0.2)))["sharpness"] == pytest.approx(1)  # no gradient
