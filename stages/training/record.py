"""The record of a training, in plain files.

    record.json       settings, inputs, code, machine, times and scores
    history.csv       a line every few steps: seconds, loss terms, learning rate, speed, share of time waiting for data
    validation.csv    a line for each validation
    system.csv        processor, memory, GPU
    pictures/         target | image | composite of validation pictures, by step

Training never talks to MLflow, which is updated from these files.
"""

import csv
import importlib.metadata
import json
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import torch

from stages.runtime import machine, project
from stages.runtime.files import write_json, write_text

_FILE = "record.json"
_PACKAGES = (
    "torch",
    "torchvision",
    "lightning-fabric",
    "numpy",
    "albumentations",
    "dvc",
    "mlflow",
    "pillow",
    "scikit-image",
)


class RecordWriter:
    """Writes the record of a training; after an interruption it continues the same record.

    Args:
        folder: created if missing.
        facts: key, stage, fingerprint, params and inputs of the training.
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any]) -> None:
        self.folder = folder
        (folder / "pictures").mkdir(parents=True, exist_ok=True)
        self._path = folder / _FILE
        self.content: dict[str, Any] = self.content_of(folder) or {}
        if not self.content:
            self.content = {"id": uuid.uuid4().hex, **facts, **_surroundings(), "started_ms": _now_ms()}
        self.note(status="running", ended_ms=None, model_sha256="", summary={})
        psutil.cpu_percent()  # the first call starts the measurement

    @staticmethod
    def content_of(folder: Path) -> dict[str, Any] | None:
        """Return the content of `record.json` in a folder, None if it is missing or damaged."""
        try:
            content: dict[str, Any] = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return content

    @property
    def seconds(self) -> float:
        """Seconds since the training first started, including interruptions."""
        started: int = self.content["started_ms"]
        return (_now_ms() - started) / 1000

    def add(self, table: str, row: Mapping[str, Any]) -> None:
        """Append a line to `history`, `validation` or `system`; the first line's keys are the columns."""
        path = self.folder / f"{table}.csv"
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)

    def add_system(self) -> None:
        """Append the load of the machine to `system`."""
        cuda = torch.cuda.is_available()
        self.add(
            "system",
            {
                "seconds": round(self.seconds, 1),
                "cpu_percent": psutil.cpu_percent(),
                "memory_mib": round(psutil.Process().memory_info().rss / 2**20),
                "gpu_percent": _gpu_percent() if cuda else "",
                "gpu_memory_mib": round(torch.cuda.memory_allocated() / 2**20) if cuda else "",
            },
        )

    def note(self, **facts: Any) -> None:
        """Add facts to `record.json`, or change them."""
        self.content |= facts
        write_json(self._path, self.content)

    def rewind(self, step: int) -> None:
        """Delete lines that follow a step, which will be repeated, and incomplete lines that a full disk left."""
        for table in ("history", "validation", "system"):
            path = self.folder / f"{table}.csv"
            if not path.exists():
                continue
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            header, *rows = [line for line in lines if line.endswith("\n")] or [""]
            if header.startswith("step,"):
                rows = [row for row in rows if int(row.split(",", 1)[0]) <= step]
            if header:
                write_text(path, header + "".join(rows))
            else:
                path.unlink()

    def finish(self, model_sha256: str, summary: Mapping[str, Any]) -> None:
        """Mark the training as finished, with its model and scores."""
        self.note(status="finished", ended_ms=_now_ms(), model_sha256=model_sha256, summary=dict(summary))


def _gpu_percent() -> int | str:
    """Return the GPU's utilization, "" if it is unknown, which must not end a training."""
    try:
        return torch.cuda.utilization()
    except Exception:
        return ""


def _surroundings() -> dict[str, Any]:
    commit, dirty = project.commit()
    return {
        "experiment_name": project.experiment(),
        "commit": commit,
        "dirty": dirty,
        "machine": machine.describe(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
