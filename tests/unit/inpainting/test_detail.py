"""Copied texture: grass stays grass, plain colour stays plain, and everything else stays what it was."""

import sys

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from stages.inpainting.cropping import Filler, Settings, detail, inpaint, membrane
from tests.unit.inpainting.test_cropping import holes


def smooth(image: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Answer as a network does that has learned no texture."""
    return membrane.spread(image.astype(np.float32) / 255, missing)


FILLER = Filler(smooth, side=256, reach=20)


def grass(h: int, w: int) -> np.ndarray:
    """Upright blades in greens, brighter towards the top."""
    rng = np.random.default_rng(0)
    blades = np.repeat(rng.normal(0, 30, (h // 8 + 1, w)), 8, axis=0)[:h]
    return (
        np.stack([70 + blades / 2, 120 + blades - np.arange(h)[:, None] / 4, 50 + blades / 3], axis=2)
        .clip(0, 255)
        .astype(np.uint8)
    )


def sharpness(picture: np.ndarray, missing: np.ndarray) -> float:
    return float(np.square(np.diff(picture.astype(float), axis=1))[missing[:, 1:]].mean())


@pytest.mark.parametrize("scale", [1, 3])
def test_a_hole_in_grass_becomes_grass(scale: int) -> None:
    """The larger one is copied at a third of its size, and gets its finest part back."""
    h, w = 240 * scale, 320 * scale
    picture, missing = grass(h, w), holes((80 * scale, 100 * scale, 170 * scale, 220 * scale), h=h, w=w)
    plain, before = inpaint(picture, missing, FILLER, Settings(detail=False))
    textured, report = inpaint(picture, missing, FILLER, Settings())
    wanted = sharpness(picture, missing)
    assert (before["detail"], report["detail"]) == (False, True)
    assert sharpness(plain, missing) < 0.1 * wanted
    assert 0.5 * wanted < sharpness(textured, missing) < 1.5 * wanted
    assert np.array_equal(textured[~missing], picture[~missing])


def bricks(h: int, w: int) -> np.ndarray:
    """Rows of bricks of 24 x 12 pixels with light mortar, and some grain."""
    y, x = np.mgrid[:h, :w]
    mortar = (y % 12 < 2) | ((x + y // 12 % 2 * 12) % 24 < 2)
    grain = np.random.default_rng(0).normal(0, 6, (h, w))
    return np.repeat(np.where(mortar, 170, 90)[..., None] + grain[..., None], 3, axis=2).clip(0, 255).astype(np.uint8)


def test_a_wall_keeps_its_contrast() -> None:
    picture, missing = bricks(240, 320), holes((80, 100, 170, 220), h=240, w=320)
    textured, _ = inpaint(picture, missing, FILLER, Settings())
    inside, outside = (gaussian_filter(textured[..., 0].astype(float), 2)[part].std() for part in (missing, ~missing))
    assert inside > 0.8 * outside


def test_a_shade_gets_no_texture_and_no_seams() -> None:
    rows, columns = np.mgrid[:240, :320]
    sky = np.stack([90 + rows / 2, 140 + rows / 4, 230 - columns / 2], axis=2).round().astype(np.uint8)
    missing = holes((24, 32, 216, 288), h=240, w=320)
    textured, report = inpaint(sky, missing, FILLER, Settings())
    assert report["detail"]
    assert np.abs(textured.astype(int) - sky).max() <= 4


@pytest.mark.parametrize("feather", [0, 4])
def test_thin_holes_are_left_as_they_were_filled(feather: int) -> None:
    picture, missing = grass(200, 200), holes((0, 98, 200, 102), h=200, w=200)
    (plain, _), (other, report) = (
        inpaint(picture, missing, FILLER, Settings(feather=feather, detail=flag)) for flag in (False, True)
    )
    assert report["detail"] is False
    assert np.array_equal(plain, other)


def test_where_nearly_everything_is_missing_nothing_is_copied_and_that_is_said() -> None:
    missing = ~holes((0, 0, 4, 60), h=200, w=200)
    composite, report = inpaint(grass(200, 200), missing, FILLER, Settings())
    assert report["notes"] == ["without copied texture: too little of the picture is known"]
    assert np.isfinite(composite).all()


def test_without_the_package_a_hole_is_filled_plainly_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "patchmatch", None)
    detail.problem.cache_clear()
    try:
        picture, missing = grass(200, 200), holes((60, 60, 140, 140), h=200, w=200)
        composite, report = inpaint(picture, missing, FILLER, Settings())
        assert np.array_equal(composite, inpaint(picture, missing, FILLER, Settings(detail=False))[0])
        assert "pip install pypatchmatch" in report["notes"][0]
    finally:
        detail.problem.cache_clear()
