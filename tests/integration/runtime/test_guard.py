"""A stage runs alone, ends with DVC, and says in words what stopped it."""

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
from stages.runtime.errors import BusyError
from tests.clone import ROOT


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(guard, "_end_with_dvc", lambda: None)  # the tests' own process keeps its signals
    return tmp_path


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
        time.sleep(0.3)
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
