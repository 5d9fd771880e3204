"""Converts the record of a training to MLflow: name of the run, tags, params, data sets."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.tracking import store
from stages.tracking.record import Record

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Param

_DIGEST_LENGTH = 36  # MLflow's limit
_PARAM_LENGTH = 6000
_HOUSEKEEPING = {"checkpoint_every_s", "validate_every", "patience", "code"}  # not used to compare runs
# Most compared params. MLflow sorts params by name, so that all but `width` come before those named `training.*`.
_FIRST = {"batch_size", "learning_rate", "levels", "partial", "seed", "start_from", "steps", "tiles", "width"}


def name(record: Record) -> str:
    """Return a descriptive name of the run, e.g. "pconv · 1500 steps · 2e-3"."""
    rate = record.param("learning_rate")
    parts = [record.key]
    if record.steps:
        parts.append(f"{record.steps} steps")
    if rate is not None:
        parts.append(f"{rate:.0e}".replace("e-0", "e-"))
    return " · ".join(parts)


def tags(record: Record) -> dict[str, str]:
    """Return tags with the run's record, code, DVC stage and machine."""
    return {
        store.RECORD: record.id,
        "inpaint.key": record.key,
        "inpaint.fingerprint": record.fingerprint,
        "dvc.stage": record.stage,
        "dvc.experiment": record.experiment_name,
        "git.dirty": str(record.dirty).lower(),
        "mlflow.source.name": f"dvc repro {record.stage}",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": record.commit,
        **{f"machine.{fact}": _text(value) for fact, value in record.machine.items()},
    }


def params(record: Record) -> "list[Param]":
    """Return the params for comparing runs; the artifact `record.json` has all."""
    from mlflow.entities import Param

    return [
        Param(name if name in _FIRST else f"training.{name}", _text(value)[:_PARAM_LENGTH])
        for name, value in record.params.items()
        if name not in _HOUSEKEEPING
    ]


def data_sets(record: Record) -> "list[DatasetInput]":
    """Return the inputs of the training, with digests of their content."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    inputs = []
    for part, facts in record.inputs.items():
        source = json.dumps({"uri": part})
        profile = json.dumps({fact: value for fact, value in facts.items() if fact != "digest"})
        context = "validation" if Path(part).stem == "val" else "training"
        data_set = Dataset(part, _digest(str(facts["digest"])), "local", source, profile=profile)
        inputs.append(DatasetInput(data_set, [InputTag("mlflow.data.context", context)]))
    return inputs


def _digest(whole: str) -> str:
    if len(whole) <= _DIGEST_LENGTH:
        return whole
    return hashlib.sha256(whole.encode()).hexdigest()[:_DIGEST_LENGTH]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
