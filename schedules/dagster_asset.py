"""Retraining as a Dagster asset, every Monday at 4: `dagster dev -f dagster_asset.py`; set PROJECT first.

Materializing it fails where photographs were refused or the call failed; its metadata are the result, by
docs/result.schema.json. Dagster need not be installed where the project is.
"""

import json
import subprocess
from pathlib import Path

import dagster

PROJECT = Path("/srv/image-reconstruction")


@dagster.asset
def inpaint_models() -> dagster.MaterializeResult:
    """The inpainting models, trained on all photographs there are."""
    words = [".venv/bin/inpaint", "retrain", "--commit", "--result", ".retrain/result.json"]
    subprocess.run(words, cwd=PROJECT, check=True)
    return dagster.MaterializeResult(metadata=json.loads((PROJECT / ".retrain/result.json").read_text()))


weekly = dagster.ScheduleDefinition(
    name="inpaint_retrain", target=dagster.AssetSelection.assets(inpaint_models), cron_schedule="0 4 * * 1"
)
defs = dagster.Definitions(assets=[inpaint_models], schedules=[weekly])
