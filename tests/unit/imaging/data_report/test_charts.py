"""Charts as SVG: every line named with its values on hover, colours of the page, no name twice on a page."""

import re
import xml.etree.ElementTree as ET

import numpy as np

from stages.imaging.data_report.charts import Histogram, Line, histogram, line_chart

TITLES = ".//{http://www.w3.org/2000/svg}title"


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_a_chart_names_its_lines_in_the_order_of_their_ends_and_says_every_value() -> None:
    svg = line_chart(
        "dB", "step", [Line("low", "trained-0", [(0, 5.0), (10, 1.0)]), Line("up", "trained-1", [(0, 2.0)])]
    )
    assert [text for text in texts(svg) if text in {"low", "up"}] == ["up", "low"]
    assert [one.text for one in ET.fromstring(svg).findall(TITLES)] == ["up: 2 at 0", "low: 5 at 0", "low: 1 at 10"]
    assert "var(--trained-0)" in svg
    assert not re.search(r"#0000|#0[12]0[12]|font-family|<style", svg)


def test_charts_of_one_page_share_no_names_and_empty_ones_are_empty() -> None:
    line = [Line("a", "trained-0", [(0, 1.0), (1, 2.0)])]
    names = [set(re.findall(r' id="([^"]*)"', line_chart(title, "x", line))) for title in ("one", "two")]
    assert names[0]
    assert not names[0] & names[1]
    assert line_chart("none", "x", [Line("empty", "trained-0", [])]) == ""


def test_a_histogram_counts_what_is_beyond_and_leaves_out_empty_sets() -> None:
    values = {"a": np.array([0.5, 0.5, 1.5]), "b": np.array([9.0]), "none": np.array([])}
    svg = histogram(Histogram.of("x", values, 0, 2, bars=2))
    assert "values above 2 count in the last bar" in svg
    assert {"a", "b", "100 %"} <= set(texts(svg))
    assert "none" not in texts(svg)
