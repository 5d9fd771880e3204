"""Evaluation of one method on all pairs."""

import heapq
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from stages.evaluate.critic import told_apart
from stages.evaluate.filling import LOCAL_S, Filler, Questions
from stages.evaluate.perceptual import Distance, Fid, Lpips
from stages.evaluate.scores import Answer, composite, score, to_floats
from stages.imaging.holes import MaskSet
from stages.imaging.shards import Tiles
from stages.runtime.parallel import LocalBudget, map_ordered

CHUNK_BYTES = 64 * 2**20  # of predictions in memory at once

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Measures:
    """Measures besides the scores of `scores.py`.

    Attributes:
        per_pair: measures by name, called with composites, targets and holes.
        fid: accumulates all pairs; or None.
        critic: number of pairs, from the first, to train and test a critic on.
    """

    per_pair: dict[str, Distance | Lpips] = field(default_factory=dict)
    fid: Fid | None = None
    critic: int = 0


@dataclass
class Outcome:
    """The result of a method.

    Attributes:
        scores: one row per pair, with `milliseconds` and all scores.
        shown: composites of the pairs in the report by row, uint8 (H, W, 3).
        worst: composites of the pairs with the lowest hole PSNR, like `shown`.
    """

    scores: pd.DataFrame
    shown: dict[int, Pixels]
    worst: dict[int, Pixels]


def evaluate(
    filler: Filler, tiles: Tiles, mask_set: MaskSet, pairs: pd.DataFrame, measures: Measures, num_worst: int
) -> Outcome:
    """Fill and score every pair.

    Args:
        filler: the method; it gets pictures with holes set to 0.
        tiles: test tiles.
        mask_set: test holes of the tiles' size.
        pairs: data/pairs.csv, numbered from 0.
        measures: further measures.
        num_worst: number of worst composites to keep.
    """
    by_tile = pairs.sort_values("tile_row", kind="stable")  # so that what depends on the target alone is shared
    rows: list[dict[str, float]] = []
    shown: dict[int, Pixels] = {}
    worst: list[tuple[float, int, Pixels]] = []  # a heap, the best of them first
    local = LocalBudget(LOCAL_S)
    composites: dict[int, Pixels] = {}
    step = max(1, CHUNK_BYTES // (4 * 3 * tiles.size**2))
    for start in range(0, len(pairs), step):
        chunk = by_tile.iloc[start : start + step]
        targets, holes = tiles.gather(chunk["tile_row"].to_numpy()), mask_set.gather(chunk["hole_row"].to_numpy())
        images = targets * (1 - holes[..., None])
        predictions, milliseconds = filler(Questions(chunk["pair"].to_list(), images, holes))
        answers = [Answer(*answer) for answer in zip(targets, holes, predictions, strict=True)]
        scored = [*map_ordered(score, answers, "scores", "pair", local)]
        for row, is_shown, answer, found in zip(chunk.index, chunk["shown"], answers, scored, strict=True):
            if is_shown or row < measures.critic:
                composites[row] = _as_picture(answer)
            if is_shown:
                shown[row] = composites[row]
            if num_worst:
                _keep_worst(worst, num_worst, -found["hole_psnr"], row, answer)
        more = _measure(measures, targets, holes, predictions)
        rows += [
            {"milliseconds": float(ms), **of_pair, **dict(zip(more, of_more, strict=True))}
            for ms, of_pair, of_more in zip(milliseconds, scored, _rows(more, len(chunk)), strict=True)
        ]
    worst_by_row = {-row: picture for _, row, picture in sorted(worst, key=lambda one: -one[0])}
    scores = pairs.join(pd.DataFrame(rows, index=by_tile.index))
    if measures.critic:
        asked = pairs.iloc[: measures.critic]
        targets, holes = tiles.gather(asked["tile_row"].to_numpy()), mask_set.gather(asked["hole_row"].to_numpy())
        made = np.stack([composites[row] for row in asked.index])
        scores["told_apart"] = pd.Series(told_apart(targets, made, holes, asked["photo"]), asked.index)
    return Outcome(scores, shown, worst_by_row)


def _as_picture(answer: Answer) -> Pixels:
    return np.round(255 * composite(answer)).astype(np.uint8)


def _keep_worst(heap: list[tuple[float, int, Pixels]], count: int, badness: float, row: int, answer: Answer) -> None:
    """Keep the composite if it is among the `count` worst so far; of equal ones the first."""
    if len(heap) < count:
        heapq.heappush(heap, (badness, -row, _as_picture(answer)))
    elif (badness, -row) > heap[0][:2]:
        heapq.heapreplace(heap, (badness, -row, _as_picture(answer)))


def _measure(
    measures: Measures, targets: Pixels, holes: Pixels, predictions: npt.NDArray[np.float32]
) -> dict[str, list[float]]:
    if not measures.per_pair and measures.fid is None:
        return {}
    wanted = to_floats(targets)
    restored = np.where(holes[..., None] > 0, predictions, wanted)
    if measures.fid is not None:
        measures.fid.add(restored, wanted)
    return {name: measure(restored, wanted, holes) for name, measure in measures.per_pair.items()}


def _rows(columns: dict[str, list[float]], count: int) -> list[tuple[float, ...]]:
    return list(zip(*columns.values(), strict=True)) if columns else [()] * count
