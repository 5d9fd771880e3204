import cv2
import numpy as np
import pytest

from stages.evaluate.perceptual import BATCH_SIZE, Distance, Lattice

H, W = 64, 96


@pytest.fixture(scope="module")
def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Targets with grain, and holes of different sizes."""
    rng = np.random.default_rng(0)
    targets = np.stack([cv2.GaussianBlur(rng.random((H, W, 3)).astype(np.float32), (0, 0), 2) for _ in range(5)])
    holes = np.zeros((5, H, W), np.uint8)
    for number, hole in enumerate(holes):
        hole[8 : 20 + 8 * number, 10 : 30 + 12 * number] = 1
    return targets, holes


def spoilt(targets: np.ndarray, holes: np.ndarray, noise: float) -> np.ndarray:
    grain = np.random.default_rng(1).normal(0, noise, targets.shape).astype(np.float32)
    return (targets + grain * holes[..., None]).clip(0, 1)


def test_equal_pictures_are_at_distance_zero_and_more_noise_is_farther(pictures):
    targets, holes = pictures
    distance = Distance("cpu")
    assert distance(targets, targets, holes) == [0] * 5
    little, much = (distance(spoilt(targets, holes, noise), targets, holes) for noise in (0.02, 0.2))
    assert all(0 < a < b < 4 for a, b in zip(little, much, strict=True))
    assert distance(spoilt(targets, holes, 0.2), targets, 0 * holes) == [0] * 5


def test_the_others_in_a_batch_change_nothing(pictures):
    targets, holes = pictures
    distance, answers = Distance("cpu"), spoilt(*pictures, 0.1)
    together = distance(answers, targets, holes)
    alone = [distance(answers[n : n + 1], targets[n : n + 1], holes[n : n + 1])[0] for n in range(5)]
    assert alone == pytest.approx(together, rel=1e-4)


def test_equal_targets_in_a_row_share_their_features_and_nothing_else(pictures):
    targets, holes = pictures
    distance, answers, repeated = Distance("cpu"), spoilt(*pictures, 0.1), targets[[0, 0, 3, 3, 3]]
    apart = [distance(answers[n : n + 1], repeated[n : n + 1], holes[n : n + 1])[0] for n in range(5)]
    seen = []
    distance._features.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    assert distance(answers, repeated, holes) == pytest.approx(apart, rel=1e-4)
    assert seen == [2, 5]


def test_a_small_hole_filled_badly_is_as_far_as_a_large_one(pictures):
    targets, holes = pictures
    far = Distance("cpu")(spoilt(targets, holes, 0.2), targets, holes)
    assert max(far) < 2 * min(far)  # while the holes differ tenfold in size


def test_lattices_are_those_of_each_pair(pictures):
    targets, holes = (np.concatenate([part] * (BATCH_SIZE // 4)) for part in pictures)  # more than one batch
    tile = np.random.default_rng(2).random((16, 16, 3), np.float32)
    pattern = np.tile(tile, (H // 16, W // 16, 1))
    answers = np.where(holes[..., None] > 0, pattern, targets)
    answers[::2] = targets[::2]
    scores = Lattice("cpu")(answers, targets, holes)
    assert len(scores) == len(holes) > BATCH_SIZE
    assert max(scores[::2]) < 0.05
    assert min(score for number, score in enumerate(scores) if number % 2 and number % 5 > 1) > 0.5
