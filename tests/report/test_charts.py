import itertools
import math
import re

import pytest

from stages.comparing.bootstrap import Estimate
from stages.report.charts import BOTTOM, LEFT, RIGHT, STRIP_WIDTH, TOP, Line, interval_strips, line_chart


def test_the_ends_of_the_lines_reach_the_ends_of_the_x_axis_and_up_is_more():
    chart = line_chart("y", "x", [Line("a", "s", [(5, 10.0), (10, 30.0), (25, 20.0)])])
    dots = chart.lines[0].dots
    assert [dot.x for dot in dots] == [LEFT, pytest.approx(LEFT + (RIGHT - LEFT) / 4, abs=0.1), RIGHT]
    assert TOP < dots[1].y < dots[2].y < dots[0].y < BOTTOM
    assert dots[1].text == "a: 30 at 10"
    assert re.fullmatch(r"M[\d. ]+(L[\d. ]+){2}", chart.lines[0].path)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 10, "0 2 4 6 8 10"),
        (15.9, 26.9, "16 18 20 22 24 26"),
        (0.45, 0.97, "0.5 0.6 0.7 0.8 0.9"),
        (-1, 1, "-1 -0.5 0 0.5 1"),
    ],
)
def test_ticks_are_round_numbers_within_the_axis(low, high, ticks):
    chart = line_chart("y", "x", [Line("a", "s", [(low, 1.0), (high, 2.0)])])
    assert " ".join(tick.text for tick in chart.x_ticks) == ticks
    assert all(LEFT - 1e-6 <= tick.place <= RIGHT + 1e-6 for tick in chart.x_ticks)


def test_values_that_differ_thirtyfold_get_a_logarithmic_axis():
    chart = line_chart("loss", "step", [Line("a", "s", [(0, 100.0), (1, 10.0), (2, 1.0)])])
    high, middle, low = (dot.y for dot in chart.lines[0].dots)
    assert middle - high == pytest.approx(low - middle, abs=0.2)
    assert [tick.text for tick in chart.y_ticks] == ["1", "10", "100"]


def test_a_flat_line_and_a_single_point_can_be_drawn():
    chart = line_chart("y", "x", [Line("flat", "s", [(0, 3.0), (1, 3.0)]), Line("point", "s", [(0.5, 3.0)])])
    assert all(math.isfinite(dot.y) and TOP < dot.y < BOTTOM for line in chart.lines for dot in line.dots)


def test_names_that_would_touch_move_apart_and_stay_in_the_chart():
    lines = [Line(str(number), "s", [(0, 5.0), (1, 0.001 * number)]) for number in range(8)]
    ys = sorted(line.label_y for line in line_chart("y", "x", lines).lines)
    assert all(lower - upper >= 14 for upper, lower in itertools.pairwise(ys))
    assert ys[-1] <= BOTTOM + 7
    by_label = {line.label: line.label_y for line in line_chart("y", "x", lines).lines}
    assert by_label["7"] < by_label["0"]


def test_long_lines_have_no_dots():
    assert line_chart("y", "x", [Line("a", "s", [(x, float(x)) for x in range(50)])]).lines[0].dots == []


def test_lines_without_points_are_left_out():
    chart = line_chart("y", "x", [Line("empty", "s", []), Line("a", "s", [(0, 1.0), (1, 2.0)])])
    assert [line.label for line in chart.lines] == ["a"]
    assert line_chart("y", "x", []).lines == []


def test_strips_share_one_scale():
    first, second = interval_strips([Estimate(15, 10, 20), Estimate(25, 20, 30)])
    assert first.high == second.low
    assert 0 < first.low < first.mean < first.high < second.mean < second.high < STRIP_WIDTH
    assert all(
        place == STRIP_WIDTH / 2
        for place in (vars(interval_strips([Estimate(5, 5, 5)])[0]) | {"zero": STRIP_WIDTH / 2}).values()
    )
    around, above = interval_strips([Estimate(0, -1, 1), Estimate(3, 2, 4)], zero=True)
    assert around.mean == around.zero == above.zero
    assert above.low > above.zero
