"""Whole, or not there."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.runtime import files
from stages.runtime.processes import named
from tests.clone import name_of_dead


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


def draft(path: Path, process: str) -> Path:
    return path.with_name(f".{path.name}.{process}.draft")


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    dead, living, elsewhere = name_of_dead(), named(os.getpid()), "another-machine.17.1700"
    draft(tmp_path / "out", dead).mkdir()
    draft(tmp_path / "out", f"{dead}.before").mkdir()
    draft(tmp_path / "other.json", dead).touch()
    kept = [draft(tmp_path / "ours.json", living), draft(tmp_path / "theirs.json", elsewhere)]
    for path in kept:
        path.touch()
    with files.fresh_folder(tmp_path / "out") as folder:
        (folder / "new").touch()
    assert set(tmp_path.iterdir()) == {tmp_path / "out", *kept}
    files.clear_drafts(tmp_path, exclusive=True)
    assert set(tmp_path.iterdir()) == {tmp_path / "out", kept[0]}
    draft(tmp_path / "sub" / "a.json", dead).parent.mkdir()
    draft(tmp_path / "sub" / "a.json", dead).touch()
    files.write_json(tmp_path / "sub" / "a.json", {})
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["a.json"]


@pytest.mark.parametrize("name", ["あ" * 80 + ".png", "a" * 255, "照片" * 42])
def test_a_name_may_be_as_long_as_the_file_system_takes(tmp_path: Path, name: str) -> None:
    files.write_text(tmp_path / name, "whole")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with files.fresh_folder(tmp_path / "folder" / name) as folder:
        (folder / "a").touch()
    files.remove_folder(tmp_path / "folder" / name)
    assert not any((tmp_path / "folder").iterdir())
