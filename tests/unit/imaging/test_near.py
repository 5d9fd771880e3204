"""Near duplicates: what looks the same is found, what does not is not, and the search misses nothing."""

from io import BytesIO
from itertools import combinations

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from stages.imaging import near
from stages.imaging.near import near_duplicates, perceptual_hash
from tests import factories


def photo(seed: int) -> Image.Image:
    return Image.fromarray(factories.photo(seed, 96, 144))


def hashed(picture: Image.Image, turned: bool = False) -> np.ndarray:
    return perceptual_hash(np.asarray(picture), turned)


def bits_apart(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.bitwise_count(one ^ other).min())


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
        whole.crop((2, 1, 142, 95)),
    ]
    assert max(bits_apart(hashed(whole), hashed(other)) for other in alike) <= 6


def test_what_looks_different_has_another_hash():
    looks = [hashed(photo(seed)) for seed in range(30)]
    assert min(bits_apart(a, b) for a, b in combinations(looks, 2)) > 6


@pytest.mark.parametrize("way", Image.Transpose)
def test_flips_and_rotations_are_found_where_they_are_asked_for(way):
    pictures = [photo(0), photo(0).transpose(way), photo(1)]
    groups, pairs = near_duplicates(np.stack([hashed(each, turned=True) for each in pictures]), 6)
    assert groups.tolist() == [0, 0, 2]
    assert pairs.tolist() == [[0, 1]]
    groups, pairs = near_duplicates(np.stack([hashed(each) for each in pictures]), 6)
    assert groups.tolist() == [0, 1, 2]
    assert pairs.shape == (0, 2)


def grouped(hashes: list[int], bits: int) -> list[int]:
    return near_duplicates(np.array(hashes, np.uint64).reshape(-1, 1, 1), bits)[0].tolist()


def test_groups_are_named_by_their_first_member_and_reach_through_others():
    hashes = [0b0000, 0b1111_0000, 0b0011, 2**64 - 1, 0b1111]
    assert grouped(hashes, bits=2) == [0, 1, 0, 3, 0]  # 0000 - 0011 - 1111
    assert grouped(hashes, bits=1) == [0, 1, 2, 3, 4]
    assert grouped([5, 5, 4], bits=0) == [0, 0, 2]
    assert grouped([], bits=6) == []
    assert grouped([7, 0, 2**64 - 1], bits=64) == [0, 0, 0]


def test_either_hash_is_enough():
    looks = np.array([[[0, 0]], [[1, 2**64 - 1]], [[2**40 - 1, 2**64 - 1]]], np.uint64)
    groups, pairs = near_duplicates(looks, 6)
    assert groups.tolist() == [0, 0, 0]
    assert pairs.tolist() == [[0, 1], [1, 2]]


def brute_force(looks: np.ndarray, bits: int) -> list[int]:
    near = (np.bitwise_count(looks[:, None, 0] ^ looks[None, :, 0]) <= bits).any(axis=2)
    groups = np.arange(len(looks))
    while True:  # each takes the smallest number that it touches
        spread = np.array([groups[row].min() for row in near])
        if (spread == groups).all():
            return groups.tolist()
        groups = spread


@pytest.mark.parametrize("bits", [0, 1, 3, 6, 10, 16])
@pytest.mark.parametrize("count", [50, 1500])
def test_the_search_finds_what_comparing_every_pair_finds(bits, count, monkeypatch):
    monkeypatch.setattr(near, "_AT_ONCE", 100)
    rng = np.random.default_rng([bits, count])
    looks = rng.integers(0, 2**64, (count, 1, 2), np.uint64)
    for copy in range(count // 2, count):  # half are others, with as many bits flipped as is allowed, or one more
        flipped = rng.permutation(64)[: bits + copy % 2]
        looks[copy, 0, copy % 3 // 2] = looks[rng.integers(copy), 0, copy % 3 // 2] ^ np.uint64(
            sum(1 << int(b) for b in flipped)
        )
    groups, pairs = near_duplicates(looks, bits)
    assert groups.tolist() == brute_force(looks, bits)
    assert len(set(groups.tolist())) < count
    apart = np.bitwise_count(looks[pairs[:, 0], 0] ^ looks[pairs[:, 1], 0]).min(axis=1)
    assert (apart <= bits).all()


def test_a_crowd_of_the_same_is_one_group():
    rng = np.random.default_rng(0)
    blank = np.uint64(1) << rng.integers(0, 64, 3000).astype(np.uint64)  # all within 2 bits of each other
    looks = np.concatenate([blank, blank, rng.integers(0, 2**64, 2000, np.uint64)]).reshape(-1, 1, 1)
    groups, pairs = near_duplicates(looks, 6)
    assert (groups[:6000] == 0).all()
    assert len(set(groups[6000:].tolist())) == 2000
    assert len(pairs) == 6000 - 1
