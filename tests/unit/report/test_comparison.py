import numpy as np
import pandas as pd
import pytest

from stages.comparing.bootstrap import Estimate, Resamples
from stages.comparing.scores import SCORES
from stages.report.comparison import (
    all_scores,
    as_table,
    by_cell,
    column,
    columns_of,
    differences,
    differences_table,
    find_headline,
    interval_strips,
    scores_of,
    title,
)
from stages.report.reading import Evaluation

PHOTOS = 20


def evaluation(key: str, hole_psnr: float, trained: bool = False, spread: float = 0.0) -> Evaluation:
    """Two pairs in each cell of hole ratio and border; the photos differ by `spread` dB."""
    rows = [{"bucket": bucket, "border": border} for bucket in range(6) for border in (False, True) for _ in range(4)]
    scores = pd.DataFrame(rows)
    number = np.arange(len(scores)) % PHOTOS
    scores["photo"] = [f"photo{one}" for one in number]
    scores["hole_psnr"] = hole_psnr - scores["bucket"] + spread * (number - number.mean())
    for name in ("psnr", "ssim", "hole_l1_percent", "l1_percent", "raw_psnr", "milliseconds", "sharpness"):
        scores[name] = hole_psnr / 10
    by_ratio = pd.DataFrame({"holes": ["1-10 %", "10-20 %", "20-30 %", "30-40 %", "40-50 %", "50-60 %"]})
    return Evaluation(key, trained, scores, by_ratio, {})


def resamples(one: Evaluation) -> Resamples:
    return Resamples(one.scores["photo"], np.random.default_rng(3))


@pytest.mark.parametrize(
    ("telea", "best", "rival", "ahead"), [(20, "pix2pix", "telea", 3), (24, "telea", "pix2pix", 1)]
)
def test_the_headline_names_the_best_and_how_far_it_is_ahead_of_the_best_of_the_other_kind(telea, best, rival, ahead):
    methods = [
        evaluation("mean", 15),
        evaluation("telea", telea, spread=0.3),
        evaluation("unet", 22, trained=True),
        evaluation("pix2pix", 23, trained=True, spread=0.3),
    ]
    headline = find_headline(methods, resamples(methods[0]), SCORES[0])
    assert headline.best.key == best
    assert headline.rival.key == rival
    assert headline.ahead.low == pytest.approx(ahead)  # alike photo by photo, so the difference is sure
    assert find_headline(methods[2:], resamples(methods[0]), SCORES[0]).rival is None


@pytest.mark.parametrize(
    ("near", "said"),
    [
        ([], "best fills holes best on 4 photographs"),
        (["b"], "best and b tie on 4 photographs"),
        (["b", "c"], "best, b and c tie on 4 photographs"),
        (["b", "c", "d"], "Four methods tie on 4 photographs"),
    ],
)
def test_a_title_says_who_won_or_that_nobody_did(near, said):
    best, *tied = (evaluation(key, 20 - 0.1 * number) for number, key in enumerate(["best", *near]))
    for one in tied:
        one.scores["hole_psnr"] += np.where(np.arange(48) % 2, 2, -2)
    headline = find_headline([evaluation("far", 18), *tied, best], resamples(best), SCORES[0])
    assert [one.key for one in headline.tied] == near
    assert title(headline, "fills holes best", "on 4 photographs") == said


def test_no_difference_is_printed_as_less_than_nothing():
    one, other = evaluation("one", 20), evaluation("other", 20.001)
    difference = differences([one, other], resamples(one))[0][1]
    assert difference is not None
    assert (difference.text, difference.interval) == ("+0.00", "+0.00 to +0.00")


def test_strips_share_one_scale():
    first, second = interval_strips([Estimate(15, 10, 20), Estimate(25, 20, 30)])
    assert (first.low, first.mean, first.high, second.low, second.high) == (0, 25, 50, 50, 100)
    around, above = interval_strips([Estimate(0, -1, 1), Estimate(3, 2, 4)], zero=True)
    assert around.mean == around.zero == above.zero == 20
    assert interval_strips([Estimate(5, 5, 5)])[0].mean == 0


def test_the_table_has_means_by_cell_and_marks_what_is_best_as_printed():
    methods = [evaluation("a", 20), evaluation("b", 20.0001), evaluation("c", 19)]
    columns = [(name, int(rows.sum())) for name, rows in columns_of(methods)]
    rows = by_cell(methods, resamples(methods[0]))
    assert columns[:2] == [("1-10 %", 8), ("10-20 %", 8)]
    assert columns[6:] == [("no border", 24), ("border", 24)]
    assert [cell.text for cell in rows[0]] == ["20.00", "19.00", "18.00", "17.00", "16.00", "15.00", "17.50", "17.50"]
    assert [[cell.best for cell in row] for row in rows] == [[True] * 8, [True] * 8, [False] * 8]
    assert not any(cell.tied for row in rows for cell in row)  # one dB behind on every photo: surely behind
    assert rows[0][0].interval == "20.00 to 20.00"


def test_what_cannot_be_told_from_the_best_is_marked():
    best, near = evaluation("best", 20), evaluation("near", 19.9)
    near.scores["hole_psnr"] += np.where(np.arange(48) % 2, 2, -2)
    cells = by_cell([best, near], resamples(best))[1]
    assert all(cell.tied and not cell.best for cell in cells)


def test_differences_are_paired_and_signed():
    one, other = evaluation("one", 20, spread=0.5), evaluation("other", 19, spread=0.5)
    table = differences([one, other], resamples(one))
    assert table[0][0] is None
    assert (table[0][1].text, table[0][1].interval, table[0][1].side) == ("+1.00", "+1.00 to +1.00", 1)
    assert (table[1][0].text, table[1][0].side) == ("-1.00", -1)
    rows = differences_table([one, other], resamples(one)).set_index("score")
    assert rows.loc["hole_psnr", ["method", "other", "distinguishable"]].to_list() == ["one", "other", True]


def test_less_is_better_where_it_is():
    methods = [evaluation("low", 10), evaluation("high", 30)]
    low, high = (
        {s.name: c for s, c in zip(scores_of(methods), row, strict=True)}
        for row in all_scores(methods, resamples(methods[0]), scores_of(methods))
    )
    less = {"hole_l1_percent", "l1_percent", "sharpness"}  # sharpness: 1 is nearer to 1 than 3; times are not compared
    assert {name for name, cell in low.items() if cell.best} == less
    assert {name for name, cell in high.items() if cell.best} == {"hole_psnr", "psnr", "ssim", "raw_psnr"}
    assert high["ssim"].text == "3.0000"


def test_the_file_of_scores_has_a_row_a_method():
    methods = [evaluation("mean", 15), evaluation("grey_net", 22, trained=True)]
    table = as_table(methods, resamples(methods[0]))
    assert table["method"].to_list() == ["mean", "grey_net"]
    assert table["hole_psnr"].to_list() == pytest.approx([12.5, 19.5])
    assert (table["hole_psnr_low"] <= table["hole_psnr"]).all()


@pytest.mark.parametrize("name", ["lattice", "milliseconds"])
def test_what_says_nothing_about_who_is_better_marks_nobody(name):
    score = next(score for score in SCORES if score.name == name)
    methods = [evaluation("mean", 15), evaluation("telea", 22)]
    for one, value in zip(methods, (0.0, 0.002), strict=True):
        one.scores[name] = value
    every = pd.Series(True, index=methods[0].scores.index)
    cells = column(methods, resamples(methods[0]), score, every)
    assert [(cell.best, cell.tied) for cell in cells] == [(False, False)] * 2
    assert [cell.text for cell in cells] == [f"{value:.{score.decimals}f}" for value in (0.0, 0.002)]
