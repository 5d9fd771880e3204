"""Trainings that go on from the weights of another one, and the weights that they keep."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.imaging.images import save_png
from stages.report.reading import Training
from stages.runtime.errors import InpaintError, ParamsError
from stages.runtime.files import sha256
from stages.start import main, write_starts
from stages.training import weights
from stages.training.settings import START, WEIGHTS
from tests.factories import tiny_params
from tests.integration.training.test_trainer import fit, project, unexported  # noqa: F401 - pytest finds fixtures by name

pytestmark = pytest.mark.usefixtures("project", "unexported")


def start(key: str, start_from: str, named: str = "", **changes: Any) -> None:
    params = tiny_params()
    params["train"][key] |= {"start_from": start_from, **changes}
    Path("params.yaml").write_text(json.dumps(params))
    write_starts({key: named} if named else {})
    main(key)


@pytest.mark.parametrize("key", ["unet", "pconv", "pix2pix"])
@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_a_training_begins_where_its_start_ended(key: str, decay: float) -> None:
    start(key, "none", ema_decay=decay)
    fit(key)
    trained = pd.read_csv(f"data/training/{key}/validation.csv")["val_hole_psnr"].max()
    Path(f"data/models/{key}/{WEIGHTS}").rename("start.safetensors")
    start(key, "start.safetensors", ema_decay=decay)
    fit(key)
    first = pd.read_csv(f"data/training/{key}/validation.csv").iloc[0]
    assert first["step"] == 0
    assert first["val_hole_psnr"] == pytest.approx(trained, abs=1e-4)
    record = json.loads(Path(f"data/training/{key}/record.json").read_text())
    assert record["inputs"][f"data/start/{key}/{WEIGHTS}"]["digest"] == sha256("start.safetensors")


def test_a_start_that_training_only_spoils_is_kept() -> None:
    fit("pconv")
    Path(f"data/models/pconv/{WEIGHTS}").rename("start.safetensors")
    start("pconv", "start.safetensors", learning_rate=0.9, finetune_learning_rate=0.9, clip_norm=1e6)
    fit("pconv")
    record = json.loads(Path("data/training/pconv/record.json").read_text())
    assert record["summary"]["best_step"] == 0
    assert Training("pconv", record, pd.DataFrame(), pd.DataFrame()).kept == sha256("start.safetensors")


def test_weights_of_another_network_are_refused_by_what_differs() -> None:
    fit("pconv")
    Path(f"data/models/pconv/{WEIGHTS}").rename("start.safetensors")
    start("pconv", "start.safetensors", width=8)
    with pytest.raises(ParamsError, match="`width` 4 instead of 8"):
        fit("pconv")
    start("unet", "start.safetensors", harmonic_residual=True)
    with pytest.raises(ParamsError, match="`partial` True instead of False"):
        fit("unet")


def test_a_number_that_is_not_finite_is_refused_before_the_first_step() -> None:
    fit("pconv")
    tensors, about = weights.read(Path(f"data/models/pconv/{WEIGHTS}"))
    name = next(name for name in tensors if name.endswith("running_var"))
    tensors[name][0] = float("inf")  # fills look well with it, since it only silences a channel
    weights.write(Path("start.safetensors"), tensors, about)
    start("pconv", "start.safetensors")
    with pytest.raises(InpaintError, match=f"not finite, in {name}"):
        fit("pconv")


def test_what_holds_no_weights_is_refused() -> None:
    for name, words in (("nowhere", "there is no file nowhere"), ("a.png", "has no weights of a training")):
        save_png(Path("a.png"), np.zeros((4, 4, 3), np.uint8))
        with pytest.raises(InpaintError, match=words):
            start("pconv", name)
            fit("pconv")


def test_a_start_named_by_retraining_comes_first_while_the_shape_is_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fit("pconv")
    Path(f"data/models/pconv/{WEIGHTS}").rename("champion.safetensors")
    start("pconv", "none", named="champion.safetensors")
    assert sha256(START / "pconv" / WEIGHTS) == sha256("champion.safetensors")
    start("pconv", "none", named="champion.safetensors", width=8)
    assert not (START / "pconv" / WEIGHTS).exists()
    assert "champion.safetensors has another width; starting from none instead" in capsys.readouterr().out
