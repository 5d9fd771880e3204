"""A photo's split depends on nothing but the photo; of near duplicates only one side stays."""

import hashlib

import numpy as np
import pytest

from stages.imaging.splits import SPLITS, leaks_across_splits, split_of


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


def test_the_strongest_split_of_a_group_stays_and_the_others_go():
    groups = np.array([0, 0, 2, 2, 4, 4, 4, 7])
    splits = ["train", "val", "val", "test", "train", "test", "val", "train"]
    ranks = np.array([SPLITS.index(split) for split in splits])
    assert leaks_across_splits(ranks, groups).tolist() == [True, False, True, False, True, False, True, False]
    assert leaks_across_splits(np.array([0, 0]), np.array([0, 0])).tolist() == [False, False]
    assert leaks_across_splits(np.array([], int), np.array([], int)).tolist() == []
