"""Evaluation of one method on whole photographs, by the same `Inpainter` as in the command and the server.

    subject = Subject("pconv", "data/models/pconv/model.onnx", Measures())
    outcome = evaluate_photographs(subject, read_questions(FOLDER), subject.budget())

Models fill each photograph twice: by default, and without copied texture. The scores are those of `scores.py`, on 8-bit
composites as users get them, so without `raw_*`.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from stages.comparing.scores import by_default, plain
from stages.evaluate.evaluation import Measure, Subject
from stages.evaluate.exchange import read_answer, read_question
from stages.evaluate.filling import MODELS
from stages.evaluate.scores import Answer, score, to_floats
from stages.inpainting import inpainter
from stages.inpainting.cropping import Settings
from stages.inpainting.cropping.detail import problem
from stages.inpainting.inpainter import Inpainter
from stages.runtime.errors import InputError
from stages.runtime.parallel import LocalBudget, map_ordered

FOLDER = Path("data/photographs")
PLAIN = "_plain"  # suffix of composites without copied texture

Pixels = npt.NDArray[np.uint8]
Variant = tuple[bool, Settings]  # whether texture is copied, and the settings that say so

VARIANTS: tuple[Variant, ...] = ((True, Settings()), (False, Settings(detail=False)))


class Restored(NamedTuple):
    """A composite uint8 (H, W, 3), its time in milliseconds (NaN if unknown), and whether texture was copied."""

    composite: Pixels
    milliseconds: float
    detail: bool


Restorer = Callable[[str, Pixels, Pixels, Sequence[Variant]], list[Restored]]
"""Fills a photograph, given its id, pixels (H, W, 3) and hole (H, W), in some variants."""


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


def evaluate_photographs(
    subject: Subject,
    questions: pd.DataFrame,
    local: LocalBudget,
    folder: Path = FOLDER,
    variants: Sequence[Variant] = VARIANTS,
) -> PhotographOutcome:
    """Fill and score every photograph, one after the other or by worker processes.

    Args:
        subject: the method; it gets photographs with holes set to 0. Of a folder without photographs nothing is scored.
        questions: from `read_questions`.
        local: from `Subject.budget`.
        folder: of the photographs.
        variants: settings that a model fills each with.
    """
    if Path(subject.filled_by).is_dir() and not (Path(subject.filled_by) / "photographs").is_dir():
        return no_photographs(questions)
    if problem() or not subject.filled_by.endswith(MODELS):  # no texture is copied: all variants would be the same
        variants = [(False, Settings())]
    work = partial(_score_photograph, subject, folder.absolute(), tuple(variants))
    rows: list[dict[str, Any]] = []
    shown: dict[str, Pixels] = {}
    asked = [question for _, question in questions.iterrows()]
    for scored, pictures in map_ordered(work, asked, subject.key, "photograph", local):
        rows += scored
        shown |= pictures
    return PhotographOutcome(pd.DataFrame(rows), shown)


def _score_photograph(
    subject: Subject, folder: Path, variants: tuple[Variant, ...], question: "pd.Series[Any]"
) -> tuple[list[dict[str, Any]], dict[str, Pixels]]:
    """Return a row of scores for each variant, and the composites if the report shows them."""
    restore, per_photograph = _open(subject)
    target, hole = read_question(folder, question["id"])
    restored = restore(question["id"], target, hole, variants)
    composites = np.stack([to_floats(one.composite) for one in restored])
    # All variants at once, so that features of the target are computed once.
    targets, holes = np.stack([to_floats(target)] * len(restored)), np.stack([hole] * len(restored))
    more = {name: measure(composites, targets, holes) for name, measure in per_photograph.items()}
    rows: list[dict[str, Any]] = []
    for number, one in enumerate(restored):
        found = score(Answer(target, hole, composites[number]))
        kept = {name: value for name, value in found.items() if not name.startswith("raw_")}
        own = {name: values[number] for name, values in more.items()}
        rows.append({**dict(question), "detail": one.detail, "milliseconds": one.milliseconds, **kept, **own})
    if not question["shown"]:
        return rows, {}
    return rows, {question["id"] + PLAIN * (one is not restored[0]): one.composite for one in restored}


@lru_cache(maxsize=1)
def _open(subject: Subject) -> tuple[Restorer, dict[str, Measure]]:
    """Load method and measures, once a process."""
    # No lattice: a deep hole is filled at a part of its size, which moves the grid.
    measures = {name: measure for name, measure in subject.load_measures().items() if name != "lattice"}
    return _choose_restorer(subject.key, subject.filled_by), measures


def _choose_restorer(key: str, filled_by: str) -> Restorer:
    if Path(filled_by).is_dir():
        return partial(_by_folder, Path(filled_by) / "photographs")
    restore = inpainter.load(filled_by if filled_by.endswith(MODELS) else key)
    restore.self_test()  # untimed: the first call also allocates
    return partial(_by_inpainter, restore)


def _by_folder(answers: Path, name: str, target: Pixels, hole: Pixels, _: object) -> list[Restored]:
    answer = np.round(255 * read_answer(answers, name, hole.shape)).astype(np.uint8)
    return [Restored(np.where(hole[..., None] > 0, answer, target), np.nan, detail=False)]


def _by_inpainter(
    restore: Inpainter, name: str, target: Pixels, hole: Pixels, variants: Sequence[Variant]
) -> list[Restored]:
    image, missing = target * (1 - hole[..., None]), hole.astype(bool)
    restored: list[Restored] = []
    for detail, settings in variants:
        start = time.perf_counter()
        try:
            composite, _ = restore(image, missing, settings)
        except ValueError as error:  # not finite
            raise InputError(f"{restore.about.source} fails on the photograph {name}: {error}") from error
        restored.append(Restored(composite, 1000 * (time.perf_counter() - start), detail))
    return restored


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
