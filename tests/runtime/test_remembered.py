"""What a stage remembers is for the same work alone, for one process at a time, and goes when it is out of date."""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from stages.runtime.files import remove_folder
from stages.runtime.remembered import fingerprint, remembered
from tests.clone import ROOT
from tests.tracked import wait_for

HOLD = "import sys, time\nfrom stages.runtime.remembered import remembered\n"
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


@contextmanager
def holding(of: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, of], env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def says(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def wait_until_it_waits(process: subprocess.Popen[str]) -> None:
    wait_for(lambda: any(file.path.endswith(".lock") for file in psutil.Process(process.pid).open_files()), 30)
    time.sleep(0.3)
    assert process.poll() is None


def test_what_another_process_holds_is_waited_for_and_never_deleted(home):
    with holding("one") as held:
        assert says(held) == "held\n"
        with remembered("stage", "two"):
            pass
        assert (home / "one").exists()
        with holding("one") as waiting:
            wait_until_it_waits(waiting)
            held.kill()
            assert says(waiting) == "held\n"


def test_who_waited_for_what_was_deleted_makes_it_anew(home):
    (home / "one").mkdir(parents=True)
    with (home / "one/.lock").open("w") as lock, holding("one") as waiting:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wait_until_it_waits(waiting)
        remove_folder(home / "one")
        lock.close()
        assert says(waiting) == "held\n"
        assert (home / "one/.lock").exists()


def test_a_fingerprint_is_of_the_facts_and_of_the_code():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    assert len(fingerprint({})) == 64
