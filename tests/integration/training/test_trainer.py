"""Real trainings, a few steps long: what they leave, and that an interruption changes nothing."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from stages.inpainting import exported
from stages.pconv.module import PConvModule, PConvSettings
from stages.pix2pix.module import Pix2PixModule, Pix2PixSettings
from stages.runtime.errors import InpaintError, ParamsError
from stages.runtime.files import sha256
from stages.training import trainer
from tests.clone import ROOT
from tests.factories import UNET, make_training_project, tiny_params, without_export

KINDS = {
    "unet": (PConvSettings, PConvModule),
    "pconv": (PConvSettings, PConvModule),
    "pconv_augmented": (PConvSettings, PConvModule),
    "pix2pix": (Pix2PixSettings, Pix2PixModule),
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_training_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody listens: training does not mind
    monkeypatch.setattr(trainer, "MIRROR", "stages.runtime.log")  # what MLflow shows meanwhile has tests of its own
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


@pytest.fixture
def unexported(monkeypatch: pytest.MonkeyPatch) -> None:
    without_export(monkeypatch.setattr)


def fit(key: str) -> None:
    trainer.train(key, *KINDS[key])


@pytest.mark.slow
@pytest.mark.parametrize("key", ["pconv", "pix2pix"])
def test_a_training_leaves_a_model_a_record_and_nothing_else(project: Path, key: str) -> None:
    fit(key)
    model = exported.load(f"data/models/{key}/model.pt2")
    assert model.multiple == 4
    assert model(torch.rand(1, 3, 24, 16), torch.ones(1, 1, 24, 16)).isfinite().all()
    folder = project / "data/training" / key
    record = json.loads((folder / "record.json").read_text())
    assert record["status"] == "finished"
    assert record["model_sha256"] == sha256(f"data/models/{key}/model.pt2")
    assert record["params"]["seed"] == 7
    assert ("data/augmented/train" in record["inputs"]) == (key == "pix2pix")
    validation = pd.read_csv(folder / "validation.csv")
    assert validation["step"].tolist() == [3, 6, 8]
    assert record["summary"]["val_hole_psnr"] == pytest.approx(validation["val_hole_psnr"].max())
    assert sorted(path.name for path in (folder / "pictures").iterdir())[-1] == "step_000008.png"
    assert not any((project / ".resume").iterdir())


@pytest.mark.usefixtures("project", "unexported")
@pytest.mark.parametrize("key", KINDS)
def test_the_same_inputs_give_the_same_weights(key: str) -> None:
    fit(key)
    first = sha256(f"data/models/{key}/weights.safetensors")
    fit(key)
    assert first == sha256(f"data/models/{key}/weights.safetensors")


@pytest.mark.usefixtures("unexported")
def test_training_learns(project: Path) -> None:
    params = tiny_params()
    params["train"]["pconv"] |= {"steps": 120, "width": 8, "validate_every": 61, "learning_rate": 5e-3}
    project.joinpath("params.yaml").write_text(json.dumps(params))
    fit("pconv")
    history = pd.read_csv("data/training/pconv/history.csv")
    assert history["loss"].iloc[-1] < 0.5 * history["loss"].iloc[0]
    assert set(history) >= {"step", "seconds", "loss_hole", "loss_valid", "loss_tv", "lr", "tiles_per_s", "data_wait"}


@pytest.mark.usefixtures("unexported")
def test_patience_ends_a_training_that_no_longer_gains(project: Path) -> None:
    params = tiny_params()
    params["train"]["unet"] |= {"steps": 300, "patience": 2, "learning_rate": 1e-12, "finetune_learning_rate": 1e-12}
    params["train"]["unet"] |= {"ema_decay": 0.0}
    project.joinpath("params.yaml").write_text(json.dumps(params))
    fit("unet")
    assert pd.read_csv("data/training/unet/validation.csv")["step"].iloc[-1] < 300


@pytest.mark.usefixtures("unexported")
@pytest.mark.parametrize("learning_rate", [1e-3, 5e-4])
def test_after_control_c_the_same_training_is_resumed_and_another_starts_anew(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], learning_rate: float
) -> None:
    step = PConvModule.training_step

    def interrupted(module: PConvModule, batches: Any) -> Any:
        if module.step == 4:
            raise KeyboardInterrupt
        return step(module, batches)

    with monkeypatch.context() as patch:
        patch.setattr(PConvModule, "training_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fit("pconv")
    params = tiny_params()
    params["train"]["pconv"]["learning_rate"] = learning_rate
    project.joinpath("params.yaml").write_text(json.dumps(params))
    fit("pconv")
    is_the_same = learning_rate == UNET["learning_rate"]
    assert ("resuming" in capfd.readouterr().out) == is_the_same
    assert any((project / ".resume").iterdir()) != is_the_same


def test_a_loss_that_is_no_number_ends_the_training_in_words(project: Path) -> None:
    params = tiny_params()
    params["train"]["unet"] |= {"steps": 100, "validate_every": 90, "hole_weight": 1e40}  # beyond float32
    project.joinpath("params.yaml").write_text(json.dumps(params))
    with pytest.raises(InpaintError, match=r"at step 1 .*loss is inf.* lower the learning rate .* `train.unet`"):
        fit("unet")


def test_levels_that_do_not_fit_the_tiles_are_named(project: Path) -> None:
    params = tiny_params()
    params["train"]["unet"]["levels"] = 4
    project.joinpath("params.yaml").write_text(json.dumps(params))
    with pytest.raises(ParamsError, match="`train.unet.levels` is 4, which needs a `tile_size`"):
        fit("unet")
