"""The pipeline, a module or folder for each DVC stage, and the packages that stages share.

Stages, drawn in docs/pipeline.md: `prepare`, `photographs`, `masks`, `augment`, `train` (whose models are in `pconv`
and `pix2pix`), `pair`, `evaluate`, `report`, `publish`. `retrain` is what a scheduler calls, `serving` the
command, the server and its page.

Shared packages: `training` (the loop), `tracking` (MLflow, updated from the files of the stages), `inpainting` (filling
holes in photographs), `comparing` (confidence intervals), `imaging` (pixels on disk and in memory), `runtime` (running
a stage).

Imports go down only: serving > retrain > stages, independent of each other > training, tracking > inpainting,
comparing > imaging > runtime; import-linter holds it. `tests/unit/test_dvc_deps.py` compares what a stage imports with
what `dvc.yaml` lists.
"""

import os

# Read when torch and Arrow are loaded. Waiting threads of torch sleep instead of spinning, which slows down a busy
# machine. Arrow's own allocator keeps tens of MB of what is freed.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
