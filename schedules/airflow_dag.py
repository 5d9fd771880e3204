"""Retraining as an Airflow DAG, every Monday at 4: copy it into the folder of DAGs and set PROJECT.

The task fails, and so alarms as Airflow is set up to, where photographs were refused or the call failed; its result, by
docs/result.schema.json, is there for tasks that follow. Airflow need not be installed where the project is.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pendulum
from airflow.sdk import dag, task

PROJECT = Path("/srv/image-reconstruction")


@dag(schedule="0 4 * * 1", start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), catchup=False, max_active_runs=1)
def inpaint_retrain() -> None:
    """Retrain the inpainting models."""

    @task
    def retrain() -> dict[str, Any]:
        words = [".venv/bin/inpaint", "retrain", "--commit", "--result", ".retrain/result.json"]
        subprocess.run(words, cwd=PROJECT, check=True)
        return dict(json.loads((PROJECT / ".retrain/result.json").read_text()))

    retrain()


inpaint_retrain()
