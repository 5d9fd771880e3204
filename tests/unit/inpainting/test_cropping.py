"""Crops around holes: everything outside stays to the bit, whatever the sizes, numbers and places of the holes."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from stages.inpainting.cropping import (
    Box,
    Fill,
    Filler,
    Padded,
    Settings,
    bounds,
    crops,
    inpaint,
    natural_reach,
    natural_side,
    weights,
)
from stages.inpainting.cropping.boxes import thick, tiles

H, W = 300, 420


def plainly(fill: Fill, side: int = 512, reach: int = 1000) -> Filler:
    """Nothing but the fill: no membrane, no copied texture."""
    return Filler(fill, side, reach, detail=False, is_guarded=False)


def grey(image: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Answer grey, as a network without weights would."""
    return np.full(image.shape, 0.5, np.float32)


def mean_known(image: np.ndarray, missing: np.ndarray) -> np.ndarray:
    mean = image[~missing].mean(axis=0) / 255
    return np.broadcast_to(mean, image.shape).astype(np.float32)


def picture(h: int = H, w: int = W) -> np.ndarray:
    return np.random.default_rng(h * w).integers(0, 256, (h, w, 3), np.uint8)


def holes(*boxes: tuple[int, int, int, int], h: int = H, w: int = W) -> np.ndarray:
    missing = np.zeros((h, w), bool)
    for box in boxes:
        missing[Box(*box).part] = True
    return missing


def random_holes(seed: int) -> np.ndarray:
    """Up to 12 holes of any size and place, some of them single pixels."""
    rng = np.random.default_rng(seed)
    h, w = rng.integers(1, 500, 2)
    missing = np.zeros((h, w), bool)
    for _ in range(rng.integers(0, 12)):
        top, left = rng.integers(0, h), rng.integers(0, w)
        tall, wide = rng.integers(1, 60, 2) if rng.random() < 0.7 else (1, 1)
        missing[top : top + tall, left : left + wide] = True
    return missing


@pytest.mark.parametrize("seed", range(30))
def test_whatever_the_holes_only_they_and_the_band_around_them_change(seed: int) -> None:
    missing = random_holes(seed)
    image = picture(*missing.shape)
    grow, feather = np.random.default_rng(seed).integers(0, 12, 2).tolist()
    reach = 1000 if seed % 2 else 8 + seed
    filler = plainly(grey, side=64 + 32 * (seed % 4), reach=reach)
    composite, report = inpaint(image, missing, filler, Settings(grow=grow, feather=feather))
    distance = distance_transform_edt(~missing) if missing.any() else np.full(missing.shape, np.inf)
    assert composite.shape == image.shape
    assert np.array_equal(composite[distance > grow + feather], image[distance > grow + feather])
    if reach == 1000:  # else what was filled small is moved to meet the known pixels
        assert (composite[distance <= grow] == 128).all()
    changed = (composite != image).any(axis=2)
    if changed.any():
        left, top, right, bottom = report["changed"]
        assert changed[top:bottom, left:right].sum() == changed.sum()


@pytest.mark.parametrize("seed", range(30))
def test_crops_hold_every_hole_with_its_context_and_never_overlap(seed: int) -> None:
    missing = random_holes(seed)
    covered = np.zeros(missing.shape, int)
    for box in crops(missing, 0.5):
        covered[box.part] += 1
    assert covered.max(initial=0) <= 1
    reached = distance_transform_edt(~missing) < 64 if missing.any() else missing
    assert covered[reached].all()


def test_context_is_a_share_of_the_hole_and_at_least_64_pixels_and_clamped() -> None:
    missing = holes((500, 600, 700, 640), (20, 1900, 30, 1910), h=1500, w=2000)
    assert crops(missing, 0.5) == [Box(0, 1836, 94, 1974), Box(400, 500, 800, 740)]


def test_crops_are_merged_until_none_overlap() -> None:
    """The third overlaps only what the first two become together."""
    missing = holes((100, 100, 110, 110), (100, 230, 110, 240), (280, 170, 290, 180), h=600, w=400)
    boxes = crops(missing, 0)
    assert boxes == [Box(36, 36, 174, 304), Box(216, 106, 354, 244)]
    missing |= holes((180, 320, 190, 330), h=600, w=400)
    assert crops(missing, 0) == [Box(36, 36, 354, 394)]


def test_without_a_hole_the_picture_comes_back_and_nothing_is_asked() -> None:
    image = picture()
    asked = plainly(lambda *_: pytest.fail("was asked"))
    composite, report = inpaint(image, holes(), asked, Settings(grow=5, feather=5))
    assert np.array_equal(composite, image)
    assert (report["crops"], report["changed"], report["hole_share"]) == ([], None, 0.0)


@pytest.mark.parametrize("reach", [1000, 20])
def test_a_picture_that_is_all_hole_is_answered(reach: int) -> None:
    composite, report = inpaint(picture(), ~holes(), Filler(grey, 512, reach), Settings())
    assert (composite == 128).all()
    assert report["detail"] is False
    assert report["notes"] == ["without copied texture: too little of the picture is known"]


def test_a_deep_hole_is_filled_at_the_size_at_which_the_model_can_see_across_it() -> None:
    """300 x 300 pixels missing: 150 deep; after three halvings 19, which a reach of 24 covers."""
    seen: list[tuple[int, ...]] = []

    def watch(image: np.ndarray, missing: np.ndarray) -> np.ndarray:
        seen.append(missing.shape)
        assert distance_transform_edt(np.pad(missing, 1)).max() <= 24
        return grey(image, missing)

    missing = holes((300, 400, 600, 700), h=900, w=1200)
    _, report = inpaint(picture(900, 1200), missing, plainly(watch, side=256, reach=24), Settings())
    assert report["scale"] == 1 / 8
    assert seen[0] == (75, 75)  # 600 x 600 with its context
    assert inpaint(picture(900, 1200), missing, plainly(grey), Settings())[1]["scale"] == 1


@pytest.mark.parametrize("width", [1, 2, 4, 9])
def test_a_scratch_across_the_picture_is_filled_at_full_size_tile_by_tile(width: int) -> None:
    shapes: list[tuple[int, ...]] = []

    def watch(image: np.ndarray, missing: np.ndarray) -> np.ndarray:
        shapes.append(missing.shape)
        assert missing.any()
        return grey(image, missing)

    rows, columns = np.mgrid[:700, :1500]
    missing = abs(rows - columns * 0.45) <= width / 2
    composite, report = inpaint(picture(700, 1500), missing, plainly(watch, side=256, reach=20), Settings())
    assert (composite[missing] == 128).all()
    assert report["scale"] == 1
    assert np.max(shapes) <= 256
    assert len(shapes) < 20


def test_dust_all_over_a_picture_reaches_the_model_whole() -> None:
    filled = np.zeros((), int)

    def count(image: np.ndarray, missing: np.ndarray) -> np.ndarray:
        nonlocal filled
        filled = filled + missing.sum()
        return grey(image, missing)

    missing = np.random.default_rng(0).random((600, 800)) < 0.002
    composite, report = inpaint(picture(600, 800), missing, plainly(count, side=256, reach=20), Settings())
    assert (composite[missing] == 128).all()
    assert filled >= missing.sum()
    assert report["scale"] == 1


@pytest.mark.parametrize("seed", range(12))
def test_thick_parts_hold_every_pixel_that_the_model_cannot_see_from_the_edge(seed: int) -> None:
    missing = random_holes(seed)
    reach = 3 + seed
    deep = distance_transform_edt(missing) > reach if not missing.all() else missing
    found = thick(missing, reach)
    assert found[deep].all()
    assert not found[~missing].any()
    assert deep.any() or not found.any()


@pytest.mark.parametrize("seed", range(12))
def test_tiles_hold_every_missing_pixel_once(seed: int) -> None:
    missing = random_holes(seed)
    covered = np.zeros(missing.shape, int)
    for part, tile in tiles(missing, 96, 16):
        covered[part.part] += 1
        assert max(tile.bottom - tile.top, tile.right - tile.left) <= 96
        assert tile.top <= part.top <= part.bottom <= tile.bottom
    assert (covered[missing] == 1).all()
    assert covered.max(initial=0) <= 1


def test_a_part_of_a_deep_hole_that_is_thin_is_filled_at_full_size() -> None:
    """A balloon on its string: the string is sharp."""
    smallest: dict[tuple[int, ...], int] = {}

    def watch(image: np.ndarray, missing: np.ndarray) -> np.ndarray:
        smallest[missing.shape] = int(missing.sum())
        return mean_known(image, missing)

    missing = holes((100, 100, 260, 260), (260, 178, 390, 182), h=400, w=400)
    inpaint(picture(400, 400), missing, plainly(watch, side=512, reach=24), Settings())
    assert next(iter(smallest)) == (100, 100)
    assert 130 * 4 <= smallest[400, 400] < 1000  # the string, and the corners of the box


def test_what_stands_in_a_hole_never_shows_even_scaled_down() -> None:
    missing = holes((60, 80, 201, 233))
    red = np.where(missing[..., None], np.uint8([255, 0, 0]), np.uint8(90)).astype(np.uint8)
    composite, _ = inpaint(red, missing, Filler(mean_known, 64, 8), Settings())
    assert (composite == 90).all()


@pytest.mark.parametrize(("max_side", "scale"), [(0, 0.25), (64, 0.0625), (1000, 0.25)])
def test_smaller_crops_that_a_user_asks_for_are_scaled_down_further(max_side: int, scale: float) -> None:
    missing = holes((50, 50, 200, 200))
    _, report = inpaint(picture(), missing, plainly(grey, side=256, reach=24), Settings(max_side=max_side))
    assert report["scale"] == scale


def test_a_feathered_edge_falls_evenly_from_the_answer_to_the_picture() -> None:
    weight = weights(holes((100, 100, 150, 150)), grow=2, feather=3)
    assert weight[120, 145:160].tolist() == [255] * 7 + [191, 128, 64, 0, 0, 0, 0, 0]


def test_an_answer_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="prediction is not finite"):
        inpaint(picture(), holes((5, 5, 9, 9)), plainly(lambda image, _: np.full(image.shape, np.nan)), Settings())


def test_image_and_hole_of_different_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"are \(300, 420, 3\) and \(420, 300\)"):
        inpaint(picture(), holes().T, plainly(grey), Settings())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"grow": -1}, "`grow` should be from 0 to 64, but is -1"),
        ({"feather": 65}, "`feather` should be from 0 to 64, but is 65"),
        ({"context": float("nan")}, "`context` should be from 0 to 8, but is nan"),
        ({"max_side": 20}, "`max_side` should be 0 or at least 64, but is 20"),
    ],
)
def test_settings_out_of_range_are_named(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings(**wrong)


def test_a_network_gets_sizes_that_it_takes_and_no_colour_of_the_hole() -> None:
    def network(holed: np.ndarray) -> np.ndarray:
        assert holed.shape == (1, 4, 32, 64)
        assert holed.dtype == np.float32
        assert not holed[:, :3].any(where=holed[:, 3:] == 1)
        assert np.array_equal(holed, np.pad(holed[..., :20, :50], [(0, 0), (0, 0), (0, 12), (0, 14)], mode="edge"))
        return holed[:, :3]

    image, missing = picture(20, 50), holes((3, 4, 9, 50), h=20, w=50)
    filled = Padded(network, 16)(image, missing)
    assert np.array_equal(np.round(filled * 255)[~missing], image[~missing])


def test_the_side_that_suits_a_model_follows_from_its_training() -> None:
    assert [natural_side(facts) for facts in ({}, {"tile_size": 64}, {"tile_size": 512})] == [256, 256, 2048]
    assert [natural_reach(facts) for facts in ({}, {"tile_size": 64}, {"tile_size": 64, "reach": 30})] == [8, 21, 30]


def test_a_hole_of_no_pixels_has_no_bounds() -> None:
    assert bounds(holes()) is None
