"""What comes after the trainings: test scores into a training's run, and the run that compares all methods."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stages.runtime.processes import named
from stages.tracking import store

if TYPE_CHECKING:
    from mlflow import MlflowClient

_VIEW = "mlflow.sharedViewState."  # where MLflow's page keeps the views that its Share button makes
COMPARISON = "inpaint.comparison"  # a tag of such runs; its value is the hash of what they show


@dataclass(frozen=True)
class Addition:
    """What is logged to a run after its training.

    Attributes:
        scores: metrics by their name in MLflow.
        files: copied into `folder`.
        texts: path among the run's artifacts to content.
        folder: among the run's artifacts.
        note: the run's description, Markdown.
    """

    scores: Mapping[str, float]
    files: Sequence[Path]
    texts: Mapping[str, str]
    folder: str
    note: str


def add_to_run(run_id: str, published: str, addition: "Addition") -> bool:
    """Give a finished run what came after it, then its `PUBLISHED` tag.

    Args:
        run_id: the run.
        published: hash of all that the run shows; nothing is sent to a run that already has it.
        addition: what to log.

    Returns:
        whether anything was sent.

    Raises:
        TrackingError: MLflow cannot be reached, or refuses. The next call completes what this one began.
    """
    with store.reached(), store.locked("runs"):
        client = store.connect()
        if client.get_run(run_id).data.tags.get(store.PUBLISHED) == published:
            return False
        _add(client, run_id, addition)
        store.set_twice_if_need_be(lambda: client.set_tag(run_id, store.PUBLISHED, published))
        return True


def bring_comparison(experiment: str, published: str, ended_ms: int, addition: "Addition") -> bool:
    """Make the run that compares all methods, once for each content.

    Args:
        experiment: the experiment's name.
        published: hash of what the run shows.
        ended_ms: when the newest of what it compares was made.
        addition: what to log.

    Returns:
        whether it was made or completed.

    Raises:
        TrackingError: MLflow cannot be reached, or refuses. The next call completes what this one began.
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
        store.set_twice_if_need_be(lambda: client.set_tag(run.info.run_id, store.PUBLISHED, published))
        return True


def keep_view(experiment: str, view: str) -> None:
    """Keep a view of the table of runs, which opens with `viewStateShareKey=scores` in the page's address.

    Raises:
        TrackingError: MLflow cannot be reached, or refuses.
    """
    with store.reached():
        client = store.connect()
        place = store.experiment_id(client, experiment)
        store.set_twice_if_need_be(lambda: client.set_experiment_tag(place, f"{_VIEW}scores", view))


def _add(client: "MlflowClient", run_id: str, addition: "Addition") -> None:
    store.log_scores(client, run_id, addition.scores)
    for path in addition.files:
        client.log_artifact(run_id, str(path), addition.folder)
    for name, text in addition.texts.items():
        client.log_text(run_id, text, name)
    store.set_twice_if_need_be(lambda: client.set_tag(run_id, "mlflow.note.content", addition.note))
