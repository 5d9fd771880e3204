import numpy as np
import pandas as pd
import pytest

from stages.report.comparison import Resamples, all_scores, as_table, by_cell, find_headline
from stages.report.reading import Evaluation

PHOTOS = 20


def evaluation(key: str, hole_psnr: float, trained: bool = False, spread: float = 0.0) -> Evaluation:
    """Two pairs in each cell of hole ratio and border; the photos differ by `spread` dB."""
    rows = [{"bucket": bucket, "border": border} for bucket in range(6) for border in (False, True) for _ in range(4)]
    scores = pd.DataFrame(rows)
    number = np.arange(len(scores)) % PHOTOS
    scores["photo"] = [f"photo{one}" for one in number]
    scores["hole_psnr"] = hole_psnr - scores["bucket"] + spread * (number - number.mean())
    for name in ("psnr", "ssim", "hole_l1_percent", "l1_percent", "raw_psnr", "milliseconds"):
        scores[name] = hole_psnr / 10
    by_ratio = pd.DataFrame({"holes": ["1-10 %", "10-20 %", "20-30 %", "30-40 %", "40-50 %", "50-60 %"]})
    return Evaluation(key, trained, scores, by_ratio, {})


def resamples(one: Evaluation) -> Resamples:
    return Resamples(one.scores["photo"], np.random.default_rng(3))


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


def test_the_headline_names_the_best_and_what_it_beats():
    methods = [
        evaluation("mean", 15),
        evaluation("telea", 20, spread=0.3),
        evaluation("unet", 22, trained=True),
        evaluation("pix2pix", 23, trained=True, spread=0.3),
    ]
    headline = find_headline(methods, resamples(methods[0]))
    assert headline.best.key == "pix2pix"
    assert [gain.over for gain in headline.gains] == ["mean fill", "telea, the best classical method"]
    assert [gain.by.mean for gain in headline.gains] == pytest.approx([8, 3])
    assert headline.gains[0].by.low < 8 < headline.gains[0].by.high
    assert headline.gains[1].by.low == pytest.approx(3)  # alike photo by photo, so the difference is sure


def test_the_headline_admits_that_a_classical_method_won():
    methods = [evaluation("mean", 15), evaluation("telea", 20), evaluation("pconv_augmented", 18, trained=True)]
    headline = find_headline(methods, resamples(methods[0]))
    assert headline.best.key == "telea"
    assert [gain.over for gain in headline.gains] == ["mean fill", "pconv augmented, the best trained model"]


def test_mean_fill_is_not_named_twice_and_a_lone_method_beats_nobody():
    methods = [evaluation("mean", 15), evaluation("unet", 22, trained=True)]
    gains = find_headline(methods, resamples(methods[0])).gains
    assert [gain.over for gain in gains] == ["mean fill"]
    assert find_headline(methods[:1], resamples(methods[0])).gains == []


def test_the_table_has_means_by_cell_and_marks_what_is_best_as_printed():
    columns, rows = by_cell([evaluation("a", 20), evaluation("b", 20.0001), evaluation("c", 19)])
    assert columns[:2] == [("1-10 %", 8), ("10-20 %", 8)]
    assert columns[6:] == [("no border", 24), ("border", 24)]
    assert [cell.text for cell in rows[0]] == ["20.00", "19.00", "18.00", "17.00", "16.00", "15.00", "17.50", "17.50"]
    assert [[cell.best for cell in row] for row in rows] == [[True] * 8, [True] * 8, [False] * 8]


def test_less_is_better_where_it_is():
    low, high = all_scores([evaluation("low", 10), evaluation("high", 30)])
    assert [cell.best for cell in low] == [False, False, False, True, True, False, True]
    assert [cell.best for cell in high] == [True, True, True, False, False, True, False]
    assert high[2].text == "3.0000"


def test_the_file_of_scores_has_a_row_a_method():
    methods = [evaluation("mean", 15), evaluation("grey_net", 22, trained=True)]
    table = as_table(methods, resamples(methods[0]))
    assert table["method"].to_list() == ["mean", "grey_net"]
    assert table["hole_psnr"].to_list() == pytest.approx([12.5, 19.5])
    assert (table["hole_psnr_low"] <= table["hole_psnr"]).all()
