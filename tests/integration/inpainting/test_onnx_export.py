"""ONNX Runtime gives torch's answers, for the networks of both families, or no file is written."""

import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from stages.inpainting import exported, onnx_export
from stages.pconv.network import PConvUNet
from stages.pix2pix.network import Generator
from stages.runtime.errors import InputError
from stages.training.harmonic import HarmonicResidual
from tests.clone import ROOT

LEVELS = 2
FACTS = {"key": "tiny", "tile_size": 32}


def around(inner: nn.Module, level: float) -> nn.Module:
    return HarmonicResidual(inner, level, LEVELS).eval()


def network(family: str) -> nn.Module:
    torch.manual_seed(5)
    if family == "pix2pix":
        generator = Generator(4, LEVELS, mirrors=True)
        generator.set_test_time(batch_statistics=False, dropout=True)
        return around(generator, 0.5)
    return around(PConvUNet(4, LEVELS, partial=family == "pconv"), 0.0)


@pytest.fixture(scope="module")
def pconv(tmp_path_factory) -> tuple[nn.Module, Path, exported.Saved]:
    return written("pconv", tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module", params=["pconv", "unet", "pix2pix"])
def made(request, pconv, tmp_path_factory) -> tuple[nn.Module, Path]:
    return (pconv if request.param == "pconv" else written(request.param, tmp_path_factory.mktemp("model")))[:2]


def written(family: str, folder: Path) -> tuple[nn.Module, Path, exported.Saved]:
    whole, path = network(family), folder / "model.onnx"
    saved = exported.save(whole, path.with_suffix(".pt2"), LEVELS, FACTS)
    onnx_export.export(whole, saved, path)
    return whole, path, saved


@pytest.mark.parametrize(("n", "h", "w"), [(1, 16, 24), (3, 48, 16), (2, 64, 96)])
@pytest.mark.parametrize("hole_is", ["nowhere", "at the edge", "everywhere"])
def test_it_gives_torchs_answer(made: tuple[nn.Module, Path], n: int, h: int, w: int, hole_is: str) -> None:
    whole, path = made
    if isinstance(whole.inner, Generator):
        whole.inner.set_test_time(batch_statistics=False, dropout=False)
    hole = torch.zeros(n, 1, h, w)
    if hole_is != "nowhere":
        hole[..., : w if hole_is == "everywhere" else 5] = 1
    image = torch.rand(n, 3, h, w, generator=torch.Generator().manual_seed(h)) * (1 - hole)
    with torch.no_grad():
        wanted = whole(image, hole).clamp(0, 1).numpy()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {"holed": torch.cat([image, hole], dim=1).numpy()})
    assert np.isfinite(got).all()
    assert np.abs(got - wanted).max() <= 1e-4


def test_it_names_its_sizes_and_carries_its_facts(made: tuple[nn.Module, Path]) -> None:
    session = onnxruntime.InferenceSession(made[1], providers=["CPUExecutionProvider"])
    assert json.loads(session.get_modelmeta().custom_metadata_map["facts.json"]) == {**FACTS, "multiple": 4}
    (given,), (answered,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape) == ("holed", ["n", 4, "h", "w"])
    assert answered.name == "filled"


def test_the_same_network_gives_the_same_bytes_in_another_process_and_folder(
    pconv: tuple[nn.Module, Path, exported.Saved], tmp_path: Path
) -> None:
    for folder in ("stages", "tests/integration/inpainting"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for name in ("clone.py", "warm.py"):
        shutil.copy(ROOT / "tests" / name, tmp_path / "tests")
    code = (
        "import pathlib, tests.integration.inpainting.test_onnx_export as test; test.written('pconv', pathlib.Path())"
    )
    other = "1" if os.environ.get("PYTHONHASHSEED") == "0" else "0"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env={**os.environ, "PYTHONHASHSEED": other})
    for name in ("model.onnx", "model.pt2"):
        assert pconv[1].with_name(name).read_bytes() == (tmp_path / name).read_bytes()


def test_a_model_that_answers_otherwise_is_not_written(
    pconv: tuple[nn.Module, Path, exported.Saved], tmp_path: Path
) -> None:
    whole, _, saved = pconv
    other = copy.deepcopy(whole)  # the saved program shares its weights with the first
    with torch.no_grad():
        other.inner.decoder[-1].conv.weight.add_(0.1)
    with pytest.raises(InputError, match="the ONNX model differs from the network by"):
        onnx_export.export(other, saved, tmp_path / "model.onnx")
    assert not any(tmp_path.iterdir())
