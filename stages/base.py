"""Base weights, from which trainings start and which fill holes until a model is registered.

    python -m stages.runtime.profile base       # settings for hours of training on the photographs in data/raw
    dvc repro train@unet train@pconv train@pix2pix         # continues after an interruption
    python -m stages.base                       # data/models to data/base: weights in half precision, hashes of photos

`export` makes a model of base weights, like a training does of its weights.
"""

import importlib
import sys
from pathlib import Path

from torch import Tensor

from stages.imaging.manifest import MANIFEST, hashes_of
from stages.imaging.near import from_text
from stages.runtime import guard
from stages.runtime.files import write_array
from stages.runtime.log import log
from stages.training import trainer, weights
from stages.training.settings import WEIGHTS, shape_of

BASE = Path("data/base")
KEYS = ("unet", "pconv", "pix2pix")


def export(path: Path, folder: Path) -> None:
    """Export base weights as `model.pt2` and `model.onnx`.

    Args:
        path: of the weights.
        folder: for the models; created if missing.

    Raises:
        InputError: the file is missing or not a file of weights.
    """
    _, about = weights.read(path)
    is_gan = "discriminator_width" in about["settings"]
    code = importlib.import_module(f"stages.{'pix2pix' if is_gan else 'pconv'}.module")
    known = about["settings"] | shape_of(about["settings"])
    settings = code.SETTINGS.model_construct(**known)  # unchecked, since an earlier version may lack some
    module = code.MODULE(settings)
    weights.load(path, module, settings)
    folder.mkdir(parents=True, exist_ok=True)
    trainer.export(module.trained, settings.levels, about, folder)


def keep_halved(key: str) -> Path:
    """Write the weights of a training as base weights, in half precision where they fit into it."""
    tensors, about = weights.read(trainer.MODELS / key / WEIGHTS)
    path = BASE / f"{key}.safetensors"
    weights.write(path, {name: _halved(value) for name, value in tensors.items()}, about)
    return path


def _halved(value: Tensor) -> Tensor:
    """Return a tensor in half precision, or as it is if half precision has no such numbers: variances can be large."""
    half = value.half() if value.is_floating_point() else value
    return half if half.isfinite().all() else value


def keep_hashes() -> None:
    """Write the perceptual hashes of all training and validation photos, (n, 2)."""
    seen = hashes_of(MANIFEST, ["train", "val"])
    write_array(BASE / "photographs.npy", from_text([*seen.values()])[:, 0])


def main() -> None:
    """Make base weights from the trainings."""
    for key in KEYS:
        path = keep_halved(key)
        log(f"base: {path}, {path.stat().st_size / 1e6:.1f} MB")
    keep_hashes()


if __name__ == "__main__":
    sys.exit(guard.run("base", main))
