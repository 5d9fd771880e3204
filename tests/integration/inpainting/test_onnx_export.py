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

LEVELS = 2
FACTS = {"key": "tiny", "tile_size": 32}


def around(inner: nn.Module, level: float) -> nn.Module:
    return HarmonicResidual(inner, level, LEVELS).eval()


def network(family: str) -> nn.Module:
    torch.manual_seed(5)
    if family == "pix2pix":
        generator = Generator(4, LEVELS)
        generator.set_test_time(batch_statistics=False, dropout=True)
        return around(generator, 0.5)
    return around(PConvUNet(4, LEVELS, partial=family == "pconv"), 0.0)


@pytest.fixture(scope="module", params=["pconv", "unet", "pix2pix"])
def made(request, tmp_path_factory) -> tuple[nn.Module, Path]:
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    whole = network(request.param)
    write(whole, path)
    return whole, path


def write(whole: nn.Module, path: Path) -> None:
    onnx_export.export(whole, exported.save(whole, path.with_suffix(".pt2"), LEVELS, FACTS), path)


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


def test_the_same_network_gives_the_same_bytes_in_another_process_and_folder(tmp_path: Path) -> None:
    write(network("pconv"), tmp_path / "here.onnx")
    root = Path(onnx_export.__file__).parents[2]
    for folder in ("stages", "tests/integration/inpainting"):
        shutil.copytree(root / folder, tmp_path / folder)
    code = (
        "import pathlib, tests.integration.inpainting.test_onnx_export as test\n"
        "test.write(test.network('pconv'), pathlib.Path('there.onnx'))"
    )
    other = "1" if os.environ.get("PYTHONHASHSEED") == "0" else "0"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env={**os.environ, "PYTHONHASHSEED": other})
    for suffix in (".onnx", ".pt2"):
        here, there = (tmp_path / f"{name}{suffix}" for name in ("here", "there"))
        assert here.read_bytes() == there.read_bytes()


def test_a_model_that_answers_otherwise_is_not_written(tmp_path: Path) -> None:
    whole = PConvUNet(4, LEVELS).eval()
    saved = exported.save(whole, tmp_path / "model.pt2", LEVELS, FACTS)
    other = copy.deepcopy(whole)  # the saved program shares its weights with the first
    with torch.no_grad():
        other.decoder[-1].conv.weight.add_(0.1)
    with pytest.raises(InputError, match="the ONNX model differs from the network by"):
        onnx_export.export(other, saved, tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]
