import numpy as np
import pandas as pd
import pytest

from stages.comparing.bootstrap import Estimate, Resamples


def test_the_interval_of_a_mean_over_photos_is_what_statistics_say():
    rng = np.random.default_rng(0)
    photos = pd.Series([f"photo{number}" for number in range(400)])
    values = rng.normal(20, 2, 400)
    estimate = Resamples(photos, np.random.default_rng(3)).estimate(values)
    assert estimate.mean == values.mean()
    half = 1.96 * values.std() / 20
    assert estimate.high - estimate.mean == pytest.approx(half, rel=0.1)
    assert estimate.mean - estimate.low == pytest.approx(half, rel=0.1)


def test_pairs_of_one_photo_count_as_one_photo():
    photos = pd.Series(np.repeat(np.arange(30), 10))
    values = np.repeat(np.random.default_rng(0).normal(20, 2, 30), 10)
    alone = Resamples(photos[::10], np.random.default_rng(3)).estimate(values[::10])
    together = Resamples(photos, np.random.default_rng(3)).estimate(values)
    assert (together.low, together.high) == pytest.approx((alone.low, alone.high))


def test_one_photo_has_no_spread():
    estimate = Resamples(pd.Series(["a", "a"]), np.random.default_rng(3)).estimate(np.array([10.0, 20.0]))
    assert (estimate.low, estimate.mean, estimate.high) == (15, 15, 15)


def test_the_side_is_where_the_whole_interval_lies():
    assert [Estimate(1, low, high).side for low, high in ((0.1, 2), (-2, -0.1), (-1, 3), (0, 3))] == [1, -1, 0, 0]


def test_some_of_the_pairs_and_pairs_without_a_score():
    photos = pd.Series(["a", "a", "b", "b"])
    resamples = Resamples(photos, np.random.default_rng(3))
    values = np.array([1.0, 5.0, 1.0, np.nan])
    assert resamples.estimate(values, np.array([True, False, True, False])) == Estimate(1, 1, 1)
    assert resamples.estimate(values).mean == pytest.approx(7 / 3)
    assert np.isnan(resamples.estimate(values, np.zeros(4, bool)).mean)
