"""Base weights, which trainings start from and which fill before there is any training.

    python -m stages.runtime.profile base       # settings for hours of training on the photographs in data/raw
    dvc repro train@unet train@pconv train@pix2pix         # goes on where it was interrupted
    python -m stages.base                       # data/models to data/base: weights in half precision, hashes of photos

`export` makes a model of base weights, as a training does of its own.
"""

import importlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from stages.imaging.images import MOST_MEGAPIXELS, load_image
from stages.imaging.near import look_of
from stages.imaging.sources import find_sources
from stages.inpainting import exported, onnx_export
from stages.runtime import guard
from stages.runtime.files import write_array
from stages.runtime.log import log
from stages.runtime.params import read
from stages.training import weights

BASE = Path("data/base")
MODELS = Path("data/models")
PREPARED = Path("data/prepared")
CODES = {"unet": "pconv", "pconv": "pconv", "pix2pix": "pix2pix"}


def export(path: Path, folder: Path) -> None:
    """Export base weights as `model.pt2` and `model.onnx`.

    Args:
        path: of the weights.
        folder: where the models are to stand; made if missing.

    Raises:
        InputError: the file is missing or holds something else.
    """
    _, about = weights.read(path)
    code = importlib.import_module(f"stages.{CODES[about['key']]}.module")
    settings = code.SETTINGS(**about["settings"])
    module = code.MODULE(settings)
    weights.load(path, module, settings)
    network = module.trained.to(memory_format=torch.contiguous_format).eval()
    folder.mkdir(parents=True, exist_ok=True)
    saved = exported.save(network, folder / "model.pt2", settings.levels, about)
    onnx_export.export(network, saved, folder / "model.onnx")


def keep_halved(key: str) -> Path:
    """Write what a training left as base weights, in half precision."""
    tensors, about = weights.read(MODELS / key / weights.NAME)
    halved = {name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}
    path = BASE / f"{key}.safetensors"
    weights.write(path, halved, about)
    return path


def hash_photos() -> None:
    """Write the perceptual hashes of all photos that were trained on, (n, 2)."""
    manifest = pd.read_parquet(PREPARED / "manifest.parquet", columns=["split", "source"])
    trained_on = set(manifest.loc[manifest["split"] != "test", "source"])
    sources = [one for one in find_sources(Path(read("prepare.photos", str))) if one.name in trained_on]
    looks = [look_of(load_image(one.path, MOST_MEGAPIXELS), turned=False)[0] for one in tqdm(sources, unit="photo")]
    write_array(BASE / "photographs.npy", np.array(looks, np.uint64))


def main() -> None:
    """Make base weights of what was trained."""
    for key in CODES:
        path = keep_halved(key)
        log(f"base: {path}, {path.stat().st_size / 1e6:.1f} MB")
    hash_photos()


if __name__ == "__main__":
    sys.exit(guard.run("base", main))
