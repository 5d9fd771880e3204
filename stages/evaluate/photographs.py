"""Evaluation of one method on whole photographs, by the same `Inpainter` as in the command and the server.

    outcome = evaluate_photographs(choose_restorer("pconv", "data/models/pconv/model.onnx"), questions, measures)

Models fill each photograph twice: by default, and without copied texture. The scores are those of `scores.py`, on 8-bit
composites as users get them, so without `raw_*`.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from stages.comparing.scores import by_default, plain
from stages.evaluate.evaluation import Measures
from stages.evaluate.exchange import read_answer, read_question
from stages.evaluate.filling import LOCAL_S, MODELS
from stages.evaluate.scores import Answer, score, to_floats
from stages.inpainting import inpainter
from stages.inpainting.cropping import Settings
from stages.inpainting.cropping.detail import problem
from stages.inpainting.inpainter import Inpainter
from stages.runtime.errors import InputError
from stages.runtime.parallel import LocalBudget, map_ordered

FOLDER = Path("data/photographs")
_BOTH = ((True, Settings()), (False, Settings(detail=False)))

PLAIN = "_plain"  # suffix of composites without copied texture

Pixels = npt.NDArray[np.uint8]


class Restored(NamedTuple):
    """A composite uint8 (H, W, 3), its time in milliseconds (NaN if unknown), and whether texture was copied."""

    composite: Pixels
    milliseconds: float
    detail: bool


Restorer = Callable[[Path, Sequence[str]], Iterable[list[Restored]]]
"""Fills photographs by their ids, in order; the folder has `images` and `holes`."""


@dataclass(frozen=True)
class PhotographOutcome:
    """The result of a method on photographs.

    Attributes:
        scores: one row per photograph and variant: the columns of photographs.csv, `detail`, `milliseconds`, scores.
        shown: composites in the report, uint8 (H, W, 3), by the names of their files.
    """

    scores: pd.DataFrame
    shown: dict[str, Pixels]


def read_questions(folder: Path) -> pd.DataFrame:
    """Read photographs.csv, the list of photographs and holes.

    Raises:
        InputError: it is missing.
    """
    try:
        return pd.read_csv(folder / "photographs.csv")
    except FileNotFoundError:
        raise InputError(f"{folder / 'photographs.csv'} is missing; run dvc repro photographs") from None


def choose_restorer(key: str, filled_by: str) -> Restorer | None:
    """Return the restorer of one row of `methods` in params.yaml; None for a folder without photographs.

    Args:
        key: name of the row.
        filled_by: as for `filling.choose_filler`, which has checked it.
    """
    if Path(filled_by).is_dir():
        answers = Path(filled_by) / "photographs"
        return partial(_by_folder, answers) if answers.is_dir() else None
    return partial(_by_model, filled_by) if filled_by.endswith(MODELS) else partial(_by_method, key)


def _by_folder(answers: Path, folder: Path, names: Sequence[str]) -> Iterable[list[Restored]]:
    for name in names:
        target, hole = read_question(folder, name)
        answer = np.round(255 * read_answer(answers, name, hole.shape)).astype(np.uint8)
        yield [Restored(np.where(hole[..., None] > 0, answer, target), np.nan, detail=False)]


def _by_model(
    model: str, folder: Path, names: Sequence[str], variants: Sequence[tuple[bool, Settings]] = _BOTH
) -> Iterable[list[Restored]]:
    if problem():  # no texture can be copied: both would be the same
        variants = [(False, Settings())]
    restore = inpainter.load(model)
    restore.self_test()  # untimed: the first call also allocates
    for name in names:
        yield [_restore(restore, folder, name, detail, settings) for detail, settings in variants]


def restore_by_default(model: str, folder: Path, names: Sequence[str]) -> Iterable[list[Restored]]:
    """Fill photographs by a model, a file or its folder, with default settings only; a `Restorer`."""
    return _by_model(model, folder, names, _BOTH[:1])


def _by_method(method: str, folder: Path, names: Sequence[str]) -> Iterable[list[Restored]]:
    local = LocalBudget(LOCAL_S)
    return map_ordered(partial(_restore_by_method, method, folder), names, method, "photograph", local)


def _restore_by_method(method: str, folder: Path, name: str) -> list[Restored]:
    return [_restore(_loaded(method), folder, name, False, Settings())]


@cache
def _loaded(method: str) -> Inpainter:
    """Load a method and its library, once per process."""
    restore = inpainter.load(method)
    restore.self_test()
    return restore


def _restore(restore: Inpainter, folder: Path, name: str, detail: bool, settings: Settings) -> Restored:
    target, hole = read_question(folder, name)
    image = target * (1 - hole[..., None])
    start = time.perf_counter()
    try:
        composite, _ = restore(image, hole.astype(bool), settings)
    except ValueError as error:  # not finite
        raise InputError(f"{restore.about.source} fails on the photograph {name}: {error}") from error
    return Restored(composite, 1000 * (time.perf_counter() - start), detail)


def evaluate_photographs(
    restorer: Restorer, questions: pd.DataFrame, measures: Measures, folder: Path = FOLDER
) -> PhotographOutcome:
    """Fill and score every photograph.

    Args:
        restorer: the method; it gets photographs with holes set to 0.
        questions: from `read_questions`.
        measures: further measures.
        folder: of the photographs.
    """
    rows: list[dict[str, Any]] = []
    shown: dict[str, Pixels] = {}
    answers = restorer(folder, questions["id"].to_list())
    for (_, question), restored in zip(questions.iterrows(), answers, strict=True):
        target, hole = read_question(folder, question["id"])
        more = _measure(measures, target, hole, restored)
        for number, one in enumerate(restored):
            found = score(Answer(target, hole, to_floats(one.composite)))
            kept = {name: value for name, value in found.items() if not name.startswith("raw_")}
            own = {name: values[number] for name, values in more.items()}
            rows.append({**dict(question), "detail": one.detail, "milliseconds": one.milliseconds, **kept, **own})
        if question["shown"]:
            shown |= {question["id"] + PLAIN * (one is not restored[0]): one.composite for one in restored}
    return PhotographOutcome(pd.DataFrame(rows), shown)


def _measure(measures: Measures, target: Pixels, hole: Pixels, restored: list[Restored]) -> dict[str, list[float]]:
    """Measure all variants at once, so that features of the target are computed once."""
    composites = np.stack([to_floats(one.composite) for one in restored])
    targets, holes = np.stack([to_floats(target)] * len(restored)), np.stack([hole] * len(restored))
    return {name: measure(composites, targets, holes) for name, measure in measures.per_pair.items()}


def no_photographs(questions: pd.DataFrame) -> PhotographOutcome:
    """Return the result of a method without photographs."""
    return PhotographOutcome(questions.iloc[:0].assign(detail=pd.Series(dtype=bool)), {})


def summarise_photographs(scores: pd.DataFrame) -> dict[str, float]:
    """Average the scores of one method, separately without copied texture.

    Args:
        scores: of a `PhotographOutcome`.

    Returns:
        `photo_hole_psnr`, `photo_perceptual` (if measured), `photo_sharpness` and `photo_ms` with default settings, and
        `photo_plain_*` without copied texture; empty without photographs.
    """
    parts = {"photo": by_default(scores), "photo_plain": plain(scores)}
    names = {"hole_psnr": "hole_psnr", "perceptual": "perceptual", "sharpness": "sharpness", "milliseconds": "ms"}
    return dict(chain.from_iterable(
        ((f"{part}_{short}", float(table[name].mean())) for name, short in names.items() if _is_known(table, name))
        for part, table in parts.items()
    ))  # fmt: skip


def _is_known(table: pd.DataFrame, name: str) -> bool:
    return name in table and bool(table[name].notna().any())
