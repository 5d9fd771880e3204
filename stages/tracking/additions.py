"""Adds test scores to the runs of trainings, and makes the run that compares all methods."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stages.runtime.processes import named
from stages.tracking import store

if TYPE_CHECKING:
    from mlflow import MlflowClient

_VIEW = "mlflow.sharedViewState."  # prefix of the tags in which MLflow stores shared views
COMPARISON = "inpaint.comparison"  # tag of comparison runs: the hash of their content


@dataclass(frozen=True)
class Addition:
    """Content that is logged to a run after its training.

    Attributes:
        scores: metrics by name.
        files: copied into `folder`.
        at_top: files that are copied beside that folder.
        texts: contents by artifact path.
        folder: artifact path.
        note: description of the run, Markdown.
    """

    scores: Mapping[str, float]
    files: Sequence[Path]
    at_top: Sequence[Path]
    texts: Mapping[str, str]
    folder: str
    note: str


def add_to_run(run_id: str, published: str, gather: "Callable[[], Addition]") -> bool:
    """Log content to a finished run, then set its `PUBLISHED` tag.

    Args:
        run_id: of the run.
        published: hash of the run's whole content; a run with this tag is left alone.
        gather: returns the content; called only if it is missing.

    Returns:
        whether anything was logged.
    """
    with store.reached(), store.locked("runs"):
        client = store.connect()
        if client.get_run(run_id).data.tags.get(store.PUBLISHED) == published:
            return False
        _add(client, run_id, gather())
        store.set_with_retry(lambda: client.set_tag(run_id, store.PUBLISHED, published))
        return True


def bring_comparison(experiment: str, published: str, ended_ms: int, addition: "Addition") -> bool:
    """Create the run that compares all methods, once for each content.

    Args:
        experiment: name of the experiment.
        published: hash of the content.
        ended_ms: end of the latest training compared, in milliseconds since 1970.
        addition: the content.

    Returns:
        whether the run was created or completed.
    """
    with store.reached(), store.locked("runs"):
        client = store.connect()
        experiment_id = store.experiment_id(client, experiment)
        if store.find_run(client, experiment_id, {store.PUBLISHED: published}) is not None:
            return False
        tags = {COMPARISON: published, "mlflow.source.name": "dvc repro report", "mlflow.source.type": "LOCAL"}
        tags[store.PROCESS] = named(os.getpid())
        run = store.find_run(client, experiment_id, {COMPARISON: published})
        run = run or client.create_run(experiment_id, start_time=ended_ms, tags=tags, run_name="comparison")
        _add(client, run.info.run_id, addition)
        client.set_terminated(run.info.run_id, status="FINISHED", end_time=ended_ms)
        store.set_with_retry(lambda: client.set_tag(run.info.run_id, store.PUBLISHED, published))
        return True


def keep_view(experiment: str, view: str) -> None:
    """Store a shared view of the table of runs, which opens with `viewStateShareKey=scores` in the URL."""
    with store.reached():
        client = store.connect()
        place = store.experiment_id(client, experiment)
        store.set_with_retry(lambda: client.set_experiment_tag(place, f"{_VIEW}scores", view))


def _add(client: "MlflowClient", run_id: str, addition: "Addition") -> None:
    store.log_scores(client, run_id, addition.scores)
    for path in addition.files:
        client.log_artifact(run_id, str(path), addition.folder)
    for path in addition.at_top:
        client.log_artifact(run_id, str(path))
    for name, text in addition.texts.items():
        client.log_text(run_id, text, name)
    store.set_with_retry(lambda: client.set_tag(run_id, "mlflow.note.content", addition.note))
