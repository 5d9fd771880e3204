"""The page holds what it is given, escaped, in one file; its charts and sheets are of the right size."""

import base64
import re
from io import BytesIO

import numpy as np
from PIL import Image

from stages.imaging.data_report.page import Count, Page, Picture, Section, render
from stages.imaging.data_report.sheets import contact_sheet, data_uri, fit, spread


def opened(uri: str) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"))


def test_a_page_needs_no_other_file_and_shows_names_as_they_are():
    names = [Count("<script>alert(1)</script>", 3, "a&b.jpg"), Count("kept", 12345)]
    page = render(
        Page(
            "Title <b>",
            "first\nsecond",
            [
                Section("Counts", "", counts=names),
                Section("Nothing", "not shown"),
                Section("Table", "", facts=[["split", "n"], ["train", "7"]]),
                Section("Pairs", "", pictures=[[Picture(data_uri(np.zeros((3, 5, 3), np.uint8)), 'a "name"')]]),
            ],
        )
    )
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "12,345" in page
    assert "a&amp;b.jpg" in page
    assert "not shown" not in page
    assert "<td>train</td><td>7</td>" in page
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []


def test_a_sheet_lays_pictures_in_rows():
    tiles = [np.full((4, 6, 3), 50 * number, np.uint8) for number in range(5)]
    sheet = opened(contact_sheet(tiles, columns=3, side_px=12))
    assert sheet.shape == (2 * 15 - 3, 3 * 15 - 3, 3)
    assert np.abs(sheet[4, 4].astype(int) - 0).max() < 10
    assert np.abs(sheet[4, 34].astype(int) - 100).max() < 10
    assert np.abs(sheet[19, 19].astype(int) - 200).max() < 10
    assert sheet[19, 38].min() > 245  # no sixth picture


def test_pictures_are_fitted_and_line_art_stays_exact():
    assert fit(np.zeros((300, 600, 3), np.uint8), 100).shape == (50, 100, 3)
    assert fit(np.zeros((10, 20, 3), np.uint8), 50).shape == (20, 40, 3)
    art = (np.indices((8, 9)).sum(axis=0) % 2 * 255).astype(np.uint8)[:, :, None].repeat(3, axis=2)
    assert data_uri(art).startswith("data:image/png")
    assert np.array_equal(opened(data_uri(art)), art)
    assert data_uri(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).startswith("data:image/jpeg")


def test_what_is_shown_is_spread_over_all():
    assert spread(5, 10).tolist() == [0, 1, 2, 3, 4]
    assert spread(101, 3).tolist() == [0, 50, 100]
    assert spread(0, 3).tolist() == []
