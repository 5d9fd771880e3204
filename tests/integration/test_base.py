"""The base weights in the project: sound in the hardest holes, small together, of the networks that params ask for."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from stages import base
from stages.imaging.near import as_text
from stages.inpainting import soundness
from stages.inpainting.inpainter import load
from stages.training import weights
from tests.clone import ROOT

FOLDER = ROOT / "data/base"


@pytest.mark.slow
@pytest.mark.parametrize("key", base.KEYS)
def test_base_weights_fill_large_holes_no_worse_than_a_membrane(key: str, tmp_path: Path) -> None:
    base.export(FOLDER / f"{key}.safetensors", tmp_path)
    assert soundness.find_faults(load(tmp_path, "cpu"), sizes=(204,)) == []


def test_they_are_of_the_networks_that_params_ask_for_and_together_small() -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for key in base.KEYS:
        _, about = weights.read(FOLDER / f"{key}.safetensors")
        assert Path(params["models"][key]["base"]) == Path("data/base") / f"{key}.safetensors"
        shape = ("width", "levels", "harmonic_residual")
        assert {name: about["settings"][name] for name in shape} == {name: params["train"][key][name] for name in shape}
    assert sum(path.stat().st_size for path in FOLDER.glob("*.safetensors")) <= 16e6


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
