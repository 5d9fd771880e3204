"""`Inpainter`: used by command line, server and Python alike, so that all give the same pixels.

    inpainter = load("data/models/pconv/model.pt2")    # a folder, .pt2, .onnx, or "telea", "biharmonic", ...
    composite, report = inpainter(image, missing, Settings(feather=4))

An `.onnx` file needs no torch; a classical method needs neither torch nor a file.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from stages.inpainting import cropping, onnx_model
from stages.inpainting.cropping import Fill, Filler, Floats, Missing, Padded, Pixels, Settings
from stages.inpainting.onnx_model import OnnxModel
from stages.runtime.errors import InputError
from stages.runtime.files import sha256

CLASSICAL = ("telea", "navier_stokes", "harmonic", "biharmonic", "mean", "patchmatch", "fsr")
_CLASSICAL_SIDE = 512  # pixels; biharmonic inpainting solves an equation with one unknown per missing pixel
_CLASSICAL_REACH = 128  # pixels; they fill holes of any depth, but some take time that grows with its cube
_SELF_TEST_SIZE = (96, 128)  # height, width

_DEFAULTS = Settings()


@dataclass(frozen=True)
class About:
    """Identity of a model.

    Attributes:
        name: of the registered model, the training's key, or the method.
        version: in the registry, else "".
        digest: SHA-256 of the model's file, "" for a method.
        source: from which it was loaded.
    """

    name: str
    version: str = ""
    digest: str = ""
    source: str = ""


class Inpainter:
    """Fills holes in pictures of any size.

    Args:
        filler: fills crops.
        about: identity of the model.
        on_cpu: returns a `fill` that runs on the CPU, for crops that exceed the GPU's memory; None if `fill` does.
    """

    def __init__(self, filler: Filler, about: About, on_cpu: Callable[[], Fill] | None = None) -> None:
        self.filler = filler
        self._on_cpu = on_cpu
        self.about = about

    def __call__(
        self, image: Pixels, missing: Missing, settings: Settings = _DEFAULTS
    ) -> tuple[Pixels, dict[str, Any]]:
        """Fill the holes of a picture; see `cropping.inpaint`.

        If the GPU runs out of memory, crops of half the side are tried, then the CPU; `notes` in the report says so.
        """
        side = settings.max_side or self.filler.side
        half = max(cropping.LEAST_MARGIN_PX, side // 2)
        try:
            return cropping.inpaint(image, missing, self.filler, settings)
        except RuntimeError as error:
            if self._on_cpu is None or not _is_out_of_memory(error):
                raise
        try:
            note = f"the GPU ran out of memory: crops of {half} pixels instead of {side}"
            return _noted(note, cropping.inpaint(image, missing, self.filler, replace(settings, max_side=half)))
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
        note = "the GPU ran out of memory: filled on the CPU"
        return _noted(note, cropping.inpaint(image, missing, replace(self.filler, fill=self._on_cpu()), settings))

    def self_test(self) -> None:
        """Fill a hole in a synthetic picture.

        Raises:
            InputError: the prediction is not finite or has another size, or known pixels change.
        """
        h, w = _SELF_TEST_SIZE
        rows, columns = np.mgrid[0:h, 0:w]
        image = np.stack([255 * rows // h, 255 * columns // w, 128 + 0 * rows], axis=2).astype(np.uint8)
        missing = (abs(rows - h // 2) < h // 6) & (abs(columns - w // 3) < w // 6)
        try:
            composite, _ = self(image, missing, Settings())
        except Exception as error:
            raise InputError(f"{self.about.source} fails its self-test: {type(error).__name__}: {error}") from error
        if not np.array_equal(composite[~missing], image[~missing]):
            raise InputError(f"{self.about.source} fails its self-test: known pixels changed")


def _noted(note: str, answer: tuple[Pixels, dict[str, Any]]) -> tuple[Pixels, dict[str, Any]]:
    composite, report = answer
    return composite, report | {"notes": [note, *report["notes"]]}


def _is_out_of_memory(error: RuntimeError) -> bool:
    return "OutOfMemory" in type(error).__name__ or "out of memory" in str(error).lower()


def load(model: str | Path, device: str | None = None) -> Inpainter:
    """Load a model or method.

    Args:
        model: a folder with `model.pt2` or `model.onnx`, one of these files, or one of `CLASSICAL`. If a folder has
            both, the former is used on a GPU and the latter on a CPU.
        device: a torch device, or None for the default; ONNX models and classical methods run on the CPU.

    Raises:
        InputError: the model does not exist, or needs a package that is not installed.
    """
    if str(model) in CLASSICAL:
        return _classical(str(model))
    path = Path(model)
    return _by_folder(path, device) if path.is_dir() else _by_file(path, device)


def _by_folder(folder: Path, device: str | None) -> Inpainter:
    """Load the file that suits the device: torch can use a GPU, but takes ten times as long to start."""
    from stages.runtime import machine

    by_torch, by_onnx = folder / "model.pt2", folder / "model.onnx"
    has_torch = by_torch.is_file() and find_spec("torch") is not None
    is_cpu = device == "cpu" if device else not machine.may_have_gpu()
    if by_onnx.is_file() and (is_cpu or not has_torch or machine.device(device) == "cpu"):
        network = onnx_model.load(by_onnx)
        if not (has_torch and network.facts.get(onnx_model.WITHOUT_DROPOUT)):
            return _by_onnx(by_onnx, network)
    return _by_file(by_torch, device)


def _by_file(path: Path, device: str | None) -> Inpainter:
    if not path.is_file() or path.suffix not in (".pt2", ".onnx"):
        raise InputError(
            f"no model at {path}: give a folder with model.pt2 or model.onnx, one of these files, models:/NAME@ALIAS, "
            f"or one of {', '.join(CLASSICAL)}; dvc repro trains models into data/models"
        )
    return _by_onnx(path, onnx_model.load(path)) if path.suffix == ".onnx" else _by_torch(path, device)


def _classical(method: str) -> Inpainter:
    if find_spec("cv2") is None or find_spec("skimage") is None:
        raise InputError(
            f"{method} needs packages that are not installed: pip install 'image-reconstruction[classical]'"
        )
    from stages.inpainting import classical

    if problem := classical.problem(method):
        raise InputError(problem)

    def fill(image: Pixels, missing: Missing) -> Floats:
        return classical.fill(method, image, missing.astype(np.uint8))

    filler = Filler(fill, _CLASSICAL_SIDE, _CLASSICAL_REACH, detail=False, is_guarded=False)
    return Inpainter(filler, About(method, source=method))


def _by_onnx(path: Path, network: OnnxModel) -> Inpainter:
    return Inpainter(
        _filler(Padded(network, int(network.facts["multiple"])), network.facts), _about(path, network.facts)
    )


def _filler(fill: Fill, facts: dict[str, Any]) -> Filler:
    return Filler(fill, cropping.natural_side(facts), cropping.natural_reach(facts))


def _by_torch(path: Path, device: str | None) -> Inpainter:
    if find_spec("torch") is None:
        raise InputError(f"{path} needs torch, which is not installed; use the model.onnx in the same folder")
    from stages.inpainting import exported
    from stages.runtime import machine

    chosen = machine.device(device)
    program = exported.load(path, chosen)

    def on_cpu() -> Fill:
        return _padded(exported.load(path, "cpu"))

    filler = _filler(_padded(program), program.facts)
    return Inpainter(filler, _about(path, program.facts), None if chosen == "cpu" else on_cpu)


def _padded(program: Any) -> Padded:
    import torch

    def network(holed: Floats) -> Floats:
        given = torch.from_numpy(holed)
        prediction: Floats = program(given[:, :3], given[:, 3:]).numpy()
        return prediction

    return Padded(network, program.multiple)


def _about(path: Path, facts: dict[str, Any]) -> About:
    return About(str(facts.get("key", path.stem)), digest=sha256(path), source=str(path))
