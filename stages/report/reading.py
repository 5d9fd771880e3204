"""Reads and checks the results of evaluation and training."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from stages.comparing.scores import by_default
from stages.inpainting.inpainter import CLASSICAL
from stages.runtime.errors import InputError
from stages.tracking.record import Record
from stages.training.settings import START, WEIGHTS

_PAIR = ["pair", "sha256"]
_QUESTION = ["id", "sha256"]


def label_of(key: str) -> str:
    """Return a method's name for people."""
    return key.replace("_", " ")


@dataclass(frozen=True)
class Evaluation:
    """One method's results.

    Attributes:
        key: the method's name in params.yaml.
        trained: whether the method is a trained model.
        scores: one row per pair; the same pairs in the same order for every method.
        by_ratio: means by bucket of the hole ratio.
        pictures: by row of `scores`, the file of the composite, for the pairs in the gallery.
        worst: likewise for the pairs with the lowest hole PSNR, the worst first.
        photographs: one row per question of the photograph test and variant; may be empty.
        composites: files of answers to photographs.
        again: argument of `inpainter.load` for this method; "" for answers from a folder.
    """

    key: str
    trained: bool
    scores: pd.DataFrame
    by_ratio: pd.DataFrame
    pictures: dict[int, Path]
    worst: dict[int, Path] = field(default_factory=dict)
    photographs: pd.DataFrame = field(default_factory=lambda: pd.DataFrame({"id": [], "sha256": [], "detail": []}))
    composites: list[Path] = field(default_factory=list)
    again: str = ""

    @property
    def label(self) -> str:
        """The method's name for people."""
        return label_of(self.key)


@dataclass(frozen=True)
class Training:
    """How one model was trained.

    Attributes:
        key: the model's name in params.yaml.
        record: content of record.json: commit, machine, packages, params, inputs, times, summary.
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
        return label_of(self.key)

    @property
    def kept(self) -> str:
        """Digest of the initial weights if training did not improve on them and kept them; else ""."""
        record = Record.model_construct(**self.record)  # old ones may lack what is not asked for here
        start = record.inputs.get(str(START / self.key / WEIGHTS), {})
        return str(start.get("digest", "")) if record.kept_start else ""


def read_evaluations(folder: Path, methods: Mapping[str, str]) -> list[Evaluation]:
    """Read the evaluations of all methods.

    Args:
        folder: with one folder per method.
        methods: `filled_by` of params.yaml by key, in the order wanted. Answers scored by
            `python -m stages.evaluate --method-folder` come after them.

    Raises:
        InputError: an evaluation is missing, was made on other pairs than the first, or no method was scored.
    """
    guests = {path.parent.name: str(path.parent) for path in sorted(folder.glob("*/method.json"))}
    every = {**methods, **{key: by for key, by in guests.items() if key not in methods}}
    absent = read_absent(folder, methods)
    evaluations = [
        _read_evaluation(folder / key, key, filled_by) for key, filled_by in every.items() if key not in absent
    ]
    if not evaluations:
        raise InputError(f"no method was scored: {'; '.join(absent.values())}")
    first = evaluations[0]
    for other in evaluations[1:]:
        if not other.scores[_PAIR].equals(first.scores[_PAIR]) or other.pictures.keys() != first.pictures.keys():
            raise InputError(f"{first.key} and {other.key} were evaluated on different pairs; run dvc repro evaluate")
    _check_photographs([one for one in evaluations if len(one.photographs)])
    return evaluations


def read_absent(folder: Path, methods: Mapping[str, str]) -> dict[str, str]:
    """Return by key why methods were not scored, such as a missing package.

    Args:
        folder: as for `read_evaluations`.
        methods: as for `read_evaluations`.
    """
    found = {key: folder / key / "summary.json" for key in methods if (folder / key / "summary.json").exists()}
    said = {key: json.loads(path.read_text(encoding="utf-8")).get("missing", "") for key, path in found.items()}
    return {key: str(words) for key, words in said.items() if words}


def _check_photographs(evaluations: list[Evaluation]) -> None:
    asked = [by_default(one.photographs)[_QUESTION] for one in evaluations]
    for one, questions in zip(evaluations, asked, strict=True):
        if not questions.equals(asked[0]):
            raise InputError(
                f"{evaluations[0].key} and {one.key} were evaluated on different photographs; run dvc repro evaluate"
            )


def _read_evaluation(folder: Path, key: str, filled_by: str) -> Evaluation:
    _require(folder, ("scores.parquet", "by_ratio.csv"), f"evaluate@{key}")
    scores, by_ratio = pd.read_parquet(folder / "scores.parquet"), pd.read_csv(folder / "by_ratio.csv")
    pictures, worst = (
        {int(path.stem): path for path in sorted((folder / name).glob("*.png"))} for name in ("pictures", "worst")
    )
    worst = dict(sorted(worst.items(), key=lambda item: (scores["hole_psnr"].iloc[item[0]], item[0])))
    answered = {"photographs": pd.read_parquet(file)} if (file := folder / "photographs.parquet").exists() else {}
    composites = sorted((folder / "photographs").glob("*.png"))
    is_trained = filled_by.endswith((".onnx", ".pt2"))
    again = filled_by if is_trained else key if key in CLASSICAL else ""
    return Evaluation(
        key, is_trained, scores, by_ratio, pictures, worst, composites=composites, again=again, **answered
    )


def read_trainings(folder: Path, keys: list[str]) -> list[Training]:
    """Read the trainings of those methods that have one; models from elsewhere have none.

    Args:
        folder: with one folder per training.
        keys: methods, in the order wanted.

    Raises:
        InputError: a record has no history beside it.
    """
    return [_read_training(folder / key, key) for key in keys if (folder / key / "record.json").exists()]


def twins(trainings: Iterable[Training]) -> dict[str, str]:
    """Map each model to an earlier one with the same weights, where both kept the same initial weights."""
    first: dict[str, str] = {}
    return {
        one.key: first[one.kept] for one in trainings if one.kept and first.setdefault(one.kept, one.key) != one.key
    }


def said_of_kept(trainings: Iterable[Training]) -> str:
    """Write which trainings kept their initial weights; "" if none did."""
    kept = [one for one in trainings if one.kept]
    if not kept:
        return ""
    steps = " or ".join(f"{number:,}" for number in sorted({one.record["summary"]["steps"] for one in kept}))
    labels = listed([one.label for one in kept])
    return f"{labels} kept the weights they started from: {steps} steps of fine-tuning gained nothing."


def listed(names: Sequence[str]) -> str:
    """Join names: "a, b and c"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _read_training(folder: Path, key: str) -> Training:
    _require(folder, ("history.csv", "validation.csv"), f"train@{key}")
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    return Training(key, record, pd.read_csv(folder / "history.csv"), pd.read_csv(folder / "validation.csv"))


def _require(folder: Path, names: tuple[str, ...], stage: str) -> None:
    for name in names:
        if not (folder / name).exists():
            raise InputError(f"{folder / name} is missing; run dvc repro {stage}, or dvc checkout where it was run")
