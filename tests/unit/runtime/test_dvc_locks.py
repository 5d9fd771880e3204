"""DVC's lock file after a power cut, a reused process id, and while DVC is really at work."""

import json
import os
from pathlib import Path

import pytest

from stages.runtime import dvc_locks
from stages.runtime.errors import InputError


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    return tmp_path / dvc_locks.RWLOCK


def entry(pid: int) -> str:
    return json.dumps({"write": {"data/prepared": {"pid": pid, "cmd": "dvc repro"}}, "read": {}})


def test_no_file_and_a_whole_one_are_well(tmp_path: Path, lock: Path) -> None:
    assert dvc_locks.clear(tmp_path) == ""
    lock.write_text("{}")
    assert dvc_locks.clear(tmp_path) == ""
    lock.write_text(entry(2**22 - 1))  # dead: DVC forgets it by itself
    assert dvc_locks.clear(tmp_path) == ""
    assert lock.exists()


@pytest.mark.parametrize("content", ["", '{"write": {"data/prep', '{"write": 3}', "[]"])
def test_half_a_file_is_deleted(tmp_path: Path, lock: Path, content: str) -> None:
    lock.write_text(content)
    assert "truncated" in dvc_locks.stale(tmp_path)
    assert lock.exists()
    assert "truncated" in dvc_locks.clear(tmp_path)
    assert not lock.exists()


def test_who_is_at_work_is_said_and_that_nobody_knows_too(tmp_path: Path, lock: Path) -> None:
    assert dvc_locks.at_work(tmp_path) == {}
    lock.write_text(entry(2**22 - 1))
    assert dvc_locks.at_work(tmp_path) == {}
    lock.write_text(entry(os.getpid()))
    assert dvc_locks.at_work(tmp_path) == {os.getpid(): "dvc repro"}
    lock.write_text("{")
    with pytest.raises(InputError, match="truncated.*; inpaint doctor --fix deletes it"):
        dvc_locks.at_work(tmp_path)


def test_a_stage_is_orphaned_when_all_that_are_named_are_dead(tmp_path: Path, lock: Path) -> None:
    assert not dvc_locks.is_orphaned(tmp_path)
    lock.write_text(entry(2**22 - 1))
    assert dvc_locks.is_orphaned(tmp_path)
    for content in (entry(os.getpid()), "{}", '{"write"'):
        lock.write_text(content)
        assert not dvc_locks.is_orphaned(tmp_path)
