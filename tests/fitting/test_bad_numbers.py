"""Real trainings whose numbers are made to go bad: what is noticed, what is kept of it, and how they go on."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pandas as pd
import pytest
import torch

from stages.fitting import checkpoint, course, rollback, training
from stages.fitting.dataset import TrainingBatches
from stages.fitting.module import InpaintingModule
from stages.fitting.watch import EXPLODED_STEPS, WON_STEPS, BadNumbersError, Numbers, Watch, fetch
from stages.pconv.module import PConvModule, PConvSettings
from stages.pconv.network import PConvUNet
from stages.pix2pix.module import Pix2PixModule
from stages.pix2pix.network import Generator
from stages.running.errors import InpaintError
from stages.running.files import sha256
from tests.fitting.test_training import KINDS, fit, project, unexported  # noqa: F401 - pytest finds fixtures by name
from tests.project import UNET, tiny_params

pytestmark = pytest.mark.usefixtures("project", "unexported")


def set_params(key: str, **changes: Any) -> None:
    params = tiny_params()
    params["train"][key] |= changes
    Path("params.yaml").write_text(json.dumps(params))


def before_step(monkeypatch: pytest.MonkeyPatch, key: str, step: int, act: Callable[[InpaintingModule], None]) -> None:
    kind = KINDS[key][1]
    original = kind.training_step

    def training_step(module: Any, batch: Any, batch_idx: int) -> None:
        if module.step == step:
            act(module)
        original(module, batch, batch_idx)

    monkeypatch.setattr(kind, "training_step", training_step)


def spoil(module: InpaintingModule) -> None:
    with torch.no_grad():
        next(module.network.parameters()).mul_(math.nan)


def spoil_at_full_rate(module: InpaintingModule) -> None:
    if not module.slowdowns or min(module.slowdowns.values()) == 1:
        spoil(module)


def kept_batches() -> list[Path]:
    return sorted(Path().glob(f".resume/*/record/{training.BAD_BATCHES}/*"))


def states() -> Iterator[dict[str, torch.Tensor]]:
    for path in Path().glob(".resume/*/*.pt"):
        yield torch.load(path, weights_only=True)["module"]


@pytest.mark.parametrize("key", ["unet", "pconv", "pix2pix"])
def test_a_learning_rate_far_too_high_is_noticed_within_a_few_steps(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    set_params(key, steps=60, validate_every=50, on_bad_numbers="stop")
    monkeypatch.setattr(KINDS[key][1], "learning_rate_at", lambda self, step: 1e6)
    with pytest.raises(InpaintError) as stopped:
        fit(key)
    message = str(stopped.value)
    sheet, arrays = kept_batches()[1::-1] if kept_batches()[0].suffix == ".npz" else kept_batches()
    step = int(sheet.stem.removeprefix("step_"))
    assert step <= 12
    assert f"at step {step} " in message
    assert "no longer finite" in message or "explodes" in message
    assert str(sheet.resolve()) in message
    assert f"lower `train.{key}.learning_rate`" in message
    assert f"set `train.{key}.on_bad_numbers` to rollback" in message
    kept = np.load(arrays)
    both = ["data/prepared/train", "data/augmented/train"][: 2 if key == "pix2pix" else 1]
    batch = TrainingBatches(both, "data/masks/train.npy", 4, seed=7)[step - 1]
    assert (kept["target"] == batch["target"].permute(0, 2, 3, 1).numpy()).all()
    assert (kept["hole"] == batch["hole"][:, 0].numpy()).all()
    assert all(value.isfinite().all() for state in states() for value in state.values())
    assert not Path(f"data/models/{key}").exists()


@pytest.mark.parametrize("key", ["pconv", "pix2pix"])
def test_a_training_goes_back_and_on_at_half_the_rate(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], key: str
) -> None:
    set_params(key, steps=30, validate_every=10)
    before_step(monkeypatch, key, 13, spoil_at_full_rate)
    fit(key)
    assert "Back to step 10, with half the learning rate" in capfd.readouterr().out
    folder = Path("data/training", key)
    record = json.loads((folder / "record.json").read_text())
    (entry,) = record["rollbacks"]
    assert (entry["step"], entry["to"], entry["optimizer"]) == (14, 10, None)
    assert record["summary"]["rollbacks"] == 1
    assert (folder / training.BAD_BATCHES / "step_000014.png").exists()
    history = pd.read_csv(folder / "history.csv")
    rate = tiny_params()["train"][key]["learning_rate"]
    assert history["step"].tolist()[0] == 25
    assert history["lr"].iloc[0] == rate / 2
    weights = torch.load(f"data/models/{key}/weights.pt", weights_only=True)
    assert all(value.isfinite().all() for value in weights.values())


@pytest.mark.parametrize("step", [3, 12, 16, 26])
def test_an_interruption_around_a_rollback_changes_nothing(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    set_params("pconv", steps=30, validate_every=10)
    before_step(monkeypatch, "pconv", 13, spoil_at_full_rate)
    fit("pconv")
    wanted = sha256("data/models/pconv/weights.pt")
    rollbacks = json.loads(Path("data/training/pconv/record.json").read_text())["rollbacks"]
    killed = []

    def die_once(module: InpaintingModule) -> None:
        if not killed:
            killed.append(step)
            raise RuntimeError("killed")

    before_step(monkeypatch, "pconv", step, die_once)
    with pytest.raises(RuntimeError, match="killed"):
        fit("pconv")
    fit("pconv")
    assert sha256("data/models/pconv/weights.pt") == wanted
    assert json.loads(Path("data/training/pconv/record.json").read_text())["rollbacks"] == rollbacks


def test_a_step_that_goes_wrong_again_and_again_ends_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    set_params("unet", steps=20, validate_every=10)
    before_step(monkeypatch, "unet", 13, spoil)
    with pytest.raises(InpaintError, match=r"at step 14 .*nan.*, after 3 rollbacks, each at half"):
        fit("unet")


def test_other_pictures_come_after_a_rollback() -> None:
    batches = TrainingBatches(["data/prepared/train"], "data/masks/train.npy", 4, seed=7)
    first = batches[5]["target"]
    batches.draw_anew(1)
    assert not torch.equal(batches[5]["target"], first)
    batches.draw_anew(0)
    assert torch.equal(batches[5]["target"], first)


def test_a_validation_that_is_no_number_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    set_params("pconv", steps=8, on_bad_numbers="stop", average_decay=0.5)

    def spoil_average(module: Any) -> None:  # no loss shows it
        with torch.no_grad():
            next(module.average.parameters()).mul_(math.nan)

    before_step(monkeypatch, "pconv", 1, spoil_average)
    with pytest.raises(InpaintError, match="at step 3 .*validation is no longer finite"):
        fit("pconv")


def test_weights_that_are_not_finite_are_nothing_to_go_back_to(tmp_path: Path) -> None:
    module = PConvModule(PConvSettings(**UNET))
    module._trainer = lightning.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    spoil(module)
    (tmp_path / checkpoint.LATEST).write_bytes(b"the one before")
    with pytest.raises(BadNumbersError, match="of .* weights are no longer finite"):
        checkpoint.save_good(tmp_path, module, {})
    assert [path.name for path in tmp_path.glob("*.pt")] == [checkpoint.LATEST]


def test_a_discriminator_that_has_won_is_slowed_down_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    set_params(
        "pix2pix",
        steps=260,
        validate_every=260,
        decay_steps=0,
        seamless=False,
        centred=False,
        norm="instance",
        checkpoint_every_s=60,
    )
    pattern = torch.arange(16).remainder(2).float() * 8 - 4
    monkeypatch.setattr(
        Generator, "translate", lambda self, x: self.up[-1].conv.bias.sum() * 0 + pattern + x[:, :3] * 0
    )
    monkeypatch.setattr(
        Pix2PixModule,
        "learning_rate_at",
        lambda self, step: 3e-2 if self.slowdowns.get("discriminator", 1) == 1 else 0.0,
    )
    seen = []
    original = course.checkpoint.load

    def load(where: Path) -> Any:
        state = original(where)
        seen.append(state["extra"]["rollbacks"] if state else [])
        return state

    monkeypatch.setattr(course.checkpoint, "load", load)
    fit("pix2pix")
    (entry,) = seen[-1]
    assert entry["optimizer"] == "discriminator"
    assert entry["step"] > WON_STEPS
    assert "the discriminator has won" in entry["what"]
    assert rollback.slowdowns([entry], ("generator", "discriminator")) == {"generator": 1, "discriminator": 0.5}


def test_too_little_gpu_memory_says_what_to_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(self: PConvUNet, image: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.\nmore")

    monkeypatch.setattr(PConvUNet, "forward", forward)
    with pytest.raises(
        InpaintError, match=r"4 pictures of 16 x 16 pixels at step 1; lower `train.pconv.batch_size` or `tile_size`"
    ):
        fit("pconv")


def judge(norms: list[float], rival: bool = False, state: Any = None) -> tuple[int, str] | None:
    watch = Watch()
    if state is not None:
        watch.state = state
    for step, norm in enumerate(norms):
        terms = {"rival": torch.tensor(norm)} if rival else {}
        (numbers,) = fetch([Numbers(step, terms | {"loss": torch.tensor(1.0)}, {"rival": torch.tensor(norm)})])
        if found := watch.judge(numbers):
            return found.step, found.what
    return None


def test_numbers_of_several_steps_are_fetched_as_they_were() -> None:
    steps = [
        Numbers(n, {"loss": torch.tensor(n + 0.5), "a": torch.tensor(2)}, {"net": torch.tensor(3.0)}) for n in (0, 1)
    ]
    assert fetch(steps) == [Numbers(n, {"loss": n + 0.5, "a": 2.0}, {"net": 3.0}) for n in (0, 1)]
    assert fetch([]) == []


def test_a_gradient_a_thousand_times_as_large_as_ever_explodes_when_it_lasts() -> None:
    found = judge([1.0, 3.0, 0.2, 5e4, 1.0, 2.0, *[1e5] * 9])
    assert found is not None
    assert found[0] == 6 + EXPLODED_STEPS - 1
    assert "the gradient of the rival explodes" in found[1]


def test_a_gradient_may_fall_and_rise_again() -> None:
    assert judge([1.0, *[1e-6] * 300, *[5.0] * 300]) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_number_that_is_not_finite_is_enough(value: float) -> None:
    found = judge([1.0, value, 1.0])
    assert found is not None
    assert found[0] == 1


def test_a_rival_has_won_after_so_many_steps_in_a_row_and_in_an_interrupted_training_too() -> None:
    nearly = [*[1e-4] * (WON_STEPS - 1), 0.5]
    assert judge(nearly * 3, rival=True) is None
    assert judge(nearly * 3 + [1e-4] * WON_STEPS) is None  # no rival
    watch = Watch()
    assert judge([1e-4] * 150, rival=True, state=watch.state) is None
    found = judge([1e-4] * 100, rival=True, state=json.loads(json.dumps(watch.state)))
    assert found is not None
    assert found[0] == WON_STEPS - 150 - 1
