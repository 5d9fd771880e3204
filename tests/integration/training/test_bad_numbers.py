"""Real trainings whose numbers are made to go bad: what is noticed, what is kept of it, and what is said."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from stages.pconv.network import PConvUNet
from stages.runtime.errors import InpaintError, ParamsError
from stages.runtime.files import sha256
from stages.training import loop, record
from stages.training.dataset import TrainingBatches
from stages.training.module import InpaintingModule
from tests.factories import tiny_params
from tests.integration.training.test_trainer import KINDS, fit, project, unexported  # noqa: F401 - pytest finds fixtures by name

pytestmark = pytest.mark.usefixtures("project", "unexported")


def set_params(key: str, **changes: Any) -> None:
    params = tiny_params()
    params["train"][key] |= changes
    Path("params.yaml").write_text(yaml.safe_dump(params))


def before_step(monkeypatch: pytest.MonkeyPatch, key: str, step: int, act: Callable[[InpaintingModule], None]) -> None:
    kind = KINDS[key][1]
    original = kind.training_step

    def training_step(module: Any, batches: Any) -> Any:
        if module.step == step:
            act(module)
        return original(module, batches)

    monkeypatch.setattr(kind, "training_step", training_step)


def spoil(module: InpaintingModule) -> None:
    with torch.no_grad():
        next(module.network.parameters()).mul_(math.nan)


@pytest.mark.parametrize("key", ["unet", "pconv", "pix2pix"])
def test_numbers_that_are_not_finite_end_the_training_and_the_batch_is_kept(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    set_params(key, steps=30, validate_every=10)
    with monkeypatch.context() as patch:
        before_step(patch, key, 13, spoil)
        with pytest.raises(loop.NotFiniteError, match=r"at step 14 .* is nan") as stopped:
            fit(key)
    (sheet,) = Path().glob(f".resume/*/record/{loop.BAD_BATCHES}/*.png")
    assert str(sheet.resolve()) in str(stopped.value)
    assert f"lower the learning rate or `clip_norm` of `train.{key}`" in str(stopped.value)
    kept = np.load(sheet.with_suffix(".npz"))
    tiles = ["data/prepared/train", "data/augmented/train"][: 2 if key == "pix2pix" else 1]
    batch = TrainingBatches(tiles, "data/masks/train.npy", 4, seed=7)[13]
    assert (kept["target"] == batch["target"].permute(0, 2, 3, 1).numpy()).all()
    assert (kept["hole"] == batch["hole"][:, 0].numpy()).all()
    assert not Path(f"data/models/{key}").exists()
    fit(key)  # what was spoilt was no checkpoint
    weights = load_file(f"data/models/{key}/weights.safetensors")
    assert all(value.isfinite().all() for value in weights.values())


def test_going_on_after_bad_numbers_ends_where_an_undisturbed_training_does(monkeypatch: pytest.MonkeyPatch) -> None:
    set_params("pconv", steps=30, validate_every=10)
    with monkeypatch.context() as patch:
        before_step(patch, "pconv", 13, spoil)
        with pytest.raises(loop.NotFiniteError):
            fit("pconv")
    fit("pconv")
    resumed = sha256("data/models/pconv/weights.safetensors")
    fit("pconv")
    assert sha256("data/models/pconv/weights.safetensors") == resumed


@pytest.mark.parametrize("key", ["unet", "pix2pix"])
def test_gradients_are_clipped(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    set_params(key, clip_norm=1e-3)
    norms = []
    end = InpaintingModule.fit_batch

    def fit_batch(module: InpaintingModule, batch: Any) -> Any:
        numbers = end(module, batch)
        for name, optimizer in module.optimizers.items():
            weights = [each for group in optimizer.param_groups for each in group["params"] if each.grad is not None]
            norm = torch.stack([each.grad.norm() for each in weights]).norm().item()
            norms.append((norm, numbers[f"gradient of {name}"].item()))
        return numbers

    monkeypatch.setattr(InpaintingModule, "fit_batch", fit_batch)
    fit(key)
    assert all(clipped <= 1.001e-3 for clipped, _ in norms)
    assert max(before for _, before in norms) > 1e-2


def test_a_validation_that_is_no_number_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    set_params("pconv", steps=20, validate_every=10, ema_decay=0.5, checkpoint_every_s=1e-6)

    def spoil_average(module: Any) -> None:  # no loss shows it
        with torch.no_grad():
            next(module.average.parameters()).mul_(math.nan)

    before_step(monkeypatch, "pconv", 1, spoil_average)
    with pytest.raises(InpaintError, match=r"at step 5 \d+ weights are no longer finite"):  # before a checkpoint
        fit("pconv")
    assert not list(Path().glob(".resume/*/checkpoint.pt"))


def test_too_little_gpu_memory_says_what_to_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(self: PConvUNet, image: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.\nmore")

    monkeypatch.setattr(PConvUNet, "forward", forward)
    with pytest.raises(InpaintError, match="INPAINT_ACCUMULATE=2"):
        fit("pconv")


@pytest.mark.parametrize("name", ["centred", "seamless", "on_bad_numbers"])
def test_old_settings_are_refused_with_what_stands_for_them(name: str) -> None:
    set_params("pconv", **{name: True})
    with pytest.raises(ParamsError, match=rf"`{name}` is no longer a setting"):
        fit("pconv")


@pytest.mark.parametrize("key", ["unet", "pix2pix"])
def test_micro_batches_give_the_gradient_of_the_whole_batch(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    phases = {"norm": "instance", "decay_steps": 0} if key == "pix2pix" else {"finetune_steps": 0}
    set_params(key, steps=1, validate_every=1, ema_decay=0.0, **phases)
    losses = []
    for parts in ("1", "2"):
        monkeypatch.setenv("INPAINT_ACCUMULATE", parts)
        end = KINDS[key][1].training_step

        def training_step(module: Any, batches: Any, end: Any = end, parts: str = parts) -> Any:
            assert len(batches) == int(parts)
            terms = end(module, batches)
            losses.append(terms["loss"].item())
            return terms

        with monkeypatch.context() as patch:
            patch.setattr(KINDS[key][1], "training_step", training_step)
            fit(key)
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_a_batch_that_cannot_be_divided_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INPAINT_ACCUMULATE", "3")
    with pytest.raises(InpaintError, match=r"3 micro-batches \(INPAINT_ACCUMULATE\) cannot share evenly"):
        fit("pconv")


def test_a_training_that_was_cut_off_leaves_the_history_of_an_undisturbed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_off(module: InpaintingModule) -> None:
        raise KeyboardInterrupt

    histories = []
    for every_s, step in ((60, 55), (1e-6, 38), (60, None)):  # before any checkpoint, between two lines, never
        set_params("pconv", steps=60, validate_every=60, checkpoint_every_s=every_s)
        if step:
            with monkeypatch.context() as patch:
                before_step(patch, "pconv", step, cut_off)
                with pytest.raises(KeyboardInterrupt):
                    fit("pconv")
        fit("pconv")
        histories.append(pd.read_csv("data/training/pconv/history.csv"))
    wanted = histories.pop()
    for history in histories:
        assert history["step"].tolist() == wanted["step"].tolist() == [25, 50, 62]
        assert history["loss"].tolist() == wanted["loss"].tolist()


def test_neither_slurm_nor_a_gpu_that_cannot_be_asked_ends_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.setenv("SLURM_JOB_NAME", "train")
    loop.make_fabric()
    monkeypatch.setattr(torch.cuda, "utilization", lambda: 1 / 0)
    assert record._gpu_percent() == ""
