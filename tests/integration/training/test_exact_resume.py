"""Trainings killed by -9 at random instants, started again, and again: the weights end the same to the last bit.

Two kills a key by default, thirty of every key with INPAINT_LONG=1 (`pytest -s` prints them), with and without loading
processes.
"""

import json
import multiprocessing
import os
import random
import sys
import time
import uuid
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import yaml

from stages.runtime.files import sha256
from stages.training import trainer
from tests.clone import living
from tests.factories import make_training_project, tiny_params, without_export
from tests.integration.training.test_trainer import KINDS
from tests.tracked import wait_for
from tests.warm import FORKSERVER

LONG = bool(os.environ.get("INPAINT_LONG"))
KILLS = 30 if LONG else 2


def fit(root: Path, key: str, workers: int) -> None:
    """Train in a process of its own; the export, which has tests of its own, is left out."""
    os.chdir(root)
    multiprocessing.set_start_method("fork", force=True)  # of loading processes, as where nobody chose
    sys.stdout = Path("said.txt").open("a", buffering=1)  # noqa: SIM115 - ends with the process
    os.environ |= {"DVC_ROOT": str(root), "INPAINT_LOADERS": str(workers), "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    trainer.MIRROR = "this"
    without_export()
    trainer.train(key, *KINDS[key])


def start(root: Path, key: str, workers: int) -> BaseProcess:
    process = FORKSERVER.Process(target=fit, args=(root, key, workers))
    process.start()
    return process


def project_of(folder: Path, key: str) -> Path:
    """A training of a second or two, a checkpoint every tenth of one, both phases, dropout."""
    folder.mkdir()
    params = tiny_params()
    phases = {"finetune_steps": 40} if key != "pix2pix" else {"decay_steps": 60}
    params["train"][key] |= {
        "hole_perceptual_weight": 0.1,
        "steps": 160,
        "validate_every": 50,
        "checkpoint_every_s": 0.1,
        **phases,
    }
    make_training_project(folder, params)
    return folder


def weights(root: Path, key: str) -> str:
    return sha256(root / f"data/models/{key}/weights.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("key", KINDS if LONG else ["pconv_augmented", "pix2pix"])
def test_a_training_killed_at_any_instant_ends_with_the_same_weights(tmp_path: Path, key: str) -> None:
    undisturbed = project_of(tmp_path / "undisturbed", key)
    assert end(start(undisturbed, key, workers=0)) == 0
    seconds = json.loads((undisturbed / f"data/training/{key}/record.json").read_text())["summary"]["seconds"]
    wanted = weights(undisturbed, key)
    rng = random.Random(key)
    root, kills, exit_code = project_of(tmp_path / "killed", key), 0, None
    while kills < KILLS or exit_code != 0:
        workers = (0, 2)[kills % 2]  # each instant is left by one kind of process and entered by the other
        process = start(root, key, workers)
        process.join(timeout=rng.uniform(0.1, 0.7) * seconds)
        if process.is_alive() and kills < KILLS:
            process.kill()
            kills += 1
        exit_code = end(process)
        if kills < KILLS and exit_code == 0:  # it got through; another one like it
            assert weights(root, key) == wanted
            root = project_of(tmp_path / uuid.uuid4().hex, key)
    assert weights(root, key) == wanted, f"after {kills} kills"
    assert not list((root / ".resume").iterdir())
    wait_for(lambda: not living(root), 20)  # loading processes end with their training
    print(f"{key}: {kills} kills, the same weights")


def end(process: BaseProcess) -> int | None:
    process.join()
    return process.exitcode


def test_why_a_training_starts_anew_is_said(tmp_path: Path) -> None:
    root = project_of(tmp_path / "project", "unet")
    process = start(root, "unet", workers=0)
    while not list(root.glob(".resume/*/checkpoint.pt")):
        assert process.is_alive()
        time.sleep(0.01)
    process.kill()
    process.join()
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["train"]["unet"] |= {"steps": 12, "learning_rate": 5e-4}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    assert end(start(root, "unet", workers=0)) == 0
    assert "unet: starting anew; the interrupted training in .resume/" in (said := (root / "said.txt").read_text())
    assert "has another steps, learning_rate" in said
