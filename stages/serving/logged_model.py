"""An inpainting model in MLflow: this file, the folder `cropping` and the model, without the rest of the project.

MLflow stores this file with the model and runs it where the model is loaded, so it imports only what is installed
there. The model is stored as `model.pt2` for GPUs and, equivalently, as `model.onnx` for CPUs, where that starts in a
tenth of the time. Both columns are PNG files in base64; `hole` is white (128 and above) where `image` is missing.

    model = mlflow.pyfunc.load_model("models:/inpaint-pconv@champion")
    model.predict(pandas.DataFrame({"image": [photo], "hole": [hole]}))["composite"][0]

The answer has the size of `image` and, outside the hole, its exact pixels. Command and server give the same answer.
"""

import base64
import binascii
import importlib.util
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

# Before torch loads anything: torch.export.load falls back to unpickling, so a malicious file would run code.
os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"

import mlflow.models
import numpy as np
import numpy.typing as npt
import onnxruntime
import pandas as pd
import torch
from mlflow.pyfunc.model import PythonModel
from PIL import Image
from torch.export.passes import move_to_device_pass

HOLE_THRESHOLD = 128
MAX_PIXELS = 80_000_000  # Pillow warns from 89 million
_FACTS = "facts.json"
_IMAGE_MODES = ("RGB", "L", "P", "1")

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Network = Callable[[Floats], Floats]


class LoggedModel(PythonModel):
    """Fills the holes of pictures of any size with an exported network."""

    def load_context(self, context: Any) -> None:
        """Load the network, `onnx` or `model`, without running code from its file, and the folder `cropping`."""
        by_torch, by_onnx = context.artifacts["model"], context.artifacts["onnx"]
        network, facts = _by_torch(by_torch) if torch.cuda.is_available() else _by_onnx(by_onnx)
        if facts.get("without_dropout"):  # `onnx` lacks the dropout that the model needs
            network, facts = _by_torch(by_torch)
        self._cropping = cropping = _package(context.artifacts["cropping"])
        fill = cropping.Padded(network, facts["multiple"])
        self._filler = cropping.Filler(fill, cropping.natural_side(facts), cropping.natural_reach(facts))

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:  # noqa: ARG002
        """Answer each row with a `composite`: known pixels of `image`, the network's where `hole` is white.

        Raises:
            ValueError: a cell is not a PNG in base64, or `image` and `hole` differ in size.
        """
        rows = enumerate(zip(model_input["image"], model_input["hole"], strict=True))
        return pd.DataFrame({"composite": [self._fill(number, image, hole) for number, (image, hole) in rows]})

    def _fill(self, number: int, image_cell: str, hole_cell: str) -> str:
        image = _decode(image_cell, "RGB", f"`image` of row {number}")
        hole = _decode(hole_cell, "L", f"`hole` of row {number}") >= HOLE_THRESHOLD
        if image.shape[:2] != hole.shape:
            (h, w), (hole_h, hole_w) = image.shape[:2], hole.shape
            raise ValueError(f"row {number}: `image` is {w} x {h} pixels, but `hole` is {hole_w} x {hole_h}")
        composite, _ = self._cropping.inpaint(image, hole, self._filler, self._cropping.Settings())
        return _encode(composite)


def _by_onnx(path: str) -> tuple[Network, dict[str, Any]]:
    content = Path(path).read_bytes()  # from memory, so that a model cannot refer to other files
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def network(holed: Floats) -> Floats:
        filled: Floats = session.run(None, {"holed": holed})[0]
        return filled

    return network, json.loads(session.get_modelmeta().custom_metadata_map[_FACTS])


def _by_torch(path: str) -> tuple[Network, dict[str, Any]]:
    extra: dict[str, Any] = {_FACTS: ""}
    program = torch.export.load(path, extra_files=extra)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    module = move_to_device_pass(program, device).module()

    def network(holed: Floats) -> Floats:
        with torch.inference_mode():
            filled: Floats = module(torch.from_numpy(holed).to(device)).cpu().numpy()
        return filled

    return network, json.loads(extra[_FACTS])


def _package(folder: str) -> ModuleType:
    """Import a folder as a package of its own: other versions of the model in this process have others."""
    spec = importlib.util.spec_from_file_location(
        f"cropping_{abs(hash(folder))}", Path(folder) / "__init__.py", submodule_search_locations=[folder]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder} should be a Python package")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look up their module
    spec.loader.exec_module(module)
    return module


def _decode(cell: str, mode: str, what: str) -> Pixels:
    try:
        file = io.BytesIO(base64.b64decode(cell, validate=True))
        with Image.open(file, formats=["PNG"]) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(
                    f"{what} is {picture.width} x {picture.height} pixels; at most {MAX_PIXELS} are allowed"
                )
            if picture.mode not in _IMAGE_MODES or "transparency" in picture.info:
                raise ValueError(f"{what} should be 8-bit RGB or grey without transparency, but is {picture.mode}")
            return np.array(picture.convert(mode))
    except (binascii.Error, TypeError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{what} should be a PNG file in base64: {error}") from None


def _encode(pixels: Pixels) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")


mlflow.models.set_model(LoggedModel())
