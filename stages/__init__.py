"""The pipeline, a module or folder for each DVC stage, and the packages that stages share.

Stages, drawn in docs/pipeline.md: `prepare`, `photographs`, `masks`, `augment`, `train` (whose models are in `pconv`
and `pix2pix`), `pair`, `evaluate`, `report`, `publish`. `retrain` is what a scheduler calls, `serving` the
command, the server and its page.

Shared packages: `training` (the loop), `tracking` (MLflow, as a projection of what the stages wrote), `inpainting` (how
holes in photographs are filled), `comparing` (how sure a difference is), `imaging` (pixels on disk and in memory),
`runtime` (how a stage runs).

Imports go down only: serving > retrain > stages, independent of each other > training, tracking > inpainting,
comparing > imaging > runtime; import-linter holds it. `tests/test_dvc_deps.py` compares what a stage imports with what
`dvc.yaml` lists.
"""

import os

# Threads of torch that wait for work sleep instead of spinning, which slows everybody down on a busy machine, and
# themselves most of all. It has to be said before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
