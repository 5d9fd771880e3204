"""`dvc repro`, killed in every stage in every way: no orphan goes on, and the next one ends right without help."""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from itertools import cycle

import psutil
import pytest
import yaml

from tests.clone import living
from tests.one_model import Project
from tests.tracked import wait_for

pytestmark = pytest.mark.slow

STAGES = ("prepare", "masks", "augment", "pair", "photographs", "train@pconv", "evaluate@mean", "report", "publish")
WAYS = (
    ("dvc", signal.SIGKILL),
    ("stage", signal.SIGKILL),
    ("group", signal.SIGKILL),
    ("dvc", signal.SIGTERM),
    ("group", signal.SIGTERM),
    ("stage", signal.SIGTERM),
)
SEED = int(os.environ.get("INPAINT_SEED", "0"))  # of the instants


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("project"))
    project.change_params({"train": {"pconv": {"steps": 120, "checkpoint_every_s": 0.2}}})
    project.commit("a training that can be killed")
    return project


class Repro:
    """A `dvc repro` in a group of processes of its own."""

    def __init__(self, project: Project) -> None:
        self._root = project.root
        self.process = project.start("dvc", "repro")

    def wait_for(self, stage: str) -> psutil.Process:
        """Wait until a stage runs; return its process."""
        said = []
        for line in self._lines():
            said.append(line)
            if f"Running stage '{stage}'" in line:
                return self._process_of(stage)
        raise AssertionError(f"{stage} never ran: {''.join(said[-20:])}")

    def _lines(self) -> Iterator[str]:
        assert self.process.stdout is not None
        yield from self.process.stdout

    def _process_of(self, stage: str) -> psutil.Process:
        found: list[psutil.Process] = []

        def is_there() -> bool:
            found[:] = [
                one for one in living(self._root) if f"stages.{stage.partition('@')[0]}" in " ".join(words(one))
            ]
            return bool(found)

        wait_for(is_there, 20)
        return found[0]

    def kill(self, whom: str, number: int, stage: psutil.Process) -> None:
        """Send a signal."""
        match whom:
            case "dvc":
                self.process.send_signal(number)
            case "stage":
                stage.send_signal(number)
            case "group":
                os.killpg(self.process.pid, number)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.wait(timeout=60)


def words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_killed_in_every_stage_it_ends_right(project: Project) -> None:
    rng = random.Random(SEED)
    for stage, (whom, number) in zip(STAGES, cycle(WAYS), strict=False):
        repro = Repro(project)
        process = repro.wait_for(stage)
        time.sleep(rng.uniform(0, 1.5))
        if stage == "train@pconv":
            second = project.run("dvc", "repro", check=False)
            assert second.returncode != 0
            assert f"(PID {repro.process.pid})" in second.stderr, "the second says who is at work"
        if process.is_running():  # else it was faster
            repro.kill(whom, number, process)
        else:
            repro.kill("group", signal.SIGKILL, process)
        wait_for(lambda: not living(project.root), 15)
    lock = project.root / ".dvc/tmp/rwlock"
    lock.write_text('{"write": {"data/prep')  # as a power cut leaves it
    assert "JSON structure is corrupted" in project.run("dvc", "repro", check=False).stderr
    assert "truncated" in project.run(sys.executable, "-m", "stages.runtime.preflight").stdout  # as make repro does
    project.run("dvc", "repro")
    assert set(json.loads(project.run("dvc", "status", "--json").stdout)) <= {"publish"}
    record = json.loads((project.root / "data/training/pconv/record.json").read_text())
    assert record["status"] == "finished"
    assert len(project.versions()) == 1
    assert "champion" in project.versions()[0]
    assert not list((project.root / ".resume").iterdir())
    assert list(yaml.safe_load(project.lock())["stages"]) != []
    assert project.inpaint("doctor") == "all is well\n"
