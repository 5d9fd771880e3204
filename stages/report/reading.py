"""What evaluation and training left, read and checked."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from stages.running.errors import InputError

_PAIR = ["pair", "sha256"]


@dataclass(frozen=True)
class Evaluation:
    """One method's scores.

    Attributes:
        key: the method's name in params.yaml.
        trained: whether a model fills the holes, or a classical method.
        scores: one row a pair, the same pairs in the same order for every method.
        by_ratio: means by bucket of the hole ratio.
        pictures: file of the composite by row of `scores`, for the pairs to look at.
        worst: likewise, for the pairs with the lowest hole PSNR, the worst first.
    """

    key: str
    trained: bool
    scores: pd.DataFrame
    by_ratio: pd.DataFrame
    pictures: dict[int, Path]
    worst: dict[int, Path] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The method's name for people."""
        return self.key.replace("_", " ")


@dataclass(frozen=True)
class Training:
    """How one model was trained.

    Attributes:
        key: the model's name in params.yaml.
        record: commit, machine, packages, params, inputs, times, summary.
        history: losses by step.
        validation: scores by step.
    """

    key: str
    record: dict[str, Any]
    history: pd.DataFrame
    validation: pd.DataFrame

    @property
    def label(self) -> str:
        """The model's name for people."""
        return self.key.replace("_", " ")


def read_evaluations(folder: Path, methods: Mapping[str, str]) -> list[Evaluation]:
    """Read the evaluations of all methods.

    Args:
        folder: holds one folder a method.
        methods: what fills the holes by method, as params.yaml has it; the order of the list. Answers that
            `python -m stages.evaluate --method-folder` scored come after them.

    Raises:
        InputError: an evaluation is missing, or was made on other pairs than the first.
    """
    guests = {path.parent.name: str(path.parent) for path in sorted(folder.glob("*/method.json"))}
    every = {**methods, **{key: by for key, by in guests.items() if key not in methods}}
    evaluations = [_read_evaluation(folder / key, key, filled_by) for key, filled_by in every.items()]
    first = evaluations[0]
    for other in evaluations[1:]:
        if not other.scores[_PAIR].equals(first.scores[_PAIR]) or other.pictures.keys() != first.pictures.keys():
            raise InputError(f"{first.key} and {other.key} were evaluated on different pairs; run dvc repro evaluate")
    return evaluations


def _read_evaluation(folder: Path, key: str, filled_by: str) -> Evaluation:
    _require(folder, ("scores.parquet", "by_ratio.csv"), f"evaluate@{key}")
    scores, by_ratio = pd.read_parquet(folder / "scores.parquet"), pd.read_csv(folder / "by_ratio.csv")
    pictures, worst = (
        {int(path.stem): path for path in sorted((folder / name).glob("*.png"))} for name in ("pictures", "worst")
    )
    worst = dict(sorted(worst.items(), key=lambda item: (scores["hole_psnr"].iloc[item[0]], item[0])))
    return Evaluation(key, filled_by.endswith((".onnx", ".pt2")), scores, by_ratio, pictures, worst)


def read_trainings(folder: Path, keys: list[str]) -> list[Training]:
    """Read the records of those methods that were trained here; a model from elsewhere has none.

    Args:
        folder: holds one folder a training.
        keys: methods, in the order of the list.

    Raises:
        InputError: a record is there without its history.
    """
    return [_read_training(folder / key, key) for key in keys if (folder / key / "record.json").exists()]


def _read_training(folder: Path, key: str) -> Training:
    _require(folder, ("history.csv", "validation.csv"), f"train@{key}")
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    return Training(key, record, pd.read_csv(folder / "history.csv"), pd.read_csv(folder / "validation.csv"))


def _require(folder: Path, names: tuple[str, ...], stage: str) -> None:
    for name in names:
        if not (folder / name).exists():
            raise InputError(f"{folder / name} is missing; run dvc repro {stage}, or dvc checkout where it was run")
