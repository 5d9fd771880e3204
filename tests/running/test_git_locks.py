"""Git's locks are stale when nobody can be holding them, and not before."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from stages.running import git_locks
from tests.tracked import wait_for

IDENTITY = ["-c", "user.name=somebody", "-c", "user.email=somebody@localhost"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=tmp_path, check=True)
    commit(tmp_path)
    return tmp_path


def commit(root: Path) -> int:
    words = ["git", *IDENTITY, "commit", "-q", "--allow-empty", "-m", "something"]
    return subprocess.run(words, cwd=root, check=False, stderr=subprocess.DEVNULL).returncode


def left(path: Path, age_s: float = 600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (time.time() - age_s,) * 2)
    return path


@pytest.mark.parametrize("name", ["index.lock", "HEAD.lock", "refs/heads/main.lock", "refs/heads/a/topic.lock"])
def test_what_a_power_cut_left_is_stale(root: Path, name: str) -> None:
    lock = left(root / ".git" / name)
    assert commit(root) == (0 if "topic" in name else 128)
    assert git_locks.stale(root) == [lock]
    lock.unlink()
    assert commit(root) == 0
    assert git_locks.stale(root) == []


def test_in_a_worktree_locks_are_found_in_both_places(root: Path, tmp_path: Path) -> None:
    subprocess.run(["git", "worktree", "add", "-q", "tree"], cwd=root, check=True)
    locks = [left(root / ".git/refs/heads/main.lock"), left(root / ".git/worktrees/tree/index.lock")]
    assert git_locks.stale(root / "tree") == locks


def test_a_lock_that_may_be_held_is_left_alone(root: Path) -> None:
    left(root / ".git/index.lock", age_s=5)
    assert git_locks.stale(root) == []
    left(root / ".git/index.lock")
    with subprocess.Popen(["git", "cat-file", "--batch"], cwd=root, stdin=subprocess.PIPE) as at_work:
        wait_for(lambda: any(git_locks._at_work(root)), 10)
        assert git_locks.stale(root) == []
        at_work.kill()
    assert git_locks.stale(root) != []


def test_without_git_there_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert git_locks.stale(tmp_path) == []
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_locks.stale(tmp_path) == []
