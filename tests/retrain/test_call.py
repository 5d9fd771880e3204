"""Calls of a scheduler, one after the other, on a small project of its own with real DVC and MLflow."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skimage.data
import yaml
from PIL import Image

from tests.clone import BARE, TINY, Clone

pytestmark = pytest.mark.slow

CALL = (sys.executable, "-m", "stages.retrain")
LONG_AGO = 1_000_000_000  # seconds since 1970: what is just being copied into the inbox is left for the next call


def write_photos(folder: Path, first: int, count: int) -> None:
    """Write crops of photographs as files of their own, each at another place."""
    folder.mkdir(parents=True, exist_ok=True)
    wholes = (skimage.data.astronaut(), skimage.data.chelsea(), skimage.data.coffee())
    for number in range(first, first + count):
        y, x = np.random.default_rng(number).integers(0, 300 - 120, 2)
        path = folder / f"{number:03d}.png"
        Image.fromarray(wholes[number % 3][y : y + 120, x : x + 110]).save(path)
        os.utime(path, (LONG_AGO, LONG_AGO))


class Project(Clone):
    """A clone that trains one model on a folder of photographs."""

    def __init__(self, folder: Path) -> None:
        changes = {
            "prepare": TINY["prepare"] | {"photos": "data/raw"},
            "train": {"pconv": TINY["train"]["pconv"] | BARE},
        }
        changes["retrain"] = {"refuse_loss_db": 20.0}  # trainings this short differ by chance
        super().__init__(folder, TINY | changes)
        params, chain = (self._read(name) for name in ("params.yaml", "dvc.yaml"))
        params["models"] = {"pconv": {"code": "pconv", "tiles": "data/prepared/train"}}
        params["methods"] = {key: params["methods"][key] for key in ("mean", "pconv")}
        for plot in filter(lambda one: isinstance(one, dict), chain["plots"]):
            for lines in plot.values():
                lines["y"] = {path: y for path, y in lines["y"].items() if "/mean/" in path or "/pconv/" in path}
        chain["artifacts"] = {name: one for name, one in chain["artifacts"].items() if name == "inpaint-pconv"}
        self._write("params.yaml", params)
        self._write("dvc.yaml", chain)
        write_photos(folder / "data/raw", 0, 24)
        self.commit("one model")

    def _read(self, name: str) -> Any:
        return yaml.safe_load((self.root / name).read_text())

    def _write(self, name: str, content: Any) -> None:
        (self.root / name).write_text(yaml.safe_dump(content, sort_keys=False))

    def call(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Call once; return the exit code and the JSON of the last line."""
        done = self.run(*CALL, *words, check=False)
        assert done.returncode in (0, 10, 11, 12), done.stdout[-2000:] + done.stderr[-4000:]
        return done.returncode, json.loads(done.stdout.strip().splitlines()[-1])

    def versions(self) -> list[str]:
        """List the versions of the model with their weights."""
        return self.inpaint("model", "list").strip().splitlines()

    def inpaint(self, *words: str) -> str:
        """Run the command line of the clone."""
        return self.run(sys.executable, "-m", "stages.serving.cli", *words).stdout

    def lock(self) -> str:
        """Return what DVC says was made."""
        return (self.root / "dvc.lock").read_text()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("project"))
    code, said = project.call("--commit")
    assert code == 10
    assert said["outcome"] == "kept"  # the first model there is needs no gate
    assert "champion" in project.versions()[0]
    assert "dvc.lock" in project.run("git", "show", "--stat").stdout
    return project


def test_nothing_new_ends_without_a_trace(project: Project) -> None:
    before = project.lock(), project.run("git", "rev-parse", "HEAD").stdout
    code, said = project.call("--commit")
    assert code == 11
    assert said["outcome"] == "nothing new"
    assert before == (project.lock(), project.run("git", "rev-parse", "HEAD").stdout)


def test_a_batch_unlike_all_others_is_refused_before_training(project: Project) -> None:
    before = project.lock()
    inbox = project.root / "data/inbox"
    inbox.mkdir(exist_ok=True)
    for number in range(12):
        noise = np.random.default_rng(number).integers(0, 256, (120, 110, 3), np.uint8)
        Image.fromarray(noise).save(inbox / f"{number}.png")
        os.utime(inbox / f"{number}.png", (LONG_AGO, LONG_AGO))
    code, said = project.call()
    assert code == 12
    assert said["drift"]["distance"] > 0.6
    assert len(list((project.root / "data/refused").rglob("*.png"))) == 12
    assert len(list((project.root / "data/raw").rglob("*.png"))) == 24
    assert project.lock() == before


def test_killed_in_the_middle_the_next_call_completes(project: Project) -> None:
    before = project.lock()
    write_photos(project.root / "data/inbox", 100, 12)
    code, _ = project.call("--dry-run")
    assert code == 10
    assert len(list((project.root / "data/inbox").iterdir())) == 12
    process = subprocess.Popen(
        CALL, cwd=project.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    tree = project.root / ".retrain/tree"
    while not (tree / "data/pairs.csv").exists():  # the training comes next
        assert process.poll() is None
        time.sleep(0.1)
    busy = project.run(*CALL, check=False)
    assert busy.returncode == 75
    assert str(process.pid) in busy.stderr + busy.stdout
    time.sleep(5)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert project.lock() == before  # the present outputs are where they were
    code, said = project.call("--commit")
    assert code in (0, 10)
    assert said["models"]["pconv"]["reason"]
    assert not tree.exists()
    assert not (project.root / ".retrain/call.json").exists()
    manifest = pd.read_parquet(project.root / "data/prepared/manifest.parquet")
    assert manifest["photo"].nunique() > 24
    assert len(project.versions()) == 2
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert project.call()[0] == 11


def test_nothing_misses_what_was_tidied_away(project: Project) -> None:
    cache, photo = project.root / ".dvc/cache/files/md5", "data/raw/000.png"
    before = set(cache.glob("*/*"))
    said = project.inpaint("tidy", "--older-than", "0", "--yes")
    assert f"letting go of {len(before) - len(set(cache.glob('*/*')))} objects of " in said
    assert set(cache.glob("*/*")) < before  # scores and pages of the models before
    for name in ("prepared", "masks", "models", "evaluation", "report"):
        shutil.rmtree(project.root / "data" / name)
    project.run("dvc", "checkout")  # from the cache alone
    assert project.call()[0] == 11
    project.inpaint("model", "promote", "models:/inpaint-pconv/2")
    assert "version 1 is the champion" in project.inpaint("model", "rollback", "inpaint-pconv")
    project.inpaint("run", photo, "10,10,40,40", "-o", "filled.png")
    assert (project.root / "filled.png").exists()


def test_a_version_is_made_again_from_its_tags(project: Project) -> None:
    assert project.inpaint("model", "rebuild", "models:/inpaint-pconv/1").startswith("equal: version 1")


def test_without_its_data_a_version_is_made_from_the_photographs(project: Project) -> None:
    shutil.rmtree(project.root / ".dvc/cache")
    said = project.inpaint("model", "rebuild", "models:/inpaint-pconv/2").splitlines()
    assert "the cache does not hold" in said[0]
    assert said[-1].startswith("equal: version 2")
