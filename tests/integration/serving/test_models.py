"""What a registered name stands for is remembered until the registry changes, and asked for no sooner."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stages.inpainting.cropping import Settings
from stages.pconv.module import PConvModule, PConvSettings
from stages.runtime.errors import InputError
from stages.serving.models import open_inpainter
from stages.serving.registered import DEFAULT_MODEL
from stages.tracking import aliases, versions
from stages.training import weights
from tests.clone import ROOT
from tests.factories import UNET
from tests.integration.serving.test_model_manager import MODEL, registry

__all__ = ["registry"]  # a fixture

PROGRAM = (
    "import sys; from stages.serving.models import open_inpainter; print(open_inpainter(sys.argv[1]).about.version, "
    "*sorted({'mlflow', 'torch', 'fastapi', 'cv2', 'pandas'} & set(sys.modules)))"
)


@pytest.fixture
def remembered(registry: Path) -> Path:
    folder = registry / ".remembered/models"
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def opened(registry: Path) -> str:
    """Open the champion in a process of its own; return its version and what heavy packages that took."""
    environment = os.environ | {"DVC_ROOT": str(registry), "PYTHONPATH": str(ROOT), "INPAINT_DEVICE": "cpu"}
    command = [sys.executable, "-c", PROGRAM, MODEL]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_a_registered_model_opens_without_mlflow_and_torch_until_an_alias_moves(
    registry: Path, remembered: Path
) -> None:
    first = open_inpainter(MODEL, "cpu").about
    assert opened(registry) == first.version
    other = {"1": "2", "2": "1"}[first.version]
    aliases.promote("inpaint-pconv", other, "test")
    assert "mlflow" in opened(registry).split()
    assert opened(registry) == other
    assert [path.name for path in remembered.iterdir() if path.is_dir()] == [f"inpaint-pconv-{other}"]
    aliases.promote("inpaint-pconv", first.version, "test")


@pytest.mark.parametrize("damage", ["note", "model", "folder"])
def test_what_is_remembered_wrongly_is_asked_for_anew(registry: Path, remembered: Path, damage: str) -> None:
    about = open_inpainter(MODEL, "cpu").about
    (note,) = remembered.glob("*.json")
    (model,) = remembered.glob("*/model.onnx")
    if damage == "folder":
        shutil.rmtree(model.parent)
    else:
        (note if damage == "note" else model).write_bytes(b"{")
    assert open_inpainter(MODEL, "cpu").about == about
    assert opened(registry) == about.version


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project before any training, with small base weights."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    settings = UNET | {"partial": True, "harmonic_residual": True, "levels": 3}
    module = PConvModule(PConvSettings(**settings))
    about = {"key": "pconv", "tile_size": 64, "reach": 16, "settings": settings}
    weights.save(tmp_path / "data/base/pconv.safetensors", module, module.trained.state_dict(), about)
    return tmp_path


def test_before_any_training_the_base_weights_fill_and_that_is_said(fresh: Path, capsys) -> None:
    picture = np.full((64, 64, 3), 90, np.uint8)
    for again in (False, True):
        filled, _ = open_inpainter(DEFAULT_MODEL)(picture, np.eye(64, dtype=bool), Settings())
        assert (filled == 90).all()
        said = capsys.readouterr().err
        assert "no model is registered yet: using data/base/pconv.safetensors" in said
        assert ("exporting " in said) is not again
    assert versions.registered() == []
    assert not (fresh / "mlflow.db").exists()
    (fresh / "data/base/pconv.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match="has no weights of a training"):
        open_inpainter(DEFAULT_MODEL)


@pytest.mark.parametrize("is_home_writable", [True, False])
def test_base_weights_of_a_read_only_project_are_exported_elsewhere(
    fresh: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    is_home_writable: bool,
) -> None:
    home = tmp_path_factory.mktemp("home") / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    (fresh / ".remembered").write_bytes(b"")  # stops root, too
    if not is_home_writable:
        home.write_bytes(b"")
    for again in (False, True):
        open_inpainter(DEFAULT_MODEL)
        said = capsys.readouterr().err
        assert ("the project is read-only" in said) is not again
        assert (str(home) in said) is (is_home_writable and not again)


def test_once_a_model_is_registered_the_base_weights_are_not_asked(registry: Path, remembered: Path) -> None:
    base = registry / "data/base/pconv.safetensors"
    base.parent.mkdir(parents=True)
    base.write_bytes(b"no weights")
    assert MODEL == DEFAULT_MODEL
    opened(registry)
    assert len(opened(registry).split()) == 1  # the version alone: neither MLflow nor torch
    base.unlink()
