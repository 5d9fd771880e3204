"""What a registered name stands for is remembered until the registry changes, and asked for no sooner."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stages.serving.models import open_inpainter
from stages.tracking import aliases
from tests.clone import ROOT
from tests.serving.test_model_manager import MODEL, registry

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
