import pandas as pd

from stages.imaging.manifest import hashes_of, read_parts


def test_parts_follow_each_other_without_other_splits(tmp_path):
    rows = {"split": ["train", "test", "test", "val", "test"], "photo": [*"abcde"]}
    pd.DataFrame(rows).to_parquet(tmp_path / "m.parquet", row_group_size=2)
    parts = list(read_parts(tmp_path / "m.parquet", ["photo"], ["test"]))
    assert [part["photo"].to_dict() for part in parts] == [{0: "b"}, {1: "c"}, {2: "e"}]
    assert [*parts[0].columns] == ["photo"]


def test_each_photo_has_its_hash_also_where_there_is_none(tmp_path):
    rows = {"split": ["test", "test", "train"], "photo": [*"aab"], "perceptual_hash": [*"113"]}
    pd.DataFrame(rows).to_parquet(tmp_path / "m.parquet", row_group_size=1)
    assert hashes_of(tmp_path / "m.parquet", ["train", "test"]) == {"a": "1", "b": "3"}
    assert hashes_of(tmp_path / "m.parquet", ["val"]) == {}
