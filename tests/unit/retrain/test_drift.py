"""The drift check tells pictures of another kind from more of the same."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from stages.retrain import drift


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Crops of photographs: 24 that are alike in kind."""
    folder = tmp_path_factory.mktemp("crops")
    rng = np.random.default_rng(0)
    photos = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]
    paths = []
    for number in range(24):
        picture = Image.fromarray(photos[number % len(photos)]).resize((600, 420))
        left, top = rng.integers(0, 200), rng.integers(0, 100)
        paths.append(folder / f"{number}.png")
        picture.crop((left, top, left + 340, top + 280)).save(paths[-1])
    return paths


@pytest.fixture(scope="module")
def known(crops: list[Path]) -> drift.Measured:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INPAINT_WORKERS", "1")
        return drift.measure(crops[:14])


def test_noise_is_far_from_photographs_and_more_of_the_same_is_not(
    crops: list[Path], known: drift.Measured, tmp_path: Path
) -> None:
    noise = []
    for number in range(10):
        noise.append(tmp_path / f"{number}.png")
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (240, 320, 3), np.uint8)).save(noise[-1])
    come = drift.measure(noise)
    unlike = {finding.name: finding for finding in drift.compare(known, come, least=8)}
    assert list(unlike) == list(drift.SIGNS)
    assert unlike["distance"].statistic == 1.0
    assert unlike["sharpness"].p < 0.001
    alike = {finding.name: finding for finding in drift.compare(known, drift.measure(crops[14:]), least=8)}
    assert alike["distance"].statistic < 0.7
    assert alike["brightness"].p > 0.05
    page = drift.page(list(unlike.values()), come.unusable)
    assert page.count("<svg") == len(drift.SIGNS)
    assert "10 new photographs beside 14 known ones" in page
    assert f"<td>{unlike['sharpness'].statistic:.2f}</td>" in page


def test_few_photographs_say_nothing_and_what_is_no_picture_is_counted(
    crops: list[Path], known: drift.Measured, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_text("no picture")
    few = drift.measure([*crops[:3], tmp_path / "a.jpg"])
    assert (len(few.signs), few.unusable) == (3, 1)
    assert drift.compare(known, few, least=8) == []


def test_p_values_are_corrected_by_holm() -> None:
    assert drift._holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
