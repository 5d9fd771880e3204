"""Tiles come back as they were written, in their order, or with a word on what is damaged."""

import hashlib
import json

import numpy as np
import psutil
import pytest

from stages.imaging import shards
from stages.imaging.shards import Tiles, close_folder, entries, summary, write_tiles
from stages.runtime.errors import InputError

TILE_BYTES = 4 * 6 * 3


def tiles(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 4, 6, 3), np.uint8)


@pytest.mark.parametrize(
    ("count", "tiles_per_shard", "sizes"), [(7, 3, [3, 3, 1]), (6, 3, [3, 3]), (1, 3, [1]), (2, 0.5, [1, 1])]
)
def test_shards_are_filled_in_order(count, tiles_per_shard, sizes, tmp_path):
    wanted = tiles(count)
    assert write_tiles(tmp_path / "train", iter(wanted), int(tiles_per_shard * TILE_BYTES)) == count
    files = sorted((tmp_path / "train").glob("*.npy"))
    assert [file.name for file in files] == [f"{number:05d}.npy" for number in range(len(sizes))]
    assert [len(np.load(file)) for file in files] == sizes
    assert np.array_equal(np.concatenate([np.load(file) for file in files]), wanted)


def test_the_record_says_where_each_tile_lies(tmp_path):
    wanted = tiles(5)
    write_tiles(tmp_path, wanted, 2 * TILE_BYTES)
    held = entries(tmp_path)
    assert [(entry["file"], entry["tiles"]) for entry in held] == [("00000.npy", 2), ("00001.npy", 2), ("00002.npy", 1)]
    for entry in held:
        assert entry["sha256"] == hashlib.sha256((tmp_path / entry["file"]).read_bytes()).hexdigest()
    close_folder(tmp_path, held[::-1])  # the record decides on the order
    assert np.array_equal(Tiles([tmp_path]).gather(np.arange(5)), wanted[[4, 2, 3, 0, 1]])


def test_folders_count_as_one_sequence(tmp_path):
    first, second = tiles(5, 1), tiles(4, 2)
    write_tiles(tmp_path / "a", first, 2 * TILE_BYTES)
    write_tiles(tmp_path / "b", second, 3 * TILE_BYTES)
    both = Tiles([tmp_path / "a", tmp_path / "b"])
    order = np.array([8, 0, 4, 5, 1, 0])
    assert len(both) == 9
    assert np.array_equal(both.gather(order), np.concatenate([first, second])[order])
    assert both.gather(order[:0]).shape == (0, 4, 6, 3)


def test_a_shard_is_opened_when_it_is_needed(tmp_path):
    write_tiles(tmp_path, tiles(4), TILE_BYTES)
    (tmp_path / "00002.npy").unlink()
    np.save(tmp_path / "00003.npy", np.zeros((1, 6, 4, 3), np.uint8))
    found = Tiles([tmp_path])
    assert np.array_equal(found.gather(np.array([1, 0])), tiles(4)[[1, 0]])
    with pytest.raises(InputError, match=r"00002\.npy is missing or damaged"):
        found.gather(np.array([2]))
    with pytest.raises(InputError, match="contain tiles of different sizes"):
        found.gather(np.array([3]))


def test_however_many_shards_there_are_few_are_open(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "MOST_OPEN", 3)
    written = tiles(10)
    write_tiles(tmp_path, written, shard_bytes=1)
    found = Tiles([tmp_path])
    for rows in ([9, 0, 5, 9, 1], [2, 2, 8], range(10)):
        np.testing.assert_array_equal(found.gather(np.array(rows)), written[list(rows)])
        assert len([file for file in psutil.Process().open_files() if file.path.startswith(str(tmp_path))]) == 3


def test_gathered_tiles_are_the_callers_own(tmp_path):
    write_tiles(tmp_path, tiles(2))
    gathered = Tiles([tmp_path]).gather(np.array([0]))
    gathered[:] = 0
    assert np.array_equal(Tiles([tmp_path]).gather(np.array([0, 1])), tiles(2))


def test_the_summary_changes_with_any_pixel_and_not_with_time(tmp_path):
    one, other = tiles(3), tiles(3)
    other[2, 3, 5, 2] ^= 1
    for name, content in (("a", one), ("b", one), ("c", other)):
        write_tiles(tmp_path / name, content)
    assert summary(tmp_path / "a") == summary(tmp_path / "b")
    assert summary(tmp_path / "a")["tiles"] == 3
    assert summary(tmp_path / "a")["digest"] != summary(tmp_path / "c")["digest"]


def test_no_tiles_can_be_written_but_not_read(tmp_path):
    assert write_tiles(tmp_path, []) == 0
    with pytest.raises(InputError, match="no tiles in"):
        Tiles([tmp_path])


def test_a_folder_without_its_record_is_not_complete(tmp_path):
    write_tiles(tmp_path, tiles(2))
    (tmp_path / "shards.json").unlink()
    with pytest.raises(InputError, match=r"shards\.json is missing"):
        Tiles([tmp_path])


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "garbage"])
def test_a_damaged_shard_is_named(damage, tmp_path):
    write_tiles(tmp_path, tiles(2))
    shard = tmp_path / "00000.npy"
    whole = shard.read_bytes()
    if damage == "missing":
        shard.unlink()
    else:
        shard.write_bytes({"empty": b"", "cut": whole[:-1], "garbage": b"garbage" * 20}[damage])
    with pytest.raises(InputError, match=r"00000\.npy is missing or damaged"):
        Tiles([tmp_path])


def test_a_damaged_record_is_named(tmp_path):
    write_tiles(tmp_path, tiles(2))
    (tmp_path / "shards.json").write_text('{"tiles": 2, "sh')
    with pytest.raises(InputError, match=r"shards\.json is damaged"):
        Tiles([tmp_path])


def test_another_number_of_tiles_than_recorded_is_refused(tmp_path):
    write_tiles(tmp_path, tiles(2))
    record = json.loads((tmp_path / "shards.json").read_text())
    record["shards"][0]["tiles"] = 3
    (tmp_path / "shards.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="contains 2 tiles, but the index says 3"):
        Tiles([tmp_path])


def test_tiles_of_two_sizes_do_not_mix(tmp_path):
    write_tiles(tmp_path / "a", tiles(2))
    write_tiles(tmp_path / "b", np.zeros((2, 6, 4, 3), np.uint8))
    with pytest.raises(InputError, match="contain tiles of different sizes"):
        Tiles([tmp_path / "a", tmp_path / "b"])
