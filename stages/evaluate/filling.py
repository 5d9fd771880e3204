"""What fills the holes: a classical method spread over the cores, an exported model in batches, or somebody's pictures.

torch is imported where a model is, and not before: neither a classical method nor its worker processes wait for it.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from stages.evaluate import exchange
from stages.restoring import classical
from stages.running import machine
from stages.running.errors import InputError, ParamsError
from stages.running.parallel import map_ordered

if TYPE_CHECKING:
    from stages.restoring.exported import ExportedModel

BATCH_SIZE = 32  # pictures that a model answers at once; changes the time, not the answers

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class Questions(NamedTuple):
    """What a method is asked.

    Attributes:
        names: ids of the pairs.
        images: uint8 (N, H, W, 3) with zeroed holes.
        holes: uint8 (N, H, W), 1 where pixels are missing.
    """

    names: Sequence[str]
    images: Pixels
    holes: Pixels


Filled = tuple[Floats, npt.NDArray[np.float64]]
Filler = Callable[[Questions], Filled]
"""Answers with `filled`, float32 (N, H, W, 3), a colour for every pixel, and the milliseconds that each took, float64
(N,), NaN where nobody knows."""


def choose_filler(key: str, filled_by: str, side_px: int) -> Filler:
    """Find what fills the holes of one row of `methods` in params.yaml.

    Args:
        key: the row's name.
        filled_by: a `.pt2` file, a folder of answers named by pair, or the module of the classical methods, of which
            `key` is then one.
        side_px: of the pictures that it is to fill.

    Raises:
        InputError: there is no such file, or no model in it that takes such pictures.
        ParamsError: `filled_by` is no model and `key` no classical method.
    """
    if not Path(filled_by).exists():
        raise InputError(f"methods.{key}: {filled_by} is missing; run dvc repro, or dvc pull where a remote holds it")
    if Path(filled_by).is_dir():
        return partial(_by_folder, Path(filled_by))
    if filled_by.endswith(".pt2"):
        from stages.restoring import exported

        model = exported.load(filled_by, machine.device())
        if side_px % model.multiple or side_px < 2 * model.multiple:
            raise InputError(
                f"methods.{key}: {filled_by} takes sides that are multiples of {model.multiple} and at least "
                f"{2 * model.multiple} pixels, but `tile_size` is {side_px}; train it for such tiles or leave it out"
            )
        return partial(_by_model, model)
    if key not in classical.METHODS:
        raise ParamsError(
            f"methods.{key}: filled_by should be a model (.pt2), a folder of answers, or {key} a classical method "
            f"({', '.join(classical.METHODS)}), but filled_by is {filled_by}"
        )
    return partial(_by_method, key)


def _by_method(method: str, questions: Questions) -> Filled:
    pairs = list(zip(questions.images, questions.holes, strict=True))
    answers = list(map_ordered(partial(_timed_fill, method), pairs, method, "picture"))
    return np.stack([filled for filled, _ in answers]), np.array([ms for _, ms in answers])


def _timed_fill(method: str, pair: tuple[Pixels, Pixels]) -> tuple[Floats, float]:
    start = time.perf_counter()
    filled = classical.fill(method, *pair)
    return filled, 1000 * (time.perf_counter() - start)


def _by_folder(folder: Path, questions: Questions) -> Filled:
    answers = [exchange.read_answer(folder, name, hole.shape) for name, hole in zip(*questions[::2], strict=True)]
    return np.stack(answers), np.full(len(answers), np.nan)


def _by_model(model: "ExportedModel", questions: Questions) -> Filled:
    import torch

    image = torch.from_numpy(questions.images.astype(np.float32) / np.float32(255)).permute(0, 3, 1, 2)
    hole = torch.from_numpy(questions.holes).unsqueeze(1).float()
    model(image[:BATCH_SIZE], hole[:BATCH_SIZE])  # untimed: the first call also allocates and chooses algorithms
    filled, milliseconds = [], []
    for first in range(0, len(image), BATCH_SIZE):
        batch = slice(first, first + BATCH_SIZE)
        start = time.perf_counter()
        filled.append(model(image[batch], hole[batch]))
        milliseconds += [1000 * (time.perf_counter() - start) / len(filled[-1])] * len(filled[-1])
    return torch.cat(filled).permute(0, 2, 3, 1).numpy(), np.array(milliseconds)
