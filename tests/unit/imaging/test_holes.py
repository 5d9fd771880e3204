"""The words of holes hold to the last pixel, and a mask set gives back what was packed."""

import numpy as np
import pytest

from stages.imaging.holes import BUCKETS, MaskSet, bucket_of, hole_ratio, margin, pack, touches_border
from stages.runtime.errors import InputError


def hole_of(count: int, shape: tuple[int, int] = (20, 50)) -> np.ndarray:
    hole = np.zeros(shape, np.uint8)
    hole.flat[:count] = 1
    return hole


@pytest.mark.parametrize(
    ("missing", "bucket"),
    [(0, None), (10, None), (11, 0), (100, 0), (101, 1), (200, 1), (201, 2), (300, 2), (301, 3), (400, 3), (401, 4),
     (500, 4), (501, 5), (600, 5), (601, None), (1000, None)],
)  # fmt: skip
def test_a_bucket_holds_its_right_edge_and_not_its_left_one(missing, bucket):
    assert bucket_of(hole_ratio(hole_of(missing))) == bucket


def test_edges_are_exact_at_every_size_of_picture():
    for tenths in range(1, 7):
        for pixels in range(10, 5000, 10):
            assert bucket_of(pixels * tenths // 10 / pixels) == tenths - 1
            assert bucket_of((pixels * tenths // 10 + 1) / pixels) == (tenths if tenths < 6 else None)


def test_buckets_touch():
    assert [high for _, high in BUCKETS[:-1]] == [low for low, _ in BUCKETS[1:]]


def test_ratio_of_a_hand_made_hole():
    assert hole_ratio(np.array([[0, 1, 1], [0, 0, 0]], np.uint8)) == 2 / 6


@pytest.mark.parametrize(
    ("shape", "wanted"), [((512, 512), (50, 50)), ((256, 512), (25, 50)), ((64, 32), (6, 3)), ((48, 640), (5, 63))]
)
def test_the_margin_scales_with_each_side(shape, wanted):
    assert margin(shape) == wanted


def test_a_pixel_in_the_outermost_free_row_or_column_touches_the_border():
    rows, columns = margin((64, 128))
    for y, x in [(rows - 1, 60), (64 - rows, 60), (30, columns - 1), (30, 128 - columns), (0, 0), (63, 127)]:
        hole = np.zeros((64, 128), np.uint8)
        hole[y, x] = 1
        assert touches_border(hole)
    inner = np.zeros((64, 128), np.uint8)
    inner[rows : 64 - rows, columns : 128 - columns] = 1
    assert not touches_border(inner)


@pytest.mark.parametrize("size", [8, 20, 64, 65])
def test_a_bank_gives_back_what_was_packed(size, tmp_path):
    holes = (np.random.default_rng(0).random((7, size, size)) < 0.3).astype(np.uint8)
    packed = pack(holes)
    assert packed.dtype == np.uint8
    assert packed.shape == (7, size, -(-size // 8))
    np.save(tmp_path / "train.npy", packed)
    mask_set = MaskSet(tmp_path / "train.npy")
    assert (len(mask_set), mask_set.size) == (7, size)
    gathered = mask_set.gather(np.array([5, 0, 5]))
    assert gathered.dtype == np.uint8
    assert np.array_equal(gathered, holes[[5, 0, 5]])


def test_the_leftmost_pixel_is_the_highest_bit():
    holes = np.zeros((1, 9, 9), np.uint8)
    holes[0, 2, 0] = holes[0, 2, 8] = 1
    assert pack(holes)[0, 2].tolist() == [0b1000_0000, 0b1000_0000]


def test_gathered_holes_may_be_written_to(tmp_path):
    np.save(tmp_path / "val.npy", pack(np.zeros((2, 16, 16), np.uint8)))
    mask_set = MaskSet(tmp_path / "val.npy")
    mask_set.gather(np.array([0]))[:] = 1
    assert mask_set.gather(np.array([0])).sum() == 0


def test_a_missing_bank_is_said(tmp_path):
    with pytest.raises(InputError, match=r"test\.npy is missing or damaged .* run dvc repro masks"):
        MaskSet(tmp_path / "test.npy")


def test_a_cut_off_bank_is_said(tmp_path):
    np.save(tmp_path / "whole.npy", pack(np.ones((4, 16, 16), np.uint8)))
    (tmp_path / "half.npy").write_bytes((tmp_path / "whole.npy").read_bytes()[:-40])
    with pytest.raises(InputError, match=r"half\.npy is missing or damaged"):
        MaskSet(tmp_path / "half.npy")


@pytest.mark.parametrize(
    "array", [np.zeros((3, 16, 16), np.uint8), np.zeros((3, 16, 2), bool), np.zeros((16, 2), np.uint8)]
)
def test_what_is_no_bank_is_said(array, tmp_path):
    np.save(tmp_path / "other.npy", array)
    with pytest.raises(InputError, match="packed holes"):
        MaskSet(tmp_path / "other.npy")
