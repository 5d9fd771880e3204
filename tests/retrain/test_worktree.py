"""What the workshop leaves in git."""

import subprocess
from pathlib import Path

import pytest

from stages.retrain.worktree import LOCK, Worktree

GIT_SAYS_SO = (2, 39)  # from which on git counts how often it synced


def version() -> tuple[int, ...]:
    said = subprocess.run(["git", "version"], check=True, capture_output=True, text=True).stdout
    return tuple(map(int, said.split()[2].split(".")[:2]))


@pytest.mark.skipif(version() < GIT_SAYS_SO, reason="this git does not say how often it synced")
def test_a_commit_is_on_the_disk_before_the_call_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=tmp_path, check=True)
    (tmp_path / LOCK).write_text("schema: '2.0'")
    trace = tmp_path / "trace.json"
    monkeypatch.setenv("GIT_TRACE2_EVENT", str(trace))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    assert Worktree(tmp_path).commit("Models of today")
    synced = [line for line in trace.read_text().splitlines() if '"key":"fsync/hardware-flush"' in line]
    assert len(synced) == 2, "git add and git commit"
