"""A project folder small enough to train in seconds: what `prepare` and `masks` leave, of made-up pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from stages.imaging.holes import pack
from stages.imaging.shards import write_tiles
from stages.runtime.files import write_json
from stages.training.settings import START, START_FILE

TILE = 16
BASE = "data/base.safetensors"
UNET = {
    "start_from": "none", "decay_steps": 0, "hole_perceptual_weight": 0.0,
    "partial": False, "width": 4, "levels": 2, "batch_size": 4, "steps": 6, "learning_rate": 1e-3,
    "finetune_steps": 2, "finetune_learning_rate": 1e-4, "ema_decay": 0.9, "valid_weight": 1.0, "hole_weight": 6.0,
    "harmonic_residual": False,
    "perceptual_weight": 0.0, "style_weight": 0.0, "tv_weight": 0.1, "features": "efficientnet_lite1",
    "validate_every": 3, "patience": 0, "checkpoint_every_s": 1e-6, "clip_norm": 10.0,
}  # fmt: skip
PIX2PIX = {
    "start_from": "none", "hole_perceptual_weight": 0.0, "harmonic_residual": True,
    "width": 4, "levels": 2, "discriminator_width": 4, "discriminator_layers": 1, "norm": "batch",
    "infer_norm": "running", "infer_dropout": False, "objective": "vanilla", "judges_holes": False, "gan_weight": 1.0,
    "l1_weight": 100.0, "discriminator_learning_rate": 2e-4, "batch_size": 4,
    "steps": 8, "learning_rate": 2e-4, "decay_steps": 2, "ema_decay": 0.9, "validate_every": 3, "patience": 0,
    "checkpoint_every_s": 1e-6, "clip_norm": 10.0,
}  # fmt: skip


def without_export(set_attribute: Callable[[Any, str, Any], object] = setattr) -> None:
    """Leave the export out of trainings: it has tests of its own, and takes most of the time of one this short.

    Args:
        set_attribute: `setattr` for a whole process, pytest's `monkeypatch.setattr` for a test.
    """
    from stages.training import trainer

    set_attribute(trainer.exported, "save", lambda network, path, *_: path.write_bytes(b"model"))
    set_attribute(trainer.onnx_export, "export", lambda *_: None)


def tiny_params() -> dict[str, Any]:
    """Params of the four trainings, as small as they go."""
    prepared, augmented = "data/prepared/train", "data/augmented/train"
    return {
        "seed": 7,
        "tile_size": TILE,
        "models": {
            "unet": {"code": "pconv", "tiles": prepared, "base": BASE},
            "pconv": {"code": "pconv", "tiles": prepared, "base": BASE},
            "pconv_augmented": {"code": "pconv", "tiles": augmented, "base": BASE},
            "pix2pix": {"code": "pix2pix", "tiles": augmented, "base": BASE},
        },
        "criterion": {"score": "hole_psnr", "floor_db": 0.5},
        "train": {
            "unet": dict(UNET),
            "pconv": UNET | {"partial": True, "harmonic_residual": True},
            "pconv_augmented": UNET | {"partial": True},
            "pix2pix": dict(PIX2PIX),
        },
    }


def make_project(root: Path, params: dict[str, Any] | None = None) -> Path:
    """Write params, tiles and holes into a folder; what is trained there is real, if small."""
    rng = np.random.default_rng(0)
    (root / "params.yaml").write_text(yaml.safe_dump(params or tiny_params()))
    counts = {"data/prepared/train": 10, "data/prepared/val": 5, "data/prepared/test": 6, "data/augmented/train": 10}
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True)
        write_tiles(root / folder, (smooth_tile(rng) for _ in range(count)))
    for key in (params or tiny_params())["models"]:
        write_json(root / START / key / START_FILE, {"start_from": "none"})
    (root / "data/masks").mkdir(parents=True)
    for split in ("train", "val", "test"):
        holes = np.zeros((7, TILE, TILE), np.uint8)
        for number, hole in enumerate(holes):
            hole[4 : 6 + number, 3:9] = 1
        np.save(root / f"data/masks/{split}.npy", pack(holes))
    return root


def smooth_tile(rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """A picture that a network can learn to continue: a gradient between two random colours."""
    start, end = rng.integers(0, 256, (2, 3))
    share = np.linspace(0, 1, TILE)[:, None, None] * np.ones((1, TILE, 1))
    return (start * (1 - share) + end * share).astype(np.uint8)
