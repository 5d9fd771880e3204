"""A data page on a small screen: everything within reach and readable."""

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser

from stages.imaging.data_report.charts import Histogram
from stages.imaging.data_report.page import Count, Page, Picture, Section, render
from stages.imaging.data_report.sheets import contact_sheet
from tests.browser import unreadable


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_a_data_page(browser: Browser, tmp_path: Path, scheme: str) -> None:
    sheet = Picture(contact_sheet([np.full((64, 64, 3), 90, np.uint8)] * 32, 16, 64), "a wide sheet")
    numbers = Histogram.of("number", {name: np.arange(9.0) for name in "abcde"}, 0, 9)
    sections = [
        Section("Bars", "counted", counts=[Count("RandomBrightnessContrast", 7, "of all the tiles")]),
        Section("Table", "wide", facts=[["a column of the table"] * 9, ["a cell"] * 9]),
        Section("Pictures", "shown", histograms=[numbers], sheets=[sheet], pictures=[[sheet, sheet]]),
    ]
    (tmp_path / "page.html").write_text(render(Page("Title", "lead", sections)))
    page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page.goto((tmp_path / "page.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.locator(".wide").evaluate_all("(all) => all.map((one) => one.scrollWidth > one.clientWidth)") == [
        True, True,
    ]  # fmt: skip
    assert unreadable(page) == []
    page.close()
