"""The one `Inpainter`: by torch, by ONNX, by classical methods; memory that does not suffice; what it refuses."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.inpainting import classical
from stages.inpainting.cropping import Fill, Filler, Settings
from stages.inpainting.inpainter import CLASSICAL, About, Inpainter, load
from stages.runtime.errors import InputError
from tests.factories import Blur, write_dropping, write_network

H, W = 150, 210


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pconv")
    write_network(folder, Blur(0), key="pconv", tile_size=80)
    return folder


def picture_and_hole() -> tuple[np.ndarray, np.ndarray]:
    image = np.random.default_rng(0).integers(0, 256, (H, W, 3), np.uint8)
    missing = np.zeros((H, W), bool)
    missing[40:60, 100:170] = True
    return image, missing


def test_torch_and_onnx_give_the_same_picture(folder: Path) -> None:
    image, missing = picture_and_hole()
    by_torch, _ = load(folder / "model.pt2", "cpu")(image, missing, Settings())
    by_onnx, _ = load(folder / "model.onnx")(image, missing, Settings())
    assert np.abs(by_torch.astype(int) - by_onnx).max() <= 1
    assert np.array_equal(by_torch[~missing], image[~missing])
    assert not np.array_equal(by_torch, image)


@pytest.mark.parametrize("device", ["cpu", None])
def test_of_a_folder_the_file_that_suits_the_device(
    folder: Path, device: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INPAINT_DEVICE", "cpu")
    assert load(folder, device).about.source == str(folder / "model.onnx")
    with pytest.raises(InputError, match="the device is 'cuda:99', but"):  # torch was asked for it
        load(folder, "cuda:99")


def test_a_model_that_drops_out_at_test_time_is_taken_from_the_file_that_can(tmp_path: Path) -> None:
    write_dropping(tmp_path)
    assert load(tmp_path, "cpu").about.source == str(tmp_path / "model.pt2")


def test_a_model_says_what_it_is_and_what_size_suits_it(folder: Path) -> None:
    inpainter = load(folder, "cpu")
    assert inpainter.about.name == "pconv"
    assert len(inpainter.about.digest) == 64
    assert (inpainter.filler.side, inpainter.filler.reach) == (320, 26)
    inpainter.self_test()


@pytest.mark.parametrize("method", [method for method in CLASSICAL if not classical.problem(method)])
def test_classical_methods_need_no_file(method: str) -> None:
    image, missing = picture_and_hole()
    composite, report = load(method)(image, missing, Settings())
    assert report["crops"] == [[36, 0, W, 124]]
    changed = (composite != image).any(axis=2)
    assert np.array_equal(changed, missing)


def plainly(fill: Fill) -> Filler:
    return Filler(fill, side=200, reach=1000, detail=False, is_guarded=False)


class Small:
    """Answers crops up to a size, and beyond runs out of memory, as a GPU does."""

    def __init__(self, most: int) -> None:
        self.most = most

    def __call__(self, image: np.ndarray, missing: np.ndarray) -> np.ndarray:
        if max(missing.shape) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return np.full(image.shape, 0.25, np.float32)


@pytest.mark.parametrize(
    ("most", "note"), [(500, ""), (110, "crops of 100 pixels instead of 200"), (50, "filled on the CPU")]
)
def test_where_the_gpus_memory_ends_smaller_crops_are_tried_once_then_the_cpu(most: int, note: str) -> None:
    inpainter = Inpainter(plainly(Small(most)), About("m"), on_cpu=lambda: Small(10_000))
    composite, report = inpainter(*picture_and_hole(), Settings())
    assert (composite[45, 120] == 64).all()
    assert [note in said for said in report["notes"]] == ([True] if note else [])


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    def broken(image: np.ndarray, missing: np.ndarray) -> np.ndarray:
        raise RuntimeError("device-side assert triggered")

    with pytest.raises(RuntimeError, match="device-side assert"):
        Inpainter(plainly(broken), About("m"), lambda: Small(1000))(*picture_and_hole(), Settings())


def test_a_model_that_answers_no_numbers_fails_its_self_test() -> None:
    def no_number(image: np.ndarray, missing: np.ndarray) -> np.ndarray:
        return np.full(image.shape, np.nan, np.float32)

    with pytest.raises(InputError, match="the new one .*not finite"):
        Inpainter(plainly(no_number), About("m", source="the new one")).self_test()


def test_what_is_no_model_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no model at .*/model\.pt2"):
        load(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(InputError, match="is not an ONNX model that this project exported"):
        load(tmp_path / "model.onnx")


WITHOUT_TORCH = """
import sys
for name in ("torch", "mlflow", "cv2", "skimage", "pandas", "scipy"):
    sys.modules[name] = None
import numpy as np
from stages.inpainting import classical
from stages.inpainting.cropping import Fill, Filler, Settings
from stages.inpainting.inpainter import load
image, missing = np.load("image.npy"), np.load("missing.npy")
np.save("composite.npy", load("MODEL")(image, missing, Settings())[0])
"""


def test_onnx_needs_neither_torch_nor_opencv(folder: Path, tmp_path: Path) -> None:
    image, missing = picture_and_hole()
    np.save(tmp_path / "image.npy", image)
    np.save(tmp_path / "missing.npy", missing)
    program = WITHOUT_TORCH.replace("MODEL", str(folder / "model.onnx"))
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    wanted, _ = load(folder / "model.onnx")(image, missing, Settings())
    assert np.array_equal(np.load(tmp_path / "composite.npy"), wanted)
