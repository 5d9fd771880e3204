"""The model in the registry: loads without the project and without pickle, gives the picture that the project gives."""

import base64
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from stages.inpainting import exported, onnx_model
from stages.inpainting.composite import composite
from stages.inpainting.cropping import Settings
from stages.inpainting.inpainter import load
from stages.publish.__main__ import CROPPING
from stages.tracking import store, versions
from stages.tracking.served_check import check
from tests.factories import write_dropping, write_model
from tests.tracked import Seen, publish_outputs, write_database

with store.reached():  # MLflow warns at its own import
    from stages.serving import logged_model
    from stages.serving.logged_model import LoggedModel

H, W = 48, 64


class Context:
    """What MLflow hands to `load_context`."""

    def __init__(self, folder: Path) -> None:
        models = {"model": str(folder / "model.pt2"), "onnx": str(folder / "model.onnx")}
        self.artifacts = {**models, "cropping": str(CROPPING)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    write_model(folder)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> LoggedModel:
    model = LoggedModel()
    model.load_context(Context(folder))
    return model


def picture_and_hole(h: int = H, w: int = W) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 (H, W, 3) and a thin hole, bool (H, W), that touches the right edge."""
    image = np.random.default_rng(h * w).integers(0, 256, (h, w, 3), np.uint8)
    hole = np.zeros((h, w), bool)
    hole[h // 4 : h // 4 + 4, w // 2 :] = True  # so thin that no texture is copied into it
    return image, hole


def png(pixels: np.ndarray, mode: str | None = None) -> str:
    file = io.BytesIO()
    picture = Image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def pixels_of(cell: str) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(base64.b64decode(cell))))


def row(image: np.ndarray, hole: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"image": [png(image)], "hole": [png(np.where(hole, 255, 0).astype(np.uint8))]})


def ours(folder: Path, image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The picture that the pipeline itself gives, for a size that needs no padding."""
    floats = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    missing = torch.from_numpy(hole)[None, None].float()
    network = onnx_model.load(folder / "model.onnx")
    filled = torch.from_numpy(network(torch.cat([floats * (1 - missing), missing], dim=1).numpy()))
    whole = composite(floats, filled, missing)
    return (whole[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()


def test_it_gives_the_picture_that_the_pipeline_gives(model: LoggedModel, folder: Path) -> None:
    image, hole = picture_and_hole()
    answer = pixels_of(model.predict(None, row(image, hole))["composite"][0])
    assert np.array_equal(answer, ours(folder, image, hole))
    assert not np.array_equal(answer[hole], image[hole])


def test_it_gives_the_pixels_that_the_command_gives(model: LoggedModel, folder: Path) -> None:
    """Holes far apart in a photo that is larger than their crops, one of them scaled down."""
    image, hole = picture_and_hole(400, 900)
    hole[:] = False
    hole[20:30, 40:60] = hole[60:390, 500:700] = True
    wanted, report = load(folder, "cpu")(image, hole, Settings())
    assert len(report["crops"]) == 2
    assert report["scale"] < 1
    assert np.array_equal(pixels_of(model.predict(None, row(image, hole))["composite"][0]), wanted)


def test_by_either_file_it_answers_alike(folder: Path) -> None:
    """The program is for GPUs; here it runs on the CPU."""
    holed = exported.example(1, 48, 64)
    by_torch, facts = logged_model._by_torch(str(folder / "model.pt2"))
    by_onnx, same_facts = logged_model._by_onnx(str(folder / "model.onnx"))
    assert np.array_equal(by_torch(holed.numpy()), exported.load(folder / "model.pt2")(holed[:, :3], holed[:, 3:]))
    assert np.abs(by_torch(holed.numpy()) - by_onnx(holed.numpy())).max() <= 1e-4
    assert facts == same_facts


def test_one_that_drops_out_at_test_time_is_answered_by_torch(tmp_path: Path) -> None:
    """ONNX Runtime would answer without."""
    write_dropping(tmp_path)
    model = LoggedModel()
    model.load_context(Context(tmp_path))
    image, hole = picture_and_hole()
    first, second = (pixels_of(model.predict(None, row(image, hole))["composite"][0]) for _ in range(2))
    assert not np.array_equal(first, second)
    assert np.array_equal(first[~hole], image[~hole])


def test_two_versions_in_one_process_share_no_code(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "cropping"
    shutil.copytree(CROPPING, other)
    boxes = other / "boxes.py"
    boxes.write_text(boxes.read_text().replace("LEAST_MARGIN_PX = 64", "LEAST_MARGIN_PX = 80"))
    context = Context(folder)
    context.artifacts["cropping"] = str(other)
    changed, unchanged = LoggedModel(), LoggedModel()
    changed.load_context(context)
    unchanged.load_context(Context(folder))
    assert [each._cropping.LEAST_MARGIN_PX for each in (changed, unchanged)] == [80, 64]


def test_grey_below_128_is_no_hole_and_rows_may_differ_in_size(model: LoggedModel) -> None:
    small, large = picture_and_hole(20, 12), picture_and_hole()
    table = pd.concat([row(*small), row(*large)], ignore_index=True)
    table.loc[0, "hole"] = png(np.full((20, 12), 127, np.uint8))
    answer = model.predict(None, table)["composite"]
    assert np.array_equal(pixels_of(answer[0]), small[0])
    assert pixels_of(answer[1]).shape == (H, W, 3)


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("image", "no base64!", "`image` of row 0 should be a PNG file in base64"),
        ("image", None, "`image` of row 0 should be a PNG file in base64"),
        ("hole", base64.b64encode(b"no picture").decode(), "`hole` of row 0 should be a PNG file in base64"),
        ("hole", png(np.zeros((H, W), np.uint8))[:-80], "`hole` of row 0 should be a PNG file in base64"),
        ("image", png(np.zeros((H, W, 4), np.uint8)), "is RGBA"),
        ("image", png(np.zeros((H, W), np.uint16)), "is I;16"),
        ("hole", png(np.zeros((W, H), np.uint8)), "row 0: `image` is 64 x 48 pixels, but `hole` is 48 x 64"),
    ],
)
def test_what_cannot_be_answered_is_named(model: LoggedModel, column: str, cell: str | None, message: str) -> None:
    table = row(*picture_and_hole())
    table[column] = [cell]
    with pytest.raises(ValueError, match=message):
        model.predict(None, table)


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(model: LoggedModel) -> None:
    table = row(*picture_and_hole())
    file = io.BytesIO()
    Image.new("1", (20_000, 4_001)).save(file, "PNG")
    table["image"] = [base64.b64encode(file.getvalue()).decode()]
    with pytest.raises(ValueError, match=r"is 20000 x 4001 pixels; at most 80000000"):
        model.predict(None, table)


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree whose model is the champion of its registry."""
    tree = tmp_path_factory.mktemp("registered")
    write_database(tree)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(tree))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        publish_outputs(tree, 0)
    return tree


def environment_without_project(tree: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "DVC_ROOT")}
    return kept | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{tree}/mlflow.db",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


ELSEWHERE = """
import sys
import mlflow.pyfunc, pandas
sys.modules["stages"] = None  # whatever is installed here, an import of the project fails
model = mlflow.pyfunc.load_model("models:/inpaint-pconv@champion")
print(model.predict(pandas.read_json("row.json", dtype=False))["composite"][0])
"""


def test_a_version_names_its_columns_its_packages_and_an_example(registered: Path, monkeypatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(registered))
    (version,) = Seen().versions("inpaint-pconv")
    assert version.aliases == ["champion"]
    (folder,) = registered.glob("mlartifacts/photographs/models/m-*/artifacts")
    text = (folder / "MLmodel").read_text()
    assert "hole" in text.split("signature:")[1]
    requirements = (folder / "requirements.txt").read_text().split()
    assert [requirement.split("==")[0] for requirement in requirements] == [
        "mlflow", "numpy", "onnxruntime", "pandas", "pillow", "pypatchmatch", "torch",
    ]  # fmt: skip
    assert json.loads((folder / "input_example.json").read_text())["columns"] == ["image", "hole"]
    assert not list(folder.rglob("*.pkl"))


@pytest.mark.slow
def test_in_a_process_without_the_project_it_gives_the_same_picture(registered: Path, tmp_path: Path) -> None:
    image, hole = picture_and_hole()
    row(image, hole).to_json(tmp_path / "row.json")
    program = [sys.executable, "-W", "ignore", "-c", ELSEWHERE]
    answer = subprocess.run(
        program, cwd=tmp_path, env=environment_without_project(registered), capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    wanted = ours(registered / "data/models/pconv", image, hole)
    assert np.array_equal(pixels_of(answer.stdout.strip().split("\n")[-1]), wanted)


@pytest.mark.slow
def test_mlflow_serves_the_same_picture(registered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(registered))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert check(versions.resolve("models:/inpaint-pconv@champion")) == 0
