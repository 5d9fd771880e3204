"""A hole of a kind is what was wanted of it, or an error says that none came."""

import cv2
import numpy as np
import pytest

from stages.imaging.drawing.boxes import challenge_ratio
from stages.imaging.drawing.mask_spec import MaskSpec, draw_hole, first_allowed
from stages.imaging.holes import BUCKETS, bucket_of, hole_ratio, touches_border
from stages.runtime.errors import InputError


@pytest.mark.parametrize("kind", ["strokes", "blobs", "boxes"])
@pytest.mark.parametrize("border", [False, True])
@pytest.mark.parametrize("bucket", range(6))
def test_every_kind_fills_every_cell_up_to_its_edges(kind, border, bucket):
    low, high = BUCKETS[bucket]
    for seed, place in enumerate([0.001, 0.3, 0.7, 0.999]):
        wanted = MaskSpec(low, high, low + (high - low) * place, border)
        hole = draw_hole(kind, (40, 64), wanted, np.random.default_rng([bucket, border, seed]))
        assert hole.shape == (40, 64)
        assert (bucket_of(hole_ratio(hole)), touches_border(hole)) == (bucket, border)


def test_where_the_border_does_not_matter_holes_come_with_and_without():
    wanted = MaskSpec(0.01, 0.1, 0.05, border=None)
    holes = [draw_hole("strokes", (40, 64), wanted, np.random.default_rng(seed)) for seed in range(40)]
    assert {touches_border(hole) for hole in holes} == {False, True}


def test_the_challenge_has_its_own_ratio():
    hole = draw_hole("challenge", (64, 64), MaskSpec(0.1, 0.2, 0.11, border=True), np.random.default_rng(0))
    assert hole_ratio(hole) == challenge_ratio((64, 64))


@pytest.mark.parametrize("border", [False, True])
def test_everyday_holes_of_tiles_are_as_deep_as_in_photographs(border):
    depths = []
    for seed in range(60):
        hole = draw_hole("everyday", (96, 128), MaskSpec(0.01, 0.6, 0.3, border), np.random.default_rng(seed))
        assert hole.shape == (96, 128)
        depths.append(cv2.distanceTransform(hole, cv2.DIST_L2, cv2.DIST_MASK_PRECISE).max())
    assert min(depths) < 3
    assert max(depths) > 20


def test_an_everyday_hole_of_any_spec_can_be_had():
    for seed in range(6):
        for low, high in ((0.01, 0.1), (0.1, 0.2), (0.2, 0.3)):
            wanted = MaskSpec(low, high, (low + high) / 2, border=False)
            assert wanted.allows(draw_hole("everyday", (64, 64), wanted, np.random.default_rng(seed)))


def test_what_cannot_be_is_said():
    with pytest.raises(InputError, match=r"`challenge` .*\(0\.3, 0\.4\]"):
        draw_hole("challenge", (64, 64), MaskSpec(0.3, 0.4, 0.35, border=False), np.random.default_rng(0))


def test_an_unknown_kind_is_said():
    with pytest.raises(ValueError, match="circles"):
        draw_hole("circles", (64, 64), MaskSpec(0.3, 0.4, 0.35, border=None), np.random.default_rng(0))


def test_the_aim_moves_towards_the_middle_until_a_hole_is_allowed():
    aims = []

    def draw(ratio):
        aims.append(ratio)
        hole = np.zeros((10, 20), np.uint8)
        hole.flat[: round(200 * ratio) + 4] = 1  # always 0.02 too much
        return hole

    hole = first_allowed(draw, "strokes", MaskSpec(0.1, 0.2, 0.199, border=None))
    assert aims[0] == 0.199
    assert aims == sorted(aims, reverse=True)
    assert 0.1 < hole_ratio(hole) <= 0.2
    assert 0.17 < aims[-1] < 0.185
