import numpy as np
import pandas as pd
import pytest

from stages.evaluate.means import HEADLINES, by_ratio, summarise


@pytest.fixture
def scores() -> pd.DataFrame:
    """Two pairs in each bucket, without and with border; hole PSNR is 10 x bucket, and 2 more with border."""
    rows = [{"bucket": bucket, "border": border} for bucket in range(6) for border in (False, True)]
    table = pd.DataFrame(rows)
    table["hole_psnr"] = 10.0 * table["bucket"] + 2 * table["border"]
    for number, name in enumerate(HEADLINES[1:]):
        table[name] = np.arange(12.0) + number
    table["milliseconds"] = 3.0
    return table


def test_the_summary_is_flat_and_averages_pairs(scores):
    summary = summarise(scores)
    assert summary["hole_psnr"] == 26
    assert summary["psnr"] == 5.5
    assert summary["ms"] == 3
    assert [summary[f"hole_psnr_{percent}"] for percent in range(10, 70, 10)] == [1, 11, 21, 31, 41, 51]
    assert summary["hole_psnr_inside"] == 25
    assert summary["hole_psnr_border"] == 27
    assert all(isinstance(value, float) and np.isfinite(value) for value in summary.values())


def test_an_uneven_number_of_pairs_is_weighted_by_pairs(scores):
    summary = summarise(pd.concat([scores, scores[scores["bucket"] == 5]]))
    assert summary["hole_psnr"] == pytest.approx((12 * 26 + 2 * 51) / 14)


def test_by_ratio_has_a_row_a_bucket_with_a_place_on_the_axis(scores):
    table = by_ratio(scores)
    assert table["holes"].to_list() == ["1-10 %", "10-20 %", "20-30 %", "30-40 %", "40-50 %", "50-60 %"]
    assert table["ratio_percent"].to_list() == [5.5, 15, 25, 35, 45, 55]
    assert table["hole_psnr"].to_list() == [1, 11, 21, 31, 41, 51]
    assert table["hole_psnr_inside"].to_list() == [0, 10, 20, 30, 40, 50]
    assert table["hole_psnr_border"].to_list() == [2, 12, 22, 32, 42, 52]
    assert table["ssim"].to_list() == [1.5, 3.5, 5.5, 7.5, 9.5, 11.5]
