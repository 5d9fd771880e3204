"""Retraining as a Prefect flow: `python prefect_flow.py` serves it every Monday at 4; set PROJECT first.

The flow fails where photographs were refused or the call failed; it returns the result, by docs/result.schema.json.
Prefect need not be installed where the project is.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

from prefect import flow

PROJECT = Path("/srv/image-reconstruction")


@flow(name="inpaint-retrain")
def inpaint_retrain() -> dict[str, Any]:
    """Retrain the inpainting models."""
    words = [".venv/bin/inpaint", "retrain", "--commit", "--result", ".retrain/result.json"]
    subprocess.run(words, cwd=PROJECT, check=True)
    return dict(json.loads((PROJECT / ".retrain/result.json").read_text()))


if __name__ == "__main__":
    inpaint_retrain.serve(cron="0 4 * * 1", global_limit=1)
