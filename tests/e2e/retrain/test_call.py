"""Calls of a scheduler, one after the other, on a small project of its own with real DVC and MLflow.

The project is a folder of a larger git repository, where more can go wrong than at its top.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages.retrain.worktree import Worktree
from tests.bench import soak
from tests.one_model import CALL, LONG_AGO, Project, write_photos
from tests.postgres import server_on
from tests.tracked import answers, free_port, wait_for
from tests.warm import COLD

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["file", "server"] if "INPAINT_LONG" in os.environ else ["file"])
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with ExitStack() as opened:
        uri = ""
        if request.param == "server":
            uri = opened.enter_context(server_on("postgresql", tmp_path_factory.mktemp("server"))).uri
        repository = tmp_path_factory.mktemp("repository")
        yield begun(Project(repository / "models/inpaint", uri, repository))


def begun(project: Project) -> Project:
    project.given = {**project.given, "INPAINT_WORKERS": "1"}  # more would take seconds to start
    code, said = project.call("--commit")
    assert code == 0
    assert said["outcome"] == "promoted"  # the first model there is needs no gate
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
    assert "12 new photographs beside 24 known ones" in (project.root / ".retrain/drift.html").read_text()
    assert len(list((project.root / "data/refused").rglob("*.png"))) == 12
    assert len(list((project.root / "data/raw").rglob("*.png"))) == 24
    assert project.lock() == before


def test_killed_in_the_middle_the_next_call_completes(project: Project) -> None:
    before = project.lock()
    write_photos(project.root / "data/inbox", 100, 12)
    for number in (100, 110):
        soak.write_bad_file(project.root / "data/inbox", number)
    (project.root / ".retrain/drift.html").unlink(missing_ok=True)
    code, _ = project.call("--dry-run")
    assert code == 10
    assert not (project.root / ".retrain/drift.html").exists()
    assert len(list((project.root / "data/inbox").iterdir())) == 14
    process = project.start(*CALL, stdout=subprocess.DEVNULL)
    state = project.root / ".retrain/call.json"
    wait_for(state.exists, 60)
    busy = project.run(*CALL, check=False)
    assert busy.returncode == 75
    assert str(process.pid) in busy.stderr + busy.stdout
    while not any(project.root.glob(".resume/*/checkpoint.pt")):
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    (cut_off,) = [json.loads(path.read_text()) for path in project.root.glob(".resume/*/record/record.json")]
    write_photos(project.root / "data/inbox", 200, 4)  # which would make it another training
    assert project.lock() == before  # the present outputs are where they were
    power_cut(project)
    code, said = project.call("--commit")
    assert code in (0, 10)
    assert said["models"]["pconv"]["reason"]
    assert not state.exists()
    assert json.loads((project.root / "data/training/pconv/record.json").read_text())["id"] == cut_off["id"]
    assert len(list((project.root / "data/inbox").iterdir())) == 4
    manifest = pd.read_parquet(project.root / "data/prepared/manifest.parquet")
    assert manifest["photo"].nunique() > 24
    assert len(project.versions()) == 2
    soak.check(project)
    assert list((project.root / "data/inbox").iterdir()) == []


def power_cut(project: Project) -> None:
    """Leave what a machine leaves that goes out, and comes back under another name as a pod does."""
    for place in (project.root, Worktree(project.root).tree):
        (place / ".dvc/tmp/rwlock").write_text('{"write": {"data/prep')
    (project.root / "data/.prepared.inpaint-retrain-29012345-x7k2p-4026532761.7.81234.draft").mkdir()


def test_nothing_misses_what_was_tidied_away(project: Project) -> None:
    cache, photo = project.root / ".dvc/cache/files/md5", "data/raw/000.png"
    before = set(cache.glob("*/*"))
    said = project.inpaint("tidy", "--older-than", "0", "--yes")
    assert f"Removed {len(before) - len(set(cache.glob('*/*')))} objects from repo cache." in said
    assert set(cache.glob("*/*")) < before  # scores and pages of the models before
    for name in ("prepared", "masks", "models", "evaluation", "report"):
        shutil.rmtree(project.root / "data" / name)
    project.run("dvc", "checkout")  # from the cache alone
    assert project.call()[0] == 11
    project.inpaint("model", "promote", "models:/inpaint-pconv/3")
    assert "version 1 is the champion" in project.inpaint("model", "rollback", "inpaint-pconv")
    project.inpaint("run", photo, "10,10,40,40", "-o", "filled.png")
    assert (project.root / "filled.png").exists()


def test_it_is_served(project: Project) -> None:
    port = free_port()
    serving = project.start(sys.executable, "-m", "stages.serving.cli", "serve", "--port", str(port))
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/v1/model"), 60)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/model") as said:
            assert json.load(said)["default"] == "inpaint-pconv"
    finally:
        serving.terminate()
        serving.communicate()


def test_a_version_is_made_again_from_its_tags(project: Project) -> None:
    said = project.inpaint("model", "rebuild", "models:/inpaint-pconv/1", **COLD)  # the order of sets is another one
    assert said.startswith("equal: version 1")


def test_a_candidate_goes_on_from_the_champion(project: Project) -> None:
    assert "models:/inpaint-pconv/1" in project.inpaint("model", "show", "models:/inpaint-pconv/3")
    assert "pconv: models:/inpaint-pconv/1" in (project.root / "data/starts.yaml").read_text()
    assert json.loads((project.root / "data/start/pconv/start.json").read_text())["start_from"].endswith("/1")


def test_without_its_data_a_version_is_made_from_the_photographs(project: Project) -> None:
    shutil.rmtree(project.root / ".dvc/cache")
    said = project.inpaint("model", "rebuild", "models:/inpaint-pconv/3").splitlines()
    assert "the cache does not hold" in said[0]
    assert said[-1].startswith("equal: version 3")


def test_another_machine_takes_part(project: Project) -> None:
    """Two processes stand for machines: the scheduler calls one, and the other waits for trainings."""
    write_photos(project.root / "data/inbox", 300, 6)
    given = {"INPAINT_NODES": "2", "INPAINT_RENDEZVOUS": f"127.0.0.1:{free_port()}", "INPAINT_DEVICE": "cpu"}
    waiting = project.start(sys.executable, "-m", "stages.train", "--wait", **given)
    try:
        called = project.run(*CALL, check=False, **given)
        assert called.returncode in (0, 10), called.stderr
    finally:
        os.killpg(waiting.pid, signal.SIGINT)
        said, _ = waiting.communicate()
    assert "that training has ended" in said, said
    assert waiting.returncode == 130
