"""The worktree beside the project: what it takes from there, what it brings home, what it leaves in git."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from stages.retrain.rebuild import rebuild
from stages.retrain.worktree import LOCK, Worktree
from stages.runtime import guard
from stages.runtime.errors import BusyError, InputError
from stages.start import STARTS, write_starts
from stages.tracking import versions
from tests.clone import ROOT
from tests.small import Small, away_from_users
from tests.warm import warm

pytestmark = pytest.mark.usefixtures(away_from_users.__name__, warm.__name__)

GIT_SAYS_SO = (2, 39)  # from which on git counts how often it synced


def version() -> tuple[int, ...]:
    said = subprocess.run(["git", "version"], check=True, capture_output=True, text=True).stdout
    return tuple(map(int, said.split()[2].split(".")[:2]))


@pytest.mark.skipif(version() < GIT_SAYS_SO, reason="this git does not say how often it synced")
def test_a_commit_is_on_the_disk_before_the_call_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=tmp_path, check=True)
    (tmp_path / LOCK).write_text("schema: '2.0'")
    write_starts({}, tmp_path / STARTS)
    trace = tmp_path / "trace.json"
    monkeypatch.setenv("GIT_TRACE2_EVENT", str(trace))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    assert Worktree(tmp_path).commit("Models of today")
    synced = [line for line in trace.read_text().splitlines() if '"key":"fsync/hardware-flush"' in line]
    assert len(synced) == 2, "git add and git commit"


def repro(project: Small) -> None:
    shop = Worktree(project.root)
    with shop.opened():
        shop.repro()
    shop.bring_home()


@pytest.mark.parametrize("inner", ["", "models/inpaint"])
def test_a_project_may_be_a_folder_of_a_larger_repository(tmp_path: Path, inner: str) -> None:
    elsewhere = tmp_path / "elsewhere.txt"
    elsewhere.write_text("of somebody else")
    project = Small(tmp_path / inner, tmp_path)
    settings = project.root / ".dvc/config.local"
    if inner:
        elsewhere.write_text("and being edited")
    Worktree(project.root).check_committed()
    repro(project)
    assert project.made() == {"one"}
    assert not settings.exists()
    assert Worktree(project.root).commit("Models of today")
    assert project.git("show", "--format=", "--name-only").endswith("dvc.lock")
    assert Worktree(project.root).changes() == []
    (project.root / "dvc.yaml").write_text("stages: {}")
    with pytest.raises(InputError, match=r"^dvc\.yaml: changed since the last commit"):
        Worktree(project.root).check_committed()


TRAIN = """
from pathlib import Path
folder = Path("data/models/pconv")
folder.mkdir(parents=True, exist_ok=True)
(folder / "model.pt2").write_bytes(Path("data/made/one.txt").read_bytes())
"""


def test_in_a_folder_of_a_larger_repository_a_version_is_made_again_from_its_tags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Small(tmp_path / "models/inpaint", tmp_path)
    (project.root / "train.py").write_text(TRAIN)
    chain = yaml.safe_load((project.root / "dvc.yaml").read_text())
    train = {"cmd": "python train.py", "deps": ["data/made", "train.py"], "outs": ["data/models/pconv"]}
    chain["stages"]["train"] = {"foreach": ["pconv"], "do": train}
    (project.root / "dvc.yaml").write_text(yaml.safe_dump(chain))
    project.commit()
    repro(project)
    (made,) = yaml.safe_load((project.root / LOCK).read_text())["stages"]["copy"]["outs"]
    digest = hashlib.sha256(b"one").hexdigest()
    tags = {"key": "pconv", "git_commit": project.git("rev-parse", "HEAD"), f"{versions.OUTPUT}data/made": made["md5"]}
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("DVC_ROOT", str(project.root))
    version = versions.Version("inpaint-pconv", "1", digest, (), 0, "", "", tags)
    (project.root / "data/raw/one.txt").rename(tmp_path / "one.txt")  # the cache has what it was trained on
    assert rebuild(version).is_equal
    (tmp_path / "one.txt").rename(project.root / "data/raw/one.txt")
    shutil.rmtree(project.root / ".dvc/cache")  # the photographs are there
    assert rebuild(version).is_equal


def test_the_next_call_reads_no_photograph_again_and_follows_those_that_come_and_go(
    tmp_path: Path, away_from_users: Path
) -> None:
    project = Small(tmp_path)
    repro(project)
    two, state = project.photograph("two"), tmp_path / ".retrain/tree/.dvc/tmp/site"
    (remembered,) = state.glob("repo/*")
    repro(project)
    assert project.made() == {"one", "two"}
    assert list(state.glob("repo/*")) == [remembered]
    two.unlink()
    repro(project)
    assert project.made() == {"one"}
    assert len(list(away_from_users.glob("repo/*"))) == 1, "the project's, and none a call"


def test_photographs_and_outputs_are_linked_not_copied(tmp_path: Path) -> None:
    project = Small(tmp_path)
    repro(project)
    tree, (cached,) = tmp_path / ".retrain/tree/data", (tmp_path / ".dvc/cache/files/md5").glob("*/*[0-9a-f]")
    assert (tree / "raw/one.txt").samefile(tmp_path / "data/raw/one.txt")
    assert (tree / "made/one.txt").samefile(cached)
    assert (tmp_path / "data/made/one.txt").samefile(cached)


@pytest.mark.skipif(Path(tempfile.gettempdir()).stat().st_dev == Path("/dev/shm").stat().st_dev, reason="one disk")
def test_on_another_file_system_photographs_are_read_where_they_lie(tmp_path: Path) -> None:
    project = Small(tmp_path)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        (tmp_path / ".retrain").symlink_to(elsewhere)
        repro(project)
        assert (tmp_path / ".retrain/tree/data/raw/one.txt").is_symlink()
        assert project.made() == {"one"}
        assert Worktree(tmp_path).changes() == []


@pytest.mark.parametrize("broken", ["no longer git's", "half gone"])
def test_a_worktree_that_cannot_be_used_is_made_anew(tmp_path: Path, broken: str) -> None:
    project = Small(tmp_path)
    repro(project)
    if broken == "half gone":
        (tmp_path / ".retrain/tree/.git").unlink()
    else:
        shutil.rmtree(tmp_path / ".git/worktrees")
    project.photograph("two")
    repro(project)
    assert project.made() == {"one", "two"}
    assert project.git("rev-parse", "--abbrev-ref", "HEAD") == "main"


ORPHAN = """
import sys
from pathlib import Path
from stages.retrain.worktree import Worktree
from stages.runtime import guard

guard.end_with_parent = lambda: None  # as where the kernel does not end programs with their parent
with guard.stage_lock("retrain"):
    Worktree(Path()).run(["python", "-c", "print('at work', file=__import__('sys').stderr, flush=True); input()"])
"""


def test_what_a_killed_call_had_started_keeps_the_next_one_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / ".retrain/tree").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(guard, "_ORPHAN_TIMEOUT_S", 0)
    pipes = dict.fromkeys(("stdin", "stderr"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, "-c", ORPHAN], env=os.environ | {"PYTHONPATH": str(ROOT)}, **pipes) as call:
        assert call.stdin is not None
        assert call.stderr is not None
        assert call.stderr.readline() == b"at work\n"
        call.kill()
        call.wait()
        with pytest.raises(BusyError, match=f"process {call.pid} was killed"):
            guard.stage_lock("retrain").__enter__()
        call.stdin.close()  # which ends it
        monkeypatch.setattr(guard, "_ORPHAN_TIMEOUT_S", 60)
        with guard.stage_lock("retrain"):
            pass
