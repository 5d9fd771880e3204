"""The pipeline, one module or folder a DVC stage, and the rooms they share.

    prepare ──┬─> augment ──┐
              │             ├─> train@{unet, pconv, pconv_augmented, pix2pix} ─> evaluate ─> report ─> publish
    masks ────┴─────────────┘                                                       │
              └─> pair ─────────────────────────────────────────────────────────────┘

Stages: `prepare`, `masks`, `augment`, `pconv` and `pix2pix` (training, a model a folder), `pair`, `evaluate`,
`report`, `publish`; `data_size` is an experiment beside them, `retrain` what a scheduler calls. Rooms: `fitting` (what
the two trainings share),
`tracking` (MLflow, as a projection of what the stages wrote), `restoring` (how a trained model is used), `comparing`
(how sure a difference is), `pictures` (pixels on disk and in memory), `running` (how a stage runs).

Imports go down only: serving > retrain > stages, independent of each other > fitting, tracking > restoring, comparing >
pictures > running; import-linter holds it. `tests/test_dvc_deps.py` compares what a stage imports with what
`dvc.yaml` lists.
"""
