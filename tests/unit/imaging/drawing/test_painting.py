"""Hand-made descriptions give exact holes, drawn ones the ratio that was asked for."""

import numpy as np
import pytest

from stages.imaging.drawing import blobs, boxes, strokes
from stages.imaging.drawing.boxes import challenge_ratio, draw_challenge
from stages.imaging.holes import hole_ratio, margin, touches_border

SHAPE = (48, 80)
DRAWN = {"strokes": strokes.draw_strokes, "blobs": blobs.draw_blobs, "boxes": boxes.draw_boxes}


def rows_of(hole: np.ndarray) -> list[str]:
    return ["".join(".#"[pixel] for pixel in row) for row in hole]


@pytest.mark.parametrize(
    ("edges", "ratio", "wanted"),
    [
        # Up to the ratio; the last one is cut.
        ([[0, 0, 2, 3], [1, 2, 4, 6], [0, 0, 4, 8]], 13 / 32, ["###.....", "######..", "..####..", "........"]),
        # What overlaps counts once, what is empty not at all.
        ([[1, 1, 3, 3], [2, 5, 2, 7], [1, 1, 3, 3], [0, 6, 1, 8]], 1, ["......##", ".##.....", ".##.....", "........"]),
    ],
)  # fmt: skip
def test_boxes_are_painted_in_order(edges, ratio, wanted):
    assert rows_of(boxes.paint(np.array(edges, np.int32), ratio, (4, 8))) == wanted


def test_strokes_have_round_ends_and_x_goes_to_the_right():
    assert rows_of(strokes.paint(np.array([[3, 3, 9, 3, 5]], np.int32), 1.0, (7, 14))) == [
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
        assert np.count_nonzero(strokes.paint(three, ratio, (7, 10))) == 10 * painted


def test_blobs_are_where_the_noise_is_highest_outside_the_margin():
    noise = np.array([[10, 90, 80], [20, 30, 70]], np.uint8)
    assert rows_of(blobs.paint(noise, 0.5, (0, 0), (2, 3))) == [".##", "..#"]
    noise = np.full((40, 60), 5, np.uint8)
    noise[:8] = 255
    hole = blobs.paint(noise, 0.2, (6, 9), (40, 60))
    assert hole[6:-6, 9:-9].sum() == hole.sum() > 0


@pytest.mark.parametrize("ratio", [0.02, 0.15, 0.35, 0.52])
@pytest.mark.parametrize("kind", DRAWN)
@pytest.mark.parametrize("free", [(0, 0), margin(SHAPE)])
def test_what_is_drawn_aims_well_and_keeps_the_margin_free(kind, ratio, free):
    rng = np.random.default_rng(3)
    misses = []
    for _ in range(30):
        hole = DRAWN[kind](SHAPE, ratio, free, rng)
        assert (hole.shape, hole.dtype, hole.max()) == (SHAPE, np.uint8, 1)
        assert not (any(free) and touches_border(hole))
        misses.append(abs(hole_ratio(hole) - ratio))
    assert np.median(misses) < 0.015
    assert max(misses) < 0.06


@pytest.mark.parametrize(("shape", "side"), [((256, 256), 75), ((64, 64), 19), ((48, 80), 14)])
@pytest.mark.parametrize("inside", [False, True])
def test_the_challenge_is_two_squares_apart(shape, side, inside):
    for seed in range(40):
        hole = draw_challenge(shape, margin(shape) if inside else (0, 0), np.random.default_rng(seed))
        assert hole.sum() == 2 * side**2
        assert hole_ratio(hole) == challenge_ratio(shape)
        assert not (inside and touches_border(hole))
