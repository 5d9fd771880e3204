"""Painting is pure: hand-made descriptions give exact holes, drawn ones the ratio that was asked for."""

import numpy as np
import pytest

from stages.imaging.drawing.blobs import Blobs, draw_blobs, paint_blobs
from stages.imaging.drawing.boxes import Boxes, challenge_ratio, draw_boxes, draw_challenge, paint_boxes
from stages.imaging.drawing.strokes import Strokes, draw_strokes, paint_strokes
from stages.imaging.holes import hole_ratio, margin, touches_border

SHAPE = (48, 80)


def rows_of(hole: np.ndarray) -> list[str]:
    return ["".join(".#"[pixel] for pixel in row) for row in hole]


def test_boxes_are_painted_up_to_the_ratio_and_the_last_is_cut():
    boxes = Boxes(np.array([[0, 0, 2, 3], [1, 2, 4, 6], [0, 0, 4, 8]], np.int32), ratio=13 / 32)
    assert rows_of(paint_boxes(boxes, (4, 8))) == [
        "###.....",
        "######..",
        "..####..",
        "........",
    ]


def test_boxes_that_overlap_count_once_and_empty_ones_do_not():
    boxes = Boxes(np.array([[1, 1, 3, 3], [2, 5, 2, 7], [1, 1, 3, 3], [0, 6, 1, 8]], np.int32), ratio=1.0)
    assert rows_of(paint_boxes(boxes, (4, 8))) == [
        "......##",
        ".##.....",
        ".##.....",
        "........",
    ]


def test_strokes_have_round_ends_and_x_goes_to_the_right():
    strokes = Strokes(np.array([[3, 3, 9, 3, 5]], np.int32), ratio=1.0)
    assert rows_of(paint_strokes(strokes, (7, 14))) == [
        "...#######....",
        ".###########..",
        ".###########..",
        "#############.",
        ".###########..",
        ".###########..",
        "...#######....",
    ]


def test_strokes_stop_where_the_ratio_is_met():
    three = np.array([[0, 1, 9, 1, 1], [0, 3, 9, 3, 1], [0, 5, 9, 5, 1]], np.int32)
    for ratio, painted in [(0.1, 1), (10 / 70, 1), (11 / 70, 2), (20 / 70, 2), (0.5, 3)]:
        assert np.count_nonzero(paint_strokes(Strokes(three, ratio), (7, 10))) == 10 * painted


def test_blobs_are_where_the_noise_is_highest():
    noise = np.array([[10, 90, 80], [20, 30, 70]], np.uint8)
    assert rows_of(paint_blobs(Blobs(noise, 0.5, (0, 0)), (2, 3))) == [".##", "..#"]


def test_blobs_leave_the_free_margin_though_the_noise_is_highest_there():
    noise = np.full((40, 60), 5, np.uint8)
    noise[:8] = 255
    hole = paint_blobs(Blobs(noise, 0.2, (6, 9)), (40, 60))
    assert hole[6:-6, 9:-9].sum() == hole.sum() > 0


@pytest.mark.parametrize("ratio", [0.02, 0.15, 0.35, 0.52])
@pytest.mark.parametrize("kind", ["strokes", "blobs", "boxes"])
@pytest.mark.parametrize("free", [(0, 0), margin(SHAPE)])
def test_what_is_drawn_aims_well_and_keeps_the_margin_free(kind, ratio, free):
    rng = np.random.default_rng(3)
    misses = []
    for _ in range(30):
        match kind:
            case "strokes":
                hole = paint_strokes(draw_strokes(SHAPE, ratio, free, rng), SHAPE)
            case "blobs":
                hole = paint_blobs(draw_blobs(ratio, free, rng), SHAPE)
            case "boxes":
                hole = paint_boxes(draw_boxes(SHAPE, ratio, free, rng), SHAPE)
        assert (hole.shape, hole.dtype, hole.max()) == (SHAPE, np.uint8, 1)
        assert not (any(free) and touches_border(hole))
        misses.append(abs(hole_ratio(hole) - ratio))
    assert np.median(misses) < 0.015
    assert max(misses) < 0.06


@pytest.mark.parametrize("draw", [draw_strokes, draw_boxes])
def test_a_drawing_is_the_same_for_the_same_seed_and_another_for_another(draw):
    def marks(seed):
        return next(iter(vars(draw(SHAPE, 0.3, (0, 0), np.random.default_rng(seed))).values()))

    assert np.array_equal(marks(1), marks(1))
    assert not np.array_equal(marks(1), marks(2))


def test_painting_twice_gives_the_same_and_changes_nothing():
    blobs = draw_blobs(0.3, margin(SHAPE), np.random.default_rng(0))
    noise = blobs.noise.copy()
    assert np.array_equal(paint_blobs(blobs, SHAPE), paint_blobs(blobs, SHAPE))
    assert np.array_equal(blobs.noise, noise)


def test_strokes_of_one_drawing_differ_in_width_and_turn():
    pieces = draw_strokes((256, 320), 0.3, (0, 0), np.random.default_rng(0)).pieces
    assert pieces[:, 4].min() >= 256 * 0.03 - 1
    assert pieces[:, 4].max() <= 256 * 0.13 + 1
    assert len(np.unique(pieces[:, 4])) > 8
    assert pieces[:, [0, 2]].max() > 256 > pieces[:, [1, 3]].max()  # x goes up to the width, y to the height


@pytest.mark.parametrize(("shape", "side"), [((256, 256), 75), ((64, 64), 19), ((48, 80), 14)])
@pytest.mark.parametrize("inside", [False, True])
def test_the_challenge_is_two_squares_apart(shape, side, inside):
    free = margin(shape) if inside else (0, 0)
    for seed in range(40):
        boxes = draw_challenge(shape, free, np.random.default_rng(seed))
        assert np.array_equal(boxes.edges[:, 2:] - boxes.edges[:, :2], np.full((2, 2), side))
        hole = paint_boxes(boxes, shape)
        assert hole.sum() == 2 * side**2
        assert hole_ratio(hole) == challenge_ratio(shape)
        assert not (inside and touches_border(hole))
