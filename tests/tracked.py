"""A small working tree as the pipeline leaves it: one trained model, two classical methods, a report."""

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Mapping, Sequence
from email.message import Message
from functools import cache
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stages.tracking import store
from tests.factories import write_model

PASSWORD = "of the administrator"
STARTED_MS = 1_700_000_000_000
PARAMS = """\
models:
  pconv: {code: pconv, tiles: data/prepared/train}
methods:
  mean: {filled_by: stages/inpainting/classical.py}
  biharmonic: {filled_by: stages/inpainting/classical.py}
  pconv: {filled_by: data/models/pconv/model.pt2}
publish:
  experiment: photographs
  model_name: inpaint
  strict: false
"""


def write_record(folder: Path, status: str = "finished", sha256: str = "0" * 64, **changes: Any) -> dict[str, Any]:
    """Write a training's record with 30 lines of history, 3 validations, 4 looks at the machine, 3 pictures."""
    content = {
        "id": uuid.uuid4().hex,
        "key": "pconv",
        "stage": "train@pconv",
        "experiment_name": "",
        "fingerprint": "f" * 64,
        "status": status,
        "started_ms": STARTED_MS,
        "ended_ms": STARTED_MS + 90_000 if status == "finished" else None,
        "params": {
            "seed": 3,
            "steps": 26,
            "finetune_steps": 4,
            "learning_rate": 2e-3,
            "partial": True,
            "tiles": "data/prepared/train",
        },
        "inputs": {
            "data/prepared/train": {"digest": "a" * 64, "tiles": 40},
            "data/prepared/val": {"digest": "b" * 64, "tiles": 8},
            "data/masks/train.npy": {"digest": "c" * 64},
        },
        "commit": "d" * 40,
        "dirty": True,
        "machine": {"host": "studio", "cores": 2, "processor": "Abacus 2", "gpu": ""},
        "packages": {"torch": "2.14.1", "numpy": "2.4.0"},
        "model_sha256": sha256 if status == "finished" else "",
        "summary": {"val_hole_psnr": 21.5, "steps": 30} if status == "finished" else {},
        **changes,
    }
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    (folder / "record.json").write_text(json.dumps(content))
    write_table(folder / "history.csv", [{"step": s, "seconds": s * 2.5, "loss": 1 / s, "lr": ""} for s in steps(30)])
    write_table(
        folder / "validation.csv", [{"step": s, "seconds": s * 2.5, "val_hole_psnr": 20 + s / 20} for s in (10, 20, 30)]
    )
    write_table(folder / "system.csv", [{"seconds": s, "cpu_percent": 90 + s, "gpu_percent": ""} for s in range(4)])
    for step in (10, 20, 30):
        Image.fromarray(np.full((24, 40, 3), step, np.uint8)).save(folder / "pictures" / f"step_{step:06d}.png")
    return content


def steps(last: int) -> range:
    """Return 1 to `last`."""
    return range(1, last + 1)


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a CSV file as a training does."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_outputs(tree: Path, seed: int = 0) -> dict[str, Any]:
    """Write params.yaml and all of data/ that `publish` reads; return the record."""
    (tree / "params.yaml").write_text(PARAMS)
    data = tree / "data"
    (data / "models/pconv").mkdir(parents=True, exist_ok=True)
    sha256 = write_model(data / "models/pconv", seed)
    (data / "models/pconv/weights.safetensors").write_bytes(b"weights %d" % seed)
    for number, method in enumerate(("mean", "biharmonic", "pconv")):
        folder = data / "evaluation" / method
        folder.mkdir(parents=True, exist_ok=True)
        summary = {"hole_psnr": 14.0 + 4 * number, "ssim": 0.7 + number / 10, "hole_psnr_10": 15.0 + number}
        (folder / "summary.json").write_text(json.dumps(summary))
        (folder / "by_ratio.csv").write_text("holes,hole_psnr\n0-10 %,15\n")
    (data / "prepared").mkdir(exist_ok=True)
    photos = pd.DataFrame({"split": ["train", "val", "test"], "photo": ["a" * 64, "b" * 64, "c" * 64]})
    photos["perceptual_hash"] = [digit * 32 for digit in "abc"]
    photos.to_parquet(data / "prepared/manifest.parquet", index=False)
    (data / "report").mkdir(exist_ok=True)
    (data / "report/index.html").write_text(f"<h1>Report {seed}</h1>")
    of_method = data / "report/methods/pconv"
    of_method.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 24)).save(of_method / "photographs.jpg")
    return write_record(data / "training/pconv", sha256=sha256)


def publish_outputs(tree: Path, seed: int) -> None:
    """Write the outputs of a training anew, and publish them: the first is the champion."""
    from stages.publish.__main__ import publish
    from stages.publish.pipeline_outputs import PublishParams, hold

    shutil.rmtree(tree / "data", ignore_errors=True)
    write_outputs(tree, seed)
    params = PublishParams(experiment="photographs", model_name="inpaint", strict=True)
    publish(hold(tree / "data", ["pconv"], ["mean", "pconv"], params), registering=True)


@cache
def _empty_database() -> bytes:
    """MLflow's tables; to make them takes MLflow seconds."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        with store.reached():
            store.connect()
        return Path(folder, "mlflow.db").read_bytes()


def write_database(tree: Path) -> None:
    """Put MLflow's database, without a run in it, where the project keeps it."""
    (tree / "mlflow.db").write_bytes(_empty_database())


def register_versions(name: str, tree: Path, digits: str) -> None:
    """Register versions without files, one a digit, which its weights' hash is made of."""
    with store.reached():
        client = store.connect()
        client.create_registered_model(name)
        for digit in digits:
            client.create_model_version(name, source=tree.as_uri(), tags={"model_sha256": digit * 64})


class Seen:
    """What a person sees in MLflow at the store that is set now."""

    def __init__(self) -> None:
        with store.reached():
            self.client = store.connect()

    def runs(self) -> list[Any]:
        """All runs that are not deleted, the oldest first."""
        with store.reached():
            experiments = [experiment.experiment_id for experiment in self.client.search_experiments()]
            return list(self.client.search_runs(experiments, order_by=["attributes.start_time ASC"]))

    def run(self) -> Any:
        """The one run of a training."""
        (run,) = (run for run in self.runs() if store.RECORD in run.data.tags)
        return run

    def curve(self, run: Any, name: str) -> list[tuple[int, int, float]]:
        """Every value that was logged under a name: step, milliseconds since the training's start, value."""
        with store.reached():
            history = self.client.get_metric_history(run.info.run_id, name)
        return sorted((metric.step, metric.timestamp - STARTED_MS, metric.value) for metric in history)

    def artifacts(self, run: Any, folder: str = "") -> list[str]:
        """The names of what lies in an artifact folder."""
        with store.reached():
            return sorted(Path(artifact.path).name for artifact in self.client.list_artifacts(run.info.run_id, folder))

    def versions(self, name: str) -> list[Any]:
        """All versions of a registered model, the oldest first, whole."""
        with store.reached():
            found = self.client.search_model_versions(f"name = '{name}'")
            numbers = sorted(int(version.version) for version in found)
            return [self.client.get_model_version(name, str(number)) for number in numbers]


class Server:
    """A real `mlflow server` over a database, on a free port of this machine, started as docs/tracking.md says.

    with Server(tmp_path) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)

    Args:
        folder: where it keeps artifacts, its log, and the database if none is given.
        database: a URI as SQLAlchemy takes it; by default that of a file.
        words: further options of `mlflow server`.
        scheme: http or https.
        given: what its environment says beside this.
    """

    def __init__(
        self,
        folder: Path,
        database: str = "",
        words: Sequence[str] = (),
        scheme: str = "http",
        given: Mapping[str, str] | None = None,
    ) -> None:
        self._given = given or {}
        self._folder, self._database, self._words = folder, database or f"sqlite:///{folder}/server.db", words
        self._is_file = not database
        self.port = free_port()
        self.uri = f"{scheme}://127.0.0.1:{self.port}"

    def __enter__(self) -> "Server":
        if self._is_file and not (self._folder / "server.db").exists():
            (self._folder / "server.db").write_bytes(_empty_database())
        words = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1" if self._is_file else "2"]
        words += ["--allowed-hosts", f"127.0.0.1:{self.port}", "--backend-store-uri", self._database]
        words += ["--artifacts-destination", str(self._folder / "served"), *self._words]
        given = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        given |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        given |= {"MLFLOW_FLASK_SERVER_SECRET_KEY": "of a test", "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD}
        given |= self._given
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *words],
                env=given,
                cwd=self._folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            wait_for(self._listens, 120)
        except AssertionError:
            self.__exit__()
            raise
        return self

    def _listens(self) -> bool:
        assert self._process.poll() is None, (self._folder / "server.log").read_text()[-2000:]
        if self.uri.startswith("http:"):
            return answers(f"{self.uri}/health")
        with socket.socket() as asking:
            return asking.connect_ex(("127.0.0.1", self.port)) == 0

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Listener(BaseHTTPRequestHandler):
    """Keeps what it is told: path, JSON, headers; answers 403 where "refused" is in the path."""

    heard: ClassVar[list[tuple[str, Any, Message]]] = []

    def do_POST(self) -> None:
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.heard.append((self.path, said, self.headers))
        self.send_response(403 if "refused" in self.path else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def answers(url: str) -> bool:
    """Say whether a page is there."""
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except OSError:
        return False


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    """Wait until something is so; fail when it takes too long."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"waited {seconds} s in vain"
        time.sleep(0.1)
