"""A clone that trains one model on a folder of photographs of its own, so that `dvc repro` takes a minute."""

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import yaml
from PIL import Image

from stages.retrain.__main__ import CODES
from tests.clone import BARE, TINY, Clone

CALL = (sys.executable, "-m", "stages.retrain")
OUTCOMES = {code: outcome for outcome, code in CODES.items()} | {-signal.SIGKILL: "killed"}  # by exit code
BASE = "data/base/pconv.safetensors"
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


class OneModel(Clone):
    """A clone whose pipeline trains one model and scores it beside one classical method; what it reads is to be added.

    Args:
        folder: where it is made.
        changes: of params.yaml beside `TINY`.
        repository: as for `Clone`.
    """

    def __init__(self, folder: Path, changes: Mapping[str, Any], repository: Path | None = None) -> None:
        super().__init__(folder, TINY | changes, repository)
        params, chain = (yaml.safe_load((folder / name).read_text()) for name in ("params.yaml", "dvc.yaml"))
        params["models"] = {"pconv": {"code": "pconv", "tiles": "data/prepared/train", "base": BASE}}
        params["methods"] = {key: params["methods"][key] for key in ("mean", "pconv")}
        chain["artifacts"] = {name: one for name, one in chain["artifacts"].items() if name == "inpaint-pconv"}
        self.write("params.yaml", params)
        self.write("dvc.yaml", chain)

    def write(self, name: str, content: Any) -> None:
        """Write a file as YAML."""
        (self.root / name).write_text(yaml.safe_dump(content, sort_keys=False))


class Project(OneModel):
    """The same with a folder of photographs, for calls of retrain.

    Args:
        folder: where it is made.
        tracking: of an MLflow server; "" for the file in the project.
        repository: as for `Clone`.
    """

    def __init__(self, folder: Path, tracking: str = "", repository: Path | None = None) -> None:
        self.given = {"GIT_CONFIG_GLOBAL": os.devnull}  # as a scheduler's account, which has no name
        self.given |= {"MLFLOW_TRACKING_URI": tracking} if tracking else {}
        changes = {
            "prepare": TINY["prepare"] | {"photos": "data/raw"},
            "train": {"pconv": TINY["train"]["pconv"] | BARE},
            "retrain": {"refuse_loss_db": 20.0},  # trainings this short differ by chance
        }
        super().__init__(folder, changes, repository)
        write_photos(folder / "data/raw", 0, 24)
        self.commit("one model")

    def call(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Call once; return the exit code and the JSON of the last line."""
        done = self.run(*CALL, *words, check=False)
        assert done.returncode in CODES.values(), done.stdout[-2000:] + done.stderr[-4000:]
        return done.returncode, json.loads(done.stdout.strip().splitlines()[-1])

    def versions(self) -> list[str]:
        """List the versions of the model with their weights."""
        return self.inpaint("model", "list").strip().splitlines()

    def inpaint(self, *words: str, **environment: str) -> str:
        """Run the command line of the clone."""
        return self.run(sys.executable, "-m", "stages.serving.cli", *words, **environment).stdout

    def lock(self) -> str:
        """Return what DVC says was made."""
        return (self.root / "dvc.lock").read_text()
