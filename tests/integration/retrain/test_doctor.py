"""What a crash leaves is found, explained and mended; what works is left alone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stages.retrain import doctor
from stages.runtime import guard
from stages.runtime.errors import BusyError, InputError
from stages.runtime.processes import named
from stages.serving.cli import app
from stages.tracking.runs import Mirror
from tests.clone import ROOT, name_of_dead
from tests.tracked import Seen, write_database, write_record


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "params.yaml").write_text("publish: {experiment: photographs}\n")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def said() -> list[str]:
    return [finding.what for finding in doctor.examine(Path())]


def test_all_is_well_in_a_project_where_nothing_happened(project: Path) -> None:
    assert said() == []
    assert CliRunner().invoke(app, ["doctor"]).output == "all is well\n"


def test_outside_a_project_it_says_where_to_go(project: Path) -> None:
    (project / "params.yaml").unlink()
    with pytest.raises(InputError, match="run inpaint doctor in the project's root"):
        doctor.examine(Path())


def test_what_is_stale_is_found_and_mended(project: Path) -> None:
    lock = project / ".dvc/tmp/rwlock"
    drafts = [
        project / f"data/.prepared.{name_of_dead()}.draft",
        project / "data/models/.pconv.a-container-that-is-gone.1.1700.draft",
    ]
    ours = project / f"data/.masks.{named(os.getpid())}.draft"
    for folder in (lock.parent, *drafts, ours):
        folder.mkdir(parents=True)
    lock.write_text("{")
    old, fresh = project / ".resume/old", project / ".resume/fresh"
    for place in (old, fresh):
        write_record(place / "record", status="running")
    long_ago = time.time() - 40 * 86_400
    for path in [old, *old.iterdir()]:
        os.utime(path, (long_ago, long_ago))
    shown = CliRunner().invoke(app, ["doctor"])
    assert shown.exit_code == 1
    assert shown.output.count("inpaint doctor --fix mends it") == 4
    assert "fresh: a training of pconv was interrupted 0 days ago; dvc repro goes on with it" in shown.output
    mended = CliRunner().invoke(app, ["doctor", "--fix"])
    assert mended.exit_code == 0, mended.output
    assert mended.output.count("repaired: ") == 4
    assert not lock.exists()
    assert not any(draft.exists() for draft in drafts)
    assert not old.exists()
    assert ours.exists(), "its process lives"
    assert fresh.exists()


def test_gits_locks_are_named_and_left_alone(project: Path) -> None:
    lock = project / ".git/index.lock"
    lock.touch()
    assert said() == [".git/index.lock is there, and every commit ends there"]
    doctor.repair(Path())
    assert lock.exists()


def test_nothing_is_mended_while_a_stage_is_at_work(project: Path) -> None:
    code = "import sys\nfrom stages.runtime import guard\nsys.exit(guard.run('train@pconv', input))"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)}
    ) as stage:
        while "train@pconv" not in guard.running_stages():
            assert stage.poll() is None
            time.sleep(0.02)
        with pytest.raises(BusyError, match=f"process {stage.pid}"):
            doctor.repair(Path())
        stage.kill()
    assert doctor.repair(Path()) == []


def test_while_it_mends_no_stage_starts(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with guard.project_lock():
        code = "import sys\nfrom stages.runtime import guard\nsys.exit(guard.run('masks', lambda: None))"
        done = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
    assert done.returncode == 75
    assert "masks: inpaint doctor is running in this folder; try again in a moment" in done.stderr


def test_a_cut_off_call_of_retrain_is_named(project: Path) -> None:
    (project / ".retrain").mkdir()
    (project / ".retrain/call.json").write_text("{}")
    assert said() == ["a call of inpaint retrain was cut off; the next call completes it"]


def test_runs_that_a_kill_left_running_are_settled(project: Path) -> None:
    write_database(project)
    write_record(project / "record", status="running")
    with subprocess.Popen(["sleep", "60"]) as training:
        Mirror(project / "record", "photographs").update(named(training.pid))
        assert said() == []
        training.send_signal(signal.SIGKILL)
    assert said() == ["1 runs in MLflow count as running, but their trainings were killed"]
    doctor.repair(Path())
    assert [run.info.status for run in Seen().runs()] == ["KILLED"]
    assert said() == []
