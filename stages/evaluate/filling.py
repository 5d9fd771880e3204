"""Fillers: a classical method, an exported model in batches, or a folder of predictions.

torch is imported for `.pt2` files only, since that takes longer than a few hundred predictions of an `.onnx` file.
"""

import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stages.evaluate import exchange
from stages.inpainting import classical, inpainter, onnx_model
from stages.runtime import machine
from stages.runtime.errors import InputError, ParamsError

if TYPE_CHECKING:
    from stages.inpainting.exported import ExportedModel

MODELS = (".onnx", ".pt2")
BATCH_SIZE = 32  # affects speed only

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class Questions(NamedTuple):
    """Pictures to fill.

    Attributes:
        names: ids of the pairs.
        images: uint8 (N, H, W, 3) with zeroed holes.
        holes: uint8 (N, H, W), 1 where pixels are missing.
    """

    names: Sequence[str]
    images: Pixels
    holes: Pixels


Answers = Callable[[Floats, Floats], Floats]
"""A model: maps images (N, H, W, 3), 0 in holes, and holes (N, H, W) to (N, H, W, 3), all float32 in [0, 1]."""

Predictions = tuple[Floats, npt.NDArray[np.float64]]
Filler = Callable[[Questions], Predictions]
"""Returns predictions, float32 (N, H, W, 3), and their times in milliseconds, float64 (N,), NaN if unknown."""


def choose_filler(key: str, filled_by: str, side_px: int) -> Filler:
    """Return the filler of one row of `methods` in params.yaml.

    Args:
        key: name of the row.
        filled_by: a model (`.onnx` for ONNX Runtime on the CPU, `.pt2` for torch on a GPU if there is one), a folder
            of answers named by pair, or the module of the classical methods if `key` is one of them.
        side_px: side of the pictures in pixels.

    Raises:
        InputError: the file is missing, or its model does not accept such pictures.
        ParamsError: `filled_by` is not a model, and `key` not a classical method.
    """
    if not Path(filled_by).exists():
        raise InputError(f"methods.{key}: {filled_by} is missing; run dvc repro, or dvc pull where a remote holds it")
    if Path(filled_by).is_dir():
        return partial(_by_folder, Path(filled_by))
    if filled_by.endswith(MODELS):
        answers, facts = _load(filled_by)
        _check_facts(key, filled_by, facts, side_px)
        return _ByModel(answers)
    if key not in classical.METHODS:
        raise ParamsError(
            f"methods.{key}: filled_by should be a model (.onnx, .pt2), a folder of answers, or {key} a classical "
            f"method ({', '.join(classical.METHODS)}), but filled_by is {filled_by}"
        )
    return partial(_by_method, key)


def lacking(key: str, filled_by: str) -> str:
    """Return which package a classical method lacks on this machine, "" if it lacks none.

    Args:
        key: as for `choose_filler`.
        filled_by: as for `choose_filler`.
    """
    if Path(filled_by).is_dir() or filled_by.endswith(MODELS) or key not in classical.METHODS:
        return ""
    try:
        inpainter.load(key)
    except InputError as error:
        return str(error)
    return ""


def _by_method(method: str, questions: Questions) -> Predictions:
    _import(method)
    answers = [_timed_fill(method, *pair) for pair in zip(questions.images, questions.holes, strict=True)]
    return np.stack([prediction for prediction, _ in answers]), np.array([ms for _, ms in answers])


def _timed_fill(method: str, image: Pixels, hole: Pixels) -> tuple[Floats, float]:
    start = time.perf_counter()
    prediction = classical.fill(method, image, hole)
    return prediction, 1000 * (time.perf_counter() - start)


@cache
def _import(method: str) -> None:
    """Make a method import its library, once per process, so that this does not count as time of its first picture."""
    classical.fill(method, np.zeros((8, 8, 3), np.uint8), np.eye(8, dtype=np.uint8))


def _by_folder(folder: Path, questions: Questions) -> Predictions:
    answers = [exchange.read_answer(folder, name, hole.shape) for name, hole in zip(*questions[::2], strict=True)]
    return np.stack(answers), np.full(len(answers), np.nan)


def _load(path: str) -> tuple[Answers, dict[str, Any]]:
    if path.endswith(".onnx"):
        by_onnx = onnx_model.load(path)
        return partial(_by_onnx, by_onnx), by_onnx.facts
    from stages.inpainting import exported

    by_torch = exported.load(path, machine.device())
    return partial(_by_torch, by_torch), by_torch.facts


def _check_facts(key: str, path: str, facts: dict[str, Any], side_px: int) -> None:
    multiple = facts["multiple"]
    if side_px % multiple or side_px < 2 * multiple:
        raise InputError(
            f"methods.{key}: {path} takes sides that are multiples of {multiple} and at least {2 * multiple} pixels, "
            f"but `tile_size` is {side_px}; train it for such tiles or leave it out"
        )
    if facts.get(onnx_model.WITHOUT_DROPOUT):
        raise InputError(
            f"methods.{key}: {path} leaves out the dropout that this model was trained to have at test time; "
            "score the model.pt2 beside it"
        )


def _by_onnx(model: onnx_model.OnnxModel, images: Floats, holes: Floats) -> Floats:
    holed = np.concatenate([images, holes[..., None]], axis=3).transpose(0, 3, 1, 2)
    return model(np.ascontiguousarray(holed)).transpose(0, 2, 3, 1)


def _by_torch(model: "ExportedModel", images: Floats, holes: Floats) -> Floats:
    import torch

    image = torch.from_numpy(images).permute(0, 3, 1, 2)
    predictions: Floats = model(image, torch.from_numpy(holes).unsqueeze(1)).permute(0, 2, 3, 1).numpy()
    return predictions


class _ByModel:
    """Fills in batches by a model."""

    def __init__(self, answers: Answers) -> None:
        self._answers, self._is_warm = answers, False

    def __call__(self, questions: Questions) -> Predictions:
        images, holes = questions.images.astype(np.float32) / np.float32(255), questions.holes.astype(np.float32)
        if not self._is_warm:  # untimed: the first call also allocates and chooses algorithms
            self._answers(images[:BATCH_SIZE], holes[:BATCH_SIZE])
            self._is_warm = True
        predictions, milliseconds = [], []
        for first in range(0, len(images), BATCH_SIZE):
            batch = slice(first, first + BATCH_SIZE)
            start = time.perf_counter()
            predictions.append(self._answers(images[batch], holes[batch]))
            milliseconds += [1000 * (time.perf_counter() - start) / len(predictions[-1])] * len(predictions[-1])
        return np.concatenate(predictions), np.array(milliseconds)
