"""Tiles cover a photo at every scale, are chosen fairly where there are too many, and hold the pixels they say."""

import numpy as np
import pytest
from PIL import Image

from stages.prepare.tiling import TilingConfig, choose_tiles, cut, scaled_shape


def cutting(tile_size: int = 16, short_sides: tuple[int, ...] = (20, 40), max_tiles: int = 1000) -> TilingConfig:
    return TilingConfig(tile_size, short_sides, max_tiles, max_megapixels=1, turned=False, seed=0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_hand_made_grid():
    tiles = choose_tiles((40, 60), cutting(short_sides=(20, 16)), rng())
    assert tiles.short_sides.tolist() == [16, 16, 20, 20, 20, 20]
    assert tiles.corners.tolist() == [[0, 0], [8, 0], [0, 0], [14, 0], [0, 4], [14, 4]]
    assert tiles.boxes((40, 60), 16).tolist() == [
        [0, 0, 40, 40], [20, 0, 60, 40], [0, 0, 32, 32], [28, 0, 60, 32], [0, 8, 32, 40], [28, 8, 60, 40]
    ]  # fmt: skip


@pytest.mark.parametrize("shape", [(41, 97), (97, 41), (16, 16), (16, 300), (1000, 33)])
def test_every_pixel_of_every_scale_is_covered(shape):
    tiles = choose_tiles(shape, cutting(), rng())
    assert set(tiles.short_sides) == {min(20, *shape), min(40, *shape)}
    for side in set(tiles.short_sides):
        h, w = scaled_shape(shape, int(side))
        covered = np.zeros((h, w), bool)
        for x, y in tiles.corners[tiles.short_sides == side]:
            assert x + 16 <= w
            assert y + 16 <= h
            covered[y : y + 16, x : x + 16] = True
        assert covered.all()


def test_nothing_is_scaled_up_and_the_own_size_counts_once():
    tiles = choose_tiles((30, 50), cutting(short_sides=(20, 40, 400)), rng())
    assert sorted(set(tiles.short_sides)) == [20, 30]
    boxes = tiles.boxes((30, 50), 16)
    assert len(np.unique(boxes, axis=0)) == len(boxes)
    assert np.array_equal(boxes[tiles.short_sides == 30][:, :2], tiles.corners[tiles.short_sides == 30])


def test_boxes_stay_inside_the_photo_and_reach_its_edges():
    for shape in [(41, 97), (333, 500), (1411, 1411)]:
        boxes = choose_tiles(shape, cutting(), rng()).boxes(shape, 16)
        assert boxes[:, :2].min() == 0
        assert boxes[:, 2:].max(axis=0).tolist() == [shape[1], shape[0]]


def test_scales_take_turns_when_there_are_too_many_tiles():
    everything = choose_tiles((64, 96), cutting(short_sides=(16, 20, 64)), rng())
    assert np.unique(everything.short_sides, return_counts=True)[1].tolist() == [2, 4, 24]
    for most, counts in {9: [2, 4, 3], 8: [2, 3, 3], 3: [1, 1, 1], 12: [2, 4, 6]}.items():
        some = choose_tiles((64, 96), cutting(short_sides=(16, 20, 64), max_tiles=most), rng())
        assert np.unique(some.short_sides, return_counts=True)[1].tolist() == counts
        all_boxes = everything.boxes((64, 96), 16).tolist()
        places = [all_boxes.index(box) for box in some.boxes((64, 96), 16).tolist()]
        assert places == sorted(set(places))


def test_the_choice_is_the_generators():
    few = cutting(short_sides=(64,), max_tiles=5)
    first, again, other = (choose_tiles((64, 96), few, rng(seed)).corners.tolist() for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_tiles_at_the_photos_own_size_are_its_pixels():
    pixels = rng().integers(0, 256, (40, 60, 3), np.uint8)
    tiles = choose_tiles((40, 60), cutting(short_sides=(40,)), rng())
    cut_out = cut(pixels, pixels.shape[:2], tiles, 16)
    assert cut_out.shape == (12, 16, 16, 3)
    for tile, (x0, y0, x1, y1) in zip(cut_out, tiles.boxes((40, 60), 16), strict=True):
        assert np.array_equal(tile, pixels[y0:y1, x0:x1])


def test_a_scaled_tile_shows_what_its_box_holds():
    smooth = Image.fromarray(rng().integers(0, 256, (4, 6, 3), np.uint8)).resize((120, 80), Image.Resampling.BICUBIC)
    tiles = choose_tiles((80, 120), cutting(short_sides=(20,)), rng())
    for tile, box in zip(cut(np.asarray(smooth), (80, 120), tiles, 16), tiles.boxes((80, 120), 16), strict=True):
        wanted = smooth.crop(tuple(box)).resize((16, 16), Image.Resampling.LANCZOS)
        assert np.abs(tile[2:-2, 2:-2].astype(int) - np.asarray(wanted)[2:-2, 2:-2]).max() <= 6


def test_fine_detail_is_averaged_rather_than_skipped():
    checks = np.indices((160, 240)).sum(axis=0) % 2 * np.uint8(255)
    tiles = choose_tiles((160, 240), cutting(short_sides=(20,)), rng())
    cut_out = cut(np.stack([checks.astype(np.uint8)] * 3, axis=2), (160, 240), tiles, 16)
    assert np.abs(cut_out.astype(int) - 127).max() <= 3
