"""A stage runs alone, ends with DVC, and says in words what stopped it."""

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from stages.runtime import guard
from stages.runtime.errors import BusyError, InputError
from tests.clone import ROOT, name_of_dead


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(guard, "_end_with_dvc", lambda: None)  # the tests' own process keeps its signals
    return tmp_path


def fail(error: BaseException) -> None:
    raise error


def test_a_failure_is_one_message_and_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert guard.run("prepare", lambda: None) == 0
    assert guard.run("prepare", lambda: fail(InputError("no photos; put some there"))) == 2
    assert capsys.readouterr().err == "\nprepare: no photos; put some there\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_full_disk_or_a_closed_folder_is_said_in_words(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert guard.run("masks", lambda: fail(OSError(number, os.strerror(number), "data/masks"))) == 2
    said = capsys.readouterr().err
    assert os.strerror(number) in said
    assert "data/masks" in said
    assert "run it again" in said


def test_control_c_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert guard.run("masks", lambda: fail(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "\nmasks: interrupted; run it again to continue\n"


def test_an_error_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(KeyError):
        guard.run("masks", lambda: fail(KeyError("a bug")))


def test_the_key_of_a_group(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[str] = []
    monkeypatch.setattr(sys, "argv", ["train", "pconv"])
    assert guard.run_with_key("train", seen.append) == 0
    assert seen == ["pconv"]
    monkeypatch.setattr(sys, "argv", ["train"])
    assert guard.run_with_key("train", seen.append) == 2
    assert "expected one key of params.yaml, got 0 arguments" in capsys.readouterr().err


def test_two_processes_never_run_the_same_stage(folder: Path) -> None:
    code = (
        "from stages.runtime import guard\n"
        "with guard.stage_lock('train@pconv'):\n    print('in', flush=True)\n    input()"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"in\n"
        with pytest.raises(BusyError, match=f"process {other.pid} is running it"), guard.stage_lock("train@pconv"):
            pass
        with guard.stage_lock("train@unet"):
            pass
        other.kill()
        other.wait()
    with guard.stage_lock("train@pconv"):  # the kernel freed it
        pass


def test_who_was_given_the_number_of_a_dead_stage_holds_nothing(folder: Path) -> None:
    Path(".locks").mkdir()
    Path(".locks/train@pconv.lock").write_text(f"{os.getpid()} {name_of_dead()}")
    Path(".locks/masks.lock").write_text(f"{os.getpid()}")
    assert guard.running_stages() == {}
    with guard.stage_lock("train@pconv"):
        assert guard.running_stages() == {"train@pconv": os.getpid()}


def test_what_runs_before_may_lock_the_project(folder: Path) -> None:
    done: list[str] = []

    def first() -> None:
        with guard.project_lock():
            done.append("first")

    assert guard.run("retrain", lambda: done.append("then"), before=first) == 0
    assert done == ["first", "then"]


STAGE = """
import sys, time
from pathlib import Path
from stages.runtime import guard

def main():
    Path("started").touch()
    try:
        time.sleep(60)
    finally:
        Path("cleaned").touch()

if sys.argv[1:]:
    sys.platform = sys.argv[1]
sys.exit(guard.run("prepare", main))
"""
DVC = "import subprocess, sys\nsubprocess.run(sys.argv[1:])"


@pytest.mark.parametrize("system", ["linux", "darwin"])
@pytest.mark.parametrize("shell", [[], ["sh", "-c"], ["bash", "-c"]])
def test_a_stage_ends_with_dvc_and_cleans_up(folder: Path, shell: list[str], system: str) -> None:
    Path("stage.py").write_text(STAGE)
    command = [sys.executable, "stage.py", system]
    command = [*shell, " ".join(command)] if shell else command
    environment = os.environ | {"PYTHONPATH": str(ROOT), "DVC_ROOT": str(folder)}
    with subprocess.Popen([sys.executable, "-c", DVC, *command], env=environment) as dvc:
        wait_until((folder / "started").exists)
        time.sleep(1)
        assert not (folder / "cleaned").exists()
        dvc.kill()
    wait_until((folder / "cleaned").exists)


@pytest.mark.parametrize("shell", [[], ["sh", "-c"]])
def test_a_stage_whose_dvc_died_before_it_could_look_does_not_begin(folder: Path, shell: list[str]) -> None:
    Path("stage.py").write_text(f"import time\nopen('imports', 'w').close()\ntime.sleep(2)\n{STAGE}")
    Path(".dvc/tmp").mkdir(parents=True)
    command = [*shell, f"{sys.executable} stage.py"] if shell else [sys.executable, "stage.py"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "DVC_ROOT": str(folder)}
    with subprocess.Popen([sys.executable, "-c", DVC, *command], env=environment) as dvc:
        info = {"pid": dvc.pid, "cmd": "dvc repro"}
        Path(".dvc/tmp/rwlock").write_text(json.dumps({"read": {}, "write": {"data/prepared": info}}))
        wait_until((folder / "imports").exists)
        (stage,) = [one for one in psutil.Process(dvc.pid).children(recursive=True) if "python" in one.name()]
        dvc.kill()
    wait_until(lambda: not stage.is_running())
    assert not (folder / "started").exists()


def test_who_was_started_by_a_person_goes_on_after_them(folder: Path) -> None:
    Path("stage.py").write_text(STAGE)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment.pop("DVC_ROOT", None)
    with subprocess.Popen([sys.executable, "-c", DVC, sys.executable, "stage.py"], env=environment) as terminal:
        wait_until((folder / "started").exists)
        (stage,) = psutil.Process(terminal.pid).children()
        terminal.kill()
    time.sleep(1)
    assert stage.is_running()
    assert not (folder / "cleaned").exists()
    stage.terminate()
    wait_until((folder / "cleaned").exists)


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_folder_that_cannot_be_written_is_named(folder: Path) -> None:
    Path(".locks").write_text("a file where the folder should be")
    with pytest.raises(InputError, match="cannot write to"), guard.stage_lock("prepare"):
        pass


def test_a_file_system_without_locks_is_said_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fcntl.flock", lambda *_: fail(OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))))
    assert guard.run("masks", lambda: None) == 2
    assert ".lock: this file system has no locks (No locks available)" in capsys.readouterr().err
