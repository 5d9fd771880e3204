"""Whole, or not there."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.running import files


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "a.json"
    files.write_json(path, {"value": 1})
    with pytest.raises(RuntimeError, match="half way"), files.atomic_write(path) as file:
        file.write(b"half")
        raise RuntimeError("half way")
    assert json.loads(path.read_text()) == {"value": 1}
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_a_failed_folder_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with files.fresh_folder(target) as folder:
        (folder / "old").touch()
    with pytest.raises(RuntimeError, match="half way"), files.fresh_folder(target) as folder:
        (folder / "new").touch()
        raise RuntimeError("half way")
    assert [p.name for p in target.iterdir()] == ["old"]
    with files.fresh_folder(target) as folder:
        (folder / "new").touch()
    assert [p.name for p in target.iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_json_refuses_what_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", {"psnr": float("inf")})
    assert not any(tmp_path.iterdir())


def test_tables_and_arrays_come_back(tmp_path: Path) -> None:
    table = pd.DataFrame({"name": ["ä", "b"], "value": [1.5, 2.5]})
    files.write_csv(tmp_path / "t.csv", table)
    files.write_parquet(tmp_path / "t.parquet", table)
    files.write_array(tmp_path / "a.npy", np.arange(6).reshape(2, 3))
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "t.csv"), table)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), table)
    assert np.load(tmp_path / "a.npy").tolist() == [[0, 1, 2], [3, 4, 5]]


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    assert files.sha256(tmp_path / "a") == hashlib.sha256(b"x" * 3_000_000).hexdigest()


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".out.123.draft").mkdir()
    with files.fresh_folder(tmp_path / "out") as folder:
        (folder / "new").touch()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
