"""Reads the record of a training, a folder of plain files from which MLflow is updated.

    record.json                    settings, inputs, machine, result
    history.csv                    step, seconds, then losses, lr, tiles_per_s, data_wait, ...
    validation.csv                 step, seconds, then val_* scores
    system.csv                     seconds, then cpu_percent, memory_mib, gpu_percent, gpu_memory_mib
    pictures/step_000250.png       validation pictures by step

The tables are read while they grow; an incomplete last line is ignored.
"""

import csv
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from stages.runtime.errors import InputError

RECORD_FILE = "record.json"
NO_PARENT = "random weights"
_PICTURE = re.compile(r"step_(\d+)\.png")


class Record(BaseModel):
    """The content of `record.json`; times are milliseconds since 1970, UTC."""

    model_config = ConfigDict(frozen=True)

    id: str
    key: str
    stage: str
    experiment_name: str
    fingerprint: str
    status: Literal["running", "finished"]
    started_ms: int
    ended_ms: int | None
    params: dict[str, Any]
    inputs: dict[str, dict[str, Any]]
    commit: str
    dirty: bool
    machine: dict[str, Any]
    packages: dict[str, str]
    model_sha256: str
    summary: dict[str, Any]

    @property
    def finished(self) -> bool:
        """Whether the training is complete."""
        return self.status == "finished"

    @property
    def parent(self) -> str:
        """The file or the registered version of the start weights, or `NO_PARENT`."""
        start = self.param("start_from") or "none"
        return {"none": NO_PARENT, "base": str(self.param("base"))}.get(start, start)

    @property
    def kept_start(self) -> bool:
        """Whether no step improved on the start weights, so that these are the model."""
        return self.summary.get("best_step") == 0 and self.param("start_from") not in (None, "none")

    def param(self, name: str) -> Any:
        """Return the setting `name` of any section, or None."""
        return next((value for key, value in self.params.items() if key.split(".")[-1] == name), None)

    @property
    def steps(self) -> int:
        """Number of steps of all phases, from the settings."""
        return sum(self.param(phase) or 0 for phase in ("steps", "finetune_steps"))


@dataclass(frozen=True, order=True)
class Point:
    """One value of a metric: its name in MLflow, the step, the time in milliseconds since 1970, the value."""

    name: str
    step: int
    timestamp_ms: int
    value: float


def read_record(folder: str | Path) -> Record:
    """Read `record.json` of a training's folder.

    Raises:
        InputError: it is missing or damaged.
    """
    path = Path(folder) / RECORD_FILE
    try:
        return Record.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path} is missing; run dvc repro, or dvc pull where a remote holds it") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"{path} is no record of a training ({where}: {first['msg']}); train again") from None


def read_points(folder: str | Path, started_ms: int) -> list[Point]:
    """Read all values of the three tables, in chronological order within a table.

    A step that was repeated after an interruption counts once, with its last values.

    Args:
        folder: of the record.
        started_ms: start of the training, to which `seconds` are relative.

    Returns:
        points named `train/...`, `val/...` and `system/...`; system ones are numbered by their line.
    """
    folder = Path(folder)
    return [  # scores first, since MLflow compares runs by the first metric
        *_points(folder / "validation.csv", "val/", started_ms),
        *_points(folder / "history.csv", "train/", started_ms),
        *_points(folder / "system.csv", "system/", started_ms),
    ]


def _points(path: Path, prefix: str, started_ms: int) -> list[Point]:
    points: dict[tuple[str, int], Point] = {}
    for number, row in enumerate(_complete_rows(path)):
        seconds, step = float(row.pop("seconds")), int(row.pop("step", number))
        for column, cell in row.items():
            if cell:
                name = prefix + column.removeprefix(prefix.replace("/", "_"))
                points[name, step] = Point(name, step, started_ms + round(1000 * seconds), float(cell))
    return list(points.values())


def _complete_rows(path: Path) -> list[dict[str, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()))


def pictures(folder: str | Path) -> dict[int, Path]:
    """Return the validation pictures in the order of their steps."""
    found = ((_PICTURE.fullmatch(path.name), path) for path in Path(folder, "pictures").glob("step_*.png"))
    return dict(sorted((int(match[1]), path) for match, path in found if match))


def numbers(content: dict[str, Any]) -> dict[str, float]:
    """Return the finite numbers of a flat dict."""
    return {
        name: float(value)
        for name, value in content.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def read_scores(path: str | Path) -> dict[str, float]:
    """Read the finite numbers of an evaluation's `summary.json`.

    Raises:
        InputError: it is missing or no JSON object.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        return numbers(content)
    except FileNotFoundError:
        raise InputError(f"{path} is missing; run dvc repro, or dvc pull where a remote holds it") from None
    except (ValueError, AttributeError):
        raise InputError(f"{path} should hold a JSON object of scores; run dvc repro") from None
