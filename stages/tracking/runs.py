"""Sends the record of a training to an MLflow run, which is created or completed; nothing is sent twice.

    run_id = bring_up_to_date("data/training/pconv", experiment="image-reconstruction")

Values are identified by metric and step, pictures by step. FINISHED, set last, marks a complete run.

A training that is repeated because its files were lost, with the same inputs and weights, gets no second run: a tag of
the first one notes when and where it was repeated.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stages.runtime.processes import named
from stages.tracking import entities, store
from stages.tracking.record import RECORD_FILE, Record, numbers, pictures, read_points, read_record

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

# Tag of finished runs: SHA-256 of the model.
WEIGHTS = "inpaint.model_sha256"
# Prefix of tags, followed by the record's id of a repeated training.
AGAIN = "inpaint.again."

_PARAMS_PER_BATCH = 100
_PICTURES_KEY = "validation"


def bring_up_to_date(record_dir: str | Path, experiment: str) -> str:
    """Send the record of a training to MLflow: find or create its run, send what is missing, set FINISHED last.

    Args:
        record_dir: folder of the record, which may still grow.
        experiment: name of the experiment, created if missing.

    Returns:
        the id of the run.

    Raises:
        InputError: the record is missing or damaged.
    """
    with store.reached():
        return Mirror(record_dir, experiment).update()


class Mirror:
    """Mirrors one training to MLflow; it caches what the run has, so that updates need few requests.

    Args:
        record_dir: folder of the record.
        experiment: name of the experiment.
    """

    def __init__(self, record_dir: str | Path, experiment: str) -> None:
        self._folder = Path(record_dir)
        self._client = store.connect()
        self._experiment_id = store.experiment_id(self._client, experiment)
        self._sent: set[tuple[str, int]] | None = None

    def update(self, process: str = "") -> str:
        """Send what is missing.

        Args:
            process: name of the running training from `processes.named`, "" for none.

        Returns:
            the id of the run.
        """
        record = read_record(self._folder)
        with store.locked("runs"):
            run = self._find(record)
            if record.finished and (earlier := self._same(record, run)):
                return earlier
            run = run or self._create(record, process or named(os.getpid()))
            if run.info.status == "FINISHED":
                return str(run.info.run_id)
            self._complete_params(run, record)
            self._send_points(run, record)
            self._send_pictures(run)
            if record.finished:
                self._finish(run, record)
            elif process:
                self._mark_running(run, process)
        return str(run.info.run_id)

    def mark_killed(self) -> None:
        """Set the run to KILLED; a resumed training continues it."""
        run = self._find(read_record(self._folder))
        if run is not None and run.info.status == "RUNNING":
            self._client.set_terminated(run.info.run_id, status="KILLED")

    def _find(self, record: Record) -> "Run | None":
        return store.find_run(self._client, self._experiment_id, {store.RECORD: record.id})

    def _same(self, record: Record, run: "Run | None") -> str:
        """Return the finished run of a training with the same inputs and weights, "" if there is none.

        The record's own, unfinished run is then deleted.
        """
        if run is not None and run.info.status == "FINISHED":
            return ""
        same = {"inpaint.fingerprint": record.fingerprint, WEIGHTS: record.model_sha256, "inpaint.key": record.key}
        earlier = store.find_run(self._client, self._experiment_id, same, finished=True)
        if earlier is None:
            return ""
        if f"{AGAIN}{record.id}" not in earlier.data.tags:
            when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(record.started_ms / 1000))
            self._client.set_tag(earlier.info.run_id, f"{AGAIN}{record.id}", f"{when}, {record.machine.get('host')}")
        if run is not None:
            self._client.delete_run(run.info.run_id)
        return str(earlier.info.run_id)

    def _create(self, record: Record, process: str) -> "Run":
        return self._client.create_run(
            self._experiment_id,
            start_time=record.started_ms,
            tags=entities.tags(record) | {store.PROCESS: process},
            run_name=entities.name(record),
        )

    def _complete_params(self, run: "Run", record: Record) -> None:
        missing = [param for param in entities.params(record) if param.key not in run.data.params]
        for batch in store.batches(missing, _PARAMS_PER_BATCH):
            self._client.log_batch(run.info.run_id, params=batch)
        there = run.inputs.dataset_inputs if run.inputs else []
        known = {(given.dataset.name, given.dataset.digest) for given in there}
        lacking = [g for g in entities.data_sets(record) if (g.dataset.name, g.dataset.digest) not in known]
        if lacking:
            store.set_with_retry(lambda: self._client.log_inputs(run.info.run_id, lacking))

    def _send_points(self, run: "Run", record: Record) -> None:
        if self._sent is None:
            self._sent = set(_stored(self._client, run))
        points = read_points(self._folder, record.started_ms)
        fresh = [point for point in points if (point.name, point.step) not in self._sent]
        store.log_points(self._client, run.info.run_id, fresh)
        self._sent.update((point.name, point.step) for point in fresh)

    def _send_pictures(self, run: "Run") -> None:
        shown = pictures(self._folder)
        there = _steps_pictured(self._client, run.info.run_id) if shown else set()
        for step in sorted(shown.keys() - there):
            _send_picture(self._client, run.info.run_id, shown[step], step)

    def _finish(self, run: "Run", record: Record) -> None:
        run_id = run.info.run_id
        for name, value in numbers(record.summary).items():  # as tags, since MLflow would chart each metric
            self._client.set_tag(run_id, f"summary.{name}", f"{value:g}")
        self._client.log_artifact(run_id, str(self._folder / RECORD_FILE))
        packages = "".join(f"{name}=={version}\n" for name, version in sorted(record.packages.items()))
        self._client.log_text(run_id, packages, "packages.txt")
        self._client.set_tag(run_id, WEIGHTS, record.model_sha256)
        self._client.set_terminated(run_id, status="FINISHED", end_time=record.ended_ms)

    def _mark_running(self, run: "Run", process: str) -> None:
        if run.data.tags.get(store.PROCESS) != process:
            self._client.set_tag(run.info.run_id, store.PROCESS, process)
        if run.info.status != "RUNNING":
            self._client.update_run(run.info.run_id, status="RUNNING")


def _send_picture(client: "MlflowClient", run_id: str, path: Path, step: int) -> None:
    from PIL import Image

    taken_ms = round(path.stat().st_mtime * 1000)
    with Image.open(path) as picture:  # logged by step: MLflow's page then shows the pictures on a slider
        client.log_image(run_id, picture.convert("RGB"), key=_PICTURES_KEY, step=step, timestamp=taken_ms)


def _stored(client: "MlflowClient", run: "Run") -> Iterator[tuple[str, int]]:
    for name in run.data.metrics:
        for metric in client.get_metric_history(run.info.run_id, name):
            yield name, metric.step


def _steps_pictured(client: "MlflowClient", run_id: str) -> set[int]:
    names = (Path(artifact.path).name for artifact in client.list_artifacts(run_id, "images"))
    # A picture is two files; the compressed one comes second.
    return {int(name.split("+")[2]) for name in names if name.endswith("+compressed.webp")}
