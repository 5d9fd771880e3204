"""Batches are functions of seed and step, and of nothing else."""

from pathlib import Path

import numpy as np
import pytest
import torch

from stages.imaging.holes import pack
from stages.training import dataset
from stages.training.dataset import TrainingBatches, ValidationBatches, to_float
from tests.factories import make_training_project


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_training_project(tmp_path) / "data"


def batches(data: Path, seed: int = 1, size: int = 4) -> TrainingBatches:
    return TrainingBatches([data / "prepared/train"], data / "masks/train.npy", size, seed)


def test_a_step_gets_the_same_pictures_however_it_is_reached(data: Path) -> None:
    one_after_another = batches(data)
    walked = [one_after_another[step] for step in range(6)]
    jumped = batches(data)[5]
    assert torch.equal(walked[5]["target"], jumped["target"])
    assert torch.equal(walked[5]["hole"], jumped["hole"])
    assert not torch.equal(batches(data, seed=2)[5]["target"], jumped["target"])


def test_every_tile_comes_once_in_an_epoch_in_an_order_that_changes(data: Path) -> None:
    loader = batches(data, size=5)
    epochs = [torch.cat([loader[step]["target"] for step in steps]) for steps in ((0, 1), (2, 3))]
    for epoch in epochs:
        assert len({tile.numpy().tobytes() for tile in epoch}) == 10
    assert not torch.equal(epochs[0], epochs[1])


def test_up_to_a_window_tiles_are_shuffled_as_a_whole() -> None:
    order = dataset._Order(np.array([3, 4, 3]), 7)
    for epoch in (0, 1, 0):
        wanted = np.random.default_rng([7, 0, epoch]).permutation(10)
        assert [order.tile_at(10 * epoch + place) for place in range(10)] == wanted.tolist()


def test_beyond_a_window_shards_are_shuffled_first_and_few_are_read_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "_WINDOW", 40)
    sizes = np.array([7, 13, 10] * 40)
    order, total = dataset._Order(sizes, 7), int(sizes.sum())
    first, second = ([order.tile_at(place) for place in range(start, start + total)] for start in (0, total))
    assert sorted(first) == sorted(second) == list(range(total))
    assert first != second
    assert [dataset._Order(sizes, 7).tile_at(place) for place in (5, total + 5)] == [first[5], second[5]]
    shard_of = np.searchsorted(np.cumsum(sizes), first, side="right")
    assert all(np.ptp(np.flatnonzero(shard_of == shard)) < 40 + 13 for shard in range(len(sizes)))
    assert np.count_nonzero(np.diff(shard_of)) > 0.6 * total, "the tiles of a shard do not follow each other"
    assert np.abs(np.diff(shard_of)).max() > len(sizes) / 2, "nor do shards that lie side by side"


def test_holes_come_in_all_eight_ways(tmp_path: Path) -> None:
    data = make_training_project(tmp_path) / "data"
    hole = np.zeros((16, 16), np.uint8)
    hole[2:5, 1] = hole[2, 1:3] = 1
    np.save(data / "masks/train.npy", pack(hole[None]))
    seen = {each.numpy().tobytes() for each in batches(data, size=100)[0]["hole"]}
    turns = [np.rot90(one, times) for one in (hole, hole.T) for times in range(4)]
    assert seen == {each.tobytes() for each in turns}


def test_batches_are_uint8_with_holes_of_zero_and_one(data: Path) -> None:
    batch = batches(data)[0]
    assert batch["target"].shape == (4, 3, 16, 16)
    assert batch["target"].dtype == batch["hole"].dtype == torch.uint8
    assert batch["target"].is_contiguous(memory_format=torch.channels_last)
    assert set(batch["hole"].unique().tolist()) == {0, 1}
    image, hole, target = to_float(batch)
    assert image[hole.expand_as(image) == 1].eq(0).all()
    assert torch.equal(image[hole.expand_as(image) == 0], target[hole.expand_as(image) == 0])


def test_augmented_tiles_come_on_top(data: Path) -> None:
    both = TrainingBatches([data / "prepared/train", data / "augmented/train"], data / "masks/train.npy", 20, 1)
    assert len({tile.numpy().tobytes() for tile in both[0]["target"]}) == 20


def test_validation_pairs_every_hole_with_a_tile(data: Path) -> None:
    validation = ValidationBatches(data / "prepared/val", data / "masks/val.npy", 3)
    assert len(validation) == 3
    assert [len(validation[number]["target"]) for number in range(3)] == [3, 3, 1]
    with pytest.raises(IndexError):
        validation[3]
    whole = ValidationBatches(data / "prepared/val", data / "masks/val.npy", 100)[0]
    assert torch.equal(torch.cat([validation[number]["target"] for number in range(3)]), whole["target"])
    assert len({tile.numpy().tobytes() for tile in whole["target"]}) == 5


def test_holes_of_another_size_are_refused(data: Path) -> None:
    np.save(data / "masks/train.npy", pack(np.zeros((2, 24, 24), np.uint8)))
    with pytest.raises(ValueError, match="the tiles, 16 pixels, but have 24"):
        batches(data)
