"""Finished chunks lie on disk and are not done again; half-finished ones are."""

from pathlib import Path

import numpy as np
import pytest

from stages.runtime import files
from stages.runtime.checkpointed_map import map_checkpointed, read_chunk
from stages.runtime.files import remove_folder


def squares(numbers: range) -> tuple[np.ndarray, list[dict[str, int]]]:
    log = Path("log.txt")
    log.write_text(f"{log.read_text() if log.exists() else ''}{numbers.start} ")
    return np.array([[number**2 % 256] for number in numbers], np.uint8).reshape(-1, 1), [{"of": n} for n in numbers]


CHUNKS = {"a": range(3), "none": range(0), "b": range(3, 20)}


def results(folder: Path) -> list[tuple[str, list[list[int]], list[dict[str, int]]]]:
    return [
        (key, array.tolist(), records) for key, array, records in map_checkpointed(squares, CHUNKS, folder, "squares")
    ]


def test_results_come_in_order_and_from_disk_the_second_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INPAINT_WORKERS", "1")
    first = results(tmp_path / "journal")
    assert [key for key, _, _ in first] == ["a", "none", "b"]
    assert first[0] == ("a", [[0], [1], [4]], [{"of": 0}, {"of": 1}, {"of": 2}])
    assert first[1] == ("none", [], [])
    assert Path("log.txt").read_text() == "0 0 3 "
    assert results(tmp_path / "journal") == first
    assert Path("log.txt").read_text() == "0 0 3 "


def test_a_chunk_without_its_closing_record_is_done_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INPAINT_WORKERS", "1")
    first = results(tmp_path / "journal")
    (tmp_path / "journal/b.json").unlink()
    (tmp_path / "journal/b.npy").write_bytes(b"half of i")
    assert results(tmp_path / "journal") == first
    assert Path("log.txt").read_text() == "0 0 3 3 "
    assert len(read_chunk(tmp_path / "journal", "b")[0]) == 17


def test_chunks_that_were_being_removed_are_done_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INPAINT_WORKERS", "1")
    first = results(tmp_path / "journal")

    def killed_after_one(folder: Path, ignore_errors: bool) -> None:
        (folder / "b.npy").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files.shutil, "rmtree", killed_after_one)
        with pytest.raises(KeyboardInterrupt):
            remove_folder(tmp_path / "journal")
    assert results(tmp_path / "journal") == first
    remove_folder(tmp_path / "journal")
    assert not (tmp_path / "journal").exists()
    remove_folder(tmp_path / "journal")
