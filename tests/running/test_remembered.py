"""What a stage remembers is for the same work alone, for one process at a time, and goes when it is out of date."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.running.remembered import fingerprint, remembered
from tests.clone import ROOT

HOLD = "import sys, time\nfrom stages.running.remembered import remembered\n"
HOLD += "with remembered('stage', sys.argv[1]):\n    print('held', flush=True)\n    time.sleep(60)"


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path / ".remembered" / "stage"


def test_what_is_left_is_found_again_and_other_work_finds_nothing(home):
    with remembered("stage", "one") as folder:
        (folder / "note").write_text("x")
    with remembered("stage", "one") as folder:
        assert (folder / "note").read_text() == "x"
    with remembered("stage", "two") as folder:
        assert not (folder / "note").exists()
    assert [path.name for path in home.iterdir()] == ["two"]


def test_after_a_failure_everything_is_kept(home):
    with remembered("stage", "one"):
        pass
    with pytest.raises(RuntimeError, match="halfway"), remembered("stage", "two") as folder:
        (folder / "note").write_text("x")
        raise RuntimeError("halfway")
    assert sorted(path.name for path in home.iterdir()) == ["one", "two"]
    assert (home / "two" / "note").exists()


def test_what_another_process_holds_is_waited_for_and_never_deleted(home):
    held = subprocess.Popen(
        [sys.executable, "-c", HOLD, "one"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert held.stdout is not None
    assert held.stdout.readline() == "held\n"
    with remembered("stage", "two"):
        pass
    assert (home / "one").exists()
    waiting = subprocess.Popen(
        [sys.executable, "-c", HOLD, "one"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    time.sleep(1)
    assert waiting.poll() is None
    held.send_signal(signal.SIGKILL)
    assert waiting.stdout is not None
    assert waiting.stdout.readline() == "held\n"
    for process in (held, waiting):
        process.kill()
        process.communicate()


def test_a_fingerprint_is_of_the_facts_and_of_the_code():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    assert len(fingerprint({})) == 64
