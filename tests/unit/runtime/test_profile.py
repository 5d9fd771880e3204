"""The ready settings are valid, say what the papers say, and leave the comments of params.yaml alone."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from stages.pconv.module import PConvSettings
from stages.pconv.network import PConvUNet
from stages.pix2pix.module import Pix2PixSettings
from stages.pix2pix.network import Generator
from stages.runtime import profile
from stages.runtime.errors import ParamsError
from stages.runtime.params import read
from stages.training.settings import SHAPING
from tests.clone import ROOT

PROFILES = sorted(path.stem for path in (ROOT / "profiles").glob("*.yaml"))


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    return Path(shutil.copy(ROOT / "params.yaml", tmp_path))


def test_there_are_some() -> None:
    assert PROFILES == ["base", "gpu", "hour", "paper"]


@pytest.mark.parametrize("name", PROFILES)
def test_every_training_takes_its_section(params: Path, name: str) -> None:
    assert profile.apply(name)
    content = yaml.safe_load(params.read_text())
    for key, entry in content["models"].items():
        settings: Any = read(f"train.{key}", PConvSettings if entry["code"] == "pconv" else Pix2PixSettings)
        assert content["tile_size"] % 2**settings.levels == 0
        assert content["tile_size"] >= 2 ** (settings.levels + 1)
    unet, pconv = (content["train"][key] for key in ("unet", "pconv"))
    assert pconv == unet | {"partial": True}


@pytest.mark.parametrize("name", PROFILES)
def test_networks_of_another_shape_do_not_start_from_base(params: Path, name: str) -> None:
    before = yaml.safe_load(params.read_text())["train"]
    profile.apply(name)
    for key, section in yaml.safe_load(params.read_text())["train"].items():
        same = all(section.get(setting) == before[key].get(setting) for setting in SHAPING)
        assert same or section["start_from"] == "none", key


@pytest.mark.parametrize("name", PROFILES)
def test_comments_and_all_else_stay(params: Path, name: str) -> None:
    before = params.read_text()
    changed = profile.apply(name)
    after = params.read_text()
    assert before.count("#") == after.count("#")
    lines = set(before.splitlines()) ^ set(after.splitlines())
    assert len(lines) <= 3 * len(changed)
    assert profile.apply(name) == []
    assert params.read_text() == after


def test_the_papers_numbers(params: Path) -> None:
    profile.apply("paper")
    pconv, pix2pix = read("train.pconv", PConvSettings), read("train.pix2pix", Pix2PixSettings)
    assert (pconv.learning_rate, pconv.finetune_learning_rate, pconv.batch_size) == (2e-4, 5e-5, 6)
    weights = pconv.weights
    assert (weights.valid, weights.hole, weights.perceptual, weights.style, weights.tv) == (1, 6, 0.05, 120, 0.1)
    assert (pix2pix.learning_rate, pix2pix.l1_weight, pix2pix.objective) == (2e-4, 100, "vanilla")
    assert not pconv.harmonic_residual
    assert not pix2pix.harmonic_residual
    with torch.device("meta"):
        unet, generator = PConvUNet(pconv.width, pconv.levels), Generator(pix2pix.width, pix2pix.levels)
    assert len(unet.encoder) + len(unet.decoder) == 16
    assert len(generator.down) == 8


def test_a_profile_that_is_not_there_is_named(params: Path) -> None:
    with pytest.raises(ParamsError, match="laptop.*gpu"):
        profile.apply("laptop")


def test_a_key_that_params_do_not_have_is_named(params: Path) -> None:
    Path("profiles/odd.yaml").write_text("train: {unet: {depth: 3}}")
    with pytest.raises(ParamsError, match="`train.unet.depth`, which is not a key"):
        profile.apply("odd")
