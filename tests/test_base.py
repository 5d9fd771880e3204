"""The base weights in the project: sound in the hardest holes, small together, of the networks that params ask for."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from stages import base
from stages.inpainting import soundness
from stages.inpainting.inpainter import load
from stages.training import weights
from tests.clone import ROOT

FOLDER = ROOT / "data/base"


@pytest.mark.slow
@pytest.mark.parametrize("key", base.CODES)
def test_base_weights_fill_large_holes_no_worse_than_a_membrane(key: str, tmp_path: Path) -> None:
    base.export(FOLDER / f"{key}.safetensors", tmp_path)
    assert soundness.find_faults(load(tmp_path, "cpu"), sizes=(204,)) == []


def test_they_are_of_the_networks_that_params_ask_for_and_together_small() -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for key in base.CODES:
        _, about = weights.read(FOLDER / f"{key}.safetensors")
        assert Path(params["models"][key]["base"]) == Path("data/base") / f"{key}.safetensors"
        shape = ("width", "levels", "harmonic_residual")
        assert {name: about["settings"][name] for name in shape} == {name: params["train"][key][name] for name in shape}
    assert sum(path.stat().st_size for path in FOLDER.glob("*.safetensors")) <= 16e6


def test_they_say_which_photographs_they_have_seen() -> None:
    seen = np.load(FOLDER / "photographs.npy")
    assert (seen.dtype, seen.shape) == (np.uint64, (648, 2))
