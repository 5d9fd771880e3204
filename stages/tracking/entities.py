"""A training's record in MLflow's words: the run's name, tags, params and data sets."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.tracking import store
from stages.tracking.record import Record

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Param

_DIGEST_LENGTH = 36  # the longest that MLflow keeps
_PARAM_LENGTH = 6000
_HOUSEKEEPING = {"checkpoint_every_s", "validate_every", "patience", "code"}  # nobody compares runs by these
# What people compare first: by name, as MLflow's pages sort params, they come before all `training.` ones but `width`.
_FIRST = {"batch_size", "learning_rate", "levels", "partial", "seed", "start_from", "steps", "tiles", "width"}


def name(record: Record) -> str:
    """Return a name that tells runs apart at a glance, e.g. "pconv · 1500 steps · 2e-3"."""
    rate = record.param("learning_rate")
    parts = [record.key]
    if record.steps:
        parts.append(f"{record.steps} steps")
    if rate is not None:
        parts.append(f"{rate:.0e}".replace("e-0", "e-"))
    return " · ".join(parts)


def tags(record: Record) -> dict[str, str]:
    """Return where the run comes from: record, code, DVC stage, machine."""
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
    """Return the settings that runs are compared by; `record.json` among the artifacts has every one."""
    from mlflow.entities import Param

    return [
        Param(name if name in _FIRST else f"training.{name}", _text(value)[:_PARAM_LENGTH])
        for name, value in record.params.items()
        if name not in _HOUSEKEEPING
    ]


def data_sets(record: Record) -> "list[DatasetInput]":
    """Return what the training read, each with a digest of its content."""
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
