"""The base weights in the project: sound in the hardest holes, small together, of the networks that params ask for."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from stages import base
from stages.imaging.near import as_text
from stages.inpainting import soundness
from stages.inpainting.inpainter import load
from stages.pix2pix.module import Pix2PixModule, Pix2PixSettings
from stages.training import weights
from stages.training.settings import differing
from tests.clone import ROOT

FOLDER = ROOT / "data/base"
HARDEST = ("shaded", "scene")  # surroundings; the others are for the gate, which has more time


def test_weights_of_an_earlier_version_without_later_settings_still_fill(tmp_path: Path) -> None:
    settings = {
        "width": 4, "levels": 2, "norm": "batch", "infer_norm": "running", "infer_dropout": False, "ema_decay": 0.0,
        "harmonic_residual": True, "discriminator_width": 4, "discriminator_layers": 1,
    }  # fmt: skip
    module = Pix2PixModule(Pix2PixSettings.model_construct(**settings, mirrored_texture=False))
    about = {"key": "pix2pix", "settings": settings, "tile_size": 32, "reach": 8, "steps": 1, "hours": 0.0}
    weights.save(tmp_path / "old.safetensors", module, module.network.state_dict(), about)
    base.export(tmp_path / "old.safetensors", tmp_path)
    image = np.full((32, 32, 3), 128, np.uint8)
    composite, _ = load(tmp_path, "cpu")(image, np.zeros((32, 32), bool))
    assert np.array_equal(composite, image)


@pytest.mark.slow
@pytest.mark.parametrize("key", base.KEYS)
def test_base_weights_fill_large_holes_no_worse_than_a_membrane(key: str, tmp_path: Path) -> None:
    base.export(FOLDER / f"{key}.safetensors", tmp_path)
    assert not list(soundness.find_faults(load(tmp_path, "cpu"), sizes=(204,), names=HARDEST))


def test_they_are_of_the_networks_that_params_ask_for_and_together_small() -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for key in base.KEYS:
        _, about = weights.read(FOLDER / f"{key}.safetensors")
        assert Path(params["models"][key]["base"]) == Path("data/base") / f"{key}.safetensors"
        assert differing(about["settings"], params["train"][key]) == []
    assert sum(path.stat().st_size for path in FOLDER.glob("*.safetensors")) <= 16e6


@pytest.mark.parametrize("key", base.KEYS)
def test_all_weights_are_finite(key: str) -> None:
    tensors, _ = weights.read(FOLDER / f"{key}.safetensors")
    assert [name for name, value in tensors.items() if not value.isfinite().all()] == []


def test_what_half_precision_cannot_hold_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    base.BASE.mkdir(parents=True)
    tensors = {"weight": torch.tensor([0.5, -2.0]), "running_var": torch.tensor([1e5, 1.0]), "seen": torch.tensor(3)}
    weights.write(tmp_path / "data/models/pconv/weights.safetensors", tensors, {"key": "pconv"})
    kept, _ = weights.read(base.keep_halved("pconv"))
    assert kept["weight"].dtype == torch.float16
    assert {name: value.tolist() for name, value in kept.items()} == {
        name: value.tolist() for name, value in tensors.items()
    }


def test_photographs_are_kept_by_the_hashes_that_prepare_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    hashes = np.arange(8, dtype=np.uint64).reshape(4, 2)
    rows = {"split": ["train", "train", "val", "test"], "photo": list("aabc")}
    Path("data/prepared").mkdir(parents=True)
    table = pd.DataFrame(rows).assign(perceptual_hash=[as_text(both.tolist()) for both in hashes[[0, 0, 1, 2]]])
    table.to_parquet("data/prepared/manifest.parquet")
    base.keep_hashes()
    assert np.array_equal(np.load("data/base/photographs.npy"), hashes[:2])


def test_they_say_which_photographs_they_have_seen() -> None:
    seen = np.load(FOLDER / "photographs.npy")
    assert (seen.dtype, seen.shape) == (np.uint64, (648, 2))
