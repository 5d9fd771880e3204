"""The membrane in NumPy, and the net that it is under answers that are far from all that surrounds them."""

import numpy as np
import pytest

from stages.inpainting import classical, soundness
from stages.inpainting.cropping import Filler, Settings, inpaint, membrane
from stages.inpainting.inpainter import About, Inpainter
from tests.unit.inpainting.test_cropping import holes


@pytest.mark.parametrize(("h", "w"), [(90, 130), (37, 41), (3, 50), (1, 1)])
def test_it_is_nearly_the_exact_solution(h: int, w: int) -> None:
    rows, columns = np.mgrid[:h, :w]
    image = np.stack([100 + rows, 200 - columns, 90 + 20 * np.sin(columns / 9)], axis=2).round().astype(np.uint8)
    missing = holes((h // 4, w // 4, h // 2, w // 2), h=h, w=w)
    sheet = membrane.spread(image.astype(np.float32), missing)
    assert np.array_equal(sheet[~missing], image[~missing].astype(np.float32))
    assert np.abs(sheet / 255 - classical.fill("harmonic", image, missing.astype(np.uint8))).max() < 4 / 255


def test_where_nothing_is_known_it_is_nothing() -> None:
    assert not membrane.spread(np.ones((9, 12, 3), np.float32), np.ones((9, 12), bool)).any()


def glowing(image: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Answer as a model that lost its way does: white in the middle of holes."""
    known = image.astype(np.float32) / 255
    return np.where(missing[..., None], np.float32([1, 1, 1]), known)


def magenta(image: np.ndarray, missing: np.ndarray) -> np.ndarray:
    return np.where(missing[..., None], np.float32([1, 0, 0.8]), image.astype(np.float32) / 255)


def noise(image: np.ndarray, missing: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).random(image.shape, np.float32)


def off_by_a_shade(image: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Answer well, but for twelve levels."""
    return membrane.spread(image.astype(np.float32) / 255, missing) + np.float32(12 / 255)


def found(fill: object, is_guarded: bool = True) -> list[str]:
    one = Inpainter(Filler(fill, side=256, reach=20, is_guarded=is_guarded), About("m"))
    return list(soundness.find_faults(one, side=64, sizes=(40,)))


@pytest.mark.parametrize("fill", [glowing, magenta, noise, off_by_a_shade])
def test_no_model_however_bad_paints_over_plain_colour(fill: object) -> None:
    picture = np.full((160, 200, 3), [10, 120, 200], np.uint8)
    for box in ((0, 0, 120, 120), (30, 40, 130, 170), (70, 0, 74, 200), (50, 60, 53, 64)):
        composite, _ = inpaint(picture, holes(box, h=160, w=200), Filler(fill, 256, 20), Settings())
        assert np.abs(composite.astype(int) - picture).max() <= soundness.FLAT_LEVELS


@pytest.mark.parametrize("fill", [glowing, magenta, noise, off_by_a_shade])
def test_nor_over_a_shade_in_holes_of_everyday_size(fill: object) -> None:
    one = Inpainter(Filler(fill, side=256, reach=20), About("m"))
    faults = soundness.find_faults(one, side=128, sizes=(8, 30), names=["shaded"])
    assert all(soundness.CAUGHT in fault for fault in faults)


def test_a_hole_of_four_fifths_of_a_large_picture_keeps_to_its_surroundings() -> None:
    plain = np.full((400, 400, 3), [10, 120, 200], np.uint8)
    for box in ((40, 40, 360, 360), (0, 0, 320, 320), (195, 0, 205, 400)):
        composite, _ = inpaint(plain, holes(box, h=400, w=400), Filler(glowing, 256, 20), Settings())
        assert np.abs(composite.astype(int) - plain).max() <= soundness.FLAT_LEVELS


@pytest.mark.parametrize("fill", [glowing, magenta, noise, off_by_a_shade])
def test_a_model_that_loses_its_way_is_found(fill: object) -> None:
    assert found(fill, is_guarded=False)


def test_a_model_that_the_net_has_to_catch_in_a_scene_is_found() -> None:
    assert any(fault.startswith("scene") and soundness.CAUGHT in fault for fault in found(glowing))


@pytest.mark.parametrize("edge", [(slice(None), slice(-1, None)), (slice(-1, None), slice(None))])
def test_a_model_that_is_wrong_at_one_border_alone_is_found(edge: tuple[slice, slice]) -> None:
    def wrong(image: np.ndarray, missing: np.ndarray) -> np.ndarray:
        sheet = membrane.spread(image.astype(np.float32) / 255, missing)
        return np.ones_like(sheet) if missing[edge].any() else sheet

    assert found(wrong, is_guarded=False)


@pytest.mark.parametrize(("h", "w"), [(1, 2000), (700, 2), (1, 1), (2, 2), (3, 700)])
def test_pictures_of_few_rows_or_columns_keep_to_their_colour_too(h: int, w: int) -> None:
    picture = np.full((h, w, 3), [10, 120, 200], np.uint8)
    missing = np.ones((h, w), bool)
    missing[-1, -1] = False
    composite, _ = inpaint(picture, missing, Filler(off_by_a_shade, 256, 20), Settings())
    assert np.abs(composite.astype(int) - picture).max() <= soundness.FLAT_LEVELS


def test_a_membrane_is_never_worse_than_a_membrane() -> None:
    def exact(image: np.ndarray, missing: np.ndarray) -> np.ndarray:
        return membrane.spread(image.astype(np.float32) / 255, missing)

    assert found(exact) == []
