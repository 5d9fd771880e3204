"""A photo's split depends on nothing but the photo and its near-duplicates."""

import hashlib
from io import BytesIO
from itertools import combinations

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from stages.pictures.splits import SPLITS, join_splits, near_duplicate_groups, perceptual_hash, split_of


def test_the_hash_counts_as_a_number_between_0_and_1():
    assert split_of("0" * 64, val_share=0.1, test_share=0.15) == "test"
    assert split_of("f" * 64, val_share=0.1, test_share=0.15) == "train"
    quarter = "4" + "0" * 63  # exactly 0.25, which an interval does not hold at its end
    assert split_of(quarter, val_share=0.1, test_share=0.25) == "val"
    assert split_of(quarter, val_share=0.125, test_share=0.125) == "train"
    assert split_of(quarter, val_share=0.1, test_share=0.26) == "test"


def test_the_shares_are_met():
    hashes = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(20_000)]
    splits = [split_of(each, val_share=0.1, test_share=0.15) for each in hashes]
    shares = [splits.count(split) / len(splits) for split in SPLITS]
    assert shares == pytest.approx([0.75, 0.1, 0.15], abs=0.01)


def photo(seed: int) -> Image.Image:
    """Made-up, with large and small structure, 96 x 144 pixels."""
    rng = np.random.default_rng(seed)
    layers = [rng.integers(0, 256, (n, n, 3), np.uint8) for n in (3, 6, 12)]
    sized = [np.asarray(Image.fromarray(layer).resize((144, 96), Image.Resampling.BICUBIC), float) for layer in layers]
    return Image.fromarray(np.average(sized, axis=0, weights=[4, 2, 1]).astype(np.uint8))


def look(picture: Image.Image) -> int:
    return perceptual_hash(np.asarray(picture))


def distance(a: int, b: int) -> int:
    return (a ^ b).bit_count()


def recompressed(picture: Image.Image) -> Image.Image:
    picture.save(buffer := BytesIO(), "JPEG", quality=40)
    return Image.open(buffer)


@pytest.mark.parametrize("seed", range(5))
def test_what_looks_the_same_has_nearly_the_same_hash(seed):
    whole = photo(seed)
    alike = [
        recompressed(whole),
        whole.resize((216, 144)),
        whole.resize((72, 48), Image.Resampling.LANCZOS),
        ImageEnhance.Brightness(whole).enhance(1.1),
        whole.convert("L").convert("RGB"),
    ]
    assert max(distance(look(whole), look(other)) for other in alike) <= 6


def test_what_looks_different_has_another_hash():
    looks = [look(photo(seed)) for seed in range(30)]
    assert min(distance(a, b) for a, b in combinations(looks, 2)) > 6
    assert max(looks) < 2**64


def test_groups_are_named_by_their_first_member_and_reach_through_others():
    hashes = [0b0000, 0b1111_0000, 0b0011, 2**64 - 1, 0b1111]
    assert near_duplicate_groups(hashes, bits=2).tolist() == [0, 1, 0, 3, 0]  # 0000 - 0011 - 1111
    assert near_duplicate_groups(hashes, bits=1).tolist() == [0, 1, 2, 3, 4]
    assert near_duplicate_groups([5, 5, 4], bits=0).tolist() == [0, 0, 2]
    assert near_duplicate_groups([], bits=6).tolist() == []


def test_a_late_photo_can_join_two_groups():
    hashes = [0b0000_0000, 0b1111_1111, 0b0000_0011, 0b0011_1111, 0b0000_1111]
    assert near_duplicate_groups(hashes[:4], bits=2).tolist() == [0, 1, 0, 1]
    assert near_duplicate_groups(hashes, bits=2).tolist() == [0, 0, 0, 0, 0]


def test_groups_are_the_components_of_all_close_pairs():
    rng = np.random.default_rng(0)
    hashes = [int(number) for number in rng.integers(0, 2**9, 60)]
    groups = near_duplicate_groups(hashes, bits=1)
    for start, group in enumerate(groups):
        reached, edge = {start}, [start]
        while edge:
            here = edge.pop()
            new = {i for i, other in enumerate(hashes) if distance(hashes[here], other) <= 1} - reached
            reached |= new
            edge += new
        assert group == min(reached)
    assert 1 < len(set(groups)) < 60


def test_the_strictest_split_of_a_group_wins():
    groups = np.array([0, 0, 2, 2, 4, 4, 4, 7])
    splits = ["train", "val", "val", "test", "train", "test", "val", "train"]
    assert join_splits(splits, groups) == ["val", "val", "test", "test", "test", "test", "test", "train"]
    assert join_splits([], np.array([], int)) == []
