"""Mirrors a running training to MLflow, in a separate process that may fail without harm.

Training starts `python -m stages.tracking RECORD_DIR`, never waits for it, and ends it by SIGTERM. Runs that a crash of
the machine leaves as RUNNING are set to KILLED by `settle_abandoned`.
"""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from stages.runtime import processes
from stages.runtime.errors import InputError, TrackingError
from stages.tracking import store
from stages.tracking.record import read_record
from stages.tracking.runs import Mirror

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_EVERY_S = 5.0
_AFTER_FAILURE_S = 30.0
_LOOK_S = 0.25
_CURVE = "train/lr"  # present in all trainings
_SILENT_MS = 86_400_000  # a day, after which a training on another machine counts as dead


def follow(record_dir: Path, experiment: str, parent: int) -> None:
    """Send a growing record to MLflow every few seconds until its training ends, even while MLflow is unreachable.

    The training has ended when its process is dead, its record is finished, or its folder is gone. Its run is then
    marked as finished or killed, if MLflow can be reached; also if a signal ends this process.

    Args:
        record_dir: folder of the record.
        experiment: name of the experiment.
        parent: process id of the training, the parent of this process.
    """
    mirror: Mirror | None = None
    try:
        ended = False
        while not ended:
            pause_s = _EVERY_S
            try:
                with store.reached():
                    mirror = mirror or Mirror(record_dir, experiment)
                    mirror.update(processes.named(parent))
            except TrackingError:
                mirror, pause_s = None, _AFTER_FAILURE_S
            except InputError:
                pass  # not written yet, or just moved
            ended = _wait_for_end(record_dir, pause_s, parent)
    finally:
        if mirror is not None:
            _settle(mirror, record_dir)


def _wait_for_end(record_dir: Path, pause_s: float, parent: int) -> bool:
    until = time.monotonic() + pause_s
    while time.monotonic() < until:
        if os.getppid() != parent or not record_dir.exists() or _is_finished(record_dir):
            return True
        time.sleep(_LOOK_S)
    return False


def _is_finished(record_dir: Path) -> bool:
    with suppress(InputError):
        return read_record(record_dir).finished
    return False


def _settle(mirror: Mirror, record_dir: Path) -> None:
    """Mark the run as finished or killed; if that fails, publish does it."""
    with suppress(TrackingError, InputError), store.reached():
        if _is_finished(record_dir):
            mirror.update()
        elif record_dir.exists():
            mirror.mark_killed()


def settle_abandoned(experiment: str) -> int:
    """Set runs to KILLED whose training died: on this machine, or on another one that has been silent for a day.

    Returns:
        the number of these runs.
    """
    with store.reached():
        client = store.connect()
        abandoned = _abandoned(client, experiment)
        for run_id in abandoned:
            client.set_terminated(run_id, status="KILLED")
        return len(abandoned)


def count_abandoned(experiment: str) -> int:
    """Count the runs that `settle_abandoned` would set to KILLED."""
    with store.reached():
        return len(_abandoned(store.connect(), experiment))


def _abandoned(client: "MlflowClient", experiment: str) -> list[str]:
    experiment_id = store.experiment_id(client, experiment)
    running = client.search_runs([experiment_id], f"attributes.status = 'RUNNING' and tags.`{store.PROCESS}` LIKE '%'")
    return [run.info.run_id for run in running if _is_gone(client, run)]


def _is_gone(client: "MlflowClient", run: "Run") -> bool:
    living = processes.lives(run.data.tags[store.PROCESS])
    return _is_silent(client, run) if living is None else not living


def _is_silent(client: "MlflowClient", run: "Run") -> bool:
    sent = client.get_metric_history(run.info.run_id, _CURVE)
    last_ms = max([run.info.start_time, *(metric.timestamp for metric in sent)])
    return bool(time.time() * 1000 - last_ms > _SILENT_MS)
