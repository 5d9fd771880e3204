"""New photographs are moved whole, by their own names, once they have settled."""

import os
import time
from pathlib import Path

import pytest

from stages.retrain import inbox
from stages.runtime.errors import InputError


def put(path: Path, age_s: float = 1000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(path.name.encode())
    os.utime(path, (1e9 - age_s, 1e9 - age_s))
    return path


def test_only_files_that_have_settled_are_taken(tmp_path: Path) -> None:
    old = put(tmp_path / "trip/a.jpg")
    put(tmp_path / "b.jpg", age_s=10)
    put(tmp_path / ".hidden.jpg")
    assert inbox.waiting(tmp_path, now=1e9) == [old]
    assert inbox.waiting(tmp_path / "nothing") == []


def test_few_files_wait_for_more_but_not_for_ever(tmp_path: Path) -> None:
    few = [put(tmp_path / "a.jpg"), put(tmp_path / "b.jpg")]  # photographs of long ago that came just now
    came = few[0].lstat().st_ctime
    assert not inbox.is_worth_it(few, least=3, days=1, now=came + 80_000)
    assert inbox.is_worth_it(few, least=2, days=1, now=came)
    assert inbox.is_worth_it(few, least=3, days=1, now=came + 90_000)


def test_a_camera_whose_clock_is_ahead_is_not_waited_for(tmp_path: Path) -> None:
    ahead = put(tmp_path / "a.jpg")
    now = time.time()
    os.utime(ahead, (now + 1e8, now + 1e8))
    assert inbox.waiting(tmp_path, now=now + 10) == []
    assert inbox.waiting(tmp_path, now=now + 100) == [ahead]


def test_a_batch_keeps_its_folders_and_leaves_none_behind(tmp_path: Path) -> None:
    files = [put(tmp_path / "in/trip/a.jpg"), put(tmp_path / "in/c.jpg")]
    inbox.move(files, tmp_path / "in", tmp_path / "raw/2026-01-01")
    assert (tmp_path / "raw/2026-01-01/trip/a.jpg").read_bytes() == b"a.jpg"
    assert list((tmp_path / "in").iterdir()) == []
    inbox.put_aside(tmp_path / "raw/2026-01-01", tmp_path / "refused/2026-01-01")
    inbox.put_aside(tmp_path / "raw/2026-01-01", tmp_path / "refused/2026-01-01")
    assert sorted(path.name for path in (tmp_path / "refused/2026-01-01").rglob("*.jpg")) == ["a.jpg", "c.jpg"]
    assert list((tmp_path / "raw").iterdir()) == []


def test_across_file_systems_a_file_is_copied_whole_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "in/a.jpg")
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(OSError(18, "Invalid cross-device link")))
    inbox.move([path], tmp_path / "in", tmp_path / "raw")
    assert (tmp_path / "raw/a.jpg").read_bytes() == b"a.jpg"
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["a.jpg"]


def test_what_was_copied_by_a_call_that_was_killed_is_removed(tmp_path: Path) -> None:
    files = [put(tmp_path / "in/a.jpg"), put(tmp_path / "in/b.jpg")]
    put(tmp_path / "raw/a.jpg")
    inbox.move(files, tmp_path / "in", tmp_path / "raw")
    assert sorted(path.name for path in tmp_path.rglob("*.jpg")) == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("there", ["a.jpg", "a.jpg/b.jpg"])
def test_nothing_is_written_over(tmp_path: Path, there: str) -> None:
    path = put(tmp_path / "in/a.jpg")
    put(tmp_path / "raw" / there).write_text("another")
    with pytest.raises(InputError, match="is there already"):
        inbox.move([path], tmp_path / "in", tmp_path / "raw")
    assert path.exists()


def test_a_batch_gets_a_name_of_its_own(tmp_path: Path) -> None:
    assert inbox.new_batch(tmp_path / "raw", tmp_path / "refused", "2026-01-01") == "2026-01-01"
    (tmp_path / "raw/2026-01-01").mkdir(parents=True)
    (tmp_path / "refused/2026-01-01-2").mkdir(parents=True)
    assert inbox.new_batch(tmp_path / "raw", tmp_path / "refused", "2026-01-01") == "2026-01-01-3"
