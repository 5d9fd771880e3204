"""A running training is seen in MLflow, and no run is left running without its training."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stages.runtime import processes
from stages.tracking import live, runs, store
from tests.clone import name_of_dead
from tests.tracked import STARTED_MS, Seen, free_port, wait_for, write_record

EXPERIMENT = "photographs"


def statuses() -> list[str]:
    return [run.info.status for run in Seen().runs()]


def test_a_finished_record_is_shown_as_finished(tree: Path) -> None:
    write_record(tree / "record")
    live.follow(tree / "record", EXPERIMENT, parent=os.getppid())
    assert statuses() == ["FINISHED"]


def test_a_training_that_is_dead_is_shown_as_killed(tree: Path) -> None:
    write_record(tree / "record", status="running")
    live.follow(tree / "record", EXPERIMENT, parent=os.getpid())
    assert statuses() == ["KILLED"]


def test_a_folder_that_is_gone_ends_it(tree: Path) -> None:
    live.follow(tree / "record", EXPERIMENT, parent=os.getppid())
    assert statuses() == []


def test_a_dead_server_is_borne_in_silence(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    write_record(tree / "record")
    live.follow(tree / "record", EXPERIMENT, parent=os.getppid())
    assert capfd.readouterr() == ("", "")


def test_runs_whose_training_died_are_marked_as_killed(tree: Path) -> None:
    now, long_ago = round(time.time() * 1000), STARTED_MS
    owners = {
        "gone": (name_of_dead(), now),
        "alive": (processes.named(os.getpid()), long_ago),
        "elsewhere": ("another-machine.1.17000", now),
        "silent elsewhere": ("another-machine.1.17000", long_ago),
    }
    for key, (owner, started_ms) in owners.items():
        write_record(tree / key, status="running", key=key, started_ms=started_ms)
        with store.reached():
            runs.Mirror(tree / key, EXPERIMENT).update(owner)
    assert live.count_abandoned(EXPERIMENT) == live.settle_abandoned(EXPERIMENT) == 2
    assert {run.data.tags["inpaint.key"]: run.info.status for run in Seen().runs()} == {
        "gone": "KILLED", "alive": "RUNNING", "elsewhere": "RUNNING", "silent elsewhere": "KILLED",
    }  # fmt: skip


# A training as far as MLflow's view of it goes: it starts the process beside it and says which one.
TRAINING = """
import subprocess, sys, time
print(subprocess.Popen([sys.executable, "-m", "stages.tracking", sys.argv[1]]).pid, flush=True)
time.sleep(600)
"""


@contextlib.contextmanager
def training(record: Path) -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    process = subprocess.Popen(
        [sys.executable, "-c", TRAINING, str(record)], stdout=subprocess.PIPE, cwd=record.parent, text=True
    )
    assert process.stdout is not None
    follower = psutil.Process(int(process.stdout.readline()))
    try:
        yield process, follower
    finally:
        process.kill()
        process.communicate()
        with contextlib.suppress(psutil.NoSuchProcess):
            follower.kill()


@pytest.mark.slow
def test_a_running_training_is_seen_killed_resumed_and_finished(tree: Path) -> None:
    record = tree / "record"
    identity = write_record(record, status="running")["id"]
    with training(record) as (process, follower):
        wait_for(lambda: statuses() == ["RUNNING"], 180)
        process.send_signal(signal.SIGKILL)
        wait_for(lambda: not follower.is_running() or follower.status() == psutil.STATUS_ZOMBIE, 60)
        assert statuses() == ["KILLED"]
    with training(record) as (process, follower):
        wait_for(lambda: statuses() == ["RUNNING"], 180)
        write_record(tree / "ended", id=identity)
        shutil.copy(tree / "ended/record.json", record)
        follower.terminate()
        wait_for(lambda: not follower.is_running() or follower.status() == psutil.STATUS_ZOMBIE, 60)
        assert statuses() == ["FINISHED"]
    assert len(Seen().curve(Seen().run(), "train/loss")) == 30


@pytest.mark.slow
def test_beside_a_dead_server_a_training_can_end_its_follower_at_once(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_record(tree / "record", status="running")
    with socket.create_server(("127.0.0.1", 0)) as dying:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{dying.getsockname()[1]}")
        with training(tree / "record") as (_, follower):
            dying.accept()[0].close()  # asked once, it is gone
            dying.close()
            assert follower.status() != psutil.STATUS_ZOMBIE
            follower.terminate()
            wait_for(lambda: follower.status() == psutil.STATUS_ZOMBIE, 20)  # a retry would take 30


# What makes a run other than a training's, and is killed while it does.
KILLED = """
import os, signal
from stages.retrain import call, report
from stages.tracking import additions, store

store.log_scores = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
addition = additions.Addition({"a": 1.0}, [], [], {}, "report", "")
"""


@pytest.mark.parametrize("making", [
    "additions.bring_comparison('photographs', 'hash', 0, addition)",
    "report.log('photographs', call.Call(None, None))",
])  # fmt: skip
def test_no_other_run_goes_on_running_either(tree: Path, making: str) -> None:
    subprocess.run([sys.executable, "-c", f"{KILLED}\n{making}"], cwd=tree, check=False)
    assert statuses() == ["RUNNING"]
    assert live.settle_abandoned(EXPERIMENT) == 1
    assert statuses() == ["KILLED"]
